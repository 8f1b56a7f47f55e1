//! Durable commits per second, against writing and syncing a file per thread.

use std::path::Path;
use std::time::Duration;

use wal_bench::measure::{Sampling, Span};
use wal_bench::{
    Durable, Log, Outcome, RawFiles, Settings, Variant, interleave, machine, ratio, window,
};
use wal_core::{Options, Wal};
use wal_io_std::{FileOptions, FileSink};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let settings = Settings::from_env(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&settings.dir)?;
    machine::disclose(Some(&settings.dir));
    println!("\ndurable commits per second, medians of interleaved rounds; times in microseconds");
    println!(
        "threads  bytes       raw       wal  wal/raw  records/sync  raw p50/p99.9  wal p50/p99.9  \
         quiet rounds"
    );
    for bytes in settings.bytes(&[100, 4096]) {
        for threads in settings.threads(&[1, 2, 8, 32]) {
            let [raw, wal] = compare(&settings, threads, bytes)?;
            println!(
                "{threads:>7} {bytes:>6} {:>9.0} {:>9.0} {:>8.2} {:>13.1} {:>14} {:>14}  {}/{}",
                raw.records_per_second(),
                wal.records_per_second(),
                ratio(&raw, &wal),
                records_per_sync(&wal),
                times(&raw)?,
                times(&wal)?,
                wal.quiet(),
                wal.spans.len(),
            );
        }
    }
    Ok(())
}

fn compare(settings: &Settings, threads: usize, bytes: usize) -> Result<[Outcome; 2], Failure> {
    // Enough for what is written in between two rotations of a thread's position.
    const RAW_LEN: u64 = 8 << 20;
    let dir = tempfile::tempdir_in(&settings.dir)?;
    let raw = RawFiles::create(dir.path(), threads, RAW_LEN)?;
    let wal = Durable(open(&dir.path().join("log"))?);
    let time = settings.window(250);
    let mut variants = [
        Variant::new("raw", || commits(&raw, threads, bytes, time)),
        Variant::new("wal", || commits(&wal, threads, bytes, time)),
    ];
    let outcomes = interleave(&mut variants, settings.rounds(9));
    drop(variants);
    wal.0.close()?;
    <[Outcome; 2]>::try_from(outcomes).map_err(|_| "one outcome per variant".into())
}

fn open(dir: &Path) -> Result<Wal<FileSink>, Failure> {
    let sink = FileSink::open(dir, &FileOptions::default())?;
    Ok(Wal::open(sink, Options::default())?.0)
}

fn commits<L: Log>(log: &L, threads: usize, bytes: usize, time: Duration) -> Span {
    let before = machine::foreign_ticks();
    let span = window(log, threads, bytes, time, Sampling::Every(1));
    let foreign =
        machine::foreign_ticks().zip(before).map_or(0, |(now, then)| now.saturating_sub(then));
    // Threads sleep in every commit, so a wait for a core is part of it. But where somebody else
    // computes, every wake-up, those inside the kernel included, waits for the scheduler's tick,
    // which is longer than a sync. The kernel's own work for the disk is less than a quarter core.
    let quiet = u128::from(foreign) * 10 * 4 <= span.wall.as_millis();
    Span { quiet, ..span }
}

fn records_per_sync(outcome: &Outcome) -> f64 {
    let records: u64 = outcome.spans.iter().map(|span| span.records).sum();
    let syncs: u64 = outcome.spans.iter().filter_map(|span| span.syncs).sum();
    records as f64 / syncs as f64
}

fn times(outcome: &Outcome) -> Result<String, Failure> {
    let times = outcome.times()?;
    let us = |quantile| times.value_at_quantile(quantile) / 1000;
    Ok(format!("{}/{}", us(0.5), us(0.999)))
}

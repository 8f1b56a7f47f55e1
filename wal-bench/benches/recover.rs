//! Scanning a log at open, against reading the same files and taking one checksum of it all.

use std::path::Path;
use std::time::{Duration, Instant};

use wal_bench::measure::{Span, histogram};
use wal_bench::{Outcome, Settings, Variant, interleave, machine, ratio};
use wal_core::recover::{ScanOptions, scan};
use wal_core::sink::LogSource;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{AmbiguousTail, Options, RecoveryMode, SegmentSink, Wal};
use wal_io_std::{DirSource, FileOptions, FileSink};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let settings = Settings::from_env(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&settings.dir)?;
    machine::disclose(Some(&settings.dir));
    let total = if settings.smoke { 1 << 20 } else { 256 << 20 };
    println!("\nwarm scan of {} MiB, MB/s of payload, medians of interleaved rounds", total >> 20);
    println!("source   bytes      read+crc     scan  scan/(read+crc), in time");
    for bytes in settings.bytes(&[100, 1024, 4096]) {
        let records = (total / bytes) as u64;
        let disk = MemDisk::new();
        fill(MemSink::open(&disk)?, records, bytes)?;
        row("memory", &MemSink::open(&disk)?, records, bytes, &settings)?;

        let dir = tempfile::tempdir_in(&settings.dir)?;
        let log: &Path = &dir.path().join("log");
        fill(FileSink::open(log, &FileOptions::default())?, records, bytes)?;
        row("files", &DirSource::open(log)?, records, bytes, &settings)?;
    }
    Ok(())
}

/// Writes a log and closes it.
fn fill<S: SegmentSink>(sink: S, records: u64, bytes: usize) -> Result<(), Failure> {
    let (wal, _) = Wal::open(sink, Options::default())?;
    let payload = vec![0x5a; bytes];
    for _ in 0..records {
        wal.append(&payload)?;
    }
    wal.close()?;
    Ok(())
}

fn row(
    name: &str,
    source: &dyn LogSource,
    records: u64,
    bytes: usize,
    settings: &Settings,
) -> Result<(), Failure> {
    let mut found = 0;
    scan(source, options(), &mut |_| found += 1)?;
    if found != records {
        return Err(format!("the scan found {found} of {records} records").into());
    }
    let mut variants = [
        Variant::new("read+crc", || timed(records, || read_all(source))),
        Variant::new("scan", || timed(records, || scan_all(source))),
    ];
    let outcomes = interleave(&mut variants, settings.rounds(7));
    let [floor, scan] = &outcomes[..] else { return Err("one outcome per variant".into()) };
    let speed = |outcome: &Outcome| outcome.records_per_second() * bytes as f64 / 1e6;
    let ratio = ratio(scan, floor);
    println!("{name:<7} {bytes:>6} {:>13.0} {:>8.0} {ratio:>8.2}", speed(floor), speed(scan));
    Ok(())
}

fn options() -> ScanOptions {
    ScanOptions { mode: RecoveryMode::Strict, ambiguous_tail: AmbiguousTail::default() }
}

fn scan_all(source: &dyn LogSource) -> Result<(), Failure> {
    scan(source, options(), &mut |_| ())?;
    Ok(())
}

/// Reads every file once, 1 MiB at a time, and takes one checksum of each piece.
fn read_all(source: &dyn LogSource) -> Result<(), Failure> {
    let mut piece = vec![0; 1 << 20];
    for file in source.list()?.files {
        let mut at = 0;
        loop {
            let read = source.read_at(file.sequence, at, &mut piece)?;
            std::hint::black_box(crc_fast::crc32_iscsi(&piece[..read]));
            at += read as u64;
            if read < piece.len() {
                break;
            }
        }
    }
    Ok(())
}

fn timed(records: u64, work: impl FnOnce() -> Result<(), Failure>) -> Span {
    let start = Instant::now();
    let done = work();
    let wall = if done.is_ok() { start.elapsed() } else { Duration::MAX };
    let waited = Duration::ZERO;
    let (times, cpu) = (histogram(), wall);
    Span { records, wall, quiet: true, waited, times, syncs: None, cpu, written: None }
}

//! What a reader that follows the log costs those who write it.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use wal_bench::measure::Sampling;
use wal_bench::{
    Durable, KeepSink, Log, Outcome, Settings, Span, Synced, Variant, interleave, machine, ratio,
    threads, window,
};
use wal_core::{Error, Options, SegmentSink, Wal};
use wal_io_std::{FileOptions, FileSink};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let settings = Settings::from_env(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&settings.dir)?;
    machine::disclose(Some(&settings.dir));
    println!(
        "\nwall ns per record of all writers, alone and followed; medians of interleaved rounds"
    );
    println!(
        "where    writers  bytes  a sync each     alone  followed  followed/alone  alone/alone  \
         read  quiet rounds"
    );
    if settings.runs("memory") {
        for bytes in settings.bytes(&[100, 1000]) {
            for every in [16, 256, 4096] {
                let log = Synced { wal: KeepSink::wal(), every };
                row("memory", &settings, &log, 1, bytes, every);
            }
        }
    }
    if settings.runs("files") {
        for writers in settings.threads(&[1, 8]) {
            let dir = tempfile::tempdir_in(&settings.dir)?;
            let log = Durable(open(dir.path())?);
            row("files", &settings, &log, writers, 100, 1);
            log.0.close()?;
        }
    }
    Ok(())
}

fn open(dir: &Path) -> Result<Wal<FileSink>, Failure> {
    let sink = FileSink::open(dir, &FileOptions::default())?;
    Ok(Wal::open(sink, Options::default())?.0)
}

/// A log whose writers can be followed.
trait Followed: Log {
    type Sink: SegmentSink;
    fn wal(&self) -> &Wal<Self::Sink>;
    /// Whether its writers sleep.
    fn sleeps(&self) -> bool;
}

impl<S: SegmentSink> Followed for Synced<S> {
    type Sink = S;
    fn wal(&self) -> &Wal<S> {
        &self.wal
    }
    fn sleeps(&self) -> bool {
        false
    }
}

impl<S: SegmentSink> Followed for Durable<S> {
    type Sink = S;
    fn wal(&self) -> &Wal<S> {
        &self.0
    }
    fn sleeps(&self) -> bool {
        true
    }
}

fn row<L: Followed>(
    place: &str,
    settings: &Settings,
    log: &L,
    writers: usize,
    bytes: usize,
    every: u64,
) {
    let time = settings.window(200);
    let (read, written) = (AtomicU64::new(0), AtomicU64::new(0));
    let alone = || measure(log, writers, bytes, time);
    let mut variants = [
        Variant::new("alone", alone),
        Variant::new("followed", || {
            let (span, found) = followed(log, writers, bytes, time);
            read.fetch_add(found, Ordering::Relaxed);
            written.fetch_add(span.records, Ordering::Relaxed);
            span
        }),
        Variant::new("alone", alone),
    ];
    let outcomes = interleave(&mut variants, settings.rounds(15));
    drop(variants);
    let [alone, followed, again]: &[Outcome; 3] = match outcomes.as_slice().try_into() {
        Ok(three) => three,
        Err(_) => unreachable!("one outcome per variant"),
    };
    println!(
        "{place:<8} {writers:>7} {bytes:>6} {every:>12} {:>9.1} {:>9.1} {:>15.3} {:>12.3} {:>4.0}%  {}/{}",
        alone.ns_per_record(),
        followed.ns_per_record(),
        ratio(followed, alone),
        ratio(again, alone),
        read.into_inner() as f64 * 100.0 / written.into_inner().max(1) as f64,
        followed.quiet(),
        followed.spans.len(),
    );
}

fn measure<L: Followed>(log: &L, writers: usize, bytes: usize, time: Duration) -> Span {
    if writers == 1 && !log.sleeps() {
        // Preempted or not, it is its own time on its core that counts.
        let span = window(log, writers, bytes, time, Sampling::Off);
        return Span { wall: span.wall.saturating_sub(span.waited), quiet: true, ..span };
    }
    let before = machine::foreign_ticks();
    let span = window(log, writers, bytes, time, Sampling::Off);
    let foreign =
        machine::foreign_ticks().zip(before).map_or(0, |(now, then)| now.saturating_sub(then));
    // As in `commit`: the reader may wait for a core, and the writers for it.
    Span { quiet: u128::from(foreign) * 10 * 4 <= span.wall.as_millis(), ..span }
}

/// Measures with one who follows on the core behind the writers', and says how many records that was
/// given.
fn followed<L: Followed>(log: &L, writers: usize, bytes: usize, time: Duration) -> (Span, u64) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let following = scope.spawn(|| {
            threads::pin(writers);
            follow(log.wal(), &done)
        });
        let span = measure(log, writers, bytes, time);
        // Relaxed: found with the record that follows.
        done.store(true, Ordering::Relaxed);
        if let Err(error) = log.wal().append_and_sync(&[]) {
            panic!("the bench cannot go on: {error}");
        }
        match following.join() {
            Ok(read) => (span, read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn follow<S: SegmentSink>(wal: &Wal<S>, done: &AtomicBool) -> u64 {
    let mut read = 0;
    loop {
        let mut tail = match wal.tail_from(wal.durable_lsn()) {
            Ok(tail) => tail,
            Err(error) => panic!("the bench cannot go on: {error}"),
        };
        loop {
            match tail.next() {
                Ok(Some(entry)) => black_box(entry.payload),
                Ok(None) => return read,
                // Fallen behind by more than is kept: on with the newest.
                Err(Error::Corrupt(_)) => break,
                Err(error) => panic!("the bench cannot go on: {error}"),
            };
            read += 1;
            if done.load(Ordering::Relaxed) {
                return read;
            }
        }
        if done.load(Ordering::Relaxed) {
            return read;
        }
    }
}

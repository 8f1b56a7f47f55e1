//! One measurement: threads that append to a log for a while.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::log::{Log, Writer};
use crate::machine::foreign_ticks;
use crate::threads::{cores, run_delay, team};
use crate::usage::{Disk, cpu};

/// Records between two looks at the stop flag.
const BURST: u64 = 64;

/// What a measurement found.
#[derive(Clone, Debug)]
pub struct Span {
    /// Records appended by all threads.
    pub records: u64,
    /// From the first thread's start to the last one's end.
    pub wall: Duration,
    /// Whether every thread had a core for itself throughout: `false` means that somebody else's
    /// work is in the figure. Always `true` with more threads than cores.
    pub quiet: bool,
    /// How long the thread that waited most for its core waited.
    pub waited: Duration,
    /// Times of sampled appends in nanoseconds, the clock's own cost included.
    pub times: Histogram<u64>,
    /// Syncs done meanwhile, for logs that count them.
    pub syncs: Option<u64>,
    /// Processor time that it took, the start and the end of the threads included.
    pub cpu: Duration,
    /// Bytes that the disk was given meanwhile, by everybody, where that was counted.
    pub written: Option<u64>,
}

impl Span {
    /// Wall nanoseconds per record.
    #[must_use]
    pub fn ns_per_record(&self) -> f64 {
        self.wall.as_nanos() as f64 / self.records.max(1) as f64
    }
}

/// How often to time a single append.
#[derive(Clone, Copy, Debug)]
pub enum Sampling {
    /// Never.
    Off,
    /// One in so many on average, at random gaps: at regular ones, the records that end a segment
    /// would be met too often or never.
    Every(u64),
}

pub(crate) struct Shift {
    pub(crate) records: u64,
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    pub(crate) delay: Option<u64>,
    pub(crate) times: Option<Histogram<u64>>,
}

/// Pseudo-random numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `bound`, which is above zero.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// An empty histogram of nanoseconds, up to a minute, exact to three digits.
///
/// # Panics
///
/// Never: the bounds are valid.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    match Histogram::new_with_bounds(1, 60_000_000_000, 3) {
        Ok(histogram) => histogram,
        Err(error) => crate::log::fail(&error),
    }
}

/// Appends records of `len` bytes from `threads` threads for about `time`.
pub fn window<L: Log>(
    log: &L,
    threads: usize,
    len: usize,
    time: Duration,
    sampling: Sampling,
) -> Span {
    let stop = AtomicBool::new(false);
    let payload = vec![0x5a; len];
    let clock = quanta::Clock::new();
    let syncs = log.syncs();
    let before = cpu();
    let shifts = team(
        threads,
        |thread, line| {
            let mut writer = log.writer(thread);
            let mut times = match sampling {
                Sampling::Off => None,
                Sampling::Every(_) => Some(histogram()),
            };
            let mut records = 0;
            let mut gaps = Random(thread as u64 + 1);
            let delay = run_delay();
            line.wait();
            let start = Instant::now();
            loop {
                match (sampling, &mut times) {
                    (Sampling::Every(every), Some(times)) => {
                        let before = clock.raw();
                        writer.append(black_box(&payload));
                        let after = clock.raw();
                        times.saturating_record(clock.delta_as_nanos(before, after));
                        let gap = gaps.below(2 * every - 1);
                        for _ in 0..gap {
                            writer.append(black_box(&payload));
                        }
                        records += 1 + gap;
                    }
                    _ => {
                        for _ in 0..BURST {
                            writer.append(black_box(&payload));
                        }
                        records += BURST;
                    }
                }
                // Relaxed: only a signal to stop.
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            writer.finish();
            Shift { records, start, end: Instant::now(), delay: waited(delay), times }
        },
        || {
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
        },
    );
    let syncs = log.syncs().zip(syncs).map(|(after, before)| after - before);
    Span { syncs, cpu: cpu().saturating_sub(before), ..sum(shifts, threads) }
}

/// A [`window`] over threads that sleep in every append, each of which is timed, on a log on `disk`.
pub fn commits<L: Log>(log: &L, disk: &Disk, threads: usize, len: usize, time: Duration) -> Span {
    on_disk(disk, || window(log, threads, len, time, Sampling::Every(1)))
}

/// What `measure` finds about something that sleeps, on `disk`.
pub fn on_disk(disk: &Disk, measure: impl FnOnce() -> Span) -> Span {
    let (before, written) = (foreign_ticks(), disk.written());
    let span = measure();
    let foreign = foreign_ticks().zip(before).map_or(0, |(now, then)| now.saturating_sub(then));
    // A wait for a core is part of a commit. But where somebody else computes, every wake-up, those
    // inside the kernel included, waits for the scheduler's tick, which is longer than a sync. The
    // kernel's own work for the disk is less than a quarter core.
    let quiet = u128::from(foreign) * 10 * 4 <= span.wall.as_millis();
    let written = disk.written().zip(written).map(|(now, then)| now.saturating_sub(then));
    Span { quiet, written, ..span }
}

/// Appends `records` records of `len` bytes, shared out among `threads` threads.
pub fn fixed<L: Log>(log: &L, threads: usize, len: usize, records: u64) -> Span {
    let payload = vec![0x5a; len];
    let shifts = team(
        threads,
        |thread, line| {
            let mut writer = log.writer(thread);
            let (share, rest) = (records / threads as u64, records % threads as u64);
            let records = share + u64::from((thread as u64) < rest);
            let delay = run_delay();
            line.wait();
            let start = Instant::now();
            for _ in 0..records {
                writer.append(black_box(&payload));
            }
            Shift { records, start, end: Instant::now(), delay: waited(delay), times: None }
        },
        || (),
    );
    sum(shifts, threads)
}

fn waited(before: Option<u64>) -> Option<u64> {
    run_delay().zip(before).map(|(after, before)| after - before)
}

pub(crate) fn sum(shifts: Vec<Shift>, threads: usize) -> Span {
    let mut times = histogram();
    let (mut records, mut delay) = (0, 0);
    let (mut start, mut end) = (None::<Instant>, None::<Instant>);
    for shift in shifts {
        records += shift.records;
        delay = delay.max(shift.delay.unwrap_or(0));
        start = Some(start.map_or(shift.start, |first| first.min(shift.start)));
        end = end.max(Some(shift.end));
        if let Some(Err(error)) = shift.times.map(|more| times.add(more)) {
            crate::log::fail(&error);
        }
    }
    let wall = end.zip(start).map_or(Duration::ZERO, |(end, start)| end - start);
    // Two percent: less than undisturbed rounds differ by, and more than it costs a worker that the
    // one who says stop runs on its core.
    let quiet = threads > cores() || u128::from(delay) * 50 <= wall.as_nanos();
    let (waited, cpu) = (Duration::from_nanos(delay), Duration::ZERO);
    Span { records, wall, quiet, waited, times, syncs: None, cpu, written: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Floor, NullSink};

    #[test]
    fn a_fixed_number_of_records_is_appended_whatever_the_threads() {
        let wal = NullSink::wal(4096, 2);
        let before = wal.next_lsn();
        assert_eq!(fixed(&wal, 3, 100, 1000).records, 1000);
        assert!(wal.next_lsn() > before.advance(1000 * 108));
    }

    #[test]
    fn a_window_counts_and_times_what_it_appends() {
        let time = Duration::from_millis(2);
        let span = window(&Floor::new(2, 1 << 16), 2, 100, time, Sampling::Every(8));
        assert!(span.records > 0 && span.wall > Duration::ZERO);
        let gap = span.records as f64 / span.times.len() as f64;
        assert!(span.times.len() < 100 || (6.0..10.0).contains(&gap), "{gap}");
    }
}

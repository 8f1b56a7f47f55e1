//! What a log counts of itself.
//!
//! Nothing is counted for its own sake on the way of an append: records are counted in the word by
//! which they are committed anyway (`segment/word.rs`), and taken out of it by whoever leads the
//! flush, who counts everything else. What is not counted is looked up when it is asked for.

mod histogram;

use std::fmt;
use std::time::Duration;

use crossbeam_utils::CachePadded;

pub use histogram::Histogram;
pub(crate) use histogram::Latencies;

use crate::lsn::Lsn;
use crate::options::Clock;
use crate::probe::Probe;
use crate::segment::Occupancy;
use crate::shared::Shared;
use crate::sink::{SegmentSink, Spares};
use crate::sync::{Arc, AtomicU64, Ordering, PoisonError};

/// A log in numbers, from [`Wal::stats`](crate::Wal::stats).
///
/// Each number is exact for some moment during the call, and none ever goes back that only counts
/// up. They are not all of *one* moment: two of them may differ by what happened during the call.
/// Only the positions are in order: `durable` is no later than `written`, and that no later than
/// `next`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Records handed to the sink since the log was opened, void ones not counted. What is still in
    /// the ring comes with the frame it goes into.
    pub records: u64,
    /// Frames handed to the sink since then: the groups that were written together.
    pub frames: u64,
    /// Bytes handed to the sink since then, headers and padding included.
    pub bytes: u64,
    /// Syncs that succeeded since then.
    pub syncs: u64,
    /// How long group commits have waited for the sink to sync, if the log has a
    /// [clock](crate::Options::clock). Syncs that failed are not in it, nor that of a cut.
    pub sync_latency: Option<Histogram>,
    /// How the segments of the ring stand.
    pub ring: RingUse,
    /// Appends that found the ring full and waited, since the log was opened.
    pub stalled_appends: u64,
    /// How often they went to sleep, or were pending: more than once for one append if others were
    /// faster to take what had become free.
    pub stalls: u64,
    /// The files of the log.
    pub files: FileUse,
    /// Everything before is durable.
    pub durable: Lsn,
    /// Everything before has been handed to the operating system.
    pub written: Lsn,
    /// The position just past everything reserved.
    pub next: Lsn,
    /// How many [holds](crate::Wal::hold) there are.
    pub holds: usize,
    /// The position of the lowest one.
    pub held_from: Option<Lsn>,
}

/// The segments of the ring, by state. At any moment at most one is active, which counts for
/// nothing here: each is looked at by itself, so that one may be seen twice, or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingUse {
    /// Segments in all, fixed at open.
    pub segments: usize,
    /// Bytes of each, fixed at open.
    pub segment_size: u64,
    /// Those that are free.
    pub free: usize,
    /// Those that are appended to.
    pub active: usize,
    /// Those that are sealed, and being copied to, written, or waiting for a sync.
    pub busy: usize,
}

/// The files of a log, and what the sink has in store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileUse {
    /// Files that hold the log, the one written to included.
    pub count: usize,
    /// Their bytes on disk, all that is allocated. A file that a close has trimmed counts as what it
    /// was before.
    pub bytes: u64,
    /// What the sink has ready for the next file; zeros if it does not tell.
    pub spares: Spares,
}

impl Stats {
    /// Bytes of the stream that were reserved and are not durable: what a power loss would take.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.next.distance_from(self.durable).unwrap_or(0)
    }

    /// Records that one sync has made durable, in the mean; `None` before the first.
    #[must_use]
    pub fn records_per_sync(&self) -> Option<f64> {
        (self.syncs > 0).then(|| self.records as f64 / self.syncs as f64)
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} records in {} frames ({} bytes), {} syncs",
            self.records, self.frames, self.bytes, self.syncs
        )?;
        if let Some(mean) = self.records_per_sync() {
            write!(f, " of {mean:.1} records")?;
        }
        if let Some(latency) = &self.sync_latency {
            write!(f, " ({latency})")?;
        }
        let (ring, files) = (&self.ring, &self.files);
        write!(
            f,
            "; ring {} of {} segments free, {} appends stalled ({} stalls)",
            ring.free, ring.segments, self.stalled_appends, self.stalls
        )?;
        write!(f, "; {} files ({} bytes), ", files.count, files.bytes)?;
        write!(f, "{} prepared, {} to reuse", files.spares.prepared, files.spares.retired)?;
        write!(f, "; LSN {}, {} bytes not durable", self.next, self.lag())?;
        match self.held_from {
            Some(lsn) => write!(f, "; {} holds, from LSN {lsn}", self.holds),
            None => f.write_str("; no holds"),
        }
    }
}

/// What is counted as it happens, on lines that no append reads.
#[derive(Default)]
pub(crate) struct Counters {
    /// By whoever leads.
    flush: CachePadded<Flushed>,
    /// By who is about to sleep.
    stalls: CachePadded<Stalls>,
    timing: Option<Box<Timing>>,
}

/// What only counts up.
#[derive(Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) syncs: u64,
    pub(crate) stalled_appends: u64,
    pub(crate) stalls: u64,
}

#[derive(Default)]
struct Flushed {
    records: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
}

#[derive(Default)]
struct Stalls {
    appends: AtomicU64,
    times: AtomicU64,
}

struct Timing {
    clock: Arc<dyn Clock>,
    syncs: Latencies,
}

impl Counters {
    pub(crate) fn new(clock: Option<Arc<dyn Clock>>) -> Self {
        let timing = clock.map(|clock| Box::new(Timing { clock, syncs: Latencies::default() }));
        Self { timing, ..Self::default() }
    }

    // Relaxed, all of them: counters order nothing.

    /// A frame was handed to the sink.
    pub(crate) fn frame(&self, bytes: u64) {
        self.flush.frames.fetch_add(1, Ordering::Relaxed);
        self.flush.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// These were in it.
    pub(crate) fn records(&self, records: u64) {
        self.flush.records.fetch_add(records, Ordering::Relaxed);
    }

    /// The sink has synced.
    pub(crate) fn sync(&self) {
        self.flush.syncs.fetch_add(1, Ordering::Relaxed);
    }

    /// An append is about to wait for room, for the `first` time or once more.
    pub(crate) fn stall(&self, first: bool) {
        self.stalls.appends.fetch_add(u64::from(first), Ordering::Relaxed);
        self.stalls.times.fetch_add(1, Ordering::Relaxed);
    }

    /// All of them.
    pub(crate) fn totals(&self) -> Totals {
        let Self { flush, stalls, .. } = self;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            records: read(&flush.records),
            frames: read(&flush.frames),
            bytes: read(&flush.bytes),
            syncs: read(&flush.syncs),
            stalled_appends: read(&stalls.appends),
            stalls: read(&stalls.times),
        }
    }

    /// Runs `sync`, and notes how long it took if there is a clock and it succeeded. Without a clock
    /// this is a look at a pointer.
    pub(crate) fn time<E>(
        &self,
        sync: impl FnOnce() -> Result<(), E>,
    ) -> Result<Option<Duration>, E> {
        let Some(timing) = &self.timing else { return sync().map(|()| None) };
        let begun = timing.clock.now();
        sync()?;
        let took = timing.clock.now().saturating_sub(begun);
        timing.syncs.record(took);
        Ok(Some(took))
    }
}

impl<S: SegmentSink, P: Probe> Shared<S, P> {
    pub(crate) fn stats(&self) -> Stats {
        // Earliest first, since each grows: so none is past the next.
        let (durable, written) = (self.durable(), self.written());
        let next = self.ring.next_lsn();
        let Occupancy { queued, active, writing } = self.ring.occupancy();
        let files = {
            let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
            (files.len(), files.iter().map(|file| file.header.capacity).sum())
        };
        let (holds, lowest) = self.holds.with(|pins| (pins.len(), pins.lowest()));
        let totals = self.counters.totals();
        let stats = Stats {
            records: totals.records,
            frames: totals.frames,
            bytes: totals.bytes,
            syncs: totals.syncs,
            sync_latency: self.counters.timing.as_ref().map(|timing| timing.syncs.snapshot()),
            ring: RingUse {
                segments: queued + active + writing,
                segment_size: self.ring.layout().segment,
                free: queued,
                active,
                busy: writing,
            },
            stalled_appends: totals.stalled_appends,
            stalls: totals.stalls,
            files: FileUse { count: files.0, bytes: files.1, spares: self.sink.spares() },
            durable,
            written,
            next,
            holds,
            held_from: lowest.map(|pin| pin.lsn),
        };
        self.observer.stats(&stats);
        stats
    }
}

//! What all handles of one log share.

use std::ops::Range;
use std::sync::RwLock;

use crossbeam_utils::CachePadded;

use crate::error::Error;
use crate::flush::{Desk, Progress};
use crate::format::file_header::FileHeader;
use crate::hold::Holds;
use crate::lsn::Lsn;
use crate::observe::Observer;
use crate::options::Executor;
use crate::probe::{Event, Probe};
use crate::recover::Scan;
use crate::segment::{Lend, Ring};
use crate::sink::{SegmentSink, SinkError};
use crate::stats::Counters;
use crate::sync::{Arc, AtomicU8, AtomicU64, Mutex, OnceLock, Ordering, fence, lock};
use crate::truncate::Front;

/// A log's life. It only moves forward, and `Poisoned` is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Lifecycle {
    Open = 0,
    /// Nothing more is accepted; what is there is being made durable.
    Closing = 1,
    Closed = 2,
    Poisoned = 3,
}

/// A file of the log, as readers need it.
#[derive(Clone, Debug)]
pub(crate) struct ReadFile {
    pub(crate) header: FileHeader,
    /// Where it ends, if it is not the newest.
    pub(crate) end: Option<Lsn>,
    /// Whether its header is known to be durable, whatever is known of its first frame.
    pub(crate) begun: bool,
    /// What was cut off before it began.
    pub(crate) cut_off: Option<Range<Lsn>>,
}

impl ReadFile {
    /// A file whose header goes out with its first frame, or is not there yet.
    pub(crate) const fn new(header: FileHeader) -> Self {
        Self { header, end: None, begun: false, cut_off: None }
    }

    /// A file that goes on behind where the log was cut back.
    pub(crate) fn behind_cut(header: FileHeader) -> Self {
        Self { header, end: None, begun: true, cut_off: cut_off(&header) }
    }

    /// The files of a log as a scan has found them, and the one in which it goes on, if it does.
    pub(crate) fn all(scan: &Scan, newest: Option<FileHeader>) -> Vec<Self> {
        let old = scan.files.iter().map(|file| (file.header, Some(file.end)));
        let all = old.chain(newest.map(|header| (header, None)));
        let of = |(header, end)| {
            // The stream goes on further on behind a hole, too, and readers are led over that.
            let cut_off = cut_off(&header)
                .filter(|range| !scan.report.holes.iter().any(|hole| range.contains(&hole.lsn)));
            Self { header, end, begun: true, cut_off }
        };
        all.map(of).collect()
    }
}

/// What `header` has left out. The next life of a log goes on where it ended; only behind a cut does
/// it leave out more than the alignment takes.
fn cut_off(header: &FileHeader) -> Option<Range<Lsn>> {
    let end = header.prev.filter(|_| header.recovered)?.end;
    (end.align_up(u64::from(header.align)) < header.base).then_some(end..header.base)
}

/// What readers and whoever leads write to is on lines of its own: each append reads the others.
pub(crate) struct Shared<S: SegmentSink, P: Probe> {
    /// Read by every append, written once or twice in a log's life.
    lifecycle: AtomicU8,
    /// How many [`Wal`](crate::Wal)s there are: without any, nothing more is appended.
    pub(crate) handles: AtomicU64,
    /// Dropped first: it waits for writes in flight, which read what the next two own.
    pub(crate) sink: S,
    pub(crate) desk: CachePadded<Mutex<Desk>>,
    pub(crate) ring: Ring<P>,
    marks: CachePadded<Marks>,
    poison: OnceLock<Arc<SinkError>>,
    /// Oldest first, never empty; the newest is written to. Readers lock it, writers do not.
    pub(crate) files: CachePadded<RwLock<Vec<ReadFile>>>,
    /// Twice how often the log was cut back; one more while that is being told.
    pub(crate) cuts: AtomicU64,
    /// Held by whoever truncates, at either end, and by nobody else.
    pub(crate) front: Mutex<Front>,
    /// Who still needs what. Locked before `files`.
    pub(crate) holds: Arc<Holds>,
    /// What salvage skipped at open.
    pub(crate) holes: Vec<Range<Lsn>>,
    pub(crate) executor: Option<Arc<dyn Executor>>,
    pub(crate) depth: usize,
    pub(crate) max_record_len: usize,
    pub(crate) observer: Observer,
    pub(crate) counters: CachePadded<Counters>,
}

/// How far the log is written, and durable.
struct Marks {
    durable: AtomicU64,
    written: AtomicU64,
    /// The number of the newest file before which every file is whole, and durable.
    sealed: AtomicU64,
}

pub(crate) struct Parts<S, P> {
    pub(crate) ring: Ring<P>,
    pub(crate) sink: S,
    pub(crate) desk: Desk,
    pub(crate) start: Lsn,
    pub(crate) files: Vec<ReadFile>,
    pub(crate) front: Front,
    pub(crate) holes: Vec<Range<Lsn>>,
    pub(crate) executor: Option<Arc<dyn Executor>>,
    pub(crate) depth: usize,
    pub(crate) max_record_len: usize,
    pub(crate) counters: Counters,
}

impl<S: SegmentSink, P: Probe> Shared<S, P> {
    pub(crate) fn new(parts: Parts<S, P>, observer: Observer) -> Self {
        Self {
            lifecycle: AtomicU8::new(Lifecycle::Open as u8),
            handles: AtomicU64::new(1),
            ring: parts.ring,
            sink: parts.sink,
            desk: CachePadded::new(Mutex::new(parts.desk)),
            marks: CachePadded::new(Marks {
                durable: AtomicU64::new(parts.start.get()),
                written: AtomicU64::new(parts.start.get()),
                sealed: AtomicU64::new(parts.files.last().map_or(0, |file| file.header.sequence)),
            }),
            poison: OnceLock::new(),
            front: Mutex::new(parts.front),
            files: CachePadded::new(RwLock::new(parts.files)),
            holds: Arc::default(),
            cuts: AtomicU64::new(0),
            holes: parts.holes,
            executor: parts.executor,
            depth: parts.depth,
            max_record_len: parts.max_record_len,
            counters: CachePadded::new(parts.counters),
            observer,
        }
    }

    /// Relaxed: a filter for new work. What depends on it for good (registering, leading) reads it
    /// inside the desk's critical section, after which the mutex orders it.
    #[inline]
    pub(crate) fn lifecycle(&self) -> Lifecycle {
        match self.lifecycle.load(Ordering::Relaxed) {
            0 => Lifecycle::Open,
            1 => Lifecycle::Closing,
            2 => Lifecycle::Closed,
            _ => Lifecycle::Poisoned,
        }
    }

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.lifecycle() == Lifecycle::Open
    }

    #[inline]
    pub(crate) fn is_poisoned(&self) -> bool {
        self.lifecycle() == Lifecycle::Poisoned
    }

    /// Moves from `from` to `to`; returns whether this call did it.
    pub(crate) fn turn(&self, from: Lifecycle, to: Lifecycle) -> bool {
        // Relaxed: as for `lifecycle`.
        self.lifecycle
            .compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Refuses new work unless the log is open.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.is_open() { Ok(()) } else { Err(self.refusal().unwrap_or(Error::Closed)) }
    }

    /// Why the log takes nothing more, if it does not.
    pub(crate) fn refusal(&self) -> Option<Error> {
        match self.lifecycle() {
            Lifecycle::Open => None,
            Lifecycle::Closing | Lifecycle::Closed => Some(Error::Closed),
            Lifecycle::Poisoned => Some(self.poisoned()),
        }
    }

    fn poisoned(&self) -> Error {
        // Acquire: pairs with the Release in `poison`, so that the cause is there.
        fence(Ordering::Acquire);
        match self.poison.get() {
            Some(first) => Error::Poisoned { first: Arc::clone(first) },
            None => Error::Closed,
        }
    }

    /// Poisons the log with its first failure and wakes everybody. Later causes are dropped.
    pub(crate) fn poison(&self, cause: SinkError) {
        let first = self.poison.set(Arc::new(cause)).is_ok();
        if first {
            // Release: pairs with the Acquire in `poisoned`.
            self.lifecycle.store(Lifecycle::Poisoned as u8, Ordering::Release);
            self.ring.probe().event(Event::Poison);
        }
        self.wake_everybody();
        // Last: a subscriber that panics leaves nobody asleep.
        if let Some(cause) = self.poison.get().filter(|_| first) {
            self.observer.poisoned(cause);
        }
    }

    pub(crate) fn wake_everybody(&self) {
        let woken = lock(&self.desk).take_all();
        self.wake(woken);
    }

    pub(crate) fn wake(&self, wakers: Vec<std::task::Waker>) {
        if !wakers.is_empty() {
            self.ring.probe().event(Event::Wake { waiters: wakers.len() });
        }
        for waker in wakers {
            waker.wake();
        }
    }

    pub(crate) fn durable(&self) -> Lsn {
        // Acquire: pairs with the Release in `publish`, so that who sees the watermark can read
        // what it covers.
        Lsn::new(self.marks.durable.load(Ordering::Acquire))
    }

    pub(crate) fn written(&self) -> Lsn {
        // Acquire: as in `durable`.
        Lsn::new(self.marks.written.load(Ordering::Acquire))
    }

    pub(crate) fn progress(&self) -> Progress {
        Progress {
            durable: self.durable(),
            written: self.written(),
            current: self.ring.current(),
            sealed: self.sealed(),
        }
    }

    /// Every file with a lower number is whole, and durable.
    pub(crate) fn sealed(&self) -> u64 {
        // Acquire: pairs with the Release in `seal`, so that who learns of a file finds its end in
        // the table.
        self.marks.sealed.load(Ordering::Acquire)
    }

    /// Says that every file before this one is whole, and durable; the leader alone calls it, after
    /// `publish`.
    pub(crate) fn seal(&self, sequence: u64) {
        debug_assert!(sequence >= self.sealed());
        // Release: pairs with the Acquire in `sealed`.
        self.marks.sealed.store(sequence, Ordering::Release);
    }

    /// Moves a watermark forward; the leader alone calls it.
    pub(crate) fn publish(&self, written: Lsn, durable: Lsn) {
        debug_assert!(written >= self.written() && durable >= self.durable());
        debug_assert!(durable <= written);
        // Release: pairs with the Acquire in `durable` and `written`.
        self.marks.written.store(written.get(), Ordering::Release);
        self.marks.durable.store(durable.get(), Ordering::Release);
        self.ring.probe().event(Event::Publish { written, durable });
    }

    /// Asks the sink for memory at a segment's place.
    pub(crate) fn lend(&self) -> impl Lend {
        |place| {
            let len = self.ring.layout().segment as usize;
            self.sink.memory_in(place.file, place.offset(), len)
        }
    }
}

impl<S: SegmentSink, P: Probe> Drop for Shared<S, P> {
    /// Hands what was appended to the operating system, as far as that goes without waiting for
    /// anybody. Promises nothing, reports nothing.
    fn drop(&mut self) {
        if self.lifecycle() < Lifecycle::Closed && !std::thread::panicking() {
            self.flush_if_idle();
        }
    }
}

//! Stage events, for whoever wants to watch a log from inside.

use crate::lsn::Lsn;

/// A step that the log takes, named by the stages of a record's life. Commit, seal, activate and
/// recycle are told just before the step that others can see, the rest just after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A writer reserved `len` stream bytes at `lsn` in segment `sequence`.
    Reserve {
        /// Which life of which segment.
        sequence: u64,
        /// Where the reservation starts.
        lsn: Lsn,
        /// Its length, header and padding included.
        len: u64,
    },
    /// A writer committed a reservation, filled or void.
    Commit {
        /// Which life of which segment.
        sequence: u64,
        /// Where the reservation starts.
        lsn: Lsn,
        /// Its length.
        len: u64,
    },
    /// A segment was sealed with `len` bytes.
    Seal {
        /// Which life of which segment.
        sequence: u64,
        /// Position in the segment at which it ends.
        len: u64,
    },
    /// A segment was activated at `base`.
    Activate {
        /// Which life of which segment.
        sequence: u64,
        /// Its first stream position.
        base: Lsn,
    },
    /// The last writer left a sealed segment.
    HandOver {
        /// Which life of which segment.
        sequence: u64,
    },
    /// A frame was submitted to the sink.
    Write {
        /// Where the frame starts.
        lsn: Lsn,
        /// Bytes of the write, padding and file header included.
        len: u64,
    },
    /// The sink synced; everything before `lsn` is durable.
    Sync {
        /// The position.
        lsn: Lsn,
    },
    /// The written or the durable watermark moved.
    Publish {
        /// The written watermark.
        written: Lsn,
        /// The durable watermark.
        durable: Lsn,
    },
    /// Waiters were woken.
    Wake {
        /// How many.
        waiters: usize,
    },
    /// A segment is free again.
    Recycle {
        /// Which life of which segment has ended.
        sequence: u64,
    },
    /// The log was poisoned.
    Poison,
}

/// Receives [`Event`]s as they happen, on the thread that caused them, at times with another
/// thread's event still under way. Must not block and must not call the log.
pub trait Probe: Send + Sync + 'static {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// The probe of a log that nobody watches: compiles to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    #[inline(always)]
    fn event(&self, _: Event) {}
}

impl<P: Probe> Probe for std::sync::Arc<P> {
    fn event(&self, event: Event) {
        (**self).event(event);
    }
}

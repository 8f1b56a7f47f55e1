//! Stage events, for whoever wants to watch a log from inside.

use crate::lsn::Lsn;

/// A step that the log takes, named by the stages of a record's life. Each is told by the thread
/// that takes it: commit, seal, activate, write and recycle just before the step that others can
/// see; wait, lead, gather and step down inside the critical section that is the step, so that
/// their order among threads is exact; the rest just after.
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
    /// A thread or a task waits and found that its need is not met: it registers, or leads. Told
    /// again whenever it is woken in vain. Who waits for space wants neither position.
    Wait {
        /// The written watermark that it needs, or zero.
        written: Lsn,
        /// The durable watermark that it needs, or zero.
        durable: Lsn,
    },
    /// A thread took the lead: until it steps down, it alone seals late, writes, syncs, publishes
    /// and recycles.
    Lead,
    /// The leader began a round, and took up what is wanted by all who wait, itself included.
    Gather {
        /// The furthest position that somebody wants written, if only to be made durable.
        written: Lsn,
        /// The furthest position that somebody wants durable.
        durable: Lsn,
    },
    /// The leader gave up the lead.
    StepDown,
    /// A frame goes to the sink.
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
/// thread's event still under way, at times with a lock of the log held. Must not block and must
/// not call the log.
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

//! The handle: flush, sync, wait, close. Appending is in `append.rs`, reading in `read/`.

use std::fmt;

use crate::error::Error;
use crate::flush::{DirectFrame, Need};
use crate::format::frame;
use crate::lsn::Lsn;
use crate::probe::{NoProbe, Probe};
use crate::shared::{Lifecycle, Shared};
use crate::sink::SegmentSink;
use crate::stats::Stats;
use crate::sync::{Arc, Ordering, lock};

/// How safe a record is to be before a call returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// In the log's own memory: lost with the process.
    Memory,
    /// Handed to the operating system: survives the process, not the machine.
    ProcessCrash,
    /// Synced to the medium: survives power loss, as far as the medium keeps its word.
    #[default]
    PowerLoss,
}

/// A handle of an open log. Clones share the log; every call takes `&self` and may be made from
/// any number of threads at once.
///
/// Appending puts a record into the ring and returns; it is durable once a wait for it has
/// returned. The log has no thread of its own: whoever waits does the work, for everyone who
/// waits at that time.
///
/// Dropping the last handle hands what was appended to the operating system as far as that goes
/// without waiting for writers, ignores errors and makes nothing durable: use [`Wal::close`].
pub struct Wal<S: SegmentSink, P: Probe = NoProbe> {
    pub(crate) shared: Arc<Shared<S, P>>,
}

impl<S: SegmentSink, P: Probe> Clone for Wal<S, P> {
    fn clone(&self) -> Self {
        // Relaxed: only the last one to go matters, and it goes after all that were cloned from it.
        self.shared.handles.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S: SegmentSink, P: Probe> Drop for Wal<S, P> {
    fn drop(&mut self) {
        // Relaxed: a reader that waits looks at it while it has the desk, which is locked below.
        if self.shared.handles.fetch_sub(1, Ordering::Relaxed) == 1 {
            let woken = lock(&self.shared.desk).take_tails();
            self.shared.wake(woken);
        }
    }
}

impl<S: SegmentSink, P: Probe> fmt::Debug for Wal<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("lifecycle", &self.shared.lifecycle())
            .field("written", &self.shared.written())
            .field("durable", &self.shared.durable())
            .finish_non_exhaustive()
    }
}

/// Durability.
impl<S: SegmentSink, P: Probe> Wal<S, P> {
    /// Waits until the record at `lsn`, and with it everything before, is durable: safe from power
    /// loss. Blocks for I/O unless it is durable already; leads the flush if nobody does.
    ///
    /// # Errors
    ///
    /// [`Error::NotAppended`] if no record can be at `lsn` yet; [`Error::Poisoned`] with the first
    /// failure, at once, if a write or sync fails; [`Error::NoSpace`] or [`Error::Sink`] if the
    /// next log file cannot be made: nothing is lost, and the wait can be repeated;
    /// [`Error::Closed`] if the log was closed before the record was part of it.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<(), Error> {
        self.wait(lsn, Durability::PowerLoss)
    }

    /// Waits until the record at `lsn`, and everything before it, is as safe as asked.
    ///
    /// # Errors
    ///
    /// As for [`wait_durable`](Self::wait_durable).
    pub fn wait(&self, lsn: Lsn, durability: Durability) -> Result<(), Error> {
        match self.need(lsn, durability)? {
            Some(need) => self.shared.wait(need, None),
            None => Ok(()),
        }
    }

    /// What a wait for the record at `lsn` amounts to; `None` if it is over.
    pub(crate) fn need(&self, lsn: Lsn, durability: Durability) -> Result<Option<Need>, Error> {
        let past = lsn.advance(1);
        if self.shared.durable() < past {
            let next = self.shared.ring.next_lsn();
            if lsn >= next {
                return Err(Error::NotAppended { lsn, next });
            }
        }
        Ok(match durability {
            Durability::Memory => None,
            Durability::ProcessCrash => Some(Need::Written(past)),
            Durability::PowerLoss => Some(Need::Durable(past)),
        })
    }

    /// Hands everything appended before the call to the operating system: it survives the process.
    /// Blocks for I/O.
    ///
    /// # Errors
    ///
    /// As for [`wait_durable`](Self::wait_durable).
    pub fn flush(&self) -> Result<(), Error> {
        self.shared.wait(Need::Written(self.shared.ring.next_lsn()), None)
    }

    /// Makes everything appended before the call durable. Blocks for I/O.
    ///
    /// # Errors
    ///
    /// As for [`wait_durable`](Self::wait_durable).
    pub fn sync(&self) -> Result<(), Error> {
        self.shared.wait(Need::Durable(self.shared.ring.next_lsn()), None)
    }

    /// Syncs, then writes the durable watermark itself into the log, unsynced. Recovery can then
    /// tell damage to the last synced records from a torn write, which is otherwise undecidable
    /// for a log's very last frame. Worth a call when an application goes idle; takes one block of
    /// the log. Closing does the same for good. Blocks for I/O.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append) and [`wait_durable`](Self::wait_durable).
    pub fn mark_durable(&self) -> Result<(), Error> {
        self.shared.check_open()?;
        self.sync()?;
        self.write_mark(frame::Kind::Mark).map(drop)
    }

    /// Writes a frame that holds the durable watermark, and returns where it ends.
    fn write_mark(&self, kind: frame::Kind) -> Result<Lsn, Error> {
        let claim = self.claim_direct(frame::HEADER_LEN as u64, kind == frame::Kind::Close)?;
        let mark = DirectFrame::mark(claim, kind);
        if kind == frame::Kind::Close {
            // What the close mark says must be true when it is written.
            let synced = self.shared.wait(Need::Durable(claim.place.base), None);
            if let Err(error) = synced {
                self.shared.abandon(&mark);
                return Err(error);
            }
        }
        self.shared.wait_direct(&mark)?;
        Ok(mark.end())
    }

    /// Everything before this position is durable. Never decreases. Does not block.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        self.shared.durable()
    }

    /// Everything before this position has been handed to the operating system. Never decreases,
    /// and never lies before [`durable_lsn`](Self::durable_lsn) read earlier. Does not block.
    #[must_use]
    pub fn written_lsn(&self) -> Lsn {
        self.shared.written()
    }

    /// The position just past everything reserved so far: no record appended after this call has
    /// an LSN before it. Waits at most for another thread to finish a rotation, never for I/O.
    #[must_use]
    pub fn next_lsn(&self) -> Lsn {
        self.shared.ring.next_lsn()
    }

    /// The sink.
    #[must_use]
    pub fn sink(&self) -> &S {
        &self.shared.sink
    }

    /// The probe.
    #[must_use]
    pub fn probe(&self) -> &P {
        self.shared.ring.probe()
    }

    /// The log in numbers. Takes no lock that a writer takes and does not block for I/O, but reads
    /// words that every append writes: for every second, not for every append. With the feature
    /// `metrics`, sets the gauges, too.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Closes the log for all handles: refuses further appends, makes everything appended before
    /// durable, and marks the end as clean. Returns the end of the log. Blocks for I/O, and until
    /// reservations under way are committed or dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if another handle has closed it; otherwise as for
    /// [`wait_durable`](Self::wait_durable). After [`Error::NoSpace`] the log accepts nothing more
    /// but stays whole: what was durable is, and reopening recovers it.
    pub fn close(self) -> Result<Lsn, Error> {
        let shared = &self.shared;
        if !shared.turn(Lifecycle::Open, Lifecycle::Closing) {
            return Err(shared.refusal().unwrap_or(Error::Closed));
        }
        // Whoever waits for space is refused now.
        shared.wake_everybody();
        let end = self.write_mark(frame::Kind::Close)?;
        shared.wait(Need::Durable(end), None)?;
        shared.turn(Lifecycle::Closing, Lifecycle::Closed);
        shared.wake_everybody();
        // The log is durable and closed; that its last file keeps its length harms nobody.
        let _ = shared.trim();
        Ok(end)
    }
}

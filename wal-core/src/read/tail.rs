//! Following a log: waiting for the next durable record.
//!
//! A tail waits for the durable watermark to pass what it has read, among all others who wait
//! (`flush/waiters.rs`), but asks for nothing: nobody writes or syncs on its behalf, and it is never
//! counted on to lead. So an append costs what it costs without it, and a leader that has synced
//! looks once whether any tail waits. No wake-up is lost, since a tail registers in the same
//! critical section in which it finds the watermark where it was.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

#[cfg(not(any(wal_loom, wal_shuttle)))]
use super::watch::block_for;
use super::watch::{Watch, Watcher, block_on};
use super::{Cursor, Entry, Follow, Record};
use crate::error::Error;
use crate::flush::Need;
use crate::lsn::Lsn;

/// A walk over the durable records of a log, in order, that waits at the end for more. From
/// [`Wal::tail_from`](crate::Wal::tail_from).
///
/// It never yields a record that is not durable, nor a void one, and goes on over new files and new
/// starts of the log. Waiting takes no polling, does not hurry the log (nothing is written or synced
/// for its sake) and does not slow writers.
pub struct Tail {
    watcher: Watcher<dyn Watch>,
    cursor: Cursor,
}

impl Tail {
    pub(super) fn new(log: Arc<dyn Watch>, from: Lsn) -> Result<Self, Error> {
        let follow: Arc<dyn Follow> = Arc::<dyn Watch>::clone(&log);
        Ok(Self { cursor: Cursor::new(follow, from)?, watcher: Watcher::new(log) })
    }

    /// The next durable record, or `None` if there will be none: the log was closed, or its last
    /// handle is gone. Blocks until there is one, and for I/O.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] once everything that is durable has been read and nothing more will be;
    /// otherwise as for [`Cursor::next`]. Calling again tries the same place again.
    #[expect(clippy::should_implement_trait, reason = "an `Iterator` cannot lend")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        let found = block_on(|waker| self.look(waker))?;
        Ok(found.map(|(lsn, len)| self.cursor.lend(lsn, len)))
    }

    /// As [`next`](Self::next), but waits no longer than `timeout`, measured by the system's
    /// monotonic clock.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`] if there was none by then: calling again goes on waiting. Otherwise as for
    /// [`next`](Self::next).
    #[cfg(not(any(wal_loom, wal_shuttle)))]
    pub fn next_timeout(
        &mut self,
        timeout: std::time::Duration,
    ) -> Result<Option<Entry<'_>>, Error> {
        let Some(found) = block_for(timeout, |waker| self.look(waker)) else {
            self.watcher.unwatch();
            return Err(Error::TimedOut { durable: self.watcher.log().limit() });
        };
        Ok(found?.map(|(lsn, len)| self.cursor.lend(lsn, len)))
    }

    /// As [`next`](Self::next) for a task: a copy of the next record, or pending until there is one.
    /// The waker of the last call is called then, once. Needs no runtime and no executor; a tail that
    /// is dropped, at any time, leaves nothing behind. Reads block for I/O.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Record, Error>>> {
        self.look(cx.waker()).map(|found| match found {
            Ok(found) => found.map(|(lsn, len)| {
                let Entry { lsn, end, payload } = self.cursor.lend(lsn, len);
                Ok(Record { lsn, end, payload: payload.to_vec() })
            }),
            Err(error) => Some(Err(error)),
        })
    }

    /// Finds the next record, or has `waker` called when it is worth looking again.
    fn look(&mut self, waker: &Waker) -> Poll<Result<Option<(Lsn, usize)>, Error>> {
        loop {
            // Before the walk: what it does not find becomes durable past this.
            let seen = self.watcher.log().limit();
            match self.cursor.find() {
                Ok(None) => {}
                over => {
                    self.watcher.unwatch();
                    return Poll::Ready(over);
                }
            }
            if let ControlFlow::Break(over) = self.watcher.wait(Need::News(seen), waker) {
                return over;
            }
        }
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// Ends where [`Tail::next`] returns `None`; an error does not end it.
#[cfg(feature = "stream")]
impl futures_core::Stream for Tail {
    type Item = Result<Record, Error>;

    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Self::poll_next(self.get_mut(), cx)
    }
}

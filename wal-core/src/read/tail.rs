//! Following a log: waiting for the next durable record.
//!
//! A tail waits for the durable watermark to pass what it has read, among all others who wait
//! (`flush/waiters.rs`), but asks for nothing: nobody writes or syncs on its behalf, and it is never
//! counted on to lead. So an append costs what it costs without it, and a leader that has synced
//! looks once whether any tail waits. No wake-up is lost, since a tail registers in the same
//! critical section in which it finds the watermark where it was.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Cursor, Entry, Follow, Record};
use crate::error::Error;
use crate::flush::{Need, Ticket};
use crate::lsn::Lsn;
use crate::sync::Parker;

/// A log that tells when it grows.
pub(crate) trait Watch: Follow {
    /// Whether `need` is met, one that asks for nothing to be done; if not, has `waker` called when it
    /// is, or when it will never be. `old` is the caller's last registration, which ends.
    fn watch(&self, need: Need, waker: &Waker, old: Option<Ticket>) -> News;
    /// Ends a registration.
    fn unwatch(&self, old: Ticket);
}

/// What a tail learns of the log.
pub(crate) enum News {
    /// It is met.
    More,
    /// Not yet.
    Later(Ticket),
    /// Never: no handle is left that could append, or the log was closed or poisoned.
    Over(Option<Error>),
}

/// A walk over the durable records of a log, in order, that waits at the end for more. From
/// [`Wal::tail_from`](crate::Wal::tail_from).
///
/// It never yields a record that is not durable, nor a void one, and goes on over new files and new
/// starts of the log. Waiting takes no polling, does not hurry the log (nothing is written or synced
/// for its sake) and does not slow writers.
pub struct Tail {
    cursor: Cursor,
    log: Arc<dyn Watch>,
    ticket: Option<Ticket>,
}

impl Tail {
    pub(super) fn new(log: Arc<dyn Watch>, from: Lsn) -> Result<Self, Error> {
        let follow: Arc<dyn Follow> = Arc::<dyn Watch>::clone(&log);
        Ok(Self { cursor: Cursor::new(follow, from)?, log, ticket: None })
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
        let parker = Parker::current();
        let found = loop {
            match self.look(parker.waker()) {
                Poll::Ready(found) => break found?,
                Poll::Pending => parker.park(),
            }
        };
        Ok(found.map(|(lsn, len)| self.cursor.lend(lsn, len)))
    }

    /// As [`next`](Self::next), but waits no longer than `timeout` (measured by the system's
    /// monotonic clock, which nothing else in this crate reads).
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
        let begun = std::time::Instant::now();
        let parker = Parker::current();
        let found = loop {
            match self.look(parker.waker()) {
                Poll::Ready(found) => break found?,
                Poll::Pending => {
                    let Some(rest) = timeout.checked_sub(begun.elapsed()) else {
                        self.unwatch();
                        return Err(Error::TimedOut { durable: self.log.limit() });
                    };
                    parker.park_timeout(rest);
                }
            }
        };
        Ok(found.map(|(lsn, len)| self.cursor.lend(lsn, len)))
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

    /// Ends the registration, if there is one: what was waited for has come, or is given up.
    fn unwatch(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.log.unwatch(ticket);
        }
    }

    /// Finds the next record, or has `waker` called when it is worth looking again.
    fn look(&mut self, waker: &Waker) -> Poll<Result<Option<(Lsn, usize)>, Error>> {
        loop {
            // Before the walk: what it does not find becomes durable past this.
            let seen = self.log.limit();
            match self.cursor.find() {
                Ok(None) => {}
                over => {
                    self.unwatch();
                    return Poll::Ready(over);
                }
            }
            match self.log.watch(Need::News(seen), waker, self.ticket.take()) {
                News::More => {}
                News::Later(ticket) => {
                    self.ticket = Some(ticket);
                    return Poll::Pending;
                }
                News::Over(None) => return Poll::Ready(Ok(None)),
                News::Over(Some(error)) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.unwatch();
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

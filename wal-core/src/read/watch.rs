//! Waiting for a log to grow: what tails and archives have in common.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Poll, Waker};

use super::Follow;
use crate::error::Error;
use crate::flush::{Need, Ticket};
use crate::sync::Parker;

/// A log that tells when it grows.
pub(crate) trait Watch: Follow {
    /// Whether `need` is met, one that asks for nothing to be done; if not, has `waker` called when it
    /// is, or when it will never be. `old` is the caller's last registration, which ends.
    fn watch(&self, need: Need, waker: &Waker, old: Option<Ticket>) -> News;
    /// Ends a registration.
    fn unwatch(&self, old: Ticket);
}

/// What who watches learns of the log.
pub(crate) enum News {
    /// It is met.
    More,
    /// Not yet.
    Later(Ticket),
    /// Never: no handle is left that could append, or the log was closed or poisoned.
    Over(Option<Error>),
}

/// A place among those who wait, taken when there is something to wait for. Given up when dropped.
pub(crate) struct Watcher<W: Watch + ?Sized> {
    log: Arc<W>,
    ticket: Option<Ticket>,
}

impl<W: Watch + ?Sized> Watcher<W> {
    pub(crate) const fn new(log: Arc<W>) -> Self {
        Self { log, ticket: None }
    }

    pub(crate) const fn log(&self) -> &Arc<W> {
        &self.log
    }

    /// Goes on if `need` is met and it is worth looking again; otherwise has `waker` called when it
    /// will be, or says that it never will.
    pub(crate) fn wait<T>(
        &mut self,
        need: Need,
        waker: &Waker,
    ) -> ControlFlow<Poll<Result<Option<T>, Error>>> {
        match self.log.watch(need, waker, self.ticket.take()) {
            News::More => ControlFlow::Continue(()),
            News::Later(ticket) => {
                self.ticket = Some(ticket);
                ControlFlow::Break(Poll::Pending)
            }
            News::Over(None) => ControlFlow::Break(Poll::Ready(Ok(None))),
            News::Over(Some(error)) => ControlFlow::Break(Poll::Ready(Err(error))),
        }
    }

    /// Ends the registration, if there is one: what was waited for has come, or is given up.
    pub(crate) fn unwatch(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.log.unwatch(ticket);
        }
    }
}

impl<W: Watch + ?Sized> Drop for Watcher<W> {
    fn drop(&mut self) {
        self.unwatch();
    }
}

/// Looks until there is something, asleep in between.
pub(crate) fn block_on<T>(mut look: impl FnMut(&Waker) -> Poll<T>) -> T {
    let parker = Parker::current();
    loop {
        match look(parker.waker()) {
            Poll::Ready(found) => return found,
            Poll::Pending => parker.park(),
        }
    }
}

/// As [`block_on`], no longer than `timeout`: `None` if there was nothing by then. Measured by the
/// system's monotonic clock, which nothing else in this crate reads.
#[cfg(not(any(wal_loom, wal_shuttle)))]
pub(crate) fn block_for<T>(
    timeout: std::time::Duration,
    mut look: impl FnMut(&Waker) -> Poll<T>,
) -> Option<T> {
    let begun = std::time::Instant::now();
    let parker = Parker::current();
    loop {
        match look(parker.waker()) {
            Poll::Ready(found) => return Some(found),
            Poll::Pending => parker.park_timeout(timeout.checked_sub(begun.elapsed())?),
        }
    }
}

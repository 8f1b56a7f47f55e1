//! Readers at the end of the log, and archives, among those who wait.

use std::task::Waker;

use super::waiters::{Need, Ticket};
use crate::probe::Probe;
use crate::read::{News, Watch};
use crate::shared::{Lifecycle, Shared};
use crate::sink::SegmentSink;
use crate::sync::{Ordering, lock};

impl<S: SegmentSink, P: Probe> Watch for Shared<S, P> {
    fn watch(&self, need: Need, waker: &Waker, old: Option<Ticket>) -> News {
        let mut desk = lock(&self.desk);
        if let Some(old) = old {
            desk.waiters.deregister(old);
        }
        // Published before it ended, if it has.
        if self.progress().satisfies(need) {
            return News::More;
        }
        match self.lifecycle() {
            Lifecycle::Closed => News::Over(None),
            Lifecycle::Poisoned => News::Over(self.refusal()),
            // Relaxed: the last handle locks the desk after it has counted itself out.
            _ if self.handles.load(Ordering::Relaxed) == 0 => News::Over(None),
            Lifecycle::Open | Lifecycle::Closing => {
                News::Later(desk.waiters.register(need, waker, false))
            }
        }
    }

    fn unwatch(&self, old: Ticket) {
        lock(&self.desk).waiters.deregister(old);
    }
}

//! Whom a leader waits for before it seals: the commit siblings.
//!
//! Threads that commit in a loop come back soon after the flush that served them. A leader that
//! seals at once finds only those who were faster than itself, and the rest make a second flush: of
//! two threads each other group is a group of one. So the leader counts on as many as there were
//! when the last group ended, and lets other threads run until they have come, or until nobody has
//! come for a while. Waiting pays only where they do come back: the leader keeps account, and after
//! a few disappointments asks only now and then.
//!
//! The idea of `commit_delay` and `commit_siblings` in PostgreSQL, with what are settings there
//! learned from one group to the next, and a bound in turns given to others instead of a time.

use super::drive::Lead;
use super::waiters::{Need, Waiters};
use crate::probe::Probe;
use crate::sink::SegmentSink;
use crate::sync::{lock, yield_now};

/// How many turns in a row the leader gives to others before it takes nobody else to be coming:
/// about 25 us where nobody else wants the processor. A model checker sees no more in many.
const TURNS: u32 = if cfg!(any(wal_loom, wal_shuttle)) { 1 } else { 64 };

/// The most disappointments that a leader bears before it stops to wait.
const CREDIT: u8 = 8;

/// Without credit, the one group in so many that is waited for all the same, to see whether that
/// pays again.
const RETRY: u8 = 16;

/// How many commit together, as far as one can tell from the last groups.
#[derive(Debug)]
pub(super) struct Siblings {
    /// Who was served by the last flush, or came while it ran.
    last: usize,
    credit: u8,
    passed_by: u8,
}

impl Siblings {
    pub(super) const fn new() -> Self {
        Self { last: 0, credit: CREDIT / 2, passed_by: 0 }
    }

    /// Whether more than one committed the last time.
    const fn any(&self) -> bool {
        self.last > 1
    }

    /// How many to wait for when `present` are there already; `None` if it is not worth it.
    fn expected(&mut self, present: usize) -> Option<usize> {
        if present == 0 || present >= self.last {
            return None;
        }
        if self.credit == 0 {
            self.passed_by = (self.passed_by + 1) % RETRY;
            if self.passed_by != 0 {
                return None;
            }
        }
        Some(self.last)
    }

    /// Whether all came who were expected.
    fn came(&mut self, all: bool) {
        self.credit = if all { CREDIT.min(self.credit + 1) } else { self.credit.saturating_sub(1) };
    }

    /// A group ended: it served some, and others came in the meantime, `present` in all.
    pub(super) const fn served(&mut self, present: usize) {
        self.last = present;
    }
}

impl<S: SegmentSink, P: Probe> Lead<'_, S, P> {
    /// Gives those a moment who will want the same soon, while there is nothing else to do.
    pub(super) fn await_siblings(&mut self, need: Option<Need>) {
        let shared = self.shared;
        let pipeline = self.pipeline();
        // Who commits alone pays nothing for this, not even a look at the desk.
        let vain = !pipeline.siblings.any()
            || !pipeline.in_flight.is_empty()
            || pipeline.awaiting_direct.is_some()
            || shared.ring.sealed(pipeline.next).is_some();
        if vain {
            return;
        }
        let present = || present(&lock(&shared.desk).waiters, need);
        let mut here = present();
        let Some(expected) = self.pipeline().siblings.expected(here) else { return };
        let mut turns = TURNS;
        while here < expected && turns > 0 {
            yield_now();
            let now = present();
            turns = if now > here { TURNS } else { turns - 1 };
            here = now;
        }
        self.pipeline().siblings.came(here >= expected);
    }
}

/// How many wait for their records: the registered, and the leader if its `need` is such a one.
pub(super) fn present(waiters: &Waiters, need: Option<Need>) -> usize {
    let own = matches!(need, Some(Need::Durable(_) | Need::Written(_)));
    waiters.commits() + usize::from(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_expected_as_there_were() {
        let mut siblings = Siblings::new();
        assert_eq!(siblings.expected(1), None, "nobody is known yet");
        siblings.served(3);
        assert_eq!(siblings.expected(1), Some(3));
        assert_eq!(siblings.expected(3), None, "all are there");
        assert_eq!(siblings.expected(0), None, "nobody wants anything");
        siblings.served(1);
        assert_eq!(siblings.expected(1), None);
    }

    #[test]
    fn who_never_comes_back_is_asked_for_now_and_then_only() {
        let mut siblings = Siblings::new();
        siblings.served(2);
        let mut asked = 0;
        for _ in 0..16 * u32::from(RETRY) {
            if siblings.expected(1).is_some() {
                asked += 1;
                siblings.came(false);
            }
        }
        assert!((15..=16 + u32::from(CREDIT)).contains(&asked), "{asked}");
        // And is counted on again once it does.
        while siblings.expected(1).is_none() {}
        siblings.came(true);
        assert_eq!(siblings.expected(1), Some(2));
        assert_eq!(siblings.expected(1), Some(2));
    }

    #[test]
    fn credit_has_an_upper_bound() {
        let mut siblings = Siblings::new();
        siblings.served(2);
        for _ in 0..1_000 {
            siblings.came(true);
        }
        for _ in 0..CREDIT {
            assert_eq!(siblings.expected(1), Some(2));
            siblings.came(false);
        }
        assert_eq!(siblings.expected(1), None);
    }
}

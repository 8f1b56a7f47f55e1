//! What was announced and is not done with, and the hold that it takes.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::hold::Hold;
use crate::lsn::Lsn;
use crate::sync::{Mutex, lock};

/// A file by its number and its end: another end, another announcement.
pub(super) type Key = (u64, Lsn);

/// Shared by an archive and the files that it has handed out; the hold ends with the last of them.
#[derive(Debug)]
pub(super) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    hold: Hold,
    /// Where each begins.
    open: BTreeMap<Key, Lsn>,
    /// What comes next begins no earlier than here.
    next: Lsn,
}

impl Ledger {
    pub(super) fn new(hold: Hold) -> Self {
        let next = hold.lsn();
        Self { state: Mutex::new(State { hold, open: BTreeMap::new(), next }) }
    }

    /// Notes that the file `key`, which begins at `start`, is about to be announced, and sees to it
    /// that it is held: by `pin`, if the hold has moved on (the file was announced before, and has
    /// been cut since).
    pub(super) fn open(
        &self,
        key: Key,
        start: Lsn,
        pin: impl FnOnce(Lsn) -> Result<Hold, Error>,
    ) -> Result<(), Error> {
        let mut state = lock(&self.state);
        if key.1 <= state.hold.lsn() && start < state.hold.lsn() {
            // The old one goes when the new one is there.
            state.hold = pin(start)?;
        }
        state.open.insert(key, start);
        state.next = state.next.max(key.1);
        Ok(())
    }

    /// Notes that it was not announced after all.
    pub(super) fn withdraw(&self, key: Key) {
        lock(&self.state).open.remove(&key);
    }

    /// Notes that nobody needs the file any more, and lets go of what no other needs.
    pub(super) fn done(&self, key: Key) {
        let mut state = lock(&self.state);
        state.open.remove(&key);
        let lowest = state.open.values().copied().min();
        let lowest = lowest.map_or(state.next, |lowest| lowest.min(state.next));
        state.hold.advance(lowest);
    }

    /// From where on the log is held.
    pub(super) fn held_from(&self) -> Lsn {
        lock(&self.state).hold.lsn()
    }
}

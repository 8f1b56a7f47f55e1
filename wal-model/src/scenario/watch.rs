//! The probe of a run: counts what happens, and holds the order of the stages against the rules.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use shuttle::current::{TaskId, me};
use wal_core::Lsn;
use wal_core::probe::{Event, Probe};

use super::explore::Tally;

/// Counts of one run, added to the tally of all when it ends.
pub(super) struct Watch {
    segments: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    activated: u64,
    bases: BTreeMap<u64, Lsn>,
    recycled: u64,
    /// Who sealed a segment that is not handed over yet.
    sealed: BTreeMap<u64, TaskId>,
    seals: u64,
    handed_over: u64,
    stragglers: u64,
    full: u64,
    written: Lsn,
    durable: Lsn,
    poisoned: bool,
    leader: Option<TaskId>,
    leads: u64,
}

impl Watch {
    pub(super) fn new(segments: usize) -> Self {
        Self { segments: segments as u64, state: Mutex::default() }
    }

    pub(super) fn report(&self, tally: &Tally) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        tally.add("rotations", state.activated.saturating_sub(1));
        tally.add("recycled segments", state.recycled);
        tally.add("segments with stragglers", state.stragglers);
        tally.add("full rings", state.full);
        tally.add("changes of the leader", state.leads);
        tally.add("poisoned logs", u64::from(state.poisoned));
    }

    /// Once every reservation has been committed: what was sealed was handed over.
    pub(super) fn check_quiet(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(state.sealed.is_empty(), "never handed over: {:?}", state.sealed);
    }
}

impl Probe for Watch {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Activate { sequence, base } => {
                state.activated += 1;
                assert!(state.bases.insert(sequence, base).is_none(), "{sequence} activated twice");
                let before = state.bases.range(..sequence).next_back();
                assert!(
                    before.is_none_or(|(_, &before)| before <= base),
                    "bases fall at {sequence}"
                );
            }
            Event::Seal { sequence, .. } => {
                state.seals += 1;
                assert!(state.sealed.insert(sequence, me()).is_none(), "{sequence} sealed twice");
                state.full += u64::from(state.seals - state.recycled >= self.segments);
            }
            Event::HandOver { sequence } => {
                state.handed_over += 1;
                match state.sealed.remove(&sequence) {
                    Some(sealer) => state.stragglers += u64::from(sealer != me()),
                    None => panic!("segment {sequence} was handed over twice, or open"),
                }
            }
            Event::Recycle { .. } => state.recycled += 1,
            Event::Write { .. } => {
                let leader = Some(me());
                state.leads += u64::from(state.leader.is_some() && state.leader != leader);
                state.leader = leader;
            }
            Event::Publish { written, durable } => {
                assert!(!state.poisoned, "published after the log was poisoned");
                assert!(written >= state.written && durable >= state.durable, "a watermark fell");
                assert!(durable <= written, "durable before it was written");
                (state.written, state.durable) = (written, durable);
            }
            Event::Poison => state.poisoned = true,
            _ => {}
        }
    }
}

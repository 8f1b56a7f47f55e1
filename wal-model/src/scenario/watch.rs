//! The probe of a run: counts what happens, and holds the order of the stages against the rules.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use shuttle::current::{TaskId, me};
use wal_core::Lsn;
use wal_core::probe::{Event, Probe};

use super::explore::Tally;
use super::schedule::Mark;

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
    stragglers: u64,
    full: u64,
    written: Lsn,
    durable: Lsn,
    poisoned: bool,
    leader: Option<TaskId>,
    leads: u64,
    broken: Vec<String>,
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

    /// Once every reservation has been committed: no rule was broken, and what was sealed was
    /// handed over.
    pub(super) fn check(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(state.broken.is_empty(), "{:?}", state.broken);
        assert!(state.sealed.is_empty(), "never handed over: {:?}", state.sealed);
    }
}

impl State {
    /// Notes a rule that was broken. No panic yet: a probe is called in destructors, too.
    fn hold(&mut self, kept: bool, rule: &str, event: Event) {
        if !kept {
            self.broken.push(format!("{rule}: {event:?}"));
        }
    }
}

impl Probe for Watch {
    fn event(&self, event: Event) {
        if let Some(mark) = mark_of(event) {
            mark.set();
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Activate { sequence, base } => {
                state.activated += 1;
                let before = state.bases.range(..sequence).next_back();
                let rising = before.is_none_or(|(_, &before)| before <= base);
                state.hold(rising, "bases rise", event);
                let first = state.bases.insert(sequence, base).is_none();
                state.hold(first, "one activation a life", event);
            }
            Event::Seal { sequence, .. } => {
                state.seals += 1;
                let first = state.sealed.insert(sequence, me()).is_none();
                state.hold(first, "one sealer a life", event);
                state.full +=
                    u64::from(state.seals.saturating_sub(state.recycled) >= self.segments);
            }
            Event::HandOver { sequence } => {
                let sealer = state.sealed.remove(&sequence);
                state.hold(sealer.is_some(), "handed over once, and sealed", event);
                state.stragglers += u64::from(sealer != Some(me()));
            }
            Event::Recycle { .. } => state.recycled += 1,
            Event::Write { .. } => {
                let leader = Some(me());
                state.leads += u64::from(state.leader.is_some() && state.leader != leader);
                state.leader = leader;
            }
            Event::Publish { written, durable } => {
                let (sound, rising) =
                    (durable <= written, written >= state.written && durable >= state.durable);
                let open = !state.poisoned;
                state.hold(open, "nothing is published once the log is poisoned", event);
                state.hold(sound, "written before durable", event);
                state.hold(rising, "watermarks rise", event);
                (state.written, state.durable) = (written, durable);
            }
            Event::Poison => state.poisoned = true,
            _ => {}
        }
    }
}

const fn mark_of(event: Event) -> Option<Mark> {
    Some(match event {
        Event::Reserve { .. } => Mark::Reserve,
        Event::Commit { .. } => Mark::Commit,
        Event::Seal { .. } => Mark::Seal,
        Event::Activate { .. } => Mark::Activate,
        Event::HandOver { .. } => Mark::HandOver,
        Event::Write { .. } => Mark::Write,
        Event::Sync { .. } => Mark::Sync,
        Event::Publish { .. } => Mark::Publish,
        Event::Wake { .. } => Mark::Wake,
        Event::Recycle { .. } => Mark::Recycle,
        _ => return None,
    })
}

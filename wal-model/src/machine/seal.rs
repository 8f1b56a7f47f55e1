//! A sealer's duty, and activation: the same for a writer and for the leader.

use wal_core::segment::word::{Arrived, Fill, Gate, Left, Stripe, Tail};

use super::bug::Bug;
use super::config::{Machine, START};
use super::fault;
use super::state::State;

/// A sealer at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sealing {
    /// The segment it closed.
    pub sequence: u64,
    /// The life that it closed in truth: the same, unless the fault is there to tell them apart.
    pub slot: usize,
    /// Where the segment ended.
    pub len: u64,
    /// Length of the frame behind it.
    pub direct: u64,
    /// Where that frame goes, once that is known.
    pub claim: u64,
    /// How many stripes it has counted.
    swept: usize,
    /// What was in them.
    pub(super) found: u64,
    /// It is the log's last: no segment follows.
    last: bool,
    /// What comes next, as an index into [`SEAL`].
    at: usize,
    activating: Option<Activating>,
}

impl Sealing {
    /// The same, perhaps as the log's last.
    pub(super) const fn leaving(mut self, last: bool) -> Self {
        self.last = last;
        self
    }
}

/// What a sealer or an activator does next, as far as an onlooker can tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It says where the segment ends and what follows.
    Saying,
    /// It arrives at the next segment's gate.
    Arriving,
    /// It prepares this segment.
    Preparing(u64),
    /// It opens this segment.
    Opening(u64),
    /// It raises `current`.
    Raising,
    /// It counts the stripes and adds the bias.
    Leaving,
}

impl Sealing {
    pub(crate) fn stage(&self) -> Stage {
        match (self.activating, SEAL[self.at]) {
            (Some(activating), _) => activating.stage(),
            (None, Seal::Sealed | Seal::Direct | Seal::Next) => Stage::Saying,
            (None, Seal::Arrive) => Stage::Arriving,
            (None, Seal::Sweep | Seal::Bias) => Stage::Leaving,
        }
    }
}

impl Activating {
    pub(crate) const fn stage(&self) -> Stage {
        match ACTIVATE[self.at] {
            Activate::Tail => Stage::Opening(self.sequence),
            Activate::Current => Stage::Raising,
            _ => Stage::Preparing(self.sequence),
        }
    }
}

/// Somebody who activates a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Activating {
    sequence: u64,
    /// What comes next, as an index into [`ACTIVATE`].
    at: usize,
}

impl Activating {
    pub(super) const fn new(sequence: u64) -> Self {
        Self { sequence, at: 0 }
    }
}

#[derive(Clone, Copy)]
enum Seal {
    Sealed,
    Direct,
    Next,
    Arrive,
    Sweep,
    Bias,
}

/// Everything is said before the next segment can start, and that before this one is complete.
const SEAL: [Seal; 6] =
    [Seal::Sealed, Seal::Direct, Seal::Next, Seal::Arrive, Seal::Sweep, Seal::Bias];
const BIAS_FIRST: [Seal; 6] =
    [Seal::Sweep, Seal::Bias, Seal::Sealed, Seal::Direct, Seal::Next, Seal::Arrive];

#[derive(Clone, Copy)]
enum Activate {
    Place,
    Gate,
    Stripes,
    Fill,
    Tail,
    Current,
}

/// What a writer needs first, the tail next, `current` last.
const ACTIVATE: [Activate; 6] = [
    Activate::Place,
    Activate::Gate,
    Activate::Stripes,
    Activate::Fill,
    Activate::Tail,
    Activate::Current,
];
const PLACE_LATE: [Activate; 6] = [
    Activate::Gate,
    Activate::Stripes,
    Activate::Fill,
    Activate::Tail,
    Activate::Place,
    Activate::Current,
];
const FILL_LATE: [Activate; 6] = [
    Activate::Place,
    Activate::Gate,
    Activate::Stripes,
    Activate::Tail,
    Activate::Fill,
    Activate::Current,
];
const STRIPES_LATE: [Activate; 6] = [
    Activate::Place,
    Activate::Gate,
    Activate::Fill,
    Activate::Tail,
    Activate::Stripes,
    Activate::Current,
];

/// What a sealer's step has come to.
pub(super) enum Progress {
    /// There is more to do.
    More(Sealing),
    /// That was all; whether the segment was handed over by it.
    Over { handed_over: bool },
}

/// The sequence that the segment of an open `word` stores, given one that its slot had lived up to.
pub(super) fn life(word: Tail, seen: u64) -> u64 {
    (seen..).find(|&sequence| word.is_life(sequence)).unwrap_or(seen)
}

/// The bit of a segment in [`Ghost::handed`](super::Ghost::handed): one for each of the last 64.
pub(super) const fn handed(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

impl Machine {
    /// Somebody's addition or exchange has just closed a segment of life `word`.
    pub(super) fn close(
        &self,
        state: &mut State,
        seen: u64,
        word: Tail,
        len: u64,
        direct: u64,
    ) -> Sealing {
        let truth = life(word, seen);
        let sequence = if self.has(Bug::SequenceFromCurrent) { seen } else { truth };
        // The onlooker works out where the next segment has to start by its own arithmetic.
        let ghost = &mut state.ghost;
        let base = ghost.bases.get(truth as usize).copied().unwrap_or(0);
        let mut end = base;
        if len > START {
            end = self.align_up(base + len);
        }
        if direct > 0 {
            end = self.align_up(end + direct);
        }
        if ghost.bases.len() as u64 == truth + 1 {
            ghost.bases.push(end);
        } else {
            ghost.faults |= fault::SEALED_TWICE;
        }
        let slot = self.slot(truth);
        Sealing {
            sequence,
            slot,
            len,
            direct,
            claim: 0,
            swept: 0,
            found: 0,
            last: false,
            at: 0,
            activating: None,
        }
    }

    /// One step of a sealer.
    pub(super) fn seal(&self, state: &mut State, mut sealing: Sealing) -> Progress {
        if let Some(activating) = sealing.activating {
            sealing.activating = self.activate(state, activating);
            if sealing.activating.is_none() {
                sealing.at += 1;
            }
            return Self::more(sealing, false);
        }
        let Sealing { sequence, slot, len, direct, .. } = sealing;
        let order = if self.has(Bug::BiasFirst) { BIAS_FIRST } else { SEAL };
        let mut handed_over = false;
        match order[sealing.at] {
            Seal::Sealed => state.segments[slot].sealed = len,
            Seal::Direct => state.segments[slot].direct = direct,
            Seal::Next => {
                // Nobody else touches the place until the sealer has arrived, so that it does not
                // matter when it is loaded.
                let place = state.segments[slot].place;
                let mut rotation = self.layout.rotate(place, len, direct);
                sealing.claim = rotation.direct.map_or(0, |place| place.base.get());
                if self.has(Bug::DirectUncounted) {
                    rotation = self.layout.rotate(place, len, 0);
                }
                state.segments[slot].next = rotation.next;
            }
            Seal::Arrive => {
                if !state.is_poisoned()
                    && !sealing.last
                    && self.arrive(state, sequence + 1) == Arrived::Second
                {
                    sealing.activating = Some(Activating::new(sequence + 1));
                    return Progress::More(sealing);
                }
            }
            Seal::Sweep => {
                let stripe = &mut state.segments[slot].stripes[sealing.swept];
                sealing.found += stripe.step();
                if !self.has(Bug::SweptInSilence) {
                    *stripe = Stripe(stripe.0 + Stripe::SWEEP);
                }
                sealing.swept += 1;
                if sealing.swept < self.stripes {
                    return Progress::More(sealing);
                }
            }
            Seal::Bias => {
                let segment = &mut state.segments[slot];
                let before = segment.fill;
                let bias = Fill::seal_bias(len - START, sealing.found);
                let mut left = before.seal(bias);
                if self.has(Bug::StragglersForgotten) {
                    segment.fill = Fill(Fill::SEALED);
                    left = Left::Last;
                } else {
                    segment.fill = Fill(before.0.wrapping_add(bias));
                }
                if left == Left::Last || self.has(Bug::HandOverTwice) {
                    Self::hand_over(state, sequence);
                    handed_over = true;
                }
            }
        }
        sealing.at += 1;
        Self::more(sealing, handed_over)
    }

    /// Whether there is more for a sealer to do. Handing over is not its last step under the fault
    /// that puts the bias first; nothing is lost by that but a wake-up.
    const fn more(sealing: Sealing, handed_over: bool) -> Progress {
        if sealing.at < SEAL.len() {
            Progress::More(sealing)
        } else {
            Progress::Over { handed_over }
        }
    }

    pub(super) fn hand_over(state: &mut State, sequence: u64) {
        if state.ghost.handed & handed(sequence) != 0 {
            state.ghost.faults |= fault::HANDED_TWICE;
        }
        state.ghost.handed |= handed(sequence);
    }

    /// One addition to a gate.
    pub(super) fn arrive(&self, state: &mut State, sequence: u64) -> Arrived {
        let gate = &mut state.segments[self.slot(sequence)].gate;
        let before = *gate;
        *gate = Gate(before.0 + 1);
        match self.bug {
            Bug::GateSkipped => Arrived::Second,
            Bug::GateShut => Arrived::First,
            _ => before.arrive(),
        }
    }

    /// One step of an activation; `None` after the last.
    pub(super) fn activate(&self, state: &mut State, act: Activating) -> Option<Activating> {
        let sequence = act.sequence;
        let (slot, before) = (self.slot(sequence), self.slot(sequence + self.segments as u64 - 1));
        let order = match self.bug {
            Bug::PlaceAfterTail => PLACE_LATE,
            Bug::FillAfterTail => FILL_LATE,
            Bug::StripesAfterTail => STRIPES_LATE,
            _ => ACTIVATE,
        };
        let place = state.segments[before].next;
        let segment = &mut state.segments[slot];
        match order[act.at] {
            Activate::Place => segment.place = place,
            Activate::Gate => segment.gate = Gate::SHUT,
            Activate::Stripes => segment.stripes.fill(Stripe::OPEN),
            Activate::Fill => segment.fill = Fill::OPEN,
            Activate::Tail => {
                segment.tail = Tail::open(sequence, START);
                state.ghost.handed &= !handed(sequence);
            }
            Activate::Current => {
                if self.has(Bug::CurrentStored) {
                    (state.current, state.full) = (sequence, false);
                } else {
                    state.raise(sequence);
                }
            }
        }
        let at = act.at + 1;
        (at < ACTIVATE.len()).then_some(Activating { sequence, at })
    }
}

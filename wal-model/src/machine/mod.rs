//! The machine: its states and its steps.

mod bug;
mod config;
mod crash;
mod leader;
mod next;
mod properties;
mod render;
mod seal;
mod state;
mod writer;

use stateright::{Model, Property};
use wal_core::segment::word::{Fill, Gate, Stripe, Tail};

pub use bug::Bug;
pub use config::{Machine, Op, START, UNIT};
pub(crate) use leader::wanted;
pub use next::NextLsn;
pub(crate) use seal::Stage;
pub use seal::{Activating, Sealing};
pub use state::{
    Cell, Claim, Flight, Frame, Ghost, Grant, Held, Leader, LeaderPc, Lifecycle, Pc, Recovered,
    Safety, Sealed, Segment, State, Writer,
};

/// Steps that must not happen and that no state shows by itself, as bits of [`Ghost::faults`].
pub mod fault {
    /// A segment's end was said twice.
    pub const SEALED_TWICE: u8 = 1;
    /// A segment was handed over twice.
    pub const HANDED_TWICE: u8 = 2;
    /// A position was granted that lies before one granted earlier.
    pub const LSN_FELL: u8 = 4;
    /// A record was copied to where no segment is.
    pub const PAST_THE_END: u8 = 8;
    /// A watermark went backwards.
    pub const WATERMARK_FELL: u8 = 16;
    /// Something was published after the log was poisoned.
    pub const AFTER_POISON: u8 = 32;
    /// `next_lsn` said less than the asker had appended itself, or more than was reserved.
    pub const NEXT_LSN: u8 = 128;
    /// A write or a sync failed. Not a fault by itself.
    pub const FAILED: u8 = 64;
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A writer's next access.
    Writer(usize),
    /// A writer gives up its direct frame.
    GiveUp(usize),
    /// The leader's next access.
    Leader,
    /// The sink finishes a write.
    Written(usize),
    /// The sink fails.
    Fail,
    /// The sink refuses to create a file, without harm.
    Refuse,
    /// The machine crashes; of the frames at stake, those with a bit are there afterwards.
    Crash(u32),
}

impl Machine {
    /// A new log.
    pub(crate) fn initial(&self) -> State {
        let layout = self.layout;
        let segments = (0..self.segments as u64)
            .map(|slot| Segment {
                tail: Tail::closed(slot, layout.segment),
                stripes: vec![Stripe::OPEN; self.stripes],
                fill: Fill::QUEUED,
                gate: Gate::FREE,
                place: self.first(),
                sealed: 0,
                direct: 0,
                next: self.first(),
                cells: vec![Cell::Blank; self.records() as usize],
            })
            .collect();
        let mut state = State {
            current: 0,
            full: false,
            segments,
            writers: (0..self.programs.len())
                .map(|index| Writer {
                    op: self.programs[index].first().copied(),
                    // Like programs have one number, so that their writers are alike.
                    program: self
                        .programs
                        .iter()
                        .position(|program| *program == self.programs[index])
                        .unwrap_or(index),
                    done: 0,
                    pc: Pc::Done,
                    last: 0,
                    owes: false,
                })
                .collect(),
            leader: Leader {
                pc: LeaderPc::Asleep,
                who: None,
                next: 0,
                awaiting: None,
                in_flight: Vec::new(),
                held: Vec::new(),
                link: None,
                file: 0,
                goal: 0,
                progressed: false,
                refused: false,
                starting: false,
            },
            news: false,
            abandoned: Vec::new(),
            lifecycle: Lifecycle::Open,
            written: 0,
            durable: 0,
            disk: Vec::new(),
            ghost: Ghost { bases: vec![0], ..Ghost::default() },
            crashed: None,
        };
        let first = &mut state.segments[0];
        (first.tail, first.fill, first.gate) = (Tail::open(0, START), Fill::OPEN, Gate::SHUT);
        for index in 0..state.writers.len() {
            state.writers[index].pc = Self::start(&state, state.writers[index].op);
        }
        state
    }

    fn sort(&self, mut state: State) -> State {
        if self.symmetric {
            state.writers.sort_unstable();
        }
        state
    }
}

impl Model for Machine {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.sort(self.initial())]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What is wrong already is not looked into further.
        if state.crashed.is_some() || state.ghost.faults & !fault::FAILED != 0 {
            return;
        }
        for (index, writer) in state.writers.iter().enumerate() {
            // Writers that are alike in all take the same step.
            if self.symmetric && index > 0 && state.writers[index - 1] == *writer {
                continue;
            }
            if self.can_step(state, writer) {
                actions.push(Action::Writer(index));
            }
            if self.can_give_up(writer) {
                actions.push(Action::GiveUp(index));
            }
        }
        if self.can_lead(state) {
            actions.push(Action::Leader);
        }
        for (index, flight) in state.leader.in_flight.iter().enumerate() {
            if !flight.done {
                actions.push(Action::Written(index));
            }
        }
        // A failure is learned of where the leader submits, reaps or syncs.
        let at_work = match state.leader.pc {
            LeaderPc::SubmitTail | LeaderPc::SubmitDirect | LeaderPc::Reap { .. } => {
                state.leader.in_flight.iter().any(|flight| !flight.done)
            }
            LeaderPc::Sync => true,
            _ => false,
        };
        if self.failures && at_work {
            actions.push(Action::Fail);
        }
        if self.refusals && !state.ghost.refused && self.opens_file(state) {
            actions.push(Action::Refuse);
        }
        if self.crashes {
            let stake = self.at_stake(state).len() as u32;
            actions.extend((0..1 << stake).map(Action::Crash));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        if let Action::Crash(kept) = action {
            return Some(self.crash(last, kept));
        }
        let mut state = last.clone();
        match action {
            Action::Writer(index) => self.step(&mut state, index),
            Action::GiveUp(index) => self.give_up(&mut state, index),
            Action::Leader => self.lead(&mut state),
            Action::Written(index) => self.finish_write(&mut state, index),
            Action::Fail => self.fail(&mut state),
            Action::Refuse => self.refuse(&mut state),
            Action::Crash(_) => {}
        }
        Some(self.sort(state))
    }

    fn format_action(&self, action: &Action) -> String {
        Self::describe(*action)
    }

    fn format_step(&self, last: &State, action: Action) -> Option<String> {
        let next = self.next_state(last, action)?;
        Some(Self::tell_step(last, &next, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}

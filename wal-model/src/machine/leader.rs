//! Whoever holds the pipeline: seal late, submit, publish, sync, recycle.

use wal_core::segment::word::{Arrived, Fill, SealAttempt, Tail};

use super::bug::Bug;
use super::config::{Machine, START};
use super::fault;
use super::seal::{Activating, Progress};
use super::state::{
    Cell, Claim, Flight, Frame, Held, LeaderPc, Lifecycle, Pc, Safety, Sealed, State,
};

/// Nothing more can be submitted just now.
const REAP: LeaderPc = LeaderPc::Reap { full: false };

impl Machine {
    /// Whether the leader can take a step by itself.
    pub(crate) fn can_lead(&self, state: &State) -> bool {
        let leader = &state.leader;
        match leader.pc {
            LeaderPc::Asleep => state.news && !state.is_poisoned(),
            LeaderPc::Reap { .. } if self.has(Bug::WatermarkOverGap) => {
                leader.in_flight.is_empty() || leader.in_flight.iter().any(|flight| flight.done)
            }
            LeaderPc::Reap { .. } => {
                leader.starting || leader.in_flight.first().is_none_or(|flight| flight.done)
            }
            LeaderPc::SubmitDirect => leader.in_flight.iter().all(|flight| flight.done),
            LeaderPc::Poisoned => false,
            _ => true,
        }
    }

    /// One step of the leader.
    pub(crate) fn lead(&self, state: &mut State) {
        let capacity = self.layout.segment;
        let goal = state.leader.goal;
        state.leader.pc = match state.leader.pc {
            LeaderPc::Asleep => {
                state.leader.starting = self.starts;
                LeaderPc::Round
            }
            LeaderPc::Round => {
                state.news = false;
                // One critical section: the goal is that of all registered until now.
                state.leader.goal = state.writers.iter().map(|w| wanted(&w.pc)).max().unwrap_or(0);
                (state.leader.progressed, state.leader.refused) = (false, false);
                if state.leader.starting { LeaderPc::SubmitTail } else { LeaderPc::SealCurrent }
            }
            LeaderPc::SealCurrent => LeaderPc::SealTail { seen: state.current },
            LeaderPc::SealTail { seen } => {
                let word = state.segments[self.slot(seen)].tail;
                match word.seal(seen, START, capacity) {
                    SealAttempt::Close { .. } => LeaderPc::SealBase { seen, word: word.0 },
                    SealAttempt::Empty => LeaderPc::SubmitTail,
                    SealAttempt::Stale => LeaderPc::SealStale { seen },
                }
            }
            LeaderPc::SealBase { seen, word } => {
                let base = state.segments[self.slot(seen)].place.base.get();
                if base + START >= goal {
                    LeaderPc::SubmitTail
                } else {
                    LeaderPc::SealExchange { seen, word }
                }
            }
            LeaderPc::SealExchange { seen, word } => self.exchange(state, seen, Tail(word)),
            LeaderPc::SealStale { seen } if state.current == seen => LeaderPc::SubmitTail,
            LeaderPc::SealStale { .. } => LeaderPc::SealCurrent,
            LeaderPc::Seal(sealing) => match self.seal(state, sealing) {
                Progress::More(sealing) => LeaderPc::Seal(sealing),
                // Who leads sees for itself what it handed over.
                Progress::Over { .. } => LeaderPc::SubmitTail,
            },
            LeaderPc::SubmitTail => self.look_ahead(state),
            LeaderPc::SubmitFill => self.submit_next(state),
            LeaderPc::SubmitDirect => {
                state.leader.awaiting = None;
                state.leader.next += 1;
                LeaderPc::SubmitTail
            }
            LeaderPc::Reap { full } => self.reap(state, full),
            LeaderPc::Sync => {
                for frame in &mut state.disk {
                    if frame.safety == Safety::Cached {
                        frame.safety = Safety::Durable;
                    }
                }
                LeaderPc::PublishDurable { written: state.written }
            }
            LeaderPc::PublishDurable { written } => {
                let durable = match self.bug {
                    Bug::DurableOvertakes => goal.max(written),
                    Bug::DurableInFlight => {
                        state.leader.in_flight.last().map_or(written, |flight| flight.next)
                    }
                    _ => written,
                };
                self.publish(state, written, durable);
                state.leader.progressed = true;
                LeaderPc::Settle
            }
            LeaderPc::Settle => self.settle(state),
            LeaderPc::Arrive { sequence } => match self.arrive(state, sequence) {
                Arrived::First => LeaderPc::Settle,
                Arrived::Second => LeaderPc::Activate(Activating::new(sequence)),
            },
            LeaderPc::Activate(activating) => match self.activate(state, activating) {
                Some(activating) => LeaderPc::Activate(activating),
                None => LeaderPc::Settle,
            },
            LeaderPc::StepDown if state.news => LeaderPc::Round,
            LeaderPc::StepDown => LeaderPc::Asleep,
            LeaderPc::Refuse => {
                self.refuse_everybody(state);
                LeaderPc::Asleep
            }
            LeaderPc::Poisoned => LeaderPc::Poisoned,
        };
    }

    fn exchange(&self, state: &mut State, seen: u64, word: Tail) -> LeaderPc {
        let tail = &mut state.segments[self.slot(seen)].tail;
        let SealAttempt::Close { after, len } = word.seal(seen, START, self.layout.segment) else {
            return LeaderPc::SubmitTail;
        };
        if *tail != word && !self.has(Bug::ClosedByStore) {
            return LeaderPc::SealCurrent;
        }
        *tail = after;
        LeaderPc::Seal(self.close(state, seen, word, len, 0))
    }

    /// What comes next: somebody's direct frame, or a segment, whose tail is loaded.
    fn look_ahead(&self, state: &mut State) -> LeaderPc {
        if state.leader.in_flight.iter().filter(|flight| !flight.done).count() >= self.depth {
            return LeaderPc::Reap { full: true };
        }
        if let Some(sealed) = state.leader.awaiting {
            return self.direct_turn(state, sealed);
        }
        let next = state.leader.next;
        if self.has(Bug::DirectOutOfOrder) {
            let early = state
                .writers
                .iter()
                .position(|w| matches!(w.pc, Pc::Turn(claim) if claim.sequence >= next));
            if let Some(owner) = early {
                return self.direct_too_early(state, owner);
            }
        }
        if state.segments[self.slot(next)].tail.is_life(next) { LeaderPc::SubmitFill } else { REAP }
    }

    fn submit_next(&self, state: &mut State) -> LeaderPc {
        let sequence = state.leader.next;
        let segment = &state.segments[self.slot(sequence)];
        if !segment.fill.is_complete() {
            return REAP;
        }
        let Sealed { place, len, direct, .. } =
            Sealed { sequence, place: segment.place, len: segment.sealed, direct: segment.direct };
        let base = place.base.get();
        let empty = len <= START;
        let end = if empty { base } else { self.align_up(base + len) };
        let held = Held { sequence, base, end };
        let frame = (!empty).then(|| self.next_frame(state, base, len, place.file, Vec::new()));
        state.leader.in_flight.push(Flight {
            done: frame.is_none(),
            frame,
            next: end,
            held: Some(held),
        });
        if direct > 0 {
            state.leader.awaiting = Some(Sealed { sequence, place, len, direct });
        } else {
            state.leader.next += 1;
        }
        if self.has(Bug::RecycledAtSubmission) {
            state.segments[self.slot(sequence)].fill = Fill::QUEUED;
            return LeaderPc::Arrive { sequence: sequence + self.segments as u64 };
        }
        LeaderPc::SubmitTail
    }

    /// The next frame in order.
    fn next_frame(
        &self,
        state: &mut State,
        base: u64,
        len: u64,
        file: u64,
        cells: Vec<Cell>,
    ) -> Frame {
        let leader = &mut state.leader;
        let opens = file != leader.file;
        leader.file = file;
        let link = leader.link.replace(base);
        Frame { base, len, file, opens, link, cells, safety: Safety::Cached }
    }

    /// The turn of the frame behind `sealed`: its owner writes it, or has given it up.
    fn direct_turn(&self, state: &mut State, sealed: Sealed) -> LeaderPc {
        let Sealed { sequence: due, place, len, direct } = sealed;
        let rotation = self.layout.rotate(place, len, direct);
        let Some(to) = rotation.direct else { return REAP };
        let (base, next) = (to.base.get(), self.align_up(to.base.get() + direct));
        // Who only starts writes does not wait until this one is over.
        if state.leader.starting {
            return REAP;
        }
        // Only its owner can write it: whoever leads without being that calls it to the lead.
        let who = state.leader.who;
        let owner = state.writers.iter().enumerate().position(|(index, writer)| {
            matches!(writer.pc, Pc::Turn(claim) if claim.sequence == due)
                && who.is_none_or(|who| who == index)
        });
        if let Some(owner) = owner {
            let flight = self.fly(state, owner, to.file, next);
            state.leader.in_flight.push(flight);
            return LeaderPc::SubmitDirect;
        }
        let Some(index) = state.abandoned.iter().position(|&sequence| sequence == due) else {
            return REAP;
        };
        state.abandoned.remove(index);
        let flight = if to.file == rotation.next.file {
            let cells = contents(base, direct, to.file, true);
            let frame = self.next_frame(state, base, direct, to.file, cells);
            Flight { frame: Some(frame), next: rotation.next.base.get(), done: false, held: None }
        } else {
            Flight { frame: None, next: rotation.next.base.get(), done: true, held: None }
        };
        state.leader.in_flight.push(flight);
        LeaderPc::SubmitDirect
    }

    /// The fault: a claimed frame is written before what lies in front of it.
    fn direct_too_early(&self, state: &mut State, owner: usize) -> LeaderPc {
        let Pc::Turn(claim) = state.writers[owner].pc else { return REAP };
        let flight = self.fly(state, owner, state.leader.file, claim.end());
        state.leader.in_flight.push(flight);
        REAP
    }

    /// The flight of the frame that a writer waits to write.
    fn fly(&self, state: &mut State, owner: usize, file: u64, next: u64) -> Flight {
        let writer = &mut state.writers[owner];
        let mut frame = None;
        if let Pc::Turn(claim) = writer.pc {
            writer.pc = Pc::Writing(claim);
            let Claim { base, len, .. } = claim;
            let cells = contents(base, len, file, false);
            frame = Some(self.next_frame(state, base, len, file, cells));
        }
        Flight { done: frame.is_none(), frame, next, held: None }
    }

    /// Whether the leader is about to submit the first frame of a new file, which the sink may
    /// refuse to create.
    pub(super) fn opens_file(&self, state: &State) -> bool {
        let leader = &state.leader;
        let place = match (leader.pc, leader.awaiting) {
            (LeaderPc::SubmitTail, Some(Sealed { place, len, direct, .. })) => {
                self.layout.rotate(place, len, direct).direct
            }
            (LeaderPc::SubmitFill, _) => {
                let segment = &state.segments[self.slot(leader.next)];
                (segment.fill.is_complete() && segment.sealed > START).then_some(segment.place)
            }
            _ => None,
        };
        place.is_some_and(|place| place.file != leader.file)
    }

    /// The sink refuses to create a file, harmlessly.
    pub(super) fn refuse(&self, state: &mut State) {
        state.leader.refused = true;
        state.ghost.refused = true;
        state.leader.pc = REAP;
    }

    /// Ends the waits of all who are registered; their records stay where they are, and direct
    /// frames are given up.
    fn refuse_everybody(&self, state: &mut State) {
        state.news = false;
        if self.has(Bug::RefusalUntold) {
            return;
        }
        for index in 0..state.writers.len() {
            match state.writers[index].pc {
                Pc::Turn(_) | Pc::Settled(_) => self.give_up(state, index),
                Pc::Space { .. } | Pc::Wait { .. } => self.finish(state, index),
                _ => {}
            }
        }
    }

    /// The sink finishes a write: it has read the memory by now, at the latest.
    pub(crate) fn finish_write(&self, state: &mut State, index: usize) {
        let Some(frame) = self.frame_in_flight(state, index) else { return };
        state.leader.in_flight[index].done = true;
        state.disk.push(frame);
        state.disk.sort_by_key(|frame| frame.base);
    }

    /// A frame in flight with the bytes it would be written with now.
    pub(super) fn frame_in_flight(&self, state: &State, index: usize) -> Option<Frame> {
        let flight = &state.leader.in_flight[index];
        let mut frame = flight.frame.clone().filter(|_| !flight.done)?;
        if let Some(held) = flight.held {
            let count = (frame.len.saturating_sub(START) / self.record) as usize;
            frame.cells = state.segments[self.slot(held.sequence)].cells.clone();
            frame.cells.truncate(count);
        }
        Some(frame)
    }

    fn reap(&self, state: &mut State, full: bool) -> LeaderPc {
        let mut written = None;
        let leader = &mut state.leader;
        let mut done = leader.in_flight.iter().take_while(|flight| flight.done).count();
        if self.has(Bug::WatermarkOverGap) {
            done = leader.in_flight.iter().rposition(|flight| flight.done).map_or(0, |i| i + 1);
        }
        for flight in leader.in_flight.drain(..done) {
            written = Some(flight.next);
            if !self.has(Bug::RecycledAtSubmission) {
                leader.held.extend(flight.held);
            }
        }
        leader.progressed = written.is_some();
        let idle = leader.in_flight.is_empty();
        if let Some(written) = written {
            let durable = if self.has(Bug::WatermarkFallsBack) { 0 } else { state.durable };
            self.publish(state, written, durable);
        }
        let goal = state.leader.goal;
        // One sync for all that is complete: not while there is more to submit. Where it costs
        // nothing, in any case.
        let gathered = idle && (!full || state.written >= goal) || self.starts;
        let wanted = goal > state.durable || state.leader.starting;
        if gathered && wanted && state.written > state.durable {
            LeaderPc::Sync
        } else {
            LeaderPc::Settle
        }
    }

    fn publish(&self, state: &mut State, written: u64, durable: u64) {
        if written < state.written || durable < state.durable {
            state.ghost.faults |= fault::WATERMARK_FELL;
        }
        if state.is_poisoned() {
            state.ghost.faults |= fault::AFTER_POISON;
        }
        (state.written, state.durable) = (written, durable);
    }

    /// Frees the next segment that nobody wants durable; else ends the round.
    fn settle(&self, state: &mut State) -> LeaderPc {
        let leader = &mut state.leader;
        if let Some(&held) = leader.held.first()
            && !(held.end > state.durable && leader.goal > held.base)
        {
            leader.held.remove(0);
            state.segments[self.slot(held.sequence)].fill = Fill::QUEUED;
            return LeaderPc::Arrive { sequence: held.sequence + self.segments as u64 };
        }
        if leader.starting {
            return self.started(state);
        }
        if leader.progressed || !leader.in_flight.is_empty() {
            return LeaderPc::Round;
        }
        if leader.refused { LeaderPc::Refuse } else { LeaderPc::StepDown }
    }

    /// What could be started is: somebody who waits leads next.
    fn started(&self, state: &mut State) -> LeaderPc {
        if state.leader.progressed {
            return LeaderPc::Round;
        }
        state.leader.starting = false;
        let waits = state.writers.iter().any(|writer| {
            matches!(writer.pc, Pc::Space { .. } | Pc::Wait { .. } | Pc::Turn(_) | Pc::Settled(_))
        });
        if waits && !self.has(Bug::StartedInSilence) {
            return LeaderPc::Round;
        }
        state.news &= !self.has(Bug::StartedInSilence);
        LeaderPc::Asleep
    }

    /// A write or a sync fails. The writes in flight are waited for, and nothing more is done.
    pub(crate) fn fail(&self, state: &mut State) {
        for index in 0..state.leader.in_flight.len() {
            // Whether the failed one is there after all, a crash will tell.
            self.finish_write(state, index);
        }
        for frame in &mut state.disk {
            if frame.safety == Safety::Cached {
                frame.safety = Safety::Dropped;
            }
        }
        state.lifecycle = Lifecycle::Poisoned;
        state.ghost.faults |= fault::FAILED;
        if self.has(Bug::PoisonForgotten) && state.leader.pc == LeaderPc::Sync {
            state.lifecycle = Lifecycle::Open;
            return;
        }
        state.leader.in_flight.clear();
        state.leader.pc = LeaderPc::Poisoned;
    }
}

/// What a writer has registered that it wants durable.
pub(crate) const fn wanted(pc: &Pc) -> u64 {
    match pc {
        Pc::Wait { need } => *need,
        Pc::Settled(claim) => claim.base,
        _ => 0,
    }
}

/// What a frame of one's own holds: a record, unless it is a header alone.
fn contents(base: u64, len: u64, file: u64, void: bool) -> Vec<Cell> {
    if len > START { vec![Cell::Record { lsn: base + START, file, void }] } else { Vec::new() }
}

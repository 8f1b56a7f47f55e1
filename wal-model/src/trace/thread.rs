//! What a thread of a trace does next: the model's own steps, held against what it tells.

use std::hash::Hash;

use wal_core::Lsn;
use wal_core::probe::Event;

use super::{Entry, Trace};
use crate::machine::{
    Activating, Claim, Grant, LeaderPc, Lifecycle, Machine, NextLsn, Op, Pc, START, Sealing, Stage,
    State, fault, wanted,
};

/// A state of the replay.
#[derive(Clone, Hash, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) state: State,
    /// How many of its events each thread has told.
    pub(super) at: Vec<usize>,
    /// Whether a thread has told the event of the step that it takes next, or of its wait.
    told: Vec<bool>,
    /// The same of the leader.
    leader_told: bool,
}

/// A trace, by thread, and the machine that it is held against.
pub(super) struct Script<'a> {
    pub(super) machine: Machine,
    trace: &'a Trace,
    /// Indices of each thread's events.
    lanes: Vec<Vec<usize>>,
}

const fn wait(written: u64, durable: u64) -> Event {
    Event::Wait { written: Lsn::new(written), durable: Lsn::new(durable) }
}

const SPACE: Event = wait(0, 0);

fn reserve(machine: &Machine, grant: Grant) -> Event {
    let Grant { sequence, lsn, .. } = grant;
    Event::Reserve { sequence, lsn: Lsn::new(lsn), len: machine.record }
}

fn commit(machine: &Machine, grant: Grant) -> Event {
    let Grant { sequence, lsn, .. } = grant;
    Event::Commit { sequence, lsn: Lsn::new(lsn), len: machine.record }
}

fn seal(sealing: Sealing) -> Event {
    Event::Seal { sequence: sealing.sequence, len: sealing.len }
}

/// What is told before the step of a sealer or an activator.
fn before_stage(machine: &Machine, state: &State, stage: Stage) -> Option<Event> {
    let Stage::Opening(sequence) = stage else { return None };
    let base = state.segments[machine.slot(sequence)].place.base;
    Some(Event::Activate { sequence, base })
}

/// Whether a sealer or an activator that is there can tell `event` next.
fn stage_fits(stage: Stage, event: Event) -> bool {
    match (stage, event) {
        (
            Stage::Preparing(sequence) | Stage::Opening(sequence),
            Event::Activate { sequence: told, .. },
        ) => sequence == told,
        (Stage::Preparing(_) | Stage::Opening(_), _) => false,
        (Stage::Leaving, Event::Activate { .. }) => false,
        _ => true,
    }
}

impl<'a> Script<'a> {
    pub(super) fn new(machine: Machine, trace: &'a Trace) -> Self {
        let mut lanes = vec![Vec::new(); machine.programs.len()];
        for (index, entry) in trace.entries.iter().enumerate() {
            // Who wakes whom is not modelled.
            if !matches!(entry.event, Event::Wake { .. }) {
                lanes[entry.thread].push(index);
            }
        }
        Self { machine, trace, lanes }
    }

    pub(super) fn begin(&self) -> Node {
        let mut state = self.machine.initial();
        // The first file's header is there.
        state.leader.file = 1;
        let threads = self.lanes.len();
        Node { state, at: vec![0; threads], told: vec![false; threads], leader_told: false }
    }

    /// Index of the event that a thread tells next.
    pub(super) fn next_index(&self, node: &Node, thread: usize) -> Option<usize> {
        self.lanes[thread].get(node.at[thread]).copied()
    }

    pub(super) fn entry(&self, index: usize) -> Entry {
        self.trace.entries[index]
    }

    pub(super) fn peek(&self, node: &Node, thread: usize) -> Option<Event> {
        self.next_index(node, thread).map(|index| self.trace.entries[index].event)
    }

    /// Has a thread tell `event`, if that is what it tells next.
    fn tell(&self, node: &mut Node, thread: usize, event: Event) -> bool {
        let right = self.peek(node, thread) == Some(event);
        node.at[thread] += usize::from(right);
        right
    }

    const fn leads(node: &Node, thread: usize) -> bool {
        matches!(node.state.leader.who, Some(who) if who == thread)
    }

    /// The next step of a thread, if it can take one that agrees with what it tells.
    pub(super) fn advance(&self, node: &Node, thread: usize) -> Option<Node> {
        let mut next = node.clone();
        let right = if Self::leads(node, thread) {
            self.lead(&mut next, thread)
        } else {
            self.write(&mut next, thread)
        };
        let faultless = next.state.ghost.faults & !fault::FAILED == 0;
        (right && faultless && self.fits(&next, thread)).then(|| {
            forget(&mut next.state);
            next
        })
    }

    /// Whether the next step of a thread only looks: it is taken as soon as it sees what it has to.
    pub(super) fn only_looks(&self, node: &Node, thread: usize) -> bool {
        let Some(event) = self.peek(node, thread) else { return false };
        if Self::leads(node, thread) {
            return match node.state.leader.pc {
                LeaderPc::SealCurrent => !matches!(event, Event::Seal { .. }),
                LeaderPc::SubmitTail | LeaderPc::SubmitFill => {
                    !matches!(event, Event::Write { .. } | Event::Poison)
                }
                LeaderPc::SubmitDirect => !matches!(event, Event::Poison),
                LeaderPc::Reap { .. } => node.state.leader.in_flight.is_empty(),
                LeaderPc::Settle => true,
                _ => false,
            };
        }
        match node.state.writers[thread].pc {
            Pc::Current => event == SPACE,
            Pc::Done | Pc::Durable | Pc::Next(_) | Pc::Copy(_) => true,
            _ => false,
        }
    }

    // Writers.

    /// The call that a thread makes next, by what it tells until it has its record or waits for
    /// what only one call waits for. What it tells as a leader is no part of that.
    fn call(&self, node: &Node, thread: usize) -> Option<Op> {
        let (mut leads, mut sealed) = (false, false);
        for &index in &self.lanes[thread][node.at[thread]..] {
            match self.trace.entries[index].event {
                Event::Lead => leads = true,
                Event::StepDown => leads = false,
                _ if leads => {}
                Event::Reserve { .. } => return Some(Op::Append),
                Event::Seal { .. } => sealed = true,
                SPACE => {}
                Event::Wait { written, .. } if written > Lsn::ZERO => {
                    // A close mark is a frame header and nothing else.
                    let mark = (written.get() - START).is_multiple_of(self.machine.layout.align);
                    return Some(if mark { Op::Close } else { Op::Direct });
                }
                Event::Wait { .. } if sealed => return Some(Op::Close),
                Event::Wait { durable, .. } => {
                    let own = node.state.writers[thread].last.checked_sub(self.machine.record - 1);
                    let waits = own == Some(durable.get());
                    return Some(if waits { Op::Wait } else { Op::Sync });
                }
                Event::Activate { .. } | Event::HandOver { .. } if sealed => {}
                _ => return None,
            }
        }
        sealed.then_some(Op::Append)
    }

    fn write(&self, node: &mut Node, thread: usize) -> bool {
        let event = self.peek(node, thread);
        match node.state.writers[thread].pc {
            Pc::Done => {
                let Some(op) = self.call(node, thread) else { return false };
                let pc = Machine::start(&node.state, Some(op));
                let writer = &mut node.state.writers[thread];
                (writer.op, writer.pc) = (Some(op), pc);
                true
            }
            Pc::Current => self.reserve(node, thread, event),
            Pc::Durable | Pc::Next(_) => {
                node.state.writers[thread].pc = Pc::Next(NextLsn::Current);
                self.ask(node, thread)
            }
            // A wait that is told was not over when it began, whatever has happened since.
            Pc::Register { need } if event == Some(wait(0, need)) => {
                node.state.writers[thread].pc = Pc::Wait { need };
                self.register(node, thread)
            }
            Pc::Space { .. } | Pc::Wait { .. } | Pc::Turn(_) | Pc::Settled(_) | Pc::Writing(_) => {
                self.sleep(node, thread, event)
            }
            Pc::Refused => false,
            pc => {
                if let Some(event) = self.before(&node.state, pc)
                    && !node.told[thread]
                {
                    node.told[thread] = self.tell(node, thread, event);
                    return node.told[thread];
                }
                self.step(node, thread)
            }
        }
    }

    /// One step of the model's writer, and what it tells after it.
    fn step(&self, node: &mut Node, thread: usize) -> bool {
        let before = node.state.writers[thread].clone();
        self.machine.step(&mut node.state, thread);
        node.told[thread] = false;
        let after = &node.state.writers[thread];
        let handed_over = after.owes && !before.owes;
        let event = match (before.pc, after.pc) {
            (Pc::Base { .. } | Pc::Raise(_), Pc::TellThenCopy(grant) | Pc::Copy(grant)) => {
                Some(reserve(&self.machine, grant))
            }
            (Pc::CommitLate(Grant { sequence, .. }) | Pc::Seal(Sealing { sequence, .. }), _)
                if handed_over =>
            {
                Some(Event::HandOver { sequence })
            }
            _ => None,
        };
        event.is_none_or(|event| self.tell(node, thread, event))
    }

    /// What a writer tells before its next step.
    fn before(&self, state: &State, pc: Pc) -> Option<Event> {
        match pc {
            Pc::Commit(grant) => Some(commit(&self.machine, grant)),
            Pc::Seal(sealing) => before_stage(&self.machine, state, sealing.stage()),
            _ => None,
        }
    }

    /// From a look at `current` to a record of one's own, the duty of a sealer, or a wait for space.
    fn reserve(&self, node: &mut Node, thread: usize, event: Option<Event>) -> bool {
        // A pass that finds a closed word and tells nothing has changed nothing.
        for _ in 0..5 {
            if !self.step(node, thread) {
                return false;
            }
            match (node.state.writers[thread].pc, event) {
                (Pc::Full { .. }, event) if event != Some(SPACE) => return false,
                (Pc::Space { .. } | Pc::TellThenSpace { .. }, _) => return true,
                (Pc::Copy(_) | Pc::TellThenCopy(_), _) => return true,
                (Pc::Seal(sealing), _) => return self.say(node, thread, sealing),
                _ => {}
            }
        }
        false
    }

    /// A sealer says where its segment ended and what follows, and tells.
    fn say(&self, node: &mut Node, thread: usize, mut sealing: Sealing) -> bool {
        while sealing.stage() == Stage::Saying {
            self.machine.step(&mut node.state, thread);
            match node.state.writers[thread].pc {
                Pc::Seal(further) => sealing = further,
                _ => return false,
            }
        }
        node.told[thread] = self.tell(node, thread, seal(sealing));
        node.told[thread]
    }

    /// One pass of `next_lsn`, which has to say what the wait shows.
    fn ask(&self, node: &mut Node, thread: usize) -> bool {
        while let Pc::Next(at) = node.state.writers[thread].pc {
            if matches!(at, NextLsn::Again { .. }) {
                return false;
            }
            self.machine.step(&mut node.state, thread);
        }
        true
    }

    /// What a waiter tells when it registers.
    const fn need(pc: Pc) -> Option<Event> {
        match pc {
            Pc::Space { .. } | Pc::TellThenSpace { .. } => Some(SPACE),
            Pc::Wait { need } | Pc::Register { need } => Some(wait(0, need)),
            Pc::Turn(claim) | Pc::TellThenTurn(claim) => Some(wait(claim.end(), 0)),
            Pc::Settled(Claim { base, .. }) => Some(wait(0, base)),
            _ => None,
        }
    }

    fn register(&self, node: &mut Node, thread: usize) -> bool {
        node.at[thread] += 1;
        node.told[thread] = true;
        node.state.news = true;
        true
    }

    /// A waiter registers, takes the lead, or has what it needs.
    fn sleep(&self, node: &mut Node, thread: usize, event: Option<Event>) -> bool {
        let pc = node.state.writers[thread].pc;
        if event.is_some() && event == Self::need(pc) {
            return self.register(node, thread);
        }
        if event == Some(Event::Lead) {
            let leader = &mut node.state.leader;
            let free = leader.who.is_none() && leader.pc == LeaderPc::Asleep;
            (leader.who, leader.pc) = (Some(thread), LeaderPc::Round);
            node.state.news = false;
            node.at[thread] += 1;
            return free && node.told[thread];
        }
        self.machine.can_step(&node.state, &node.state.writers[thread]) && self.step(node, thread)
    }

    // The leader.

    fn lead(&self, node: &mut Node, thread: usize) -> bool {
        let Some(event) = self.peek(node, thread) else { return false };
        let pc = node.state.leader.pc;
        match (pc, event) {
            (LeaderPc::Round | LeaderPc::StepDown | LeaderPc::Poisoned, Event::StepDown) => {
                self.step_down(node, thread)
            }
            (LeaderPc::Round, Event::Gather { written, durable }) => {
                node.at[thread] += 1;
                written == durable && self.gather(node, thread, durable.get())
            }
            (LeaderPc::StepDown, Event::Gather { .. }) if node.state.news => {
                self.machine.lead(&mut node.state);
                true
            }
            (LeaderPc::SealCurrent, _) => self.seal_late(node, thread, event),
            (_, Event::Poison) if self.fails(&node.state) => {
                node.at[thread] += 1;
                self.machine.fail(&mut node.state);
                true
            }
            (LeaderPc::Seal(_) | LeaderPc::Activate(_), _) => {
                let stage = stage_of(pc);
                if let Some(event) =
                    stage.and_then(|stage| before_stage(&self.machine, &node.state, stage))
                    && !node.leader_told
                {
                    node.leader_told = self.tell(node, thread, event);
                    return node.leader_told;
                }
                self.lead_step(node, thread)
            }
            (LeaderPc::Round | LeaderPc::StepDown | LeaderPc::Asleep | LeaderPc::Poisoned, _)
            | (LeaderPc::Refuse, _) => false,
            _ => self.machine.can_lead(&node.state) && self.lead_step(node, thread),
        }
    }

    /// Whether a write or a sync may turn out to have failed here.
    fn fails(&self, state: &State) -> bool {
        let writes = state.leader.in_flight.iter().any(|flight| !flight.done);
        match state.leader.pc {
            LeaderPc::SubmitTail | LeaderPc::SubmitDirect => writes,
            pc => pc == LeaderPc::Sync,
        }
    }

    /// One step of the model's leader, and what it tells with it or after it.
    fn lead_step(&self, node: &mut Node, thread: usize) -> bool {
        let before = node.state.leader.clone();
        let handed = node.state.ghost.handed;
        self.machine.lead(&mut node.state);
        node.leader_told = false;
        let state = &node.state;
        let flights = state.leader.in_flight.len();
        let (written, durable) = (Lsn::new(state.written), Lsn::new(state.durable));
        let event = match before.pc {
            LeaderPc::SubmitTail | LeaderPc::SubmitFill => {
                let new = state.leader.in_flight.get(before.in_flight.len());
                new.and_then(|flight| flight.frame.as_ref()).map(|frame| Event::Write {
                    lsn: Lsn::new(frame.base),
                    len: self.machine.align_up(frame.len) + if frame.opens { 4096 } else { 0 },
                })
            }
            LeaderPc::Reap { .. } if flights < before.in_flight.len() => {
                Some(Event::Publish { written, durable })
            }
            LeaderPc::Sync => Some(Event::Sync { lsn: written }),
            LeaderPc::PublishDurable { .. } => Some(Event::Publish { written, durable }),
            LeaderPc::Settle if matches!(state.leader.pc, LeaderPc::Arrive { .. }) => {
                before.held.first().map(|held| Event::Recycle { sequence: held.sequence })
            }
            LeaderPc::Seal(sealing) => {
                let handed_over = sealing.stage() == Stage::Leaving && state.ghost.handed != handed;
                handed_over.then_some(Event::HandOver { sequence: sealing.sequence })
            }
            _ => None,
        };
        let right = event.is_none_or(|event| self.tell(node, thread, event));
        // The sinks that are traced write at once, unless they fail.
        if matches!(event, Some(Event::Write { .. }))
            && self.peek(node, thread) != Some(Event::Poison)
        {
            self.machine.finish_write(&mut node.state, flights - 1);
        }
        right
    }

    /// The leader takes up what is wanted: at least what it wants itself, and at most what somebody
    /// does. Whoever has been called to the lead and has not come yet is not registered.
    fn gather(&self, node: &mut Node, thread: usize, goal: u64) -> bool {
        let state = &mut node.state;
        let own = wanted(&state.writers[thread].pc);
        let known = goal == 0 || state.writers.iter().any(|writer| wanted(&writer.pc) == goal);
        self.machine.lead(state);
        state.leader.goal = goal;
        known && goal >= own
    }

    /// The leader seals what its goal asks for, or finds that it need not.
    fn seal_late(&self, node: &mut Node, thread: usize, event: Event) -> bool {
        let seals = matches!(event, Event::Seal { .. });
        for _ in 0..8 {
            self.machine.lead(&mut node.state);
            match node.state.leader.pc {
                LeaderPc::SubmitTail => return !seals,
                LeaderPc::SealExchange { .. } if !seals => return false,
                LeaderPc::Seal(sealing) if sealing.stage() != Stage::Saying => {
                    node.leader_told = self.tell(node, thread, seal(sealing));
                    return node.leader_told;
                }
                _ => {}
            }
        }
        false
    }

    /// The leader puts the pipeline back: because its own need is met, because the log is poisoned,
    /// or because there is nothing to do and no news.
    fn step_down(&self, node: &mut Node, thread: usize) -> bool {
        let state = &mut node.state;
        let idle = state.leader.pc == LeaderPc::StepDown && !state.news;
        let met = self.machine.can_step(state, &state.writers[thread]);
        state.leader.who = None;
        if state.lifecycle != Lifecycle::Poisoned {
            state.leader.pc = LeaderPc::Asleep;
        }
        node.at[thread] += 1;
        idle || met
    }

    // What can be told from where.

    /// Whether a thread can tell its next event from where it is now, as far as that can be said
    /// without a step.
    fn fits(&self, node: &Node, thread: usize) -> bool {
        let Some(event) = self.peek(node, thread) else { return true };
        if Self::leads(node, thread) {
            return match node.state.leader.pc {
                LeaderPc::Round | LeaderPc::StepDown => {
                    matches!(event, Event::Gather { .. } | Event::StepDown)
                }
                LeaderPc::Seal(_) | LeaderPc::Activate(_) => {
                    node.leader_told
                        || stage_of(node.state.leader.pc)
                            .is_none_or(|stage| stage_fits(stage, event))
                }
                LeaderPc::Settle => !matches!(
                    event,
                    Event::Publish { .. } | Event::Sync { .. } | Event::Activate { .. }
                ),
                LeaderPc::Reap { .. } => !matches!(event, Event::Write { .. }),
                LeaderPc::Sync => matches!(event, Event::Sync { .. } | Event::Poison),
                LeaderPc::PublishDurable { .. } => matches!(event, Event::Publish { .. }),
                LeaderPc::Poisoned => event == Event::StepDown,
                LeaderPc::Refuse => false,
                _ => true,
            };
        }
        let told = node.told[thread];
        let pc = node.state.writers[thread].pc;
        match pc {
            Pc::Done => self.call(node, thread).is_some(),
            Pc::Refused => false,
            Pc::Current => {
                matches!(event, Event::Reserve { .. } | Event::Seal { .. }) || event == SPACE
            }
            Pc::TellThenCopy(grant) | Pc::Copy(grant) | Pc::Commit(grant) => {
                told || event == commit(&self.machine, grant)
            }
            Pc::Seal(sealing) => told || stage_fits(sealing.stage(), event),
            Pc::TellThenSpace { .. } | Pc::TellThenTurn(_) => Self::need(pc) == Some(event),
            Pc::Register { .. } if node.state.writers[thread].op != Some(Op::Close) => {
                Self::need(pc) == Some(event)
            }
            _ => true,
        }
    }

    /// What a thread would tell next if it were up to the model.
    pub(super) fn would_tell(&self, node: &Node, thread: usize) -> Option<Event> {
        let mut state = node.state.clone();
        for _ in 0..16 {
            if Self::leads(node, thread) {
                let before = before_stage(&self.machine, &state, stage_of(state.leader.pc)?);
                if before.is_some() && !node.leader_told {
                    return before;
                }
                self.machine.lead(&mut state);
                continue;
            }
            let pc = state.writers[thread].pc;
            let told = node.told[thread] && pc == node.state.writers[thread].pc;
            let event = self.before(&state, pc).or(Self::need(pc)).filter(|_| !told);
            if event.is_some() || !self.machine.can_step(&state, &state.writers[thread]) {
                return event;
            }
            self.machine.step(&mut state, thread);
            if let Pc::Copy(grant) | Pc::TellThenCopy(grant) = state.writers[thread].pc
                && matches!(pc, Pc::Base { .. } | Pc::Raise(_))
            {
                return Some(reserve(&self.machine, grant));
            }
        }
        None
    }
}

/// Where a leader is that seals or activates.
fn stage_of(pc: LeaderPc) -> Option<Stage> {
    match pc {
        LeaderPc::Seal(sealing) => Some(sealing.stage()),
        LeaderPc::Activate(activating) => Some(Activating::stage(&activating)),
        _ => None,
    }
}

/// What lies behind the durable watermark is of no interest any more.
fn forget(state: &mut State) {
    let durable = state.durable;
    state.ghost.ranges.retain(|range| range.1 > durable);
    state.disk.retain(|frame| frame.base + frame.len > durable);
    for frame in &mut state.disk {
        frame.cells.clear();
    }
}

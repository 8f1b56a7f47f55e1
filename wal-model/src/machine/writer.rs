//! Writers: reserve, copy, commit, wait. One step is one access to what is shared.

use wal_core::segment::place::Place;
use wal_core::segment::word::{Fill, Left, Reserved, Stripe, Tail};

use super::bug::Bug;
use super::config::{Machine, Op, START};
use super::fault;
use super::next::{Looked, NextLsn};
use super::seal::{Progress, Sealing, life};
use super::state::{Cell, Claim, Grant, Lifecycle, Pc, State, Writer};

impl Machine {
    /// Whether a writer can take a step; those who wait sleep until their need is met. A waiter is
    /// woken by who meets its need, which is not modelled: it looks for itself.
    pub(crate) fn can_step(&self, state: &State, writer: &Writer) -> bool {
        match writer.pc {
            Pc::Space { sequence } => {
                state.current > sequence || Self::space_is_refused(state, writer)
            }
            Pc::Wait { need } => self.is_safe(state, need) || Self::wait_is_refused(state),
            Pc::Settled(claim) => self.is_safe(state, claim.base) || Self::wait_is_refused(state),
            Pc::Turn(claim) | Pc::Writing(claim) => {
                state.written >= claim.end() || Self::wait_is_refused(state)
            }
            Pc::Next(at) => self.can_look(state, at),
            Pc::Done | Pc::Refused => false,
            _ => true,
        }
    }

    /// Whether `writer` may give up the direct frame it waits to write.
    pub(super) fn can_give_up(&self, writer: &Writer) -> bool {
        self.gives_up && matches!(writer.pc, Pc::Turn(_))
    }

    pub(crate) fn is_safe(&self, state: &State, need: u64) -> bool {
        let mark = if self.has(Bug::AckBeforeSync) { state.written } else { state.durable };
        mark >= need
    }

    const fn wait_is_refused(state: &State) -> bool {
        matches!(state.lifecycle, Lifecycle::Closed | Lifecycle::Poisoned)
    }

    /// Whoever closes the log may still wait for space to do it in.
    fn space_is_refused(state: &State, writer: &Writer) -> bool {
        Self::wait_is_refused(state)
            || state.lifecycle == Lifecycle::Closing && writer.op != Some(Op::Close)
    }

    /// Where a call starts. An append is refused unless the log is open, though it may have looked
    /// before it was closed or poisoned.
    pub(crate) fn start(state: &State, op: Option<Op>) -> Pc {
        match op {
            None => Pc::Done,
            Some(op) if op.appends() && state.lifecycle != Lifecycle::Open => Pc::Refused,
            Some(Op::Append | Op::Void | Op::Direct) => Pc::Current,
            Some(Op::Sync) => Pc::Next(NextLsn::Current),
            Some(Op::Wait) => Pc::Durable,
            Some(Op::Close) => Pc::Closing,
        }
    }

    /// Gives up a direct frame.
    pub(super) fn give_up(&self, state: &mut State, index: usize) {
        let (Pc::Turn(claim) | Pc::Settled(claim)) = state.writers[index].pc else { return };
        state.ghost.given_up.push(claim.base);
        state.ghost.given_up.sort_unstable();
        // The call has appended nothing that its thread could ask for.
        state.writers[index].last = 0;
        if !self.has(Bug::GivenUpInSilence) {
            state.abandoned.push(claim.sequence);
            state.abandoned.sort_unstable();
            state.news = true;
        }
        self.finish(state, index);
    }

    /// The call is over.
    pub(crate) fn finish(&self, state: &mut State, index: usize) {
        let writer = &mut state.writers[index];
        writer.done += 1;
        writer.op = self.programs[writer.program].get(writer.done).copied();
        let op = writer.op;
        state.writers[index].pc = Self::start(state, op);
    }

    fn tell(&self, state: &mut State, index: usize) {
        if std::mem::take(&mut state.writers[index].owes) && !self.has(Bug::HandOverUntold) {
            state.news = true;
        }
    }

    /// One step of writer `index`.
    pub(crate) fn step(&self, state: &mut State, index: usize) {
        let writer = state.writers[index].clone();
        let Some(op) = writer.op else { return };
        let pc = match writer.pc {
            Pc::Current if !state.full => {
                let seen = state.current;
                let Place { base, file, .. } = state.segments[self.slot(seen)].place;
                let early = self.has(Bug::BaseBeforeAddition).then_some((base.get(), file));
                Pc::Add { seen, early }
            }
            Pc::Current if writer.owes => Pc::TellThenSpace { sequence: state.current },
            Pc::Current => {
                state.news = true;
                Pc::Space { sequence: state.current }
            }
            Pc::Full { seen } => {
                state.full |= state.current == seen || self.has(Bug::FullMisplaced);
                Pc::Current
            }
            Pc::Add { seen, early } => self.add(state, op, seen, early),
            Pc::Base { seen, sequence, at, early } => {
                // The loads belong to a life that cannot end before its grants are committed.
                let place = state.segments[self.slot(sequence)].place;
                let (base, file) = early.unwrap_or((place.base.get(), place.file));
                let grant = Grant { sequence, at, lsn: base + at, file };
                self.believe(state, index, grant.lsn, self.record);
                if sequence != seen && !self.has(Bug::StaleGrant) && !self.has(Bug::CurrentStored) {
                    Pc::Raise(grant)
                } else {
                    granted(grant, writer.owes)
                }
            }
            Pc::Raise(grant) => {
                state.raise(grant.sequence);
                granted(grant, writer.owes)
            }
            Pc::TellThenCopy(grant) => {
                self.tell(state, index);
                Pc::Copy(grant)
            }
            Pc::Copy(grant) if self.has(Bug::CommitBeforeCopy) => {
                if self.commit(state, &writer, grant) {
                    self.commit_late(state, index, grant);
                }
                Pc::LateCopy(grant)
            }
            Pc::Copy(grant) => {
                self.copy(state, op, grant);
                if op == Op::Void && self.has(Bug::VoidNotCommitted) {
                    return self.finish(state, index);
                }
                Pc::Commit(grant)
            }
            Pc::LateCopy(grant) => {
                self.copy(state, op, grant);
                Pc::Leave(grant)
            }
            Pc::Commit(grant) => {
                if !self.commit(state, &writer, grant) || self.has(Bug::CommitTooLate) {
                    return self.finish(state, index);
                }
                Pc::CommitLate(grant)
            }
            Pc::CommitLate(grant) => {
                self.commit_late(state, index, grant);
                if !state.writers[index].owes {
                    return self.finish(state, index);
                }
                Pc::Leave(grant)
            }
            Pc::Leave(_) => {
                self.tell(state, index);
                return self.finish(state, index);
            }
            Pc::Seal(sealing) => match self.seal(state, sealing) {
                Progress::More(sealing) => Pc::Seal(sealing),
                Progress::Over { handed_over } => {
                    state.writers[index].owes |= handed_over;
                    self.sealed(state, index, op, sealing)
                }
            },
            Pc::TellThenSpace { sequence } => {
                self.tell(state, index);
                state.news = true;
                Pc::Space { sequence }
            }
            Pc::Space { sequence } if state.current > sequence => Pc::Current,
            Pc::Durable if self.is_safe(state, writer.last) => {
                return self.acknowledge(state, index, writer.last);
            }
            Pc::Durable => Pc::Next(NextLsn::Current),
            Pc::Next(at) => match self.look(state, at) {
                Looked::More(at) => Pc::Next(at),
                Looked::Is(next) => self.learn(state, &writer, next),
            },
            Pc::Register { need } if self.is_safe(state, need) => {
                return self.acknowledge(state, index, need);
            }
            Pc::Register { .. } if Self::wait_is_refused(state) => Pc::Refused,
            Pc::Register { need } => {
                // Registering is news to whoever leads.
                state.news = true;
                Pc::Wait { need }
            }
            Pc::Wait { need } if self.is_safe(state, need) => {
                return self.acknowledge(state, index, need);
            }
            Pc::TellThenTurn(claim) => {
                self.tell(state, index);
                // Whoever owns the frame that is due takes the lead or is called to it.
                state.news = true;
                Pc::Turn(claim)
            }
            Pc::Turn(claim) | Pc::Writing(claim) if state.written >= claim.end() => {
                if op == Op::Close {
                    Pc::Register { need: claim.end() }
                } else {
                    return self.finish(state, index);
                }
            }
            Pc::Closing if state.lifecycle != Lifecycle::Open => Pc::Refused,
            Pc::Closing => {
                state.lifecycle = Lifecycle::Closing;
                Pc::Current
            }
            Pc::TellThenSettled(claim) => {
                self.tell(state, index);
                state.news = true;
                Pc::Settled(claim)
            }
            Pc::Settled(claim) if self.is_safe(state, claim.base) => {
                state.news = true;
                Pc::Turn(claim)
            }
            Pc::Space { .. }
            | Pc::Wait { .. }
            | Pc::Settled(_)
            | Pc::Turn(_)
            | Pc::Writing(_)
            | Pc::Done
            | Pc::Refused => Pc::Refused,
        };
        state.writers[index].pc = pc;
    }

    /// The addition to the tail, from which everything follows.
    fn add(&self, state: &mut State, op: Op, seen: u64, early: Option<(u64, u64)>) -> Pc {
        let (slot, capacity) = (self.slot(seen), self.layout.segment);
        let len = if op.claims() { capacity + 1 } else { self.record };
        let before = state.segments[slot].tail;
        state.segments[slot].tail = Tail(before.0 + len);
        let granting = if self.has(Bug::OnePastTheEnd) && !op.claims() {
            capacity + self.record
        } else {
            capacity
        };
        match before.reserve(len, granting) {
            Reserved::Granted(at) => {
                let sequence = life(before, seen);
                let ghost = &mut state.ghost;
                let base = ghost.bases.get(sequence as usize);
                // A segment that nobody was to open yet has no place in the stream.
                let lsn = base.map_or(0, |base| base + at);
                if lsn < ghost.highest {
                    ghost.faults |= fault::LSN_FELL;
                }
                ghost.highest = lsn + len;
                Pc::Base { seen, sequence, at, early }
            }
            Reserved::Sealer(end) => {
                let last = op == Op::Close;
                Pc::Seal(self.close(state, seen, before, end, self.claimed(op)).leaving(last))
            }
            Reserved::Closed => Pc::Full { seen },
        }
    }

    /// Where a writer goes that has sealed a segment.
    fn sealed(&self, state: &mut State, index: usize, op: Op, sealing: Sealing) -> Pc {
        if !op.claims() {
            return Pc::Current;
        }
        let Sealing { sequence, claim: base, direct: len, .. } = sealing;
        let claim = Claim { sequence, base, len };
        if op == Op::Close {
            return Pc::TellThenSettled(claim);
        }
        self.believe(state, index, base, len);
        Pc::TellThenTurn(claim)
    }

    /// Notes a range as the writer has it.
    fn believe(&self, state: &mut State, index: usize, start: u64, len: u64) {
        let ghost = &mut state.ghost;
        ghost.ranges.push((start, start + len));
        ghost.ranges.sort_unstable();
        if start < state.writers[index].last {
            ghost.faults |= fault::LSN_FELL;
        }
        state.writers[index].last = start + len;
    }

    fn copy(&self, state: &mut State, op: Op, grant: Grant) {
        let cells = &mut state.segments[self.slot(grant.sequence)].cells;
        let Grant { at, lsn, file, .. } = grant;
        match cells.get_mut(((at - START) / self.record) as usize) {
            Some(cell) => *cell = Cell::Record { lsn, file, void: op == Op::Void },
            None => state.ghost.faults |= fault::PAST_THE_END,
        }
    }

    /// Whether it comes too late for the sealer to count it.
    fn commit(&self, state: &mut State, writer: &Writer, grant: Grant) -> bool {
        let stripe = self.stripe(writer.program, writer.done);
        let stripe = &mut state.segments[self.slot(grant.sequence)].stripes[stripe];
        let before = *stripe;
        *stripe = Stripe(before.0 + self.record);
        before.is_swept()
    }

    fn commit_late(&self, state: &mut State, index: usize, grant: Grant) {
        let fill = &mut state.segments[self.slot(grant.sequence)].fill;
        let before = *fill;
        *fill = Fill(before.0.wrapping_add(self.record));
        if before.0 < Fill::QUEUED.0 && before.commit(self.record) == Left::Last {
            Self::hand_over(state, grant.sequence);
            state.writers[index].owes = true;
        }
    }

    /// Where the stream ends, as a writer has found it: not before what it has appended itself, and
    /// not past what anybody has reserved.
    fn learn(&self, state: &mut State, writer: &Writer, next: u64) -> Pc {
        let ghost = &mut state.ghost;
        let end = ghost.bases.last().copied().unwrap_or(0).max(ghost.highest);
        if next < writer.last || next > end {
            ghost.faults |= fault::NEXT_LSN;
        }
        // A wait for a record asks only whether there is one, and waits until it has begun to be
        // durable: then all of it is.
        let need = if writer.op == Some(Op::Wait) { writer.last - self.record + 1 } else { next };
        Pc::Register { need }
    }

    /// A wait has ended well.
    fn acknowledge(&self, state: &mut State, index: usize, need: u64) {
        state.ghost.acked = state.ghost.acked.max(need);
        if state.writers[index].op == Some(Op::Close) && state.lifecycle == Lifecycle::Closing {
            state.lifecycle = Lifecycle::Closed;
        }
        self.finish(state, index);
    }
}

/// Where a writer goes that has its grant.
const fn granted(grant: Grant, owes: bool) -> Pc {
    if owes { Pc::TellThenCopy(grant) } else { Pc::Copy(grant) }
}

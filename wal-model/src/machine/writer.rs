//! Writers: reserve, copy, commit, wait. One step is one access to what is shared.

use wal_core::segment::word::{Fill, Left, Reserved, Tail};

use super::bug::Bug;
use super::config::{Machine, Op, START, UNIT};
use super::fault;
use super::seal::Progress;
use super::seal::life;
use super::state::{Cell, Grant, Pc, State, Writer};

impl Machine {
    pub(super) fn op(&self, writer: &Writer) -> Option<Op> {
        self.programs[writer.program].get(writer.done).copied()
    }

    /// Whether a writer can take a step; those who wait sleep until their need is met. A waiter is
    /// woken by who meets its need, which is not modelled: it looks for itself.
    pub(super) fn can_step(&self, state: &State, writer: &Writer) -> bool {
        match writer.pc {
            Pc::Space { sequence } => state.current > sequence || state.poisoned,
            Pc::Wait { need } => self.is_safe(state, need) || state.poisoned,
            Pc::Turn { base, .. } | Pc::Writing { base, .. } => {
                state.written >= base + Self::DIRECT || state.poisoned
            }
            Pc::Done | Pc::Refused => false,
            _ => true,
        }
    }

    /// Whether `writer` may give up the direct frame it waits to write.
    pub(super) fn can_give_up(&self, writer: &Writer) -> bool {
        self.gives_up && matches!(writer.pc, Pc::Turn { .. })
    }

    fn is_safe(&self, state: &State, need: u64) -> bool {
        let mark = if self.has(Bug::AckBeforeSync) { state.written } else { state.durable };
        mark >= need
    }

    /// Where a call starts. An append to a poisoned log is refused, unless it has looked before.
    fn start(&self, state: &State, writer: &Writer) -> Pc {
        match self.op(writer) {
            None => Pc::Done,
            Some(_) if state.poisoned => Pc::Refused,
            Some(_) => Pc::Current,
        }
    }

    /// Gives up a direct frame.
    pub(super) fn give_up(&self, state: &mut State, index: usize) {
        let Pc::Turn { sequence, base } = state.writers[index].pc else { return };
        state.ghost.given_up.push(base);
        state.ghost.given_up.sort_unstable();
        if !self.has(Bug::GivenUpInSilence) {
            state.abandoned.push(sequence);
            state.abandoned.sort_unstable();
            state.news = true;
        }
        self.finish(state, index);
    }

    fn finish(&self, state: &mut State, index: usize) {
        state.writers[index].done += 1;
        state.writers[index].pc = self.start(state, &state.writers[index]);
    }

    fn tell(&self, state: &mut State, index: usize) {
        if std::mem::take(&mut state.writers[index].owes) && !self.has(Bug::HandOverUntold) {
            state.news = true;
        }
    }

    /// One step of writer `index`.
    pub(super) fn step(&self, state: &mut State, index: usize) {
        let writer = state.writers[index].clone();
        let Some(op) = self.op(&writer) else { return };
        let capacity = self.layout().segment;
        let pc = match writer.pc {
            Pc::Current => Pc::Tail { seen: state.current },
            Pc::Tail { seen } => {
                let segment = &state.segments[self.slot(seen)];
                if segment.tail.is_open(capacity) {
                    let early = self
                        .has(Bug::BaseBeforeAddition)
                        .then(|| (segment.place.base.get(), segment.place.file));
                    Pc::Add { seen, early }
                } else {
                    Pc::Again { seen }
                }
            }
            Pc::Again { seen } if state.current != seen => Pc::Current,
            Pc::Again { seen } => {
                if writer.owes {
                    Pc::TellThenSpace { sequence: seen }
                } else {
                    state.news = true;
                    Pc::Space { sequence: seen }
                }
            }
            Pc::Add { seen, early } => self.add(state, op, seen, early),
            Pc::Base { seen, sequence, at, early } => {
                // Who came by a stale path raises `current`; merged with the loads before it.
                if sequence != seen && !self.has(Bug::CurrentStored) {
                    state.current = state.current.max(sequence);
                }
                let place = state.segments[self.slot(sequence)].place;
                let (base, file) = early.unwrap_or((place.base.get(), place.file));
                let grant = Grant { sequence, at, lsn: base + at, file };
                self.believe(state, index, grant.lsn, UNIT);
                if writer.owes { Pc::TellThenCopy(grant) } else { Pc::Copy(grant) }
            }
            Pc::TellThenCopy(grant) => {
                self.tell(state, index);
                Pc::Copy(grant)
            }
            Pc::Copy(grant) if self.has(Bug::CommitBeforeCopy) => {
                self.commit(state, index, grant);
                Pc::LateCopy(grant)
            }
            Pc::Copy(grant) => {
                self.copy(state, op, grant);
                if op == Op::Void && self.has(Bug::VoidNotCommitted) {
                    self.finish(state, index);
                    return;
                }
                Pc::Commit(grant)
            }
            Pc::LateCopy(grant) => {
                self.copy(state, op, grant);
                Pc::Leave(grant)
            }
            Pc::Commit(grant) => {
                self.commit(state, index, grant);
                if op != Op::Sync && !state.writers[index].owes {
                    self.finish(state, index);
                    return;
                }
                Pc::Leave(grant)
            }
            Pc::Leave(grant) => {
                self.tell(state, index);
                if op != Op::Sync {
                    self.finish(state, index);
                    return;
                }
                // Registering is news to whoever leads.
                state.news = true;
                Pc::Wait { need: grant.lsn + 1 }
            }
            Pc::Seal(sealing) => match self.seal(state, sealing) {
                Progress::More(sealing) => Pc::Seal(sealing),
                Progress::Over { handed_over } => {
                    state.writers[index].owes |= handed_over;
                    if op == Op::Direct {
                        let (sequence, base) = (sealing.sequence, sealing.claim);
                        self.believe(state, index, base, Self::DIRECT);
                        Pc::TellThenTurn { sequence, base }
                    } else {
                        Pc::Current
                    }
                }
            },
            Pc::TellThenSpace { sequence } => {
                self.tell(state, index);
                state.news = true;
                Pc::Space { sequence }
            }
            Pc::Space { sequence } if state.current > sequence => Pc::Current,
            Pc::Space { .. } => Pc::Refused,
            Pc::Wait { need } if self.is_safe(state, need) => {
                state.ghost.acked = state.ghost.acked.max(need);
                self.finish(state, index);
                return;
            }
            Pc::Wait { .. } => Pc::Refused,
            Pc::TellThenTurn { sequence, base } => {
                self.tell(state, index);
                // Whoever owns the frame that is due takes the lead or is called to it.
                state.news = true;
                Pc::Turn { sequence, base }
            }
            Pc::Turn { base, .. } | Pc::Writing { base, .. } => {
                if state.written >= base + Self::DIRECT {
                    self.finish(state, index);
                    return;
                }
                Pc::Refused
            }
            Pc::Done | Pc::Refused => return,
        };
        state.writers[index].pc = pc;
    }

    /// The addition to the tail, from which everything follows.
    fn add(&self, state: &mut State, op: Op, seen: u64, early: Option<(u64, u64)>) -> Pc {
        let (slot, capacity) = (self.slot(seen), self.layout().segment);
        let (len, direct) = if op == Op::Direct { (capacity + 1, Self::DIRECT) } else { (UNIT, 0) };
        let before = state.segments[slot].tail;
        state.segments[slot].tail = Tail(before.0 + len);
        let granting =
            if self.has(Bug::OnePastTheEnd) && direct == 0 { capacity + UNIT } else { capacity };
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
            Reserved::Sealer(end) => Pc::Seal(self.close(state, seen, before, end, direct)),
            Reserved::Closed => Pc::Current,
        }
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
        match cells.get_mut(((at - START) / UNIT) as usize) {
            Some(cell) => *cell = Cell::Record { lsn, file, void: op == Op::Void },
            None => state.ghost.faults |= fault::PAST_THE_END,
        }
    }

    fn commit(&self, state: &mut State, index: usize, grant: Grant) {
        let fill = &mut state.segments[self.slot(grant.sequence)].fill;
        let before = *fill;
        *fill = Fill(before.0.wrapping_add(UNIT));
        if before.0 < Fill::QUEUED.0 && before.commit(UNIT) == Left::Last {
            Self::hand_over(state, grant.sequence);
            state.writers[index].owes = true;
        }
    }
}

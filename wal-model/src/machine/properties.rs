//! What must hold, what must come to pass, and what must be possible.

use stateright::Property;
use wal_core::segment::word::{self, Fill};

use super::config::{Machine, Op, START};
use super::fault;
use super::seal::{Sealing, handed};
use super::state::{Cell, Ghost, Grant, LeaderPc, Lifecycle, Pc, Safety, Segment, State};

type Condition = fn(&Machine, &State) -> bool;

/// Always, in every state.
const ALWAYS: [(&str, Condition); 19] = [
    ("TypeOK", type_ok),
    ("OnlyOneActive", only_one_active),
    ("FullIsClosed", full_is_closed),
    ("ValidWriterCounts", valid_writer_counts),
    ("ValidWritePositions", valid_write_positions),
    ("MonotonicLSNs", |_, state| free_of(state, fault::LSN_FELL)),
    ("ValidLSNProgression", valid_lsn_progression),
    ("NoOverlap", no_overlap),
    ("HandOverExactlyOnce", hand_over_exactly_once),
    ("NoUseAfterRecycle", no_use_after_recycle),
    ("DurableIsPrefix", durable_is_prefix),
    ("AckedSurvivesCrash", acked_survives_crash),
    ("RecoveredIsPrefix", recovered_is_prefix),
    ("NoTornVisible", no_torn_visible),
    ("WatermarkMonotonic", watermark_monotonic),
    ("PoisonIsFinal", poison_is_final),
    ("NextLsnCovers", |_, state| free_of(state, fault::NEXT_LSN)),
    ("NobodyIsStuck", nobody_is_stuck),
    ("RotationProgress", rotation_progress),
];

/// What `eventually` checks is the last state of a run. Both conditions stay true once they are, so
/// that it does not matter by which way a state was reached first (which the checker forgets), and
/// no run goes round in a circle. But with crashes a run that is stuck can still end in one: then
/// these say little, and `NobodyIsStuck` says it.
const EVENTUALLY: [(&str, Condition); 2] =
    [("WriteCompletion", write_completion), ("EveryWaiterResolves", every_waiter_resolves)];

pub(super) fn all(machine: &Machine) -> Vec<Property<Machine>> {
    let mut all: Vec<_> =
        ALWAYS.iter().map(|&(name, holds)| Property::always(name, holds)).collect();
    all.extend(EVENTUALLY.iter().map(|&(name, holds)| Property::eventually(name, holds)));
    let mut sometimes = |name, condition: Condition| all.push(Property::sometimes(name, condition));
    sometimes("a rotation with stragglers", rotation_with_stragglers);
    sometimes("a full ring", full_ring);
    sometimes("a commit that hands over", |_, state| {
        state.writers.iter().any(|w| w.owes && matches!(w.pc, Pc::Leave(_)))
    });
    let appends =
        machine.programs.iter().flatten().filter(|op| matches!(op, Op::Append | Op::Void)).count()
            as u64;
    let room = (machine.segments as u64 + 1) * machine.records();
    if appends > room {
        sometimes("a stale writer reserves in a later life of the slot", stale_reservation);
    }
    if machine.crashes {
        sometimes("a crash between write and sync", |_, state| {
            state.crashed.as_ref().is_some_and(|crashed| crashed.unsynced)
        });
    }
    if machine.failures {
        sometimes("a poisoned log", |_, state| state.is_poisoned());
    }
    if machine.programs.iter().flatten().any(|op| *op == Op::Direct) {
        sometimes("a direct frame written", |_, state| {
            state.disk.iter().any(|frame| {
                let range = (frame.base, frame.base + frame.len);
                let ghost = &state.ghost;
                ghost.ranges.contains(&range) && !ghost.given_up.contains(&frame.base)
            })
        });
        if machine.gives_up {
            sometimes("a direct frame given up", |_, state| {
                state.ghost.given_up.iter().any(|&base| state.written > base)
            });
        }
    }
    if machine.programs.iter().flatten().any(|op| *op == Op::Close) {
        sometimes("a closed log", |_, state| state.lifecycle == Lifecycle::Closed);
    }
    if machine.refusals {
        sometimes("a file refused, and made after all", |_, state| {
            state.ghost.refused && state.disk.iter().any(|frame| frame.opens && frame.base > 0)
        });
    }
    if machine.depth > 1 {
        sometimes("writes that finish out of order", |_, state| {
            let flights = &state.leader.in_flight;
            flights.windows(2).any(|pair| !pair[0].done && pair[1].done && pair[1].frame.is_some())
        });
    }
    all
}

const fn free_of(state: &State, fault: u8) -> bool {
    state.ghost.faults & fault == 0
}

/// The grant that a writer holds from its reservation to its commit.
const fn grant(pc: &Pc) -> Option<Grant> {
    match pc {
        Pc::Base { sequence, at, .. } => {
            Some(Grant { sequence: *sequence, at: *at, lsn: 0, file: 0 })
        }
        Pc::Raise(grant)
        | Pc::TellThenCopy(grant)
        | Pc::Copy(grant)
        | Pc::Commit(grant)
        | Pc::CommitLate(grant) => Some(*grant),
        _ => None,
    }
}

fn grants(state: &State) -> impl Iterator<Item = Grant> {
    state.writers.iter().filter_map(|writer| grant(&writer.pc))
}

fn sealings(state: &State) -> impl Iterator<Item = Sealing> {
    let leader = match state.leader.pc {
        LeaderPc::Seal(sealing) => Some(sealing),
        _ => None,
    };
    let writers = state.writers.iter().filter_map(|writer| match writer.pc {
        Pc::Seal(sealing) => Some(sealing),
        _ => None,
    });
    writers.chain(leader)
}

fn type_ok(machine: &Machine, state: &State) -> bool {
    let capacity = machine.layout.segment;
    // Each writer adds at most twice to a closed word, as `Tail::POSITION_BITS` reckons.
    let pushed = (2 * state.writers.len() as u64 + 1) * (capacity + 1);
    let reserved = capacity - START;
    state.current < state.ghost.bases.len() as u64 + u64::from(state.crashed.is_some())
        && state.segments.iter().all(|segment| {
            let fill = segment.fill.0;
            segment.tail.position() <= capacity + 1 + pushed
                && (fill <= reserved
                    || (Fill::SEALED - reserved..=Fill::SEALED).contains(&fill)
                    || segment.fill == Fill::QUEUED)
                && segment.gate.0 <= 2
                && segment.sealed <= capacity
        })
        && free_of(state, fault::PAST_THE_END)
}

/// At most one at every step; exactly one when nobody is about to activate and a segment is free.
fn only_one_active(machine: &Machine, state: &State) -> bool {
    let capacity = machine.layout.segment;
    let open = state.segments.iter().filter(|segment| segment.tail.is_open(capacity)).count();
    let rotating = sealings(state).next().is_some()
        || matches!(state.leader.pc, LeaderPc::Arrive { .. } | LeaderPc::Activate(_));
    let free =
        state.segments.iter().any(|s| word::state(s.tail, s.fill, capacity) == word::State::Queued);
    let due = free && !rotating && state.lifecycle == Lifecycle::Open;
    open <= 1 && (open == 1 || !due)
}

/// What is said to be full is closed.
fn full_is_closed(machine: &Machine, state: &State) -> bool {
    // A crash leaves no segments.
    !state.segments.get(machine.slot(state.current)).is_some_and(|Segment { tail, .. }| {
        state.full && tail.is_life(state.current) && tail.is_open(machine.layout.segment)
    })
}

/// The words count those who are between reservation and commit, in bytes.
fn valid_writer_counts(machine: &Machine, state: &State) -> bool {
    let capacity = machine.layout.segment;
    state.segments.iter().enumerate().all(|(slot, segment)| {
        let holders = grants(state).filter(|grant| machine.slot(grant.sequence) == slot).count();
        let reserved = if segment.tail.is_open(capacity) {
            segment.tail.position() - START
        } else if let Some(sealing) = sealings(state).find(|sealing| sealing.slot == slot) {
            // Closed, and the bias perhaps not added yet.
            sealing.len - START
        } else if segment.fill.is_sealed() {
            0
        } else {
            // About to be opened.
            return holders == 0;
        };
        let fill = segment.fill;
        let (mut stripes, mut says) = (0, Fill::SEALED);
        if !fill.is_sealed() {
            let found = sealings(state).find(|sealing| sealing.slot == slot).map_or(0, |s| s.found);
            let open = segment.stripes.iter().filter(|stripe| !stripe.is_swept());
            stripes = found + open.map(|stripe| stripe.step()).sum::<u64>();
            says = reserved;
        }
        if fill != Fill::QUEUED && fill.0 + stripes > says {
            return false;
        }
        fill.in_flight(reserved, stripes) == holders as u64 * machine.record
    })
}

/// Whoever holds space holds it alone, within the segment, and knows its true position.
fn valid_write_positions(machine: &Machine, state: &State) -> bool {
    let capacity = machine.layout.segment;
    let mut held: Vec<(usize, u64)> =
        grants(state).map(|grant| (machine.slot(grant.sequence), grant.at)).collect();
    held.sort_unstable();
    held.windows(2).all(|pair| pair[0] != pair[1])
        && grants(state).all(|grant| {
            let base =
                state.ghost.bases.get(grant.sequence as usize).copied().unwrap_or(u64::MAX / 2);
            grant.at >= START
                && grant.at + machine.record <= capacity
                && (grant.lsn == 0 || grant.lsn == base + grant.at)
        })
}

fn valid_lsn_progression(machine: &Machine, state: &State) -> bool {
    let capacity = machine.layout.segment;
    let bases = &state.ghost.bases;
    bases.is_sorted()
        && free_of(state, fault::SEALED_TWICE)
        && state.written <= bases.last().copied().unwrap_or(0)
        && state.segments.iter().all(|segment| {
            // An open segment starts where the one before it ended.
            !segment.tail.is_open(capacity)
                || bases.iter().enumerate().any(|(sequence, &base)| {
                    segment.tail.is_life(sequence as u64) && segment.place.base.get() == base
                })
        })
}

/// The ranges of the stream that somebody has touch each other but for frame headers.
fn no_overlap(machine: &Machine, state: &State) -> bool {
    let ranges = &state.ghost.ranges;
    let apart = ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0);
    // Somebody has space and does not know its position yet.
    let pending = state.crashed.is_some()
        || sealings(state).next().is_some()
        || state.writers.iter().any(|writer| matches!(writer.pc, Pc::Base { .. }));
    let mut end = 0;
    apart
        && (pending
            || ranges.iter().all(|&(start, stop)| {
                let frame = machine.align_up(end);
                let touches = start == end && end > 0 || start == frame || start == frame + START;
                end = stop;
                touches
            }))
}

/// Handed over is what is complete, once, whoever left last.
fn hand_over_exactly_once(machine: &Machine, state: &State) -> bool {
    let capacity = machine.layout.segment;
    free_of(state, fault::HANDED_TWICE)
        && state.ghost.bases.iter().enumerate().all(|(sequence, _)| {
            let handed = state.ghost.handed & handed(sequence as u64) != 0;
            let Some(segment) = state.segments.get(machine.slot(sequence as u64)) else {
                return true;
            };
            if !segment.tail.is_life(sequence as u64) || segment.tail.is_open(capacity) {
                return true;
            }
            // Free, or about to be activated: the words are between two lives.
            let between = segment.fill == Fill::QUEUED || segment.fill == Fill::OPEN;
            between || handed == segment.fill.is_complete()
        })
}

/// Nobody touches a segment's memory, neither to fill it nor to write it out, in another life.
fn no_use_after_recycle(machine: &Machine, state: &State) -> bool {
    let lives = |sequence: u64| {
        let segment = &state.segments[machine.slot(sequence)];
        segment.tail.is_life(sequence) && segment.fill != Fill::QUEUED
    };
    let writes =
        state.leader.in_flight.iter().filter(|flight| !flight.done && flight.frame.is_some());
    let late = state.writers.iter().filter_map(|writer| match writer.pc {
        Pc::LateCopy(grant) => Some(grant),
        _ => None,
    });
    writes.filter_map(|flight| flight.held).all(|held| lives(held.sequence))
        && grants(state).chain(late).all(|grant| lives(grant.sequence))
}

/// Below the durable watermark all frames are durable, below the written one all are written, and
/// they follow each other.
fn durable_is_prefix(_: &Machine, state: &State) -> bool {
    if state.crashed.is_some() {
        return true;
    }
    let reaches = |mark: u64, safe: fn(Safety) -> bool| {
        let mut frames = state.disk.iter().filter(|frame| frame.base < mark);
        let mut link = None;
        let linked = frames.all(|frame| {
            let follows = frame.link == link && safe(frame.safety);
            link = Some(frame.base);
            follows
        });
        linked
            && state.ghost.ranges.iter().filter(|range| range.1 <= mark).all(|range| {
                state.ghost.given_up.contains(&range.0)
                    || state.disk.iter().any(|f| f.base <= range.0 && range.1 <= f.base + f.len)
            })
    };
    state.durable <= state.written
        && reaches(state.written, |_| true)
        && reaches(state.durable, |safety| safety == Safety::Durable)
}

/// What somebody was told is durable is there, but for what was given up before it was written.
fn acked_survives_crash(_: &Machine, state: &State) -> bool {
    let Some(crashed) = &state.crashed else { return true };
    let Ghost { ranges, given_up, acked, .. } = &state.ghost;
    ranges
        .iter()
        .filter(|range| range.0 < *acked && !given_up.contains(&range.0))
        .all(|range| range.1 <= crashed.end)
}

/// What is recovered is what was reserved, in order and without a gap.
fn recovered_is_prefix(_: &Machine, state: &State) -> bool {
    let Some(crashed) = &state.crashed else { return true };
    let Ghost { ranges, given_up, .. } = &state.ghost;
    let holds = |range: &(u64, u64), at: u64| range.0 <= at && at < range.1;
    crashed.found.is_sorted_by(|a, b| a.0 < b.0)
        && crashed.found.iter().all(|&(at, ..)| ranges.iter().any(|range| holds(range, at)))
        && ranges.iter().filter(|range| range.0 < crashed.end).all(|range| {
            given_up.contains(&range.0) || crashed.found.iter().any(|&(at, ..)| holds(range, at))
        })
}

/// What is recovered was made, as a whole, for the place where it is found.
fn no_torn_visible(_: &Machine, state: &State) -> bool {
    state.crashed.as_ref().is_none_or(|crashed| {
        crashed.found.iter().all(|&(at, in_file, cell)| {
            matches!(cell, Cell::Record { lsn, file, .. } if lsn == at && file == in_file)
        })
    })
}

const fn watermark_monotonic(_: &Machine, state: &State) -> bool {
    free_of(state, fault::WATERMARK_FELL)
}

/// After a failure the log is poisoned, and stays so, and nothing is published.
fn poison_is_final(_: &Machine, state: &State) -> bool {
    (free_of(state, fault::FAILED) || state.is_poisoned()) && free_of(state, fault::AFTER_POISON)
}

const fn is_over(pc: &Pc) -> bool {
    matches!(pc, Pc::Done | Pc::Refused)
}

/// Whether nothing happens any more unless somebody makes a call.
fn is_quiet(machine: &Machine, state: &State) -> bool {
    !machine.can_lead(state)
        && !state.writers.iter().any(|writer| machine.can_step(state, writer))
        && state.leader.in_flight.iter().all(|flight| flight.done)
}

/// Where no step is possible any more, everybody is done: exact, whatever `eventually` misses.
fn nobody_is_stuck(machine: &Machine, state: &State) -> bool {
    write_completion(machine, state) || !is_quiet(machine, state)
}

/// Where no step is possible any more, a segment is active, whoever wants it; but what a refused
/// file has left unwritten is left to who wants it next.
fn rotation_progress(machine: &Machine, state: &State) -> bool {
    let capacity = machine.layout.segment;
    let wanted = state.writers.iter().any(|writer| matches!(writer.pc, Pc::Space { .. }));
    has_ended(state)
        || state.ghost.refused && !wanted
        || state.lifecycle != Lifecycle::Open
        || state.segments.iter().any(|segment| segment.tail.is_open(capacity))
        || !is_quiet(machine, state)
}

/// A crash ends everything, and what has gone wrong is not looked into further.
const fn has_ended(state: &State) -> bool {
    state.crashed.is_some() || !free_of(state, !fault::FAILED)
}

/// Every call returns.
fn write_completion(_: &Machine, state: &State) -> bool {
    has_ended(state) || state.writers.iter().all(|writer| is_over(&writer.pc))
}

/// Every wait ends, and with a refusal only if the log is poisoned or closed.
fn every_waiter_resolves(machine: &Machine, state: &State) -> bool {
    write_completion(machine, state)
        && (state.lifecycle != Lifecycle::Open
            || has_ended(state)
            || state.writers.iter().all(|writer| writer.pc != Pc::Refused))
}

fn rotation_with_stragglers(_: &Machine, state: &State) -> bool {
    grants(state).any(|grant| grant.sequence < state.current)
}

fn full_ring(machine: &Machine, state: &State) -> bool {
    let capacity = machine.layout.segment;
    !state.segments.is_empty()
        && state.segments.iter().all(|segment| {
            word::state(segment.tail, segment.fill, capacity) == word::State::Writing
        })
        && state.writers.iter().any(|writer| matches!(writer.pc, Pc::Space { .. }))
}

fn stale_reservation(_: &Machine, state: &State) -> bool {
    let stale = |pc: &Pc| matches!(pc, Pc::Base { seen, sequence, .. } if sequence > seen);
    state.writers.iter().any(|writer| stale(&writer.pc))
}

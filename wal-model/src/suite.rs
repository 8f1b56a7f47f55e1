//! The machines that are checked, and for each fault one that shows it.

use crate::machine::Op::{self, Append, Close, Direct, Sync, Void, Wait};
use crate::machine::{Bug, Machine};

/// A machine with a name to print.
pub type Named = (&'static str, Machine);

fn without_crashes(mut machine: Machine) -> Machine {
    (machine.crashes, machine.failures) = (false, false);
    machine
}

fn deep(mut machine: Machine) -> Machine {
    machine.depth = 2;
    machine
}

fn starting(mut machine: Machine) -> Machine {
    machine.starts = true;
    deep(machine)
}

fn refusing(mut machine: Machine) -> Machine {
    machine.refusals = true;
    machine
}

fn striped(mut machine: Machine) -> Machine {
    machine.stripes = 2;
    machine
}

fn pair(one: &[Op], other: &[Op]) -> Machine {
    Machine::mixed(2, vec![one.to_vec(), other.to_vec()])
}

/// Seconds each.
#[must_use]
pub fn quick() -> Vec<Named> {
    let mut three = pair(&[Append, Append], &[Append, Wait]);
    three.segments = 3;
    vec![
        ("2 writers x 2 segments", Machine::new(2, 2, &[Append, Append, Sync])),
        (
            "2 writers x 2 segments, no crash",
            without_crashes(pair(&[Append, Append], &[Append, Sync])),
        ),
        (
            "2 x 2, two stripes",
            striped(without_crashes(Machine::new(2, 2, &[Append, Append, Sync]))),
        ),
        ("2 x 2, a void record", pair(&[Void], &[Append, Append, Sync])),
        ("2 x 2, a direct frame", pair(&[Direct], &[Append, Append, Sync])),
        ("2 x 2, a file refused", refusing(pair(&[Append, Append], &[Append, Sync]))),
        ("2 x 2, closed", pair(&[Append, Close], &[Append, Sync])),
        ("2 x 3, two writes in flight", deep(three.clone())),
        ("2 x 3, writes started by who completes a segment", starting(three)),
        (
            "3 writers x 3 segments",
            Machine::mixed(3, vec![vec![Append], vec![Append], vec![Append, Wait]]),
        ),
    ]
}

/// Minutes each.
#[must_use]
pub fn large() -> Vec<Named> {
    let mixed = Machine::mixed(3, vec![vec![Append], vec![Append], vec![Append, Append, Sync]]);
    vec![
        ("3 writers x 3 segments, 4 records", mixed),
        ("3 x 3, everybody waits", Machine::new(3, 3, &[Append, Wait])),
        ("3 x 3, everybody syncs", Machine::new(3, 3, &[Append, Sync])),
        (
            "3 writers x 2 segments of 2 records",
            Machine::new(3, 2, &[Append, Sync]).with_records(2),
        ),
        ("2 x 2, a direct frame and a wait", pair(&[Direct, Wait], &[Append, Append, Sync])),
        ("2 x 2, closed after a direct frame", pair(&[Direct, Close], &[Append, Sync])),
        (
            "2 x 3, life after life",
            without_crashes(Machine::mixed(3, vec![vec![Append; 4], vec![Direct]])),
        ),
    ]
}

/// For each fault: a machine that has it, and the property that finds it there.
#[must_use]
pub fn faults() -> Vec<(Machine, &'static str)> {
    let two = || Machine::new(2, 2, &[Append, Append, Sync]);
    let calm = || without_crashes(two());
    let mut wide = deep(pair(&[Append, Append], &[Append, Sync]));
    wide.segments = 3;
    let mut lives = without_crashes(pair(&[Append; 4], &[Direct]));
    lives.segments = 3;
    let one = || pair(&[Direct], &[Append, Append, Sync]);
    [
        (calm(), Bug::PlaceAfterTail, "ValidWritePositions"),
        (calm(), Bug::FillAfterTail, "ValidWriterCounts"),
        (calm(), Bug::StripesAfterTail, "ValidWriterCounts"),
        (calm(), Bug::BaseBeforeAddition, "NoOverlap"),
        (calm(), Bug::SequenceFromCurrent, "HandOverExactlyOnce"),
        (calm(), Bug::StragglersForgotten, "HandOverExactlyOnce"),
        (calm(), Bug::SweptInSilence, "ValidWriterCounts"),
        (calm(), Bug::CommitTooLate, "ValidWriterCounts"),
        (calm(), Bug::FullMisplaced, "FullIsClosed"),
        (two(), Bug::BiasFirst, "RecoveredIsPrefix"),
        (calm(), Bug::HandOverTwice, "HandOverExactlyOnce"),
        (calm(), Bug::ClosedByStore, "ValidLSNProgression"),
        (calm(), Bug::OnePastTheEnd, "TypeOK"),
        (two(), Bug::CommitBeforeCopy, "NoTornVisible"),
        (without_crashes(pair(&[Void], &[Append, Sync])), Bug::VoidNotCommitted, "WriteCompletion"),
        (calm(), Bug::GateSkipped, "OnlyOneActive"),
        (calm(), Bug::GateShut, "RotationProgress"),
        (lives, Bug::CurrentStored, "NobodyIsStuck"),
        (without_crashes(pair(&[Append; 3], &[Append, Sync])), Bug::StaleGrant, "NextLsnCovers"),
        (two(), Bug::RecycledAtSubmission, "NoUseAfterRecycle"),
        (wide.clone(), Bug::WatermarkOverGap, "DurableIsPrefix"),
        (two(), Bug::DurableOvertakes, "DurableIsPrefix"),
        (two(), Bug::AckBeforeSync, "AckedSurvivesCrash"),
        (one(), Bug::DirectOutOfOrder, "DurableIsPrefix"),
        (pair(&[Direct, Append], &[Append]), Bug::DirectUncounted, "MonotonicLSNs"),
        (without_crashes(one()), Bug::GivenUpInSilence, "EveryWaiterResolves"),
        (
            without_crashes(refusing(pair(&[Append, Append], &[Append, Sync]))),
            Bug::RefusalUntold,
            "EveryWaiterResolves",
        ),
        (
            without_crashes(starting(pair(&[Append, Append], &[Append, Sync]))),
            Bug::StartedInSilence,
            "EveryWaiterResolves",
        ),
        (starting(wide.clone()), Bug::DurableInFlight, "DurableIsPrefix"),
        (two(), Bug::PoisonForgotten, "PoisonIsFinal"),
        (
            without_crashes(pair(&[Append, Append], &[Append, Sync])),
            Bug::HandOverUntold,
            "WriteCompletion",
        ),
        (two(), Bug::WatermarkFallsBack, "WatermarkMonotonic"),
    ]
    .map(|(machine, bug, property)| (machine.with(bug), property))
    .to_vec()
}

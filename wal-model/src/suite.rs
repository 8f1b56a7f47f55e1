//! The machines that are checked, and for each fault one that shows it.

use crate::machine::Op::{Append, Direct, Sync, Void};
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

/// Seconds each.
#[must_use]
pub fn quick() -> Vec<Named> {
    let void = Machine::mixed(2, vec![vec![Void], vec![Append, Sync]]);
    vec![
        ("2 writers x 2 segments", Machine::new(2, 2, &[Append, Sync])),
        ("2 writers x 2 segments, no crash", without_crashes(Machine::new(2, 2, &[Append, Sync]))),
        ("2 x 2, a void record", void),
        ("2 x 2, a direct frame", Machine::mixed(2, vec![vec![Direct], vec![Append, Sync]])),
        (
            "2 x 3, two writes in flight",
            deep(Machine::mixed(3, vec![vec![Append, Append], vec![Sync]])),
        ),
        ("3 writers x 3 segments", Machine::new(3, 3, &[Sync])),
    ]
}

/// Minutes each.
#[must_use]
pub fn large() -> Vec<Named> {
    let mixed = Machine::mixed(3, vec![vec![Append], vec![Append], vec![Append, Sync]]);
    let mut roomy = Machine::new(3, 2, &[Sync]);
    roomy.records = 2;
    vec![
        ("3 writers x 3 segments, 4 records", mixed),
        ("3 writers x 2 segments of 2 records", roomy),
        (
            "2 x 2, a direct frame and a wait",
            Machine::mixed(2, vec![vec![Direct, Sync], vec![Append, Sync]]),
        ),
        (
            "2 x 3, life after life",
            without_crashes(Machine::mixed(3, vec![vec![Append; 4], vec![Direct]])),
        ),
    ]
}

/// For each fault: a machine that has it, and the property that finds it there.
#[must_use]
pub fn faults() -> Vec<(Machine, &'static str)> {
    let pair = || Machine::new(2, 2, &[Append, Sync]);
    let calm = || without_crashes(pair());
    let mixed = |programs: [&[crate::machine::Op]; 2]| {
        Machine::mixed(2, programs.iter().map(|program| program.to_vec()).collect())
    };
    let mut wide = deep(mixed([&[Append, Append], &[Sync]]));
    wide.segments = 3;
    let mut lives = without_crashes(mixed([&[Append; 4], &[Direct]]));
    lives.segments = 3;
    let one = || mixed([&[Direct], &[Append, Sync]]);
    [
        (calm(), Bug::PlaceAfterTail, "ValidWritePositions"),
        (calm(), Bug::FillAfterTail, "ValidWriterCounts"),
        (calm(), Bug::BaseBeforeAddition, "NoOverlap"),
        (calm(), Bug::SequenceFromCurrent, "HandOverExactlyOnce"),
        (calm(), Bug::StragglersForgotten, "HandOverExactlyOnce"),
        (pair(), Bug::BiasFirst, "RecoveredIsPrefix"),
        (calm(), Bug::HandOverTwice, "HandOverExactlyOnce"),
        (calm(), Bug::ClosedByStore, "ValidLSNProgression"),
        (calm(), Bug::OnePastTheEnd, "TypeOK"),
        (pair(), Bug::CommitBeforeCopy, "NoTornVisible"),
        (without_crashes(mixed([&[Void], &[Sync]])), Bug::VoidNotCommitted, "WriteCompletion"),
        (calm(), Bug::GateSkipped, "OnlyOneActive"),
        (lives, Bug::CurrentStored, "NobodyIsStuck"),
        (pair(), Bug::RecycledAtSubmission, "NoUseAfterRecycle"),
        (wide, Bug::WatermarkOverGap, "DurableIsPrefix"),
        (pair(), Bug::DurableOvertakes, "DurableIsPrefix"),
        (pair(), Bug::AckBeforeSync, "AckedSurvivesCrash"),
        (one(), Bug::DirectOutOfOrder, "DurableIsPrefix"),
        (without_crashes(one()), Bug::GivenUpInSilence, "EveryWaiterResolves"),
        (pair(), Bug::PoisonForgotten, "PoisonIsFinal"),
        (
            without_crashes(mixed([&[Append, Append], &[Sync]])),
            Bug::HandOverUntold,
            "WriteCompletion",
        ),
        (pair(), Bug::WatermarkFallsBack, "WatermarkMonotonic"),
    ]
    .map(|(machine, bug, property)| (machine.with(bug), property))
    .to_vec()
}

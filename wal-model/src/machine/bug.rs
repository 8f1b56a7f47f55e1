//! Faults that can be switched on, to see which property finds them.

/// A deliberate fault of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bug {
    /// The protocol as it is.
    #[default]
    None,
    /// Activation opens the tail before it stores the segment's place.
    PlaceAfterTail,
    /// Activation opens the tail before it resets the fill.
    FillAfterTail,
    /// Activation opens the tail before it resets the stripes.
    StripesAfterTail,
    /// A writer takes base and salt before its addition, not after.
    BaseBeforeAddition,
    /// A sealer takes its sequence from the `current` it saw, not from the word it closed.
    SequenceFromCurrent,
    /// A sealer declares the segment complete whatever is still being copied.
    StragglersForgotten,
    /// A sealer counts what is in a stripe, and does not say so to those who add to it later.
    SweptInSilence,
    /// A writer that finds its stripe counted leaves it at that.
    CommitTooLate,
    /// A writer that finds a segment closed says that the one which is current now is full.
    FullMisplaced,
    /// A sealer adds the bias before it says where the segment ended and what follows.
    BiasFirst,
    /// A sealer hands over although it was not the last to leave.
    HandOverTwice,
    /// The leader closes the active segment with a store, not an exchange.
    ClosedByStore,
    /// A reservation one record past the end is granted.
    OnePastTheEnd,
    /// A record is committed first and copied then.
    CommitBeforeCopy,
    /// A reservation that is dropped is never committed.
    VoidNotCommitted,
    /// A sealer activates the next segment without arriving at its gate.
    GateSkipped,
    /// Whoever arrives second at a gate leaves the activation to the other, too.
    GateShut,
    /// `current` is stored, not raised.
    CurrentStored,
    /// A writer that came by a stale path does not raise `current`.
    StaleGrant,
    /// A segment is freed when its write is submitted, not when it is done.
    RecycledAtSubmission,
    /// The written watermark follows the last finished write over unfinished ones.
    WatermarkOverGap,
    /// What is published after a sync is what is submitted, not what was written.
    DurableOvertakes,
    /// A waiter for durability is content with written.
    AckBeforeSync,
    /// A direct frame is written as soon as it is claimed, not when its turn comes.
    DirectOutOfOrder,
    /// A direct frame that is given up leaves no word.
    GivenUpInSilence,
    /// After a failed sync the leader tries again.
    PoisonForgotten,
    /// Who hands a segment over tells nobody.
    HandOverUntold,
    /// Publishing stores the durable watermark that the round began with.
    WatermarkFallsBack,
    /// A sealer says that the next segment starts where the frame behind its own does.
    DirectUncounted,
    /// A refusal of the sink leaves those asleep who were registered.
    RefusalUntold,
    /// Who led to start what is complete calls nobody to lead after it.
    StartedInSilence,
    /// Where each write is durable by itself, a sync says so of those in flight, too.
    DurableInFlight,
}

impl Bug {
    /// Every fault.
    pub const ALL: [Self; 32] = [
        Self::PlaceAfterTail,
        Self::FillAfterTail,
        Self::StripesAfterTail,
        Self::BaseBeforeAddition,
        Self::SequenceFromCurrent,
        Self::StragglersForgotten,
        Self::SweptInSilence,
        Self::CommitTooLate,
        Self::FullMisplaced,
        Self::BiasFirst,
        Self::HandOverTwice,
        Self::ClosedByStore,
        Self::OnePastTheEnd,
        Self::CommitBeforeCopy,
        Self::VoidNotCommitted,
        Self::GateSkipped,
        Self::GateShut,
        Self::CurrentStored,
        Self::StaleGrant,
        Self::RecycledAtSubmission,
        Self::WatermarkOverGap,
        Self::DurableOvertakes,
        Self::AckBeforeSync,
        Self::DirectOutOfOrder,
        Self::GivenUpInSilence,
        Self::PoisonForgotten,
        Self::HandOverUntold,
        Self::WatermarkFallsBack,
        Self::DirectUncounted,
        Self::RefusalUntold,
        Self::StartedInSilence,
        Self::DurableInFlight,
    ];
}

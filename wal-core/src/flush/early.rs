//! Starting a segment's write as soon as the segment is complete, on the thread that completed it.
//!
//! Where the sink starts writes without waiting for them, that thread takes the lead for a moment if
//! nobody has it: it submits what is complete, takes in what has ended, and hands on. So segments are
//! on their way while writers go on, and whoever waits later finds the work begun. It waits for
//! nothing, neither for a write nor for a file to be made, and seals nothing.

use super::drive::{Failure, Lead};
use super::pipeline::Pipeline;
use crate::probe::Probe;
use crate::segment::place::Place;
use crate::shared::Shared;
use crate::sink::SegmentSink;
use crate::sync::{Arc, lock};

impl<S: SegmentSink, P: Probe> Shared<S, P> {
    /// Starts what is complete, and hands on. Does not wait.
    pub(super) fn start_writes(self: &Arc<Self>, pipeline: Box<Pipeline>) {
        let mut lead = Lead::new(self, pipeline);
        lead.start_writes();
        if let Some(pipeline) = lead.into_pipeline() {
            self.hand_on(pipeline);
        }
    }
}

impl<S: SegmentSink, P: Probe> Lead<'_, S, P> {
    /// Starts what is complete and takes in what has ended, again while there is progress.
    fn start_writes(&mut self) {
        self.may_wait = false;
        while !self.shared.is_poisoned() {
            match self.try_start_writes() {
                Ok(true) => {}
                Ok(false) | Err(Failure::Harmless(_)) => return,
                Err(Failure::Fatal(cause)) => {
                    self.drain();
                    self.shared.poison(cause);
                }
            }
        }
    }

    /// Returns whether there was progress.
    fn try_start_writes(&mut self) -> Result<bool, Failure> {
        let shared = self.shared;
        let durable_goal = lock(&shared.desk).waiters.durable_goal();
        match self.submit_ready(None) {
            Err(fatal @ Failure::Fatal(_)) => return Err(fatal),
            // What was refused, whoever waits for it tries again, and is told.
            Ok(_) | Err(Failure::Harmless(_)) => {}
        }
        self.reap(false)?;
        let mut progressed = self.advance();
        if shared.sink.durable_writes() {
            progressed |= self.sync()?;
        }
        self.settle(None, durable_goal);
        Ok(progressed)
    }

    /// Whether a frame can be submitted at `place` without waiting for a file to be made.
    pub(super) fn is_at_hand(&mut self, place: &Place) -> bool {
        let pipeline = self.pipeline();
        let begun = place.file == pipeline.file.sequence;
        pipeline.start.is_none() && (begun || self.shared.sink.spares().prepared > 0)
    }
}

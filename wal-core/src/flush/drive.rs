//! Leading: wait for company, seal late, write, sync, publish, recycle, hand on.

use super::direct::DirectFrame;
use super::pipeline::Pipeline;
use super::siblings;
use super::submit::Halt;
use super::waiters::Need;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::observe::{Operation, Outcome};
use crate::probe::{Event, Probe};
use crate::segment::Duty;
use crate::shared::Shared;
use crate::sink::{SegmentSink, SinkError, SinkOp};
use crate::sync::lock;

/// Where driving ended.
#[derive(Debug)]
pub(super) enum Step {
    /// The need is met.
    Satisfied,
    /// Nothing can be done until a segment is handed over, or the owner of a direct frame writes it.
    Blocked(Halt),
    /// Something failed without harm; the need is not met.
    Refused(Error),
    /// The log is poisoned.
    Poisoned,
}

/// The lead: whoever holds it has the pipeline. Dropping it in a panic poisons the log, since a
/// sink that panicked has left its writes in an unknown state.
pub(super) struct Lead<'a, S: SegmentSink, P: Probe> {
    pub(super) shared: &'a Shared<S, P>,
    pipeline: Option<Box<Pipeline>>,
    /// Whether it may wait for the sink.
    pub(super) may_wait: bool,
}

impl<S: SegmentSink, P: Probe> Drop for Lead<'_, S, P> {
    fn drop(&mut self) {
        if let Some(pipeline) = self.pipeline.take() {
            // Only a panic comes here with the pipeline. Poisoned first, so that nobody leads.
            let source = std::io::Error::other("a panic while flushing");
            self.shared.poison(SinkError::of(SinkOp::Panic, source));
            self.shared.put_back(&mut lock(&self.shared.desk), pipeline);
        }
    }
}

impl<'a, S: SegmentSink, P: Probe> Lead<'a, S, P> {
    pub(super) fn new(shared: &'a Shared<S, P>, pipeline: Box<Pipeline>) -> Self {
        Self { shared, pipeline: Some(pipeline), may_wait: true }
    }

    /// Gives the pipeline back without a word; the caller tells the desk.
    pub(super) fn into_pipeline(mut self) -> Option<Box<Pipeline>> {
        self.pipeline.take()
    }

    /// Drives until `need` is met (without one: until nothing is left to do).
    pub(super) fn drive(&mut self, need: Option<Need>, direct: Option<&DirectFrame<'_>>) -> Step {
        loop {
            match self.round(need, direct) {
                Ok(Some(step)) => return step,
                Ok(None) => {}
                Err(Failure::Harmless(source)) => return Step::Refused(Error::from(source)),
                Err(Failure::Fatal(cause)) => {
                    self.drain();
                    self.shared.poison(cause);
                    return Step::Poisoned;
                }
            }
        }
    }

    /// One round; `None` means that there was progress and it is worth looking again.
    fn round(
        &mut self,
        need: Option<Need>,
        direct: Option<&DirectFrame<'_>>,
    ) -> Result<Option<Step>, Failure> {
        let shared = self.shared;
        if shared.is_poisoned() {
            return Ok(Some(Step::Poisoned));
        }
        if need.is_some_and(|need| shared.progress().satisfies(need)) {
            return Ok(Some(Step::Satisfied));
        }
        self.await_siblings(need);
        let (goal, durable_goal) = self.gather(need);
        // Who leads sees for itself what it handed over.
        let may_rotate = || !shared.is_poisoned();
        let Duty { activated, .. } = shared.ring.seal_active(goal, may_rotate, shared.lend());

        if activated {
            shared.wake_satisfied(need);
        }

        // A refusal (disk full) waits until what is written already has served whom it can.
        let (halt, refusal) = match self.submit_ready(direct) {
            Ok(halt) => (halt, None),
            Err(Failure::Harmless(source)) => (Halt::Incomplete, Some(source)),
            Err(fatal) => return Err(fatal),
        };
        // While the oldest is not done, there is nothing else to do.
        let wait = self.pipeline().in_flight.front().is_some_and(|flight| !flight.done);
        self.reap(wait)?;
        let mut progressed = self.advance();
        // One sync for all that is complete, unless each write is durable as it is: not while there
        // is more in flight, or to submit.
        let gathered = self.pipeline().in_flight.is_empty()
            && (halt != Halt::Depth || shared.written() >= durable_goal);
        if durable_goal > shared.durable() && (gathered || shared.sink.durable_writes()) {
            progressed |= self.sync()?;
        }
        self.settle(need, durable_goal);
        if progressed || !self.pipeline().in_flight.is_empty() {
            return Ok(None);
        }
        if need.is_some_and(|need| shared.progress().satisfies(need)) {
            return Ok(Some(Step::Satisfied));
        }
        match refusal {
            Some(source) => Err(Failure::Harmless(source)),
            None => Ok(Some(Step::Blocked(halt))),
        }
    }

    /// What all who wait now want written, and durable.
    fn gather(&self, need: Option<Need>) -> (Lsn, Lsn) {
        let mut desk = lock(&self.shared.desk);
        desk.news = false;
        let (mut written, mut durable) = (desk.waiters.written_goal(), desk.waiters.durable_goal());
        match need {
            Some(Need::Durable(lsn)) => durable = durable.max(lsn),
            Some(Need::Written(lsn)) => written = written.max(lsn),
            _ => {}
        }
        written = written.max(durable);
        self.shared.ring.probe().event(Event::Gather { written, durable });
        (written, durable)
    }

    #[expect(clippy::expect_used, reason = "present throughout `drive`, the only caller's caller")]
    pub(super) fn pipeline(&mut self) -> &mut Pipeline {
        self.pipeline.as_mut().expect("the lead holds the pipeline")
    }

    /// Says how far the log is written; returns whether that is further than before.
    pub(super) fn advance(&mut self) -> bool {
        let shared = self.shared;
        let written = self.pipeline().advance();
        if let Some(written) = written {
            shared.publish(written, shared.durable());
        }
        written.is_some()
    }

    /// Makes everything written durable and says so; returns whether there was anything to do.
    pub(super) fn sync(&mut self) -> Result<bool, Failure> {
        let shared = self.shared;
        let written = shared.written();
        if written == shared.durable() {
            return Ok(false);
        }
        let span = shared.observer.begin(Operation::Sync { from: shared.durable(), to: written });
        let took = shared.counters.time(|| shared.sink.sync()).map_err(Failure::Fatal)?;
        shared.counters.sync();
        shared.observer.end(span, Outcome::Synced { counters: &shared.counters, took });
        shared.ring.probe().event(Event::Sync { lsn: written });
        shared.publish(written, written);
        // Every frame before those of this file is written, and synced.
        shared.seal(self.pipeline().oldest_file());
        Ok(true)
    }

    /// Frees the segments that nobody wants durable any more, and wakes who is satisfied.
    pub(super) fn settle(&mut self, need: Option<Need>, durable_goal: Lsn) {
        let shared = self.shared;
        let durable = shared.durable();
        while let Some(&held) = self.pipeline().held.front() {
            if held.end > durable && durable_goal > held.base {
                break;
            }
            self.pipeline().held.pop_front();
            // Whether this activated a segment shows in `progress` below.
            let _ = shared.ring.recycle(held.sequence, held.slot, shared.lend());
        }
        if let Some(present) = shared.wake_satisfied(need) {
            self.pipeline().siblings.served(present);
        }
        // Last, since starting the preparation takes its time, and everyone served is on their way.
        // Not while the present file waits for room: the next one would take it.
        if self.pipeline().start.is_none() && std::mem::take(&mut self.pipeline().prepare) {
            shared.sink.prepare(self.pipeline().file.sequence + 1, shared.ring.layout().file);
        }
    }
}

/// How a step of the sink failed.
pub(crate) enum Failure {
    /// Nothing was lost; it can be tried again.
    Harmless(SinkError),
    /// Data may be lost: poison.
    Fatal(SinkError),
}

impl<S: SegmentSink, P: Probe> Shared<S, P> {
    /// Wakes whom progress satisfies. If that is somebody, or the leader by its `need`, returns how
    /// many were waiting for their records until now.
    fn wake_satisfied(&self, need: Option<Need>) -> Option<usize> {
        let progress = self.progress();
        let mut desk = lock(&self.desk);
        let present = siblings::present(&desk.waiters, need);
        let woken = desk.waiters.take_satisfied(progress);
        drop(desk);
        let served = !woken.is_empty() || need.is_some_and(|need| progress.satisfies(need));
        self.wake(woken);
        served.then_some(present)
    }
}

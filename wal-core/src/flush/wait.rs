//! Waiting, asleep or as a future, and leading where nobody does.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::desk::{Desk, Turn};
use super::direct::DirectFrame;
use super::drive::{Lead, Step};
use super::pipeline::Pipeline;
use super::submit::Halt;
use super::waiters::{Need, Ticket};
use crate::error::Error;
use crate::probe::{Event, Probe};
use crate::segment::Duty;
use crate::shared::{Lifecycle, Shared};
use crate::sink::SegmentSink;
use crate::sync::{Arc, Parker, Weak, lock};

impl<S: SegmentSink, P: Probe> Shared<S, P> {
    /// How the wait for `need` ends, if it is over.
    fn outcome(&self, need: Need) -> Option<Result<(), Error>> {
        if self.progress().satisfies(need) {
            return Some(Ok(()));
        }
        match (self.lifecycle(), need) {
            (Lifecycle::Closing, Need::Space(_)) => Some(Err(Error::Closed)),
            // What was reserved before the close is still written and synced.
            (Lifecycle::Open | Lifecycle::Closing, _) => None,
            (Lifecycle::Closed | Lifecycle::Poisoned, _) => self.refusal().map(Err),
        }
    }

    /// Blocks until `need` is met, leading whenever nobody else does. `direct` is the frame that
    /// the caller owns, if its need is [`Need::Direct`].
    pub(crate) fn wait(
        self: &Arc<Self>,
        need: Need,
        direct: Option<&DirectFrame<'_>>,
    ) -> Result<(), Error> {
        if let Some(over) = self.outcome(need) {
            return over;
        }
        let parker = Parker::current();
        let refusals = lock(&self.desk).refusals;
        let mut ticket = None;
        loop {
            let mut pipeline = match self.turn_of(need, refusals, ticket.take(), parker.waker()) {
                Turn::Over(result) => return result,
                Turn::Lead(pipeline) => pipeline,
                Turn::Registered(registered) => {
                    ticket = Some(registered);
                    match need {
                        // Over in a moment: the operating system has to be told, and no disk.
                        Need::Written(_) => parker.park_late(),
                        _ => parker.park(),
                    }
                    continue;
                }
            };
            loop {
                let mut lead = Lead::new(self, pipeline);
                let step = lead.drive(Some(need), direct);
                let Some(back) = lead.into_pipeline() else { break };
                match step {
                    Step::Blocked(halt) => {
                        match self.step_down(back, halt, Some((need, parker.waker()))) {
                            Ok(registered) => {
                                ticket = registered;
                                parker.park();
                                break;
                            }
                            Err(again) => pipeline = again,
                        }
                    }
                    Step::Refused(error) => {
                        self.refuse(back, &error);
                        return Err(error);
                    }
                    Step::Satisfied | Step::Poisoned => {
                        self.hand_on(back);
                        break;
                    }
                }
            }
        }
    }

    /// [`wait`](Self::wait) for a frame of the caller's own. If that ends before the frame is
    /// written, its range is given up, so that it holds up nobody.
    pub(crate) fn wait_direct(self: &Arc<Self>, frame: &DirectFrame<'_>) -> Result<(), Error> {
        let result = self.wait(frame.need(), Some(frame));
        if result.is_err() {
            self.abandon(frame);
        }
        result
    }

    /// Gives up the range of a frame that was claimed and not written.
    pub(crate) fn abandon(self: &Arc<Self>, frame: &DirectFrame<'_>) {
        let mut desk = lock(&self.desk);
        desk.abandoned.push(frame.claim.sequence);
        desk.news = true;
        let next = match desk.pipeline {
            Some(_) => self.choose_next(&mut desk),
            None => Next::Wake(Vec::new()),
        };
        drop(desk);
        self.appoint(next);
    }

    /// One critical section: is it over, may I lead, or else register.
    fn turn_of(&self, need: Need, refusals: u64, old: Option<Ticket>, waker: &Waker) -> Turn {
        let mut desk = lock(&self.desk);
        if let Some(old) = old {
            desk.waiters.deregister(old);
        }
        if let Some(over) = self.outcome(need) {
            return Turn::Over(over);
        }
        if let Some(error) = desk.refused_since(refusals) {
            return Turn::Over(Err(error));
        }
        self.ring.probe().event(need.event());
        match self.take_lead(&mut desk) {
            Some(pipeline) => Turn::Lead(pipeline),
            None => Turn::Registered(desk.register(need, waker, true)),
        }
    }

    /// Takes the pipeline, if it is there.
    fn take_lead(&self, desk: &mut Desk) -> Option<Box<Pipeline>> {
        let pipeline = desk.lead();
        if pipeline.is_some() {
            self.ring.probe().event(Event::Lead);
        }
        pipeline
    }

    /// Puts the pipeline back.
    pub(super) fn put_back(&self, desk: &mut Desk, pipeline: Box<Pipeline>) {
        desk.pipeline = Some(pipeline);
        self.ring.probe().event(Event::StepDown);
    }

    /// Puts the pipeline back because nothing can be done just now, and registers `waiter` in the
    /// same critical section, unless there is something to do after all.
    fn step_down(
        &self,
        pipeline: Box<Pipeline>,
        halt: Halt,
        waiter: Option<(Need, &Waker)>,
    ) -> Result<Option<Ticket>, Box<Pipeline>> {
        let mut desk = lock(&self.desk);
        if desk.news {
            return Err(pipeline);
        }
        self.put_back(&mut desk, pipeline);
        let ticket = waiter.map(|(need, waker)| {
            self.ring.probe().event(need.event());
            desk.register(need, waker, true)
        });
        // Its owner is registered, or about to look for the pipeline and find it.
        let owner = match halt {
            Halt::Direct(sequence) => desk.waiters.take_direct(sequence),
            Halt::Depth | Halt::Incomplete => None,
        };
        drop(desk);
        self.wake(owner.into_iter().collect());
        Ok(ticket)
    }

    /// Puts the pipeline back and has one who wants it lead next.
    pub(super) fn hand_on(self: &Arc<Self>, pipeline: Box<Pipeline>) {
        let mut desk = lock(&self.desk);
        self.put_back(&mut desk, pipeline);
        let next = self.choose_next(&mut desk);
        drop(desk);
        self.appoint(next);
    }

    /// Who leads next, now that nobody does. A task that is woken need not be polled soon, or ever:
    /// so the lead is never entrusted to a single future.
    fn choose_next(&self, desk: &mut Desk) -> Next {
        if let Some(thread) = desk.waiters.take_thread() {
            return Next::Wake(vec![thread]);
        }
        if self.executor.is_none() {
            // Tasks can lead only where the sink does not block, and then any of them.
            return Next::Wake(desk.take_everybody());
        }
        if !desk.waiters.is_empty() && desk.may_ask() {
            return Next::Executor;
        }
        Next::Wake(Vec::new())
    }

    fn appoint(self: &Arc<Self>, next: Next) {
        match next {
            Next::Wake(wakers) => self.wake(wakers),
            Next::Executor => self.ask_executor(),
        }
    }

    /// Puts the pipeline back and ends everyone's wait with `error`.
    fn refuse(&self, pipeline: Box<Pipeline>, error: &Error) {
        let mut desk = lock(&self.desk);
        self.put_back(&mut desk, pipeline);
        desk.refusals += 1;
        desk.refusal = Some(error.clone());
        let woken = desk.take_everybody();
        drop(desk);
        self.wake(woken);
    }

    /// Does what a writer's step obliges it to: tells who waits for space, and who flushes (with
    /// an executor, that one).
    #[inline]
    pub(crate) fn fulfil(self: &Arc<Self>, duty: Duty) {
        if duty != Duty::NONE {
            self.tell(duty);
        }
    }

    #[cold]
    fn tell(self: &Arc<Self>, duty: Duty) {
        let mut desk = lock(&self.desk);
        let mut woken = Vec::new();
        let mut next = Next::Wake(Vec::new());
        let mut lead = None;
        if duty.activated {
            woken = desk.waiters.take_satisfied(self.progress());
        }
        if duty.handed_over {
            if desk.pipeline.is_none() {
                desk.news = true;
            } else if desk.waiters.is_empty() && self.executor.is_some() && desk.may_ask() {
                // Even if nobody waits: that is what an executor is for.
                next = Next::Executor;
            } else if self.sink.starts_writes() && !std::thread::panicking() {
                lead = self.take_lead(&mut desk);
            } else {
                next = self.choose_next(&mut desk);
            }
        }
        drop(desk);
        self.wake(woken);
        match lead {
            Some(pipeline) => self.start_writes(pipeline),
            None => self.appoint(next),
        }
    }
}

/// What is to be done so that somebody leads.
enum Next {
    /// Wake these.
    Wake(Vec<Waker>),
    /// Ask the executor.
    Executor,
}

/// The future behind every asynchronous wait. Cancel-safe: dropping it deregisters, and there is
/// no wake-up to pass on, since no future is ever counted on to lead (see `choose_next`).
pub(crate) struct Waiting<S: SegmentSink, P: Probe> {
    shared: Arc<Shared<S, P>>,
    need: Need,
    ticket: Option<Ticket>,
    /// Refusals and dropped jobs when the wait began.
    seen: Option<(u64, u64)>,
}

impl<S: SegmentSink, P: Probe> Waiting<S, P> {
    pub(crate) fn new(shared: Arc<Shared<S, P>>, need: Need) -> Self {
        Self { shared, need, ticket: None, seen: None }
    }
}

impl<S: SegmentSink, P: Probe> Future for Waiting<S, P> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut desk = lock(&this.shared.desk);
        if let Some(old) = this.ticket.take() {
            desk.waiters.deregister(old);
        }
        let now = (desk.refusals, desk.dropped_jobs);
        let (refusals, dropped_jobs) = *this.seen.get_or_insert(now);
        if let Some(over) = this.shared.outcome(this.need) {
            return Poll::Ready(over);
        }
        if let Some(error) = desk.refused_since(refusals) {
            return Poll::Ready(Err(error));
        }
        if desk.dropped_jobs > dropped_jobs {
            return Poll::Ready(Err(Error::NoExecutor));
        }
        this.shared.ring.probe().event(this.need.event());
        this.ticket = Some(desk.register(this.need, cx.waker(), false));
        let ask = desk.may_ask();
        drop(desk);
        if ask {
            this.shared.ask_executor();
        }
        Poll::Pending
    }
}

impl<S: SegmentSink, P: Probe> Drop for Waiting<S, P> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            lock(&self.shared.desk).waiters.deregister(ticket);
        }
    }
}

/// A job of the executor. It does not keep the log open. Dropped without being run, it ends the
/// wait of every future, since nobody else may come to do its work, and wakes the threads to do it.
struct Job<S: SegmentSink, P: Probe>(Option<Weak<Shared<S, P>>>);

impl<S: SegmentSink, P: Probe> Drop for Job<S, P> {
    fn drop(&mut self) {
        let Some(shared) = self.0.take().and_then(|shared| shared.upgrade()) else { return };
        let mut desk = lock(&shared.desk);
        desk.job_pending = false;
        desk.dropped_jobs += 1;
        let woken = desk.take_everybody();
        drop(desk);
        shared.wake(woken);
    }
}

impl<S: SegmentSink, P: Probe> Shared<S, P> {
    /// Has the flush driven where blocking is allowed; `job_pending` is set. Without an executor
    /// (the sink does not block, or no future would have been made) it runs right here.
    fn ask_executor(self: &Arc<Self>) {
        let mut job = Job(Some(Arc::downgrade(self)));
        let mut run = move || {
            if let Some(shared) = job.0.take().and_then(|shared| shared.upgrade()) {
                shared.run_job();
            }
        };
        match &self.executor {
            Some(executor) => executor.execute(Box::new(run)),
            None => run(),
        }
    }

    /// Writes what is complete, if nobody leads and without waiting for writers.
    pub(crate) fn flush_if_idle(&self) {
        let Some(pipeline) = self.take_lead(&mut lock(&self.desk)) else { return };
        let mut lead = Lead::new(self, pipeline);
        let _ = lead.drive(Some(Need::Written(self.ring.next_lsn())), None);
        if let Some(pipeline) = lead.into_pipeline() {
            self.put_back(&mut lock(&self.desk), pipeline);
        }
    }

    /// Gives back the unused end of the file that a closed log ends in.
    pub(crate) fn trim(&self) -> Result<(), Error> {
        let align = self.ring.layout().align;
        let end = lock(&self.desk).pipeline.as_ref().map(|pipeline| {
            let file = pipeline.file();
            (file.sequence, file.offset_of(pipeline.end().align_up(align)))
        });
        match end {
            Some((file, len)) => self.sink.trim(file, len).map_err(Error::from),
            // A job of the executor is just looking; the file stays as long as it is.
            None => Ok(()),
        }
    }

    /// Leads until there is nothing left to do.
    fn run_job(self: &Arc<Self>) {
        let mut desk = lock(&self.desk);
        desk.job_pending = false;
        let Some(mut pipeline) = self.take_lead(&mut desk) else { return };
        drop(desk);
        loop {
            let mut lead = Lead::new(self, pipeline);
            let step = lead.drive(None, None);
            let Some(back) = lead.into_pipeline() else { return };
            match step {
                Step::Blocked(halt) => match self.step_down(back, halt, None) {
                    Ok(_) => return,
                    Err(again) => pipeline = again,
                },
                Step::Refused(error) => return self.refuse(back, &error),
                Step::Satisfied | Step::Poisoned => return self.hand_on(back),
            }
        }
    }
}

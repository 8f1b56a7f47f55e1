//! The desk: the pipeline, when nobody leads, and the waiters.

use std::task::Waker;

use super::pipeline::Pipeline;
use super::waiters::{Need, Ticket, Waiters};
use crate::error::Error;

/// What the mutex guards. Nothing here blocks, and wakers are called outside.
pub(crate) struct Desk {
    /// The right to flush; absent while somebody leads.
    pub(super) pipeline: Option<Box<Pipeline>>,
    pub(super) waiters: Waiters,
    /// A segment was handed over or a waiter registered, and whoever leads has not looked since.
    pub(super) news: bool,
    /// Segments whose direct frame was given up by its owner before it was written.
    pub(super) abandoned: Vec<u64>,
    /// A job is with the executor and has not started.
    pub(super) job_pending: bool,
    /// How many jobs the executor dropped without running them.
    pub(super) dropped_jobs: u64,
    /// How often a leader was refused without harm (disk full), and the last refusal: it resolves
    /// everyone who waited then.
    pub(super) refusals: u64,
    pub(super) refusal: Option<Error>,
}

/// What whoever waits gets from the desk.
pub(super) enum Turn {
    /// The wait is over.
    Over(Result<(), Error>),
    /// You lead.
    Lead(Box<Pipeline>),
    /// You are registered; sleep.
    Registered(Ticket),
}

impl Desk {
    pub(crate) fn new(pipeline: Box<Pipeline>) -> Self {
        Self {
            pipeline: Some(pipeline),
            waiters: Waiters::default(),
            news: false,
            abandoned: Vec::new(),
            job_pending: false,
            dropped_jobs: 0,
            refusals: 0,
            refusal: None,
        }
    }

    /// Takes the pipeline, if it is there.
    pub(super) fn lead(&mut self) -> Option<Box<Pipeline>> {
        let pipeline = self.pipeline.take();
        if pipeline.is_some() {
            self.news = false;
        }
        pipeline
    }

    /// Whether to ask the executor to lead: nobody does and nobody was asked. If so, it counts as
    /// asked.
    pub(super) fn may_ask(&mut self) -> bool {
        let ask = self.pipeline.is_some() && !self.job_pending;
        self.job_pending |= ask;
        ask
    }

    /// Whether the frame behind segment `sequence` was given up; says so once.
    pub(super) fn take_abandoned(&mut self, sequence: u64) -> bool {
        let found = self.abandoned.iter().position(|&abandoned| abandoned == sequence);
        found.map(|index| self.abandoned.swap_remove(index)).is_some()
    }

    /// The refusal that a wait begun after `seen` refusals ends with.
    pub(super) fn refused_since(&self, seen: u64) -> Option<Error> {
        if self.refusals > seen { self.refusal.clone() } else { None }
    }

    /// Registers a waiter that found its need unmet in this same critical section.
    pub(super) fn register(&mut self, need: Need, waker: &Waker, thread: bool) -> Ticket {
        self.news = true;
        self.waiters.register(need, waker, thread)
    }

    /// Removes everybody for whom anything is to be done, to be woken.
    pub(super) fn take_everybody(&mut self) -> Vec<Waker> {
        self.waiters.take_all()
    }

    /// Removes everybody, readers at the end of the log included: it takes no further steps.
    pub(crate) fn take_all(&mut self) -> Vec<Waker> {
        let mut woken = self.waiters.take_all();
        woken.append(&mut self.waiters.take_tails());
        woken
    }

    /// Removes the readers at the end of the log.
    pub(crate) fn take_tails(&mut self) -> Vec<Waker> {
        self.waiters.take_tails()
    }
}

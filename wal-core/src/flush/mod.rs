//! The sink's side: whoever waits drives sealed segments to the sink, in order.
//!
//! There is no flush thread. A thread that needs something (durability, space) takes the
//! *pipeline* if nobody has it and drives until its need is met: it gives those a moment who
//! committed with the last group; seals late, so that everything reserved up to then joins its
//! group; writes what is complete, in order; syncs once; publishes the watermark; wakes those it
//! satisfied; and hands the pipeline on to one who is not satisfied yet. Everyone else sleeps. Where
//! writes can be started without waiting for them, whoever completes a segment does that
//! [at once](self::early).
//!
//! Holding the pipeline *is* leading: it lives in the [`desk`](self) under a mutex that is held
//! for a few instructions and never across I/O, together with the registered waiters. That makes
//! lost wake-ups impossible by construction:
//!
//! - a waiter registers in the same critical section in which it finds the pipeline taken;
//! - a leader publishes first and collects the satisfied waiters in a critical section after that,
//!   and a waiter checks the watermark inside its own before it registers;
//! - a leader that is stuck behind a writer still copying puts the pipeline back in the critical
//!   section in which it registers, unless a segment was handed over since it last looked; whoever
//!   hands a segment over either finds the pipeline there and wakes a successor, or leaves word.

mod cut;
mod desk;
mod direct;
mod drive;
mod early;
mod pipeline;
mod siblings;
mod submit;
mod tail;
mod wait;
mod waiters;

pub(crate) use desk::Desk;
pub(crate) use direct::{DirectFrame, batch_kind, payload_len, stored_len};
pub(crate) use drive::Failure;
pub(crate) use pipeline::Pipeline;
pub(crate) use wait::Waiting;
pub(crate) use waiters::{Need, Progress, Ticket};

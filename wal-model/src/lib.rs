//! The log's core as a state machine, every state of which is looked at.
//!
//! The steps are the single accesses of `wal-core`'s ring to what threads share, and the words
//! change by the very functions that the ring uses ([`wal_core::segment::word`],
//! [`wal_core::segment::place`]): there is no second copy of those. What surrounds them (the order
//! of the accesses, the leader's rounds) is copied by hand, and has to be kept in step.
//!
//! # What is modelled
//!
//! - Writers: load `current`, look at the tail, add to it, load base and salt, copy, add to the
//!   fill, tell of a hand-over, wait. Stale writers may reserve in a later life of a slot.
//! - Sealers and activation, store by store, racing at the gate.
//! - The leader: rounds with the goal of those registered, sealing by exchange, submission in order
//!   up to a depth, completion in any order, publishing, syncing, recycling; it sleeps unless there
//!   is news, so that a wake-up of the leader that is lost shows as a run that is stuck.
//! - Direct frames, written in their turn or given up; reservations dropped unfilled.
//! - A write or a sync that fails, after which no later sync helps what was not durable.
//! - A crash in any state, with any subset of what was not durable, and recovery's rule for the
//!   valid prefix.
//!
//! # What is not
//!
//! Weak memory: steps are sequentially consistent. The four words of a place are loaded and stored
//! as one, and the salt with them. There is one leader, distinct from the writers, as with an
//! executor: that the lead passes among waiters, and that wakers reach those whose need is met, is
//! not modelled (a waiter looks for itself). Nor are full disks, closing, `next_lsn`, the bytes of
//! the format, a second life after recovery, or the wrap of a word's generation.
//!
//! # Which claim rests on what
//!
//! `always` properties are exact. `NobodyIsStuck` is exact for "every call returns, unless the log
//! goes round in circles", and a search to the end of all states with `eventually` properties
//! (`WriteCompletion`, `EveryWaiterResolves`) sees the ends of runs only; nothing here goes round
//! in circles, since each step of a writer advances it, or rests on the step of another (that is an
//! argument, not a check). That
//! nothing holds for want of trying is what the `sometimes` properties and the [faults](machine::Bug)
//! are for.
//!
//! # Running it
//!
//! `cargo test -p wal-model` takes seconds and includes the small machines and all faults;
//! `cargo run -p wal-model --release -- check --large` takes minutes; `-- explore` opens the states
//! to a browser.

pub mod bugs;
pub mod machine;
pub mod report;
pub mod suite;

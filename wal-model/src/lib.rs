//! The log's core as a state machine, every state of which is looked at.
//!
//! The steps are the single accesses of `wal-core`'s ring to what threads share, and the words
//! change by the very functions that the ring uses ([`wal_core::segment::word`],
//! [`wal_core::segment::place`]): there is no second copy of those. What surrounds them (the order
//! of the accesses, the leader's rounds) is copied by hand, and has to be kept in step.
//!
//! # What is modelled
//!
//! - Writers: load `current`, look at the tail, add to it, load base and salt, raise `current` if
//!   they came by a stale path, copy, add to the fill, tell of a hand-over. Stale writers may
//!   reserve in a later life of a slot.
//! - Waits: the loads of `next_lsn`, then registering, then the wait; a wait for one's own record
//!   looks at the watermark first.
//! - Sealers and activation, store by store, racing at the gate.
//! - The leader: rounds with the goal of those registered, sealing by exchange, submission in order
//!   up to a depth, completion in any order, publishing, syncing, recycling; it sleeps unless there
//!   is news, so that a wake-up of the leader that is lost shows as a run that is stuck. On a sink
//!   that starts writes, it first starts what is complete, without waiting, and syncs beside writes in
//!   flight.
//! - Direct frames, written in their turn or given up; reservations dropped unfilled.
//! - Closing: refusing appends, the last claim, the mark behind what is durable.
//! - A write or a sync that fails, after which no later sync helps what was not durable; a file that
//!   the sink refuses to create, once, which ends the waits of that time and nothing else.
//! - A crash in any state, with any subset of what was not durable, and recovery's rule for the
//!   valid prefix.
//!
//! # What is merged, and why nobody can tell
//!
//! - The four words of a place are loaded and stored as one, and the salt with them: they are
//!   published by a word that is stored later, or loaded by one who keeps their life from ending.
//!   `next_lsn` alone loads the base without that, and nothing but the base.
//! - A writer's loads of base, sequence and salt are one step: its own grant keeps them as they are.
//! - Loads whose result is not used are left out (`next_lsn` loads them all, and uses some).
//! - Whoever spins or yields in `next_lsn` sleeps until another pass can come to something.
//! - A critical section of the desk is one step. A wait begins and registers in the same step: who
//!   is between the two when everybody is refused is refused by the log, and by the model if it has
//!   registered.
//! - Publishing both watermarks is one step: who sees the first alone sees what it may see.
//!
//! # What is not
//!
//! Weak memory: steps are sequentially consistent (loom looks at that, see below). There is one
//! leader, distinct from the writers, as with an executor: that the lead passes among waiters, and that wakers reach those whose need
//! is met, is not modelled (a waiter looks for itself). A writer that the closing log refuses makes
//! no further call. Nor are the bytes of the format, `flush` and marks that do not close, a second
//! life after recovery, or the wrap of a word's generation.
//!
//! # Which claim rests on what
//!
//! `always` properties are exact. `NobodyIsStuck` is exact for "every call returns, unless the log
//! goes round in circles", and a search to the end of all states with `eventually` properties
//! (`WriteCompletion`, `EveryWaiterResolves`) sees the ends of runs only; nothing here goes round
//! in circles, since each step of a writer advances it, or rests on the step of another (that is an
//! argument, not a check). `RotationProgress` is checked where nothing moves any more, too. That
//! nothing holds for want of trying is what the `sometimes` properties and the [faults](machine::Bug)
//! are for.
//!
//! # The running log, held against the model
//!
//! What a [probe](wal_core::probe) hears of threads at work can be [replayed](trace): the run is
//! allowed if the model's own steps can tell the same. So the order of the accesses, which is copied
//! by hand, does not drift from the code unseen. A trace shows what is told, and only in the
//! schedules that happened: a fault that tells nothing, or shows in a window of a few instructions,
//! is for the other tools.
//!
//! # Memory orderings
//!
//! They are checked on the code itself, with loom (`wal-core/tests/loom_*.rs`): the ring
//! with 2 or 3 small segments and up to 3 threads, the parker, and a whole log with 2 threads over a
//! sink in memory. Every load returns in turn whatever the memory model allows, in every schedule
//! with at most as many preemptions (1 to 3) as the test says; the bytes of the segments are watched,
//! so that an access that is not ordered fails. Not covered: loads that are delayed past later stores
//! of their thread, stores of two threads to one place in another order than the schedule's, and
//! values older than a place's last 7.
//!
//! # Running it
//!
//! `cargo test -p wal-model` takes under a minute and includes the small machines, all faults, and
//! traces of real runs; `WAL_TRACE_DIR=DIR` leaves those in `DIR`, an event a line as JSON.
//! `cargo run -p wal-model --release -- check --large` takes minutes. `-- explore` opens the states
//! to a browser on this machine, which needs nothing from any other (the links in the page's head
//! aside): choose a start, then steps; each shows the words, the threads and the disk after it.

pub mod bugs;
#[cfg(not(any(wal_loom, wal_shuttle)))]
pub mod faults;
pub mod hostile;
pub mod machine;
pub mod report;
pub mod scenario;
pub mod suite;
pub mod trace;

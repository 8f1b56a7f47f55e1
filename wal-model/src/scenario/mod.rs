//! Scenarios: the real log under a scheduler that tries interleavings, over the sink of your choice.
//!
//! Present in builds with `--cfg wal_shuttle`, in which the log's own primitives are those of
//! [shuttle](https://docs.rs/shuttle). To run all of it against a sink of yours, say where its
//! files are ([`wal_core::testing::Store`]), name the store in a test file, and make that a module
//! of your CI:
//!
//! ```ignore
//! // tests/scenarios.rs; `wal-model` is a dev-dependency.
//! #![cfg(wal_shuttle)]
//! mod my_store;
//! wal_model::shuttle_scenarios!(my_store::MyStore);
//! // RUSTFLAGS="--cfg wal_shuttle" cargo test --test scenarios --target-dir target/shuttle
//! ```
//!
//! `wal-model/tests/own_sink.rs` is a whole sink with both its suites.
//!
//! # What a scenario does
//!
//! Threads use one log at once; the sink under test sits within one that adds scheduling points to
//! every call, fails on demand (creating, writing, syncing), keeps writes in flight and ends them
//! in any order, and refuses what the log must not do: two calls at a time, a write after a
//! failure, bytes that change in flight, a write forgotten. Crashes are images of the store at a
//! random moment and at the end ([`Store::power_loss`](wal_core::testing::Store::power_loss),
//! [`Store::process_crash`](wal_core::testing::Store::process_crash)); without any, the store is
//! opened again. Of each, recovery must bring back a prefix of what was appended, byte for byte,
//! with everything in it that was acknowledged, and of a batch all or nothing. A run in which
//! nobody can go on fails, too: a lost wake-up shows as a deadlock.
//!
//! # What the sink must do
//!
//! All threads of a run share one thread of the system, and the scheduler can switch only where it
//! is called. So:
//!
//! - Locks of `std` are fine while nothing in their critical section is a scheduling point, that
//!   is, while it touches no primitive of shuttle and wakes nobody.
//! - What waits for another thread (a condition variable, a channel, a lock held across I/O) must
//!   be shuttle's (`shuttle` here re-exports it), since one of `std` would stop all threads.
//! - Threads of its own are best left out under `cfg(wal_shuttle)`, the work being done in the
//!   call, or made by [`shuttle::thread`](https://docs.rs/shuttle). Threads of the system work, and
//!   make a failing schedule hard to repeat.
//! - It does not mind a poisoned lock: while one thread of a run unwinds, all seem to.
//! - It decides nothing by time or by randomness of its own, for the same reason.
//!
//! # Schedules
//!
//! Each scenario runs under three strategies: random, PCT with two changes of priority, and one
//! that puts threads to sleep for long at random steps. The seed is fixed and printed, so that CI
//! tries the same schedules each time. `WAL_SHUTTLE_SEED` sets another, `WAL_SHUTTLE_ITERATIONS`
//! the number of schedules of each strategy. A schedule that fails is printed as a command that
//! runs it again (`WAL_SHUTTLE_REPLAY`, which also takes the name of a file that holds it). At its
//! end each scenario prints how many schedules ran and what happened in them (`--nocapture`), and
//! fails if what it is for never did.
//!
//! Shuttle's schedules are sequentially consistent: what depends on weaker orderings is not seen
//! here.

#![cfg_attr(
    wal_shuttle,
    allow(
        clippy::missing_panics_doc,
        reason = "every scenario panics if a schedule fails, as said"
    )
)]

#[cfg(wal_shuttle)]
mod appending;
#[cfg(wal_shuttle)]
mod archiving;
#[cfg(wal_shuttle)]
mod cutting;
#[cfg(wal_shuttle)]
mod explore;
#[cfg(wal_shuttle)]
mod failing;
#[cfg(wal_shuttle)]
mod faulty;
#[cfg(wal_shuttle)]
mod futures;
#[cfg(wal_shuttle)]
mod journal;
#[cfg(wal_shuttle)]
mod log;
#[cfg(wal_shuttle)]
mod schedule;
#[cfg(wal_shuttle)]
mod truncating;
#[cfg(wal_shuttle)]
mod waiting;
#[cfg(wal_shuttle)]
mod watch;

#[cfg(wal_shuttle)]
pub use self::{
    appending::*, archiving::*, cutting::*, failing::*, futures::*, truncating::*, waiting::*,
};
#[cfg(wal_shuttle)]
pub use shuttle;

/// Makes one `#[test]` of every scenario, over the [`Store`](wal_core::testing::Store) named.
#[cfg(wal_shuttle)]
#[macro_export]
macro_rules! shuttle_scenarios {
    ($store:ty) => {
        $crate::__scenario_tests! { $store:
            writers batches large_records abandoned_reservations panicking_reservations recycling
            stale_writers
            group_commit levels_of_durability followers tailing marks closing
            executor_futures dropped_jobs unblocking_sink
            truncating archiving cutting
            full_disk failing_write failing_sync panicking_sink writes_in_flight failing_in_flight
        }
    };
}

#[cfg(wal_shuttle)]
#[doc(hidden)]
#[macro_export]
macro_rules! __scenario_tests {
    ($store:ty: $($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                $crate::scenario::$name::<$store>();
            }
        )+
    };
}

//! What tests of sinks share, with the feature `testing`: the [`Store`] that a suite runs on, and the
//! [contract](crate::sink) of a sink as tests.
//!
//! Who writes a sink depends on `wal-core` with the feature `testing` in `[dev-dependencies]`, says
//! where its files are, and has a test of every clause:
//!
//! ```ignore
//! // tests/conformance.rs
//! mod my_store; // implements `wal_core::testing::Store`
//! wal_core::sink_conformance!(my_store::MyStore);
//! ```
//!
//! A clause that needs an image of a crash says so and does without if the store gives none. The
//! scenarios of `wal-model` take the same `Store`.
//!
//! Exempt from semantic versioning: clauses and scenarios are added in any release, so that a sink
//! that passed may fail after an update.

pub mod agree;
pub mod conformance;
#[cfg(not(any(wal_loom, wal_shuttle)))]
pub mod kill;
pub mod logs;
pub mod meter;
pub mod naive;
pub mod sim;

use std::path::PathBuf;

use crate::error::Error;
use crate::sink::SegmentSink;
use crate::sink::mem::{MemDisk, MemSink};

/// Where one log's files are: what a suite opens, opens again, and crashes.
///
/// ```
/// use wal_core::Error;
/// use wal_core::sink::mem::{MemDisk, MemSink};
/// use wal_core::testing::Store;
///
/// struct Disk(MemDisk);
///
/// impl Store for Disk {
///     type Sink = MemSink;
///     fn new() -> Self { Self(MemDisk::new()) }
///     fn open(&self) -> Result<MemSink, Error> { MemSink::open(&self.0) }
///     fn power_loss(&self) -> Option<Self> { Some(Self(self.0.crash())) }
/// }
/// # assert!(Disk::new().open().is_ok());
/// ```
pub trait Store: Sized + Send + Sync + 'static {
    /// The sink under test.
    type Sink: SegmentSink;

    /// A store of its own, without files. Whatever it takes goes when it is dropped.
    ///
    /// # Panics
    ///
    /// If it cannot be made: a suite has no use for the error.
    fn new() -> Self;

    /// Opens the sink on what the store holds, the way its users do. One at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] while a sink of this store is open; otherwise whatever the sink reports.
    fn open(&self) -> Result<Self::Sink, Error>;

    /// A store that holds what a power loss at this moment would leave: every write that a sync
    /// has covered, and of the others whatever the medium may have taken. The sink may be open,
    /// and goes on. `None` if the store cannot tell.
    fn power_loss(&self) -> Option<Self> {
        None
    }

    /// Puts a file that is none of the log's where the sink will come across it, and returns its
    /// path as a listing names it. `None` if there can be no such file.
    fn plant_foreign(&self) -> Option<PathBuf> {
        None
    }

    /// A store that holds what the death of the process at this moment would leave: every
    /// completed write, synced or not. `None` if the store cannot tell.
    fn process_crash(&self) -> Option<Self> {
        None
    }
}

impl Store for MemDisk {
    type Sink = MemSink;

    fn new() -> Self {
        Self::new()
    }

    fn open(&self) -> Result<MemSink, Error> {
        MemSink::open(self)
    }

    fn power_loss(&self) -> Option<Self> {
        Some(self.crash())
    }

    fn process_crash(&self) -> Option<Self> {
        Some(self.snapshot())
    }
}

/// Makes one `#[test]` of every clause of the sink contract, over the
/// [`Store`](crate::testing::Store) named. See [`testing`](crate::testing).
#[macro_export]
macro_rules! sink_conformance {
    ($store:ty) => {
        $crate::__conformance_tests! { $store:
            a_new_store_is_empty
            create_makes_the_whole_file
            create_can_be_repeated
            create_survives_power_loss
            prepared_files_can_be_created
            writes_are_whole
            writes_go_where_they_say
            lent_memory_is_the_file
            completions_come_exactly_once
            dropping_waits_for_writes_in_flight
            sync_covers_completed_writes
            reopening_finds_everything
            reading_past_the_end_is_short
            reading_goes_on_while_writing
            listing_is_in_order
            errors_are_reported_and_stay
            a_second_opener_is_refused
            trimming_keeps_what_is_before
            setting_aside_keeps_the_file
            removed_files_are_gone
            retired_files_are_gone
            retired_files_may_be_used_again
            retiring_goes_on_beside_everything
            memory_is_as_asked
            a_log_lives_on_it
            a_log_is_truncated_on_it
            a_log_is_cut_back_on_it
            a_log_is_read_backwards_on_it
            a_log_is_archived_on_it
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($store:ty: $($clause:ident)+) => {
        $(
            #[test]
            fn $clause() {
                $crate::testing::conformance::$clause::<$store>();
            }
        )+
    };
}

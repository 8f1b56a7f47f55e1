//! What tests of sinks share, with the feature `testing`: the [`Store`] that a suite runs on.
//!
//! Exempt from semantic versioning: clauses and scenarios are added in any release, so that a sink
//! that passed may fail after an update.

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

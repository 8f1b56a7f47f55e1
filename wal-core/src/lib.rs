#![doc = include_str!("../README.md")]
//!
//! # Guarantees
//!
//! - **Order.** LSNs grow in the order of reservation; the records of one thread keep their order.
//! - **Prefix.** Waiting for a record waits for everything before it, and what recovery returns is
//!   a prefix of the stream, byte for byte.
//! - **Atomicity.** A record, of whatever size, and a batch are there whole or not at all.
//! - **Failure.** A failed write or sync is never retried. The log is poisoned: every waiter gets
//!   the first cause, nothing more is acknowledged, and reopening recovers what was durable.
//! - **Honesty.** Recovery tells a torn end from damage to durable data, names the place, and cuts
//!   nothing that it has not copied aside.
//!
//! # The life of a record
//!
#![doc = include_str!("../docs/life-of-a-record.svg")]
//!
//! The [guide] says what to choose and what follows from it; [from one machine to many](many), how a
//! log carries replicas.
//!
//! [`Durability`] says how much a call waits for. What power loss means in the end is the sink's
//! and the medium's to keep: see the backend's documentation.

mod append;
mod archive;
mod error;
pub mod export;
mod flush;
pub mod format;
mod future;
pub mod guide;
mod hold;
mod lsn;
pub mod many;
#[cfg(wal_loom)]
#[doc(hidden)]
pub mod model;
mod observe;
mod open;
mod options;
pub mod probe;
pub mod read;
pub mod recover;
mod reservation;
pub mod segment;
mod shared;
pub mod sink;
mod start;
mod stats;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
mod truncate;
mod wal;

pub use archive::{Archive, SealedFile, SealedReader};
pub use error::Error;
pub use hold::{Hold, Pin};
pub use lsn::{Appended, Lsn};
pub use options::{AmbiguousTail, Clock, Executor, Options, Padding, RecoveryMode};
pub use read::{Cursor, Entry, Record, Records, RecordsBack, Tail};
pub use recover::{Corruption, Cut, Reason, RecoveryReport, Verdict};
pub use reservation::Reservation;
pub use sink::{LogSource, SegmentMemory, SegmentSink, SinkError};
pub use stats::{FileUse, Histogram, RingUse, Stats};
pub use truncate::Truncation;
pub use wal::{Durability, Wal};

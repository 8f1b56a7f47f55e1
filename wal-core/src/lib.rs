//! The concurrent core of an embeddable, multi-writer write-ahead log.

mod error;
mod flush;
pub mod format;
mod future;
mod lsn;
mod open;
mod options;
pub mod probe;
pub mod read;
pub mod recover;
mod reservation;
pub mod segment;
mod shared;
pub mod sink;
mod sync;
mod wal;

pub use error::Error;
pub use lsn::{Appended, Lsn};
pub use options::{AmbiguousTail, Executor, Options, Padding, RecoveryMode};
pub use read::{Cursor, Entry, Record, Records};
pub use recover::{Corruption, Cut, Reason, RecoveryReport, Verdict};
pub use reservation::Reservation;
pub use shared::Stats;
pub use sink::{LogSource, SegmentMemory, SegmentSink, SinkError};
pub use wal::{Durability, Wal};

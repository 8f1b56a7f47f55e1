//! The concurrent core of an embeddable, multi-writer write-ahead log.

pub mod error;
pub mod format;
pub mod lsn;
pub mod options;
pub mod recover;
pub mod sink;

pub use error::Error;
pub use lsn::{Appended, Lsn};
pub use options::{AmbiguousTail, Executor, Options, Padding, RecoveryMode};
pub use recover::{Corruption, Cut, Reason, RecoveryReport, Verdict};
pub use sink::{LogSource, SegmentMemory, SegmentSink, SinkError};

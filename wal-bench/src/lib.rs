//! Workloads and measuring for the benches of the log.
//!
//! Absolute figures of a shared or virtual machine drift by a factor of two within minutes, so
//! every table here comes from one interleaved run: the variants take turns in short rounds, and
//! what is quoted is the median of the ratios within the rounds. See the README for the method.

pub mod backend;
pub mod baseline;
pub mod buffered;
pub mod coherence;
pub mod experiments;
pub mod figures;
pub mod floor;
pub mod group;
pub mod kept;
pub mod lag;
pub mod log;
pub mod machine;
pub mod measure;
pub mod null;
#[cfg(feature = "peers")]
pub mod peers;
pub mod pingpong;
pub mod place;
pub mod plot;
pub mod raw;
pub mod replay;
pub mod rounds;
pub mod settings;
pub mod stress;
pub mod threads;
pub mod usage;

pub use backend::Backend;
pub use baseline::MutexRing;
pub use buffered::Buffered;
pub use figures::{Cell, Figures, Report, Workload};
pub use floor::Floor;
pub use group::GroupCommit;
pub use kept::KeepSink;
pub use lag::{Lagging, lags};
pub use log::{Checkpointed, Durable, HandedOver, Log, Synced, Writer};
pub use measure::{Span, commits, fixed, on_disk, window};
pub use null::NullSink;
pub use place::Place;
pub use raw::RawFiles;
pub use rounds::{Outcome, Variant, interleave, ratio};
pub use settings::Settings;
pub use usage::Disk;

//! Bytes that nobody wrote, or that somebody forged: what fuzzers and property tests throw at the
//! log, and what must hold whatever they throw.
//!
//! Each [`Target`] takes any bytes and panics if the log does not stand them. `wal-model/fuzz` runs
//! the targets under a fuzzer that looks for new paths; `tests/hostile.rs` runs the same ones on
//! random bytes and on the inputs that once failed (`fuzz/regressions`).
//!
//! | target | the bytes become | what must hold |
//! | --- | --- | --- |
//! | [`header`] | a file header block or a frame header | what is accepted is encoded to the same bytes |
//! | [`record`] | a record, its place and its file's salt | accepted iff the checksum is right, and encoded to the same bytes |
//! | [`export`] | an export, written and then harmed | read as a whole only if it is, byte for byte, what a writer writes |
//! | [`scan`] | one file, raw or built and then harmed | recovery makes of it what the naive reader does, within bounds of memory and reads |
//! | [`directory`] | a directory of such files and others, on a real file system | the same, and what opens can be appended to and opened again |
//! | [`crashes`] | calls of a log and crashes that tear what was not synced | what was acknowledged is there, whole and in order, and nothing else but what was appended |
//!
//! Most random bytes fail at the first checksum. So bytes are read as a [`plan`]: how to build
//! a sound log, then how to harm it, and whether checksums are made right afterwards.

mod bounds;
mod crash;
mod export;
mod files;
mod format;
pub mod plan;

pub use crash::crashes;
pub use export::export;
pub use files::{directory, scan};
pub use format::{header, record};

/// A body that stands any bytes, or panics.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the target, and of its directories in `wal-model/fuzz`.
    pub name: &'static str,
    /// What it does with bytes.
    pub body: fn(&[u8]),
}

/// All targets, the cheapest first.
pub const TARGETS: [Target; 6] = [
    Target { name: "header", body: header },
    Target { name: "record", body: record },
    Target { name: "export", body: export },
    Target { name: "scan", body: scan },
    Target { name: "directory", body: directory },
    Target { name: "crashes", body: crashes },
];

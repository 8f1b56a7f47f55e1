//! Deliberate bugs of the shipped code, and who must notice each.
//!
//! A check that cannot fail is no check. Each [`Bug`] is an edit of the sources; [`run`] applies it
//! to a copy of the workspace and runs the layers that must catch it: tests, schedules, orderings,
//! traces, the state machine and the specification. `cargo bugs` runs them all and prints who
//! caught what; it fails if one survives.

mod back;
pub mod command;
mod cut;
mod flush;
mod hostile;
mod mapped;
mod orderings;
mod process;
mod retire;
mod ring;
pub mod run;
mod schedules;
mod storage;
mod tools;
pub mod tree;
mod uring;
mod watch;

use std::fmt;

use crate::machine;

/// A deliberate bug.
#[derive(Clone, Copy, Debug)]
pub struct Bug {
    /// Its name, for the command line.
    pub name: &'static str,
    /// What is wrong, in one sentence.
    pub what: &'static str,
    /// What to change.
    pub edits: &'static [Edit],
    /// Who must notice.
    pub caught_by: &'static [Layer],
}

/// A change of one place of one file.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// Path from the workspace's root.
    pub file: &'static str,
    /// Text that occurs there exactly once.
    pub find: &'static str,
    /// What stands there instead.
    pub replace: &'static str,
}

/// Who can notice a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A test target of `wal-core`; `lib` for its unit tests.
    Core(&'static str),
    /// A test target of `wal-io-std`.
    Files(&'static str),
    /// A test target of `wal-mmap`.
    Mapped(&'static str),
    /// A test target of `wal-io-uring`.
    Uring(&'static str),
    /// The real log against a list of records (`tests/reference.rs`).
    Reference,
    /// The targets of the fuzzers on random bytes (`tests/hostile.rs`).
    Hostile,
    /// Small lives on a simulated disk, crashed everywhere (`tests/crashes.rs`).
    Crashes,
    /// Long lives on a simulated disk that fails and lies (`tests/faults_random.rs`).
    Lives,
    /// Probe events of the real log, replayed on the state machine (`tests/trace.rs`).
    Trace,
    /// A scenario under shuttle.
    Shuttle(&'static str),
    /// A test target under loom.
    Loom(&'static str),
    /// The state machine has the same bug, and its property finds it.
    Machine(machine::Bug),
    /// The specification has the same bug, and TLC reports its property.
    Spec(&'static str),
}

impl Layer {
    /// The kind of layer, as `--layer` takes it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Core(_) | Self::Files(_) | Self::Mapped(_) | Self::Uring(_) => "tests",
            Self::Reference => "reference",
            Self::Hostile => "hostile",
            Self::Crashes => "crashes",
            Self::Lives => "lives",
            Self::Trace => "trace",
            Self::Shuttle(_) => "shuttle",
            Self::Loom(_) => "loom",
            Self::Machine(_) => "machine",
            Self::Spec(_) => "spec",
        }
    }
}

/// Every kind of layer.
pub const KINDS: [&str; 10] = [
    "tests",
    "reference",
    "hostile",
    "crashes",
    "lives",
    "trace",
    "shuttle",
    "loom",
    "machine",
    "spec",
];

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core(target) => write!(f, "wal-core:{target}"),
            Self::Files(target) => write!(f, "wal-io-std:{target}"),
            Self::Mapped(target) => write!(f, "wal-mmap:{target}"),
            Self::Uring(target) => write!(f, "wal-io-uring:{target}"),
            Self::Reference => f.write_str("reference"),
            Self::Hostile => f.write_str("hostile"),
            Self::Crashes => f.write_str("crashes"),
            Self::Lives => f.write_str("lives"),
            Self::Trace => f.write_str("trace"),
            Self::Shuttle(scenario) => write!(f, "shuttle:{scenario}"),
            Self::Loom(target) => f.write_str(target),
            Self::Machine(bug) => write!(f, "machine:{bug:?}"),
            Self::Spec(fault) => write!(f, "spec:{fault}"),
        }
    }
}

/// Every bug: those of the ring, of its memory orderings, of the flush, of what is on disk, and of
/// what becomes of old files, of what real processes meet, of what is read from a disk that cannot
/// be trusted, of memory that is a part of a file, of writes that go through a ring, of what tools make
/// of a log, and of what the log tells of itself.
#[must_use]
pub fn all() -> Vec<Bug> {
    [
        ring::BUGS,
        orderings::BUGS,
        flush::BUGS,
        schedules::BUGS,
        storage::BUGS,
        retire::BUGS,
        cut::BUGS,
        back::BUGS,
        process::BUGS,
        hostile::BUGS,
        mapped::BUGS,
        uring::BUGS,
        tools::BUGS,
        watch::BUGS,
    ]
    .concat()
}

//! The next life of a log: one scan that tells what is there and how it ended.
//!
//! [`scan`] reads, never writes, and trusts nothing: it walks the files in order, the frames of
//! each file in order, and the records of each frame, and stops at the first place that does not
//! read well. What lies behind that place then decides what it means, by the rules of [`Case`].

mod cases;
mod evidence;
mod frame_body;
mod inventory;
mod report;
mod verdict;
mod walk;
mod window;

use std::path::PathBuf;

use crate::error::Error;
use crate::format::file_header::{FileHeader, Predecessor};
use crate::format::frame::Link;
use crate::format::record::Record;
use crate::lsn::Lsn;
use crate::options::{AmbiguousTail, RecoveryMode};
use crate::sink::LogSource;

pub use cases::Case;
pub use report::{Corruption, Cut, Reason, RecoveryReport, Verdict};

/// How to treat what is damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanOptions {
    /// What to do about corruption of data that had been durable.
    pub mode: RecoveryMode,
    /// What to do about a damaged end of which nothing tells whether it had been durable.
    pub ambiguous_tail: AmbiguousTail,
}

/// What is being done with a log that is opened, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// The log is read and verified. Changes nothing.
    #[default]
    Scan,
    /// What was read is put to use: damage is copied aside, the next file is made. Takes as long as
    /// the sink takes to make a file of its full size.
    Begin,
}

/// How far a scan, or an opening, has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes of log files behind the scan.
    pub bytes_done: u64,
    /// Bytes of all log files.
    pub bytes_total: u64,
}

/// What a scan found: the log as it stands, and what has to happen before it is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// What to tell the user.
    pub report: RecoveryReport,
    /// Identity of the log; `None` if no file header is intact.
    pub log_id: Option<[u8; 16]>,
    /// The files that hold the log, in order; among them any that hold nothing of it, and end where
    /// they begin, but which the next one names.
    pub files: Vec<LogFile>,
    /// The authoritative end: the position after the last record that was recovered.
    pub end: Lsn,
    /// No position before this one is given out again: `end`, or further on if the last file begins
    /// further on, behind what was cut off.
    pub next: Lsn,
    /// The sequence number for the next file: greater than that of any file present.
    pub next_sequence: u64,
    /// What the next file's header says of its predecessor; `None` if there is none.
    pub last: Option<Predecessor>,
    /// What has to be copied or moved aside, in order, before the log is written to.
    pub aside: Vec<Aside>,
    /// Sequence numbers of files that were prepared and never used; to be removed, or used.
    pub unused: Vec<u64>,
    /// Sequence numbers of files that opening began and to which nothing was appended; to be
    /// removed once the next file has been begun.
    pub vacant: Vec<u64>,
}

/// A file of the log and how far to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its header.
    pub header: FileHeader,
    /// Where it is.
    pub path: PathBuf,
    /// Its authoritative end: whatever lies at or behind this position is no part of the log.
    pub end: Lsn,
}

/// Bytes that are about to be cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// A part of a file that stays: copy it.
    Range {
        /// Sequence number of the file.
        sequence: u64,
        /// Byte offset in the file.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// A whole file that is no part of the log: move it.
    File {
        /// Sequence number of the file.
        sequence: u64,
    },
}

/// Reads the whole log in `source`, verifies it and calls `visit` with every record that belongs
/// to it, in order; void records are skipped, and batches come whole. Blocks while it reads.
/// Writes nothing.
///
/// A record is passed on as soon as its own frame has been verified that far, so a scan that ends
/// in an error has visited the records before the damage.
///
/// # Errors
///
/// - [`Error::Corrupt`] if durable data is damaged or missing, unless salvage was asked for;
/// - [`Error::AmbiguousTail`] if the end is damaged, undecidable and to be refused;
/// - [`Error::UnsupportedFormat`] if a file is of a newer format version;
/// - [`Error::Sink`] for any failed read: it is never taken for the end of the log.
pub fn scan(
    source: &dyn LogSource,
    options: ScanOptions,
    visit: &mut dyn FnMut(Record<'_>),
) -> Result<Scan, Error> {
    scan_with_progress(source, options, visit, &mut |_| {})
}

/// [`scan`], telling `progress` how far it has come: when the files are known, every 16 MiB or so, and
/// after each file. A file with damage is looked through more than once, for which it is not told.
///
/// # Errors
///
/// As [`scan`].
pub fn scan_with_progress(
    source: &dyn LogSource,
    options: ScanOptions,
    visit: &mut dyn FnMut(Record<'_>),
    progress: &mut dyn FnMut(Progress),
) -> Result<Scan, Error> {
    let inventory = inventory::take(source)?;
    let bytes_total =
        inventory.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.entry.len));
    let delivery = frame_body::Delivery { visit, records: 0, payload_bytes: 0, voids: 0 };
    let mut walk = walk::Walk {
        options,
        window: window::Window::new(source),
        delivery,
        progress,
        seen: Progress { bytes_total, ..Progress::default() },
        files: inventory.files,
        tail: walk::Tail {
            end: Lsn::ZERO,
            next: Lsn::ZERO,
            link: Link::NONE,
            chained: true,
            closed: false,
            file: None,
        },
        report: RecoveryReport {
            verdict: Verdict::New,
            case: Case::New,
            start: Lsn::ZERO,
            end: Lsn::ZERO,
            records: 0,
            payload_bytes: 0,
            voids: 0,
            frames: 0,
            files: 0,
            cut: None,
            holes: Vec::new(),
            set_aside: Vec::new(),
            foreign: inventory.foreign,
        },
        next: Lsn::ZERO,
        table: Vec::new(),
        last: None,
        aside: Vec::new(),
        unused: Vec::new(),
        vacant: Vec::new(),
    };
    (walk.progress)(walk.seen);
    walk.run()?;
    let walk::Walk { delivery, tail, mut report, next, table, last, aside, unused, vacant, .. } =
        walk;
    report.end = tail.end;
    if table.is_empty() {
        report.start = tail.end;
    }
    report.records = delivery.records;
    report.payload_bytes = delivery.payload_bytes;
    report.voids = delivery.voids;
    report.conclude(inventory.log_id.is_none(), tail.closed);
    Ok(Scan {
        log_id: inventory.log_id,
        files: table,
        end: tail.end,
        next: next.max(tail.end),
        next_sequence: inventory.next_sequence,
        last,
        aside,
        unused,
        vacant,
        report,
    })
}

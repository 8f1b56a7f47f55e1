//! What recovery found, in words and numbers.

use std::fmt;
use std::path::PathBuf;

use crate::lsn::Lsn;
use crate::recover::Case;

/// How the log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// There was no log; a new one starts.
    New,
    /// The log was closed: its end is proved by a close mark.
    Closed,
    /// The log ends at a whole frame with nothing behind it, but was not closed.
    Clean,
    /// A torn write at the end, which later frames prove not to have been durable: cut off.
    Torn,
    /// The last frame is damaged and nothing behind it tells whether it had been durable: a torn
    /// write, or damage to acknowledged records. Cut off, unless the options refuse.
    Ambiguous,
    /// Corruption was found and skipped, because salvage was asked for.
    Salvaged,
}

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The file's header block is damaged.
    FileHeader(crate::format::file_header::Fault),
    /// The file is shorter than its header says.
    ShortFile,
    /// The file's header names another sequence number than its name does.
    WrongSequence,
    /// The file belongs to another log.
    ForeignLog,
    /// Two files have one sequence number.
    DuplicateFile,
    /// A file is missing before this one.
    MissingFile,
    /// The file does not continue its predecessor (salt, end or last frame differ).
    BrokenFileChain,
    /// The frame header is damaged or absent.
    FrameHeader(crate::format::frame::Fault),
    /// The frame does not continue its predecessor.
    BrokenFrameChain,
    /// A record is damaged.
    Record(crate::format::record::Fault),
    /// A batch ends before its last record.
    UnfinishedBatch,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileHeader(fault) => write!(f, "damaged file header ({fault:?})"),
            Self::ShortFile => f.write_str("file shorter than its header says"),
            Self::WrongSequence => f.write_str("file header names another sequence number"),
            Self::ForeignLog => f.write_str("file belongs to another log"),
            Self::DuplicateFile => f.write_str("two files with one sequence number"),
            Self::MissingFile => f.write_str("a file is missing before this one"),
            Self::BrokenFileChain => f.write_str("file does not continue its predecessor"),
            Self::FrameHeader(fault) => write!(f, "damaged frame header ({fault:?})"),
            Self::BrokenFrameChain => f.write_str("frame does not continue its predecessor"),
            Self::Record(fault) => write!(f, "damaged record ({fault:?})"),
            Self::UnfinishedBatch => f.write_str("batch ends before its last record"),
        }
    }
}

/// Damage to data that had been durable: what, where, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// What is wrong.
    pub reason: Reason,
    /// Stream position of the first damaged byte.
    pub lsn: Lsn,
    /// Sequence number of the file.
    pub file: u64,
    /// Path of the file.
    pub path: PathBuf,
    /// Byte offset in the file.
    pub offset: u64,
    /// Stream bytes from `lsn` to the next place that reads well, or to the end of the log.
    pub len: u64,
    /// A later frame or file claims that everything before this position was durable. No more
    /// than `lsn` where no such claim was found or needed: no crash leaves a log like this.
    pub proof: Lsn,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "corruption at LSN {} ({}, offset {}, {} bytes): {}; ",
            self.lsn,
            self.path.display(),
            self.offset,
            self.len,
            self.reason,
        )?;
        if self.proof > self.lsn {
            write!(f, "the log had been durable up to {}", self.proof)
        } else {
            f.write_str("no crash leaves a log like this")
        }
    }
}

impl std::error::Error for Corruption {}

/// The damaged end that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// What is wrong with the first byte cut.
    pub reason: Reason,
    /// Where the log now ends: the first position cut.
    pub lsn: Lsn,
    /// Sequence number of the file.
    pub file: u64,
    /// Path of the file.
    pub path: PathBuf,
    /// Byte offset of the first byte cut; 0 if the whole file is no part of the log.
    pub offset: u64,
    /// Bytes cut: up to the last byte that is not zero, islands and later files included.
    pub bytes: u64,
    /// Files that bytes were cut from: this one, and later ones that hold something.
    pub files: u64,
}

/// What recovery found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// How the log ended.
    pub verdict: Verdict,
    /// The case of `spec/FORMAT.md` that decided it.
    pub case: Case,
    /// The first position of the log.
    pub start: Lsn,
    /// The end of the log: everything before it was recovered.
    pub end: Lsn,
    /// Records recovered, void ones not counted.
    pub records: u64,
    /// Payload bytes of these records.
    pub payload_bytes: u64,
    /// Void records skipped.
    pub voids: u64,
    /// Frames read.
    pub frames: u64,
    /// Log files read.
    pub files: u64,
    /// The torn or ambiguous end, if there was one.
    pub cut: Option<Cut>,
    /// The holes that salvage skipped, in order.
    pub holes: Vec<Corruption>,
    /// Where the cut bytes were copied to before the cut.
    pub set_aside: Vec<PathBuf>,
    /// Names in the directory that are not log files; left alone.
    pub foreign: Vec<PathBuf>,
}

impl RecoveryReport {
    /// Settles verdict and case, given whether there is no log yet, and whether the last frame is a
    /// close mark.
    pub(super) fn conclude(&mut self, new: bool, closed: bool) {
        let file = matches!(&self.cut, Some(Cut { reason: Reason::FileHeader(_), .. }));
        (self.verdict, self.case) = match (self.verdict, &self.cut) {
            _ if !self.holes.is_empty() => (Verdict::Salvaged, Case::Salvaged),
            (verdict, Some(_)) if file => (verdict, Case::InterruptedFile),
            (Verdict::Ambiguous, Some(_)) => (Verdict::Ambiguous, Case::AmbiguousFrame),
            (verdict, Some(cut)) if cut.files > 1 => (verdict, Case::TornBeforeFile),
            (verdict, Some(_)) => (verdict, Case::TornFrame),
            (_, None) if new => (Verdict::New, Case::New),
            (_, None) if closed => (Verdict::Closed, Case::Closed),
            (_, None) => (Verdict::Clean, Case::Clean),
        };
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::New => "new log",
            Verdict::Closed => "closed cleanly",
            Verdict::Clean => "clean end, not closed",
            Verdict::Torn => "torn tail, cut off",
            Verdict::Ambiguous => "damaged last frame (undecidable whether durable), cut off",
            Verdict::Salvaged => "salvaged around corruption",
        };
        write!(
            f,
            "{verdict} ({}): LSN {}..{}, {} records ({} bytes) in {} frames of {} files",
            self.case,
            self.start,
            self.end,
            self.records,
            self.payload_bytes,
            self.frames,
            self.files
        )?;
        if let Some(cut) = &self.cut {
            write!(
                f,
                "; cut {} bytes at LSN {} ({}, offset {}): {}",
                cut.bytes,
                cut.lsn,
                cut.path.display(),
                cut.offset,
                cut.reason
            )?;
        }
        for hole in &self.holes {
            write!(f, "; hole: {hole}")?;
        }
        for path in &self.set_aside {
            write!(f, "; damage kept in {}", path.display())?;
        }
        for path in &self.foreign {
            write!(f, "; ignored {}", path.display())?;
        }
        Ok(())
    }
}

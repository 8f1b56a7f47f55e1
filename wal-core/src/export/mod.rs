//! A range of a log as one stream of bytes that verifies on its own: for backups, for moving records
//! between logs, for handing some of them to somebody else.
//!
//! `spec/EXPORT.md` is the normative description of the bytes. A [`Writer`] takes records one by one
//! and a [`Reader`] gives them back; both hold no more than one record in memory, and any
//! [`Write`] or [`Read`](std::io::Read) will do. [`export`] writes a range of a log
//! that somebody may be writing to.
//!
//! ```
//! use wal_core::export::{Header, Reader, Record, Writer};
//! use wal_core::Lsn;
//!
//! # fn main() -> Result<(), wal_core::export::ExportError> {
//! let header = Header::new([7; 16], Lsn::new(64), Lsn::new(80))?;
//! let mut writer = Writer::new(Vec::new(), header)?;
//! writer.record(&Record { lsn: Lsn::new(64), more: false, payload: b"a record" })?;
//! let (bytes, summary) = writer.finish()?;
//! assert_eq!(summary.records, 1);
//!
//! let mut reader = Reader::new(&bytes[..], 1 << 20)?;
//! while let Some(record) = reader.next()? {
//!     assert_eq!(record.payload, b"a record");
//! }
//! # Ok(())
//! # }
//! ```

mod error;
mod order;
mod reader;
mod writer;

use std::io::{self, Write};
use std::ops::Range;

use crc_fast::{CrcAlgorithm, Digest};

use crate::error::Error;
use crate::format::file_header::{self, BLOCK_LEN, FileHeader};
use crate::format::{frame, put, record, u32_at, u64_at};
use crate::lsn::Lsn;
use crate::recover::{self, Corruption, Reason, ScanOptions};
use crate::sink::{LogSource, SinkError};

pub use error::{Damage, ExportError};
pub use reader::Reader;
pub use writer::Writer;

/// The version of the bytes that this crate writes.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_LEN: usize = 64;
/// No record of a log has an LSN below this: a frame header lies before it.
pub const MIN_LSN: Lsn = Lsn::new(FRAME_LEN);

const FRAME_LEN: u64 = frame::HEADER_LEN as u64;

const MAGIC: [u8; 8] = *b"\x89WALX\r\n\x1a";
const CRC_LEN: usize = 4;
/// Length and flags of a record.
const WORD_LEN: usize = 4;
/// What comes before a record's payload: its word and its LSN.
const PREFIX_LEN: usize = WORD_LEN + 8;
/// What the closing mark holds before its checksum: its word, records, bytes of payload.
const CLOSING_LEN: usize = WORD_LEN + 16;
const MORE: u32 = 1 << 30;
const CLOSING: u32 = 1 << 31;
const LEN_MASK: u32 = (1 << 30) - 1;

/// What an export is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Identity of the log.
    pub log_id: [u8; 16],
    /// Random, so that bytes of one export never pass for those of another.
    pub salt: u64,
    /// Every record of the log from this position on is there...
    pub from: Lsn,
    /// ...whose LSN is less than this. The range that follows begins here.
    pub to: Lsn,
}

impl Header {
    /// The header of an export of `from..to`, with a random salt.
    ///
    /// # Errors
    ///
    /// [`ExportError::Io`] if the system has no random numbers.
    pub fn new(log_id: [u8; 16], from: Lsn, to: Lsn) -> Result<Self, ExportError> {
        let other = |source: getrandom::Error| io::Error::other(source.to_string());
        let salt = getrandom::u64().map_err(other).map_err(ExportError::Io)?;
        Ok(Self { log_id, salt, from, to })
    }

    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 16, &self.log_id);
        put(&mut bytes, 32, &self.salt.to_le_bytes());
        put(&mut bytes, 40, &self.from.get().to_le_bytes());
        put(&mut bytes, 48, &self.to.get().to_le_bytes());
        let mut sum = Sum::new();
        sum.add(&bytes[..HEADER_LEN - CRC_LEN]);
        put(&mut bytes, HEADER_LEN - CRC_LEN, &sum.so_far());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, ExportError> {
        if bytes[..8] != MAGIC {
            return Err(ExportError::NotAnExport);
        }
        let mut sum = Sum::new();
        sum.add(&bytes[..HEADER_LEN - CRC_LEN]);
        if sum.so_far() != bytes[HEADER_LEN - CRC_LEN..] {
            return Err(ExportError::damaged(0, Damage::Checksum));
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(ExportError::Version { found: version, supported: VERSION });
        }
        let mut log_id = [0; 16];
        log_id.copy_from_slice(&bytes[16..32]);
        let (from, to) = (Lsn::new(u64_at(bytes, 40)), Lsn::new(u64_at(bytes, 48)));
        if u32_at(bytes, 12) != 0 || u32_at(bytes, 56) != 0 || from > to {
            return Err(ExportError::damaged(0, Damage::Field));
        }
        Ok(Self { log_id, salt: u64_at(bytes, 32), from, to })
    }
}

/// A record in an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its LSN in the log that it comes from.
    pub lsn: Lsn,
    /// Whether the next one belongs to the same batch.
    pub more: bool,
    /// Its payload.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// The position just past the record in the log that it comes from.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.lsn.advance(record::stored_len(self.payload.len()) as u64)
    }
}

/// What an export holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
}

impl Summary {
    fn count(&mut self, payload: &[u8]) {
        self.records += 1;
        self.payload_bytes += payload.len() as u64;
    }
}

/// The checksum of everything so far, but for the checksums themselves: a CRC that is followed by its
/// own value says nothing any more of what came before.
#[derive(Debug)]
struct Sum(Digest);

impl Sum {
    fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// As stored.
    fn so_far(&self) -> [u8; CRC_LEN] {
        // CRC-32 fills the low half of the digest's 64-bit result.
        (self.0.finalize() as u32).to_le_bytes()
    }
}

/// Writes the records of the log in `source` whose LSN lies in `range` to `out`. Reads everything that
/// `source` has, and writes nothing there. Blocks for I/O.
///
/// The log may be in use, and a log's own sink is a source: what lies before the watermark of an open
/// log can be exported while others append to it. What lies behind the range need not be right, nor
/// stay as it is.
///
/// A batch that lies in the range only in part is there in part, and its part is a batch. If this
/// fails, what was written lacks its closing mark, so nobody takes it for all there was.
///
/// # Errors
///
/// [`ExportError::Log`] as for [`scan`](recover::scan), [`ExportError::Io`] if writing fails;
/// [`ExportError::Log`] with [`Error::Truncated`] if the log starts behind the range's start, with
/// [`Error::NotAppended`] if it ends before the range's end.
pub fn export<W: Write>(
    source: &dyn LogSource,
    range: Range<Lsn>,
    out: W,
) -> Result<(W, Summary), ExportError> {
    let log_id = oldest_header(source)?.map_or([0; 16], |header| header.log_id);
    let mut writer = Writer::new(out, Header::new(log_id, range.start, range.end)?)?;
    let (mut written, mut passed) = (Ok(()), false);
    let found = recover::scan(source, ScanOptions::default(), &mut |found| {
        passed |= found.end() >= range.end;
        if written.is_ok() && range.contains(&found.lsn) {
            let more = found.kind == record::Kind::DataMore && found.end() < range.end;
            written = writer.record(&Record { lsn: found.lsn, more, payload: found.payload });
        }
    });
    match found {
        Ok(found) => {
            // Where the next frame would start, if nothing has been appended since.
            let align = found.files.last().map_or(1, |last| u64::from(last.header.align));
            let next = found.next.max(found.end.align_up(align));
            if range.end > next {
                let lsn = range.end;
                return Err(ExportError::Log(Error::NotAppended { lsn, next }));
            }
        }
        Err(Error::Corrupt(damage)) if is_behind(source, &damage, range.end, passed)? => {}
        Err(error) => return Err(ExportError::Log(error)),
    }
    written?;
    // Afterwards: if it starts early enough now, it did so all the time.
    let oldest = oldest_header(source)?;
    let reach = oldest.map_or(Lsn::MAX, |first| first.prev.map_or(first.base, |prev| prev.end));
    if let Some(first) = oldest.filter(|_| range.start < reach) {
        let (lsn, first_available) = (range.start, first.base);
        return Err(ExportError::Log(Error::Truncated { lsn, first_available }));
    }
    writer.finish()
}

/// Whether everything before `end` was passed on in spite of this damage; `passed` says that something
/// was which reaches that far.
fn is_behind(
    source: &dyn LogSource,
    damage: &Corruption,
    end: Lsn,
    passed: bool,
) -> Result<bool, ExportError> {
    if damage.lsn < end || passed {
        return Ok(damage.lsn >= end);
    }
    if !matches!(damage.reason, Reason::Record(_) | Reason::UnfinishedBatch) {
        // Between frames.
        return Ok(true);
    }
    // Records before a damaged one that are of the same batch were not passed on, unless it is the
    // first of its frame.
    let mut head = [0; frame::HEADER_LEN];
    let Some(offset) = damage.offset.checked_sub(head.len() as u64) else { return Ok(false) };
    let read = source.read_at(damage.file, offset, &mut head);
    let read = read.map_err(|error| ExportError::Log(error.into()))?;
    let found = frame::decode_anywhere(&head[..read.min(head.len())]);
    Ok(found.is_some_and(|found| found.lsn >= end && found.lsn.advance(FRAME_LEN) == damage.lsn))
}

/// The header of the oldest file that has one.
fn oldest_header(source: &dyn LogSource) -> Result<Option<FileHeader>, ExportError> {
    let failed = |error: SinkError| ExportError::Log(error.into());
    let mut block = vec![0; BLOCK_LEN];
    for file in source.list().map_err(failed)?.files {
        let read = source.read_at(file.sequence, 0, &mut block).map_err(failed)?;
        if let Ok(header) = file_header::decode(&block[..read.min(BLOCK_LEN)]) {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

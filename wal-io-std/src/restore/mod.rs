//! A log made anew from records that have their LSNs already: from an export, or from what is left of
//! a damaged log.
//!
//! Appending gives every record a new LSN; this keeps the old ones. The log is laid out from scratch,
//! without what does not count (void records, padding, leftovers), and closed. It is built in a
//! directory beside the one asked for, and renamed when all of it is durable: so it is there whole or
//! not at all.

mod file;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wal_core::format::file_header::{FileHeader, Predecessor};
use wal_core::format::frame::{self, Kind, Link};
use wal_core::format::record;
use wal_core::sink::SinkOp;
use wal_core::{Error, Lsn, SinkError};

use crate::dir::{Dir, at};
use crate::sys::Os;
use file::{First, NewFile};

/// Once a file has so many bytes, the next frame begins another.
const FILE_LEN: u64 = 64 << 20;
/// A gap of more bytes is not filled, but left out between two files.
const FILLER_MAX: u64 = 64 << 10;
const FRAME: u64 = frame::HEADER_LEN as u64;

/// Where the new log begins.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    log_id: [u8; 16],
    sequence: u64,
    start: Lsn,
    prev: Option<Predecessor>,
}

impl Origin {
    /// As another log did, whose oldest file has this header.
    #[must_use]
    pub fn of(first: &FileHeader) -> Self {
        let start = first.prev.map_or(first.base, |prev| prev.end);
        Self { log_id: first.log_id, sequence: first.sequence, start, prev: first.prev }
    }

    /// At `start`. What came before, if anything, is taken to have been truncated.
    #[must_use]
    pub fn at(log_id: [u8; 16], start: Lsn) -> Self {
        let before = Predecessor { sequence: 1, salt: 0, end: start, last_frame: Link::NONE };
        let prev = (start > Lsn::ZERO).then_some(before);
        Self { log_id, sequence: if prev.is_some() { 2 } else { 1 }, start, prev }
    }
}

/// What was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Records.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Log files.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Where the log ends: nothing that is appended to it has an LSN before.
    pub end: Lsn,
}

/// A log in the making. Dropped before it is [finished](Self::finish), it leaves nothing behind.
#[derive(Debug)]
pub struct Restore {
    target: PathBuf,
    part: Option<PathBuf>,
    dir: Dir<Os>,
    log_id: [u8; 16],
    sequence: u64,
    prev: Option<Predecessor>,
    /// The end of the last record.
    end: Lsn,
    file: Option<NewFile>,
    /// Whether the last record's batch goes on.
    batch: bool,
    /// Whether something is lost before the next record.
    lost: bool,
    done: Restored,
}

impl Restore {
    /// Begins a log that will be in `target`, which must be absent or empty. Blocks for I/O, as every
    /// call here does.
    ///
    /// # Errors
    ///
    /// [`Error::Sink`] if there is something in `target`, or in the directory of the same name with
    /// `.part` behind it, in which the log is made.
    pub fn create(target: impl AsRef<Path>, origin: &Origin) -> Result<Self, Error> {
        let target = target.as_ref().to_owned();
        let refuse = |path: &Path, kind, text: &str| {
            Error::from(at(SinkOp::Create, None, path, None)(io::Error::new(kind, text)))
        };
        match fs::read_dir(&target).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Ok(false) => {
                let text = "the directory is not empty";
                return Err(refuse(&target, io::ErrorKind::DirectoryNotEmpty, text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(SinkOp::Create, None, &target, None)(error).into()),
        }
        let mut part = target.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        if part.symlink_metadata().is_ok() {
            let text = "left by a run that was interrupted, or another one is under way";
            return Err(refuse(&part, io::ErrorKind::AlreadyExists, text));
        }
        let dir = Dir::create(Os, &part)?;
        Ok(Self {
            target,
            part: Some(part),
            dir,
            log_id: origin.log_id,
            sequence: origin.sequence,
            prev: origin.prev,
            end: origin.start,
            file: None,
            batch: false,
            lost: false,
            done: Restored { records: 0, payload_bytes: 0, files: 0, bytes: 0, end: origin.start },
        })
    }

    /// Adds the record at `lsn`; `more` if the next one belongs to the same batch.
    ///
    /// # Errors
    ///
    /// [`Error::Sink`] if the system fails, or if `lsn` is no multiple of 8, lies before 64 or the end
    /// of the last record, or breaks a batch, or if the payload has 2^30 bytes or more.
    pub fn record(&mut self, lsn: Lsn, more: bool, payload: &[u8]) -> Result<(), Error> {
        let gap = lsn.distance_from(self.end).unwrap_or(0);
        let fits = lsn >= self.end || self.file.is_none();
        let aligned = lsn.get().is_multiple_of(record::ALIGN as u64);
        let len = record::stored_len(payload.len().min(record::MAX_LEN)) as u64;
        let in_range = lsn.get() >= FRAME && lsn.advance(len) < Lsn::MAX;
        let whole = !self.batch || gap == 0 && !self.lost;
        if !(fits && aligned && in_range && whole) || payload.len() > record::MAX_LEN {
            let text = format!(
                "a record of {} bytes at LSN {lsn} cannot follow LSN {}",
                payload.len(),
                self.end
            );
            return Err(self.failed(io::Error::new(io::ErrorKind::InvalidInput, text)));
        }
        self.make_room(lsn, gap)?;
        let kind = if more { record::Kind::DataMore } else { record::Kind::Data };
        self.put(lsn, kind, payload)?;
        self.batch = more;
        self.done.records += 1;
        self.done.payload_bytes += payload.len() as u64;
        Ok(())
    }

    /// Says that something is lost between the last record and the next. Whoever asks the log for a
    /// position in between is told so.
    pub fn lost(&mut self) {
        self.lost = true;
    }

    /// Closes the log, so that nothing that is appended to it will have an LSN before `next`, makes it
    /// durable and gives it its name.
    ///
    /// # Errors
    ///
    /// [`Error::Sink`] if the system fails, or if the last record's batch is not whole.
    pub fn finish(mut self, next: Lsn) -> Result<Restored, Error> {
        if self.batch {
            let text = "the last batch is not whole";
            return Err(self.failed(io::Error::new(io::ErrorKind::InvalidInput, text)));
        }
        let place = Lsn::new(next.max(self.end).get().next_multiple_of(record::ALIGN as u64));
        if self.lost || place > self.end || self.file.is_none() {
            self.end_file()?;
            self.begin_file(place)?;
        }
        self.begin_frame(Kind::Close, place)?;
        self.end_file()?;
        self.done.end = self.end;
        self.dir.sync().map_err(|error| self.failed(error))?;
        self.publish().map_err(|error| at(SinkOp::Create, None, &self.target, None)(error))?;
        Ok(self.done)
    }

    /// Gets a frame that ends right before `lsn`, which lies `gap` bytes behind the last record.
    fn make_room(&mut self, lsn: Lsn, gap: u64) -> Result<(), Error> {
        let filled = self.file.as_ref().map_or(0, NewFile::len);
        let starts = self.file.is_none() || self.lost || gap > FILLER_MAX + FRAME;
        if starts || gap >= FRAME && filled >= FILE_LEN {
            self.end_file()?;
            return self.begin_with_frame(lsn);
        }
        if gap >= FRAME {
            self.begin_frame(Kind::Data, self.end)?;
        }
        self.fill_to(lsn)
    }

    /// Begins a file whose first frame has its first record at `lsn`.
    fn begin_with_frame(&mut self, lsn: Lsn) -> Result<(), Error> {
        let mut base = Lsn::new(lsn.get() - FRAME);
        // A log begins where it says, if it says nothing of what came before.
        let start = Lsn::new(self.end.get().next_multiple_of(record::ALIGN as u64));
        if self.prev.is_none() && base > start && base.get() - start.get() <= FILLER_MAX {
            base = start;
        }
        self.begin_file(base)?;
        self.begin_frame(Kind::Data, base)?;
        self.fill_to(lsn)
    }

    fn begin_frame(&mut self, kind: Kind, place: Lsn) -> Result<(), Error> {
        let durable = self.end.min(place);
        if let Some(file) = &mut self.file {
            let begun = file.begin_frame(kind, place, durable);
            begun.map_err(|error| self.failed(error))?;
        }
        self.end = place.advance(FRAME);
        Ok(())
    }

    /// Puts a void record between the end and `lsn`, if there is room.
    fn fill_to(&mut self, lsn: Lsn) -> Result<(), Error> {
        let Some(gap @ 8..) = lsn.distance_from(self.end) else { return Ok(()) };
        let filler = vec![0; gap as usize - record::HEADER_LEN];
        self.put(self.end, record::Kind::Void, &filler)
    }

    fn put(&mut self, lsn: Lsn, kind: record::Kind, payload: &[u8]) -> Result<(), Error> {
        if let Some(file) = &mut self.file {
            let put = file.record(lsn, kind, payload);
            put.map_err(|error| self.failed(error))?;
        }
        self.end = lsn.advance(record::stored_len(payload.len()) as u64);
        Ok(())
    }

    fn begin_file(&mut self, base: Lsn) -> Result<(), Error> {
        if let Some(prev) = &mut self.prev {
            prev.end = prev.end.min(base);
        }
        let first = First {
            log_id: self.log_id,
            sequence: self.sequence,
            base,
            prev: self.prev,
            durable: self.end.min(base),
            recovered: self.lost && self.prev.is_some(),
        };
        self.lost = false;
        let file = NewFile::create(&self.dir.file_path(self.sequence), first);
        self.file = Some(file.map_err(|error| self.failed(error))?);
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let (prev, bytes) = file.finish(self.end).map_err(|error| self.failed(error))?;
        self.prev = Some(prev);
        self.sequence += 1;
        self.done.files += 1;
        self.done.bytes += bytes;
        Ok(())
    }

    /// Gives the finished log its name, durably.
    fn publish(&mut self) -> io::Result<()> {
        let Some(part) = &self.part else { return Ok(()) };
        fs::rename(part, &self.target)?;
        self.part = None;
        // The physical parent, whatever the path looks like.
        fs::File::open(self.target.join(".."))?.sync_all()
    }

    fn failed(&self, error: io::Error) -> Error {
        let path = self.dir.file_path(self.sequence);
        SinkError { op: SinkOp::Write, file: None, path: Some(path), offset: None, source: error }
            .into()
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            let _ = fs::remove_dir_all(part);
        }
    }
}

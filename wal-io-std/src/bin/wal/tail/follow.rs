//! Following the files of a log that somebody else writes to.
//!
//! The follower knows the last frame that it has seen. Whatever lies where the next one would start
//! is that frame, or not there yet, or will never be there because the log has gone on in another file
//! meanwhile: the headers of later files tell. So it needs no word from the writer.

use wal_core::format::file_header::{self, BLOCK_LEN, Fault, FileHeader, Predecessor};
use wal_core::format::frame::{self, Kind, Link};
use wal_core::format::record;
use wal_core::recover::{Corruption, Reason, Scan};
use wal_core::sink::{FileEntry, LogSource, SinkOp};
use wal_core::{Error, Lsn, SinkError};

use crate::failure::Failure;

/// Damage is damage if it is found so often at one place.
const DOUBTS: u32 = 20;

/// Takes a record: LSN, end, payload.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Lsn, Lsn, &[u8]) -> Result<(), Failure>;

/// What has come of looking.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing more for now.
    Nothing,
    /// Something that whoever reads along has to know; there may be more.
    Told(String),
}

/// Why following ends.
#[derive(Debug)]
pub(super) enum Stop {
    Log(Error),
    Output(Failure),
}

impl From<SinkError> for Stop {
    fn from(error: SinkError) -> Self {
        Self::Log(error.into())
    }
}

/// Where a follower is.
#[derive(Debug)]
pub(super) struct Follower {
    /// The file at hand; `None` before the first.
    file: Option<FileHeader>,
    /// Where the next frame starts, if it lies in this file.
    at: Lsn,
    /// The frame before that; `None` if that has not been looked at yet.
    link: Option<Link>,
    /// The end of what was read.
    end: Lsn,
    /// Records before this are not shown again.
    shown: Lsn,
    /// Where damage was found, and how often.
    doubt: Option<(Lsn, u32)>,
    /// The last frame of the scan, which is read once more, since it may have grown whole.
    resume: Option<Predecessor>,
}

impl Follower {
    /// Goes on where a scan has ended.
    pub(super) fn new(found: &Scan) -> Self {
        let (end, resume) = (found.end, found.last);
        Self { file: None, at: Lsn::ZERO, link: None, end, shown: end, doubt: None, resume }
    }

    /// Shows every record that is there by now.
    pub(super) fn poll(&mut self, source: &dyn LogSource, visit: Visit<'_>) -> Result<News, Stop> {
        loop {
            match self.step(source, visit) {
                Ok(Step::On) => {}
                Ok(Step::Wait) => return Ok(News::Nothing),
                Ok(Step::Tell(text)) => return Ok(News::Told(text)),
                // Removed between the listing and the reading: the next look tells.
                Err(Stop::Log(Error::Sink(error))) if is_gone(&error) => return Ok(News::Nothing),
                // Of several writes under way, a later one may be seen before an earlier one.
                Err(Stop::Log(Error::Corrupt(found))) if self.doubts(found.lsn) => {
                    return Ok(News::Nothing);
                }
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Whether damage at `lsn` may still go away by itself.
    fn doubts(&mut self, lsn: Lsn) -> bool {
        let times = self.doubt.filter(|(at, _)| *at == lsn).map_or(1, |(_, times)| times + 1);
        self.doubt = Some((lsn, times));
        times < DOUBTS
    }

    fn step(&mut self, source: &dyn LogSource, visit: Visit<'_>) -> Result<Step, Stop> {
        let files = source.list()?.files;
        let Some(file) = self.file else { return self.begin(source, &files) };
        let present = files.iter().any(|entry| entry.sequence == file.sequence);
        if present && header_of(source, file.sequence)?.is_some_and(|now| now.salt != file.salt) {
            return Ok(self.begin_anew());
        }
        let next = self.successor(source, &files, &file)?;
        let until = match &next {
            None => file.limit(),
            Some(header) => match header.prev {
                Some(prev) if names(&prev, &file) => prev.end.min(file.limit()),
                // Whatever is left here is no part of the log.
                _ => self.at,
            },
        };
        let begun = self.at;
        while present
            && self.at < until
            && self.frame(source, &file, until, next.is_some(), visit)?
        {}
        match next {
            None if self.at > begun => Ok(Step::On),
            None => Ok(Step::Wait),
            Some(header) => self.enter(&files, &file, header, present),
        }
    }

    /// Finds the file to begin with: the one of the scan's last frame, or the first there is.
    fn begin(&mut self, source: &dyn LogSource, files: &[FileEntry]) -> Result<Step, Stop> {
        for entry in files {
            let Some(header) = header_of(source, entry.sequence)? else { continue };
            match &self.resume {
                Some(last) if header.sequence < last.sequence => continue,
                Some(last) if header.sequence == last.sequence => {
                    let link = last.last_frame;
                    let within = link != Link::NONE && link.lsn >= header.base;
                    self.at = if within { link.lsn } else { header.base };
                    self.link = None;
                }
                // It is gone, or there was none.
                _ => {
                    self.at = header.base;
                    self.end = header.prev.map_or(header.base, |prev| prev.end);
                    self.link = Some(header.prev.map_or(Link::NONE, |prev| prev.last_frame));
                }
            }
            self.file = Some(header);
            if self.end > self.shown && header.prev.is_some() {
                return Ok(self.gone(&header));
            }
            return Ok(Step::On);
        }
        Ok(Step::Wait)
    }

    /// What was not shown yet, and lay before this file, has been removed.
    fn gone(&self, next: &FileHeader) -> Step {
        Step::Tell(format!(
            "the log was truncated faster than it could be shown: what lay from LSN {} to LSN {} is \
             gone",
            self.shown, next.base
        ))
    }

    /// Begins with the oldest file there is, since those that were read are gone. What was shown is
    /// not shown again.
    fn begin_anew(&mut self) -> Step {
        (self.file, self.resume) = (None, None);
        Step::Tell(format!(
            "the files of the log were replaced by others: it goes on with what they have from LSN {} \
             on",
            self.shown
        ))
    }

    /// The next file that has a header, if there is one: the writer has gone on to it.
    fn successor(
        &self,
        source: &dyn LogSource,
        files: &[FileEntry],
        file: &FileHeader,
    ) -> Result<Option<FileHeader>, Stop> {
        for entry in files.iter().filter(|entry| entry.sequence > file.sequence) {
            if let Some(header) = header_of(source, entry.sequence)? {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Shows the records of the frame at hand, if all of it is there, and goes on behind it.
    fn frame(
        &mut self,
        source: &dyn LogSource,
        file: &FileHeader,
        until: Lsn,
        complete: bool,
        visit: Visit<'_>,
    ) -> Result<bool, Stop> {
        let (at, offset) = (self.at, file.offset_of(self.at));
        let mut bytes = vec![0; frame::HEADER_LEN];
        let read = source.read_at(file.sequence, offset, &mut bytes)?;
        let room = file.capacity.saturating_sub(offset);
        let found = match frame::decode(&bytes[..read], at, file.salt, room) {
            Ok(found) if self.link.is_none_or(|link| link == found.prev) => found,
            Ok(_) if complete => return Err(self.damage(file, at, Reason::BrokenFrameChain)),
            Err(fault) if complete && until > self.end => {
                return Err(self.damage(file, at, Reason::FrameHeader(fault)));
            }
            _ => return Ok(false),
        };
        let end = found.end().min(until);
        if found.kind == Kind::Data {
            bytes.resize((end.get() - at.get()) as usize, 0);
            let body = frame::HEADER_LEN;
            let read = source.read_at(file.sequence, offset + body as u64, &mut bytes[body..])?;
            bytes.truncate(body + read);
            let whole = bytes.len() as u64 == end.get() - at.get();
            match check(&bytes, at, file) {
                Ok(()) if whole => self.show(&bytes, at, visit)?,
                Err((at, reason)) if complete => return Err(self.damage(file, at, reason)),
                // It is being written.
                _ => return Ok(false),
            }
        }
        self.end = self.end.max(end);
        self.shown = self.shown.max(end);
        self.link = Some(found.link());
        self.at = align_up(end, file.align);
        Ok(true)
    }

    /// Shows the records in `bytes`, a frame that was checked.
    fn show(&self, bytes: &[u8], at: Lsn, visit: Visit<'_>) -> Result<(), Stop> {
        let mut from = frame::HEADER_LEN;
        while let Some(word) = bytes.get(from..).and_then(record::peek) {
            let (lsn, len) = (at.advance(from as u64), word.len());
            let stored = record::stored_len(len);
            if word.kind() != Some(record::Kind::Void) && lsn >= self.shown {
                let payload = &bytes[from + record::HEADER_LEN..][..len];
                visit(lsn, lsn.advance(stored as u64), payload).map_err(Stop::Output)?;
            }
            from += stored;
        }
        Ok(())
    }

    /// Goes on to the next file, and says what that means for what was shown.
    fn enter(
        &mut self,
        files: &[FileEntry],
        file: &FileHeader,
        next: FileHeader,
        present: bool,
    ) -> Result<Step, Stop> {
        let seen = self.end;
        // Without a predecessor, nothing of what was there is part of the log.
        let kept = next.prev.map_or(Lsn::ZERO, |prev| prev.end);
        let named = next.prev.is_none_or(|prev| prev.sequence <= file.sequence);
        self.file = Some(next);
        self.at = next.base;
        self.end = kept;
        self.link = Some(next.prev.map_or(Link::NONE, |prev| prev.last_frame));
        if kept < seen {
            // Positions that were never acknowledged are used again after a crash.
            self.shown = self.shown.min(kept);
            return Ok(Step::Tell(format!(
                "the log was cut back to LSN {kept}: what was shown from there on is no part of it \
                 any more; it goes on at LSN {}",
                next.base
            )));
        }
        if named && kept == seen {
            return Ok(Step::On);
        }
        let oldest = files.first().map_or(next.sequence, |entry| entry.sequence);
        if !present || oldest > file.sequence {
            return Ok(self.gone(&next));
        }
        Err(self.damage(file, seen, Reason::BrokenFileChain))
    }

    fn damage(&self, file: &FileHeader, at: Lsn, reason: Reason) -> Stop {
        Stop::Log(Error::from(Corruption {
            reason,
            lsn: at,
            file: file.sequence,
            path: format!("log file {}", file.sequence).into(),
            offset: file.offset_of(at.max(file.base)),
            len: 0,
            proof: at,
        }))
    }
}

/// What a step leads to.
enum Step {
    On,
    Wait,
    Tell(String),
}

/// Whether `prev` is what a header says of this file.
fn names(prev: &Predecessor, file: &FileHeader) -> bool {
    (prev.sequence, prev.salt) == (file.sequence, file.salt)
}

/// The header of a file; `None` if it has none (yet).
fn header_of(source: &dyn LogSource, sequence: u64) -> Result<Option<FileHeader>, Stop> {
    let mut block = vec![0; BLOCK_LEN];
    match source.read_at(sequence, 0, &mut block) {
        Ok(read) => match file_header::decode(&block[..read.min(BLOCK_LEN)]) {
            Ok(header) => Ok((header.sequence == sequence).then_some(header)),
            Err(Fault::Version(found)) => {
                let path = format!("log file {sequence}").into();
                let supported = file_header::VERSION;
                Err(Stop::Log(Error::UnsupportedFormat { path, found, supported }))
            }
            Err(_) => Ok(None),
        },
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Verifies all records of a frame, and that its last batch is whole.
fn check(bytes: &[u8], at: Lsn, file: &FileHeader) -> Result<(), (Lsn, Reason)> {
    let mut from = frame::HEADER_LEN;
    let mut batch = None;
    while from < bytes.len() {
        let lsn = at.advance(from as u64);
        let max = file.max_record_len as usize;
        let found = record::decode(&bytes[from..], lsn, file.salt, max)
            .map_err(|fault| (lsn, Reason::Record(fault)))?;
        batch = (found.kind == record::Kind::DataMore).then_some(lsn);
        from += record::stored_len(found.payload.len());
    }
    batch.map_or(Ok(()), |lsn| Err((lsn, Reason::UnfinishedBatch)))
}

fn align_up(lsn: Lsn, align: u32) -> Lsn {
    Lsn::new(lsn.get().saturating_add(u64::from(align) - 1) & !(u64::from(align) - 1))
}

fn is_gone(error: &SinkError) -> bool {
    error.source.kind() == std::io::ErrorKind::NotFound
        && matches!(error.op, SinkOp::Open | SinkOp::Read)
}

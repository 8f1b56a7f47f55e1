//! Walking the stream backwards: files, frames, records.
//!
//! A frame names the one before it, and a file's header the last one of the file before, so both are
//! found without looking at what lies in between. Within a frame only the lengths of records tell
//! where they are: it is walked forward, in parts, and where its records are is kept of one part at
//! a time. Nothing names the last frame before a place that is none of these: where a walk begins
//! within a file, and at a hole, the headers of that file's frames are looked at from its first on.

use std::ops::Range;
use std::sync::Arc;

use super::{Cursor, Follow, Record, reach, truncated};
use crate::error::Error;
use crate::format::frame::{self, Link};
use crate::format::record;
use crate::lsn::Lsn;
use crate::recover::Reason;
use crate::shared::ReadFile;

/// Bytes read at once, at least, but for the beginning of a file.
const WINDOW: u64 = 256 << 10;
/// Bytes of a frame whose records are looked for at once, but for a record that is larger.
const PART: u64 = 1 << 20;

/// An iterator over copies of the durable records of a log, newest first. Ends at the log's first
/// record or after its first error.
pub struct RecordsBack {
    walk: Option<Back>,
}

impl RecordsBack {
    pub(super) fn new(log: Arc<dyn Follow>, from: Lsn) -> Result<Self, Error> {
        Ok(Self { walk: Back::new(log, from)? })
    }
}

impl Iterator for RecordsBack {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.walk.as_mut()?.next().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.walk = None;
        }
        item
    }
}

impl std::iter::FusedIterator for RecordsBack {}

impl std::fmt::Debug for RecordsBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordsBack").field("at", &self.walk.as_ref().map(|walk| walk.at)).finish()
    }
}

struct Back {
    log: Arc<dyn Follow>,
    /// The number of cuts when the walk began, or was found to have lost nothing by one.
    cuts: u64,
    /// Where the log started when the walk began.
    start: Lsn,
    /// Only records before this are of interest.
    from: Lsn,
    /// The end of the newest record that was given out.
    newest: Option<Lsn>,
    file: ReadFile,
    /// What lies here and further on was given out, or is of no interest.
    at: Lsn,
    /// The last frame before `at`, if one behind it has named it.
    before: Option<Link>,
    /// Where the parts of the present frame begin that are to come, the next one last.
    parts: Vec<Lsn>,
    /// Where the records of the present part are that are to come, the next one last.
    records: Vec<Lsn>,
    window: Vec<u8>,
    /// Stream position of the window's first byte.
    window_at: Lsn,
}

impl Back {
    /// A walk over the records before `from`; `None` if there is no file to walk through.
    fn new(log: Arc<dyn Follow>, from: Lsn) -> Result<Option<Self>, Error> {
        // Before the files are looked at.
        let cuts = log.cuts();
        let from = from.min(log.limit());
        let found = log.files(|files| {
            let Some(first) = files.first() else { return Ok(None) };
            if from < reach(first) {
                return Err(truncated(from, first));
            }
            let index = files.partition_point(|file| file.header.base < from).saturating_sub(1);
            let next = files.get(index + 1).map(|next| next.header.prev);
            Ok(Some((first.header.base, files[index].clone(), next)))
        })?;
        let Some((start, file, next)) = found else { return Ok(None) };
        let end = file.end.filter(|&end| end <= from);
        let before = next
            .flatten()
            .filter(|prev| prev.sequence == file.header.sequence && end == Some(prev.end));
        Ok(Some(Self {
            log,
            cuts,
            start,
            from,
            newest: None,
            file,
            at: end.unwrap_or(from),
            before: before.map(|prev| prev.last_frame),
            parts: Vec::new(),
            records: Vec::new(),
            window: Vec::new(),
            window_at: Lsn::ZERO,
        }))
    }

    fn next(&mut self) -> Result<Option<Record>, Error> {
        loop {
            let cuts = self.log.cuts();
            if self.cuts != cuts {
                let Some(newest) = self.newest else {
                    match Self::new(Arc::clone(&self.log), self.from)? {
                        Some(anew) => *self = anew,
                        None => return Ok(None),
                    }
                    continue;
                };
                self.log.check_kept(newest)?;
                self.cuts = cuts;
            }
            match self.walk() {
                // Of no concern if the files it was found in are not those of the log any more.
                Err(_) if self.cuts != self.log.cuts() => {}
                over => return over,
            }
        }
    }

    fn walk(&mut self) -> Result<Option<Record>, Error> {
        loop {
            if let Some(lsn) = self.records.pop() {
                return Ok(Some(self.give(lsn)));
            }
            if let Some(part) = self.parts.pop() {
                self.enter_part(part)?;
            } else if let Some(frame) = self.frame_before()? {
                self.enter_frame(frame)?;
            } else if !self.enter_file_before()? {
                return Ok(None);
            }
        }
    }

    /// The record at `lsn`, which is in the window and was verified.
    fn give(&mut self, lsn: Lsn) -> Record {
        let bytes = self.held(lsn);
        let len = record::peek(bytes).map_or(0, record::Word::len);
        let payload = bytes[record::HEADER_LEN..][..len].to_vec();
        let record = Record { lsn, end: lsn.advance(record::stored_len(len) as u64), payload };
        self.newest.get_or_insert(record.end);
        record
    }

    /// Finds the records of a part of a frame, which ends at `at`.
    fn enter_part(&mut self, first: Lsn) -> Result<(), Error> {
        let (mut at, end) = (first, self.at);
        self.hold(first..end)?;
        while at < end && !self.is_hole(at) {
            let (next, kind) = self.record(at, end, u64::MAX)?;
            if kind != Some(record::Kind::Void) && at < self.from {
                self.records.push(at);
            }
            at = next;
        }
        // Before the first part is the header of the frame, which has been read.
        let header = if self.parts.is_empty() { frame::HEADER_LEN as u64 } else { 0 };
        self.at = Lsn::new(first.get() - header);
        Ok(())
    }

    /// Finds the parts of a frame whose records lie in `range`.
    fn enter_frame_in_parts(&mut self, range: Range<Lsn>) -> Result<(), Error> {
        let (mut part, mut at) = (range.start, range.start);
        while at < range.end && at < self.from && !self.is_hole(at) {
            if self.window_end() < at.advance(record::HEADER_LEN as u64).min(range.end) {
                self.load(at..range.end.min(at.advance(WINDOW)))?;
            }
            // One that is larger than the window is verified when it has its turn.
            let (next, _) = self.record(at, range.end, WINDOW)?;
            if part < at && next > part.advance(PART) {
                self.parts.push(part);
                part = at;
            }
            at = next;
        }
        self.parts.push(part);
        self.at = at;
        Ok(())
    }

    /// The end of the record at `lsn`, and its kind if it is no larger than `verified`.
    fn record(
        &mut self,
        lsn: Lsn,
        end: Lsn,
        verified: u64,
    ) -> Result<(Lsn, Option<record::Kind>), Error> {
        let (salt, max) = (self.file.header.salt, self.file.header.max_record_len as usize);
        let room = end.distance_from(lsn).unwrap_or(0);
        let len = record::peek(self.held(lsn)).map_or(usize::MAX, record::Word::len);
        let stored = record::stored_len(len.min(max)) as u64;
        if len > max || stored > room {
            return Err(self.corrupt(lsn, Reason::Record(record::Fault::Length)));
        }
        let next = lsn.advance(stored);
        if stored > verified {
            return Ok((next, None));
        }
        if self.window_end() < next {
            self.load(lsn..end.min(lsn.advance(WINDOW)))?;
        }
        match record::decode(self.held(lsn), lsn, salt, max) {
            Ok(found) => Ok((next, Some(found.kind))),
            Err(fault) => Err(self.corrupt(lsn, Reason::Record(fault))),
        }
    }

    /// Reads the header of the frame at `lsn`, and finds its records.
    fn enter_frame(&mut self, lsn: Lsn) -> Result<(), Error> {
        let first = lsn.advance(frame::HEADER_LEN as u64);
        let near = self.at <= lsn.advance(PART);
        self.hold(lsn..if near { self.at.max(first) } else { first })?;
        let header = self.file.header;
        let room = header.limit().get() - lsn.get();
        let found = match frame::decode(self.held(lsn), lsn, header.salt, room) {
            Ok(found) if self.before.is_none_or(|link| link == found.link()) => found,
            Ok(_) => return Err(self.corrupt(lsn, Reason::BrokenFrameChain)),
            Err(fault) => return Err(self.corrupt(lsn, Reason::FrameHeader(fault))),
        };
        self.before = Some(found.prev);
        self.at = lsn;
        if found.kind == frame::Kind::Data && first < self.from {
            let end = self.file.end.map_or(found.end(), |end| end.min(found.end()));
            if end > first.advance(PART) {
                return self.enter_frame_in_parts(first..end);
            }
            self.parts.push(first);
            self.at = end;
        }
        Ok(())
    }

    /// The last frame of the file that starts before `at`.
    fn frame_before(&mut self) -> Result<Option<Lsn>, Error> {
        let base = self.file.header.base;
        if let Some(link) = self.before {
            // The first frame of a file names one of another file, or none.
            let named = Some(link.lsn).filter(|&lsn| base <= lsn && lsn < self.at);
            let between = named.unwrap_or(base)..self.at;
            let is_within =
                |hole: &Range<Lsn>| hole.start < between.end && between.start < hole.end;
            if !self.log.holes().iter().any(is_within) {
                return Ok(named);
            }
        }
        self.before = None;
        let mut last = None;
        let mut cursor = Cursor::at_file(Arc::clone(&self.log), self.file.clone(), base);
        while let Some(found) = cursor.frame()?.filter(|found| found.lsn < self.at) {
            last = Some(found.lsn);
            cursor.at = cursor.file.end.map_or(found.end(), |end| end.min(found.end()));
        }
        Ok(last)
    }

    /// Goes on in the file before; `false` if this is the first of the log.
    fn enter_file_before(&mut self) -> Result<bool, Error> {
        let header = self.file.header;
        let (start, at) = (self.start, self.at);
        let before = self.log.files(|files| {
            let index = files.partition_point(|file| file.header.sequence < header.sequence);
            match (files.first(), index.checked_sub(1).map(|before| &files[before])) {
                (_, Some(before)) => Ok(Some(before.clone())),
                // As far back as there was anything when the walk began, or has it gone since?
                (Some(first), None) if first.header.base > start => {
                    Err(truncated(start.min(at), first))
                }
                _ => Ok(None),
            }
        })?;
        let Some(before) = before else { return Ok(false) };
        let named = header.prev.filter(|prev| prev.sequence == before.header.sequence);
        self.before = named.map(|prev| prev.last_frame);
        self.at = before.end.unwrap_or(before.header.base).max(before.header.base);
        self.file = before;
        self.window.clear();
        Ok(true)
    }

    fn is_hole(&self, lsn: Lsn) -> bool {
        self.log.hole_end(lsn).is_some()
    }

    /// The bytes of the window from `lsn` on.
    fn held(&self, lsn: Lsn) -> &[u8] {
        let from = lsn.distance_from(self.window_at).unwrap_or(u64::MAX);
        self.window.get(from as usize..).unwrap_or_default()
    }

    fn window_end(&self) -> Lsn {
        self.window_at.advance(self.window.len() as u64)
    }

    /// Has `range` in the window, with as much before it as makes one read worth while.
    fn hold(&mut self, range: Range<Lsn>) -> Result<(), Error> {
        if self.window_at <= range.start && range.end <= self.window_end() {
            return Ok(());
        }
        let back = Lsn::new(range.end.get().saturating_sub(WINDOW));
        self.load(back.min(range.start).max(self.file.header.base)..range.end)
    }

    /// Reads `range`, as far as the file has it.
    fn load(&mut self, range: Range<Lsn>) -> Result<(), Error> {
        self.window.resize((range.end.get() - range.start.get()) as usize, 0);
        self.window_at = range.start;
        let read = self.log.read(&self.file, range.start, &mut self.window);
        self.window.truncate(*read.as_ref().unwrap_or(&0));
        read.map(drop)
    }

    fn corrupt(&self, lsn: Lsn, reason: Reason) -> Error {
        self.log.corrupt(&self.file, lsn, self.log.limit(), reason)
    }
}

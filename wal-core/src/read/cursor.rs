//! Walking the stream: files, frames, records.

use std::sync::Arc;

use super::Follow;
use crate::error::Error;
use crate::format::{frame, record};
use crate::lsn::Lsn;
use crate::recover::Reason;
use crate::shared::ReadFile;

/// Bytes read at once when walking through records.
const WINDOW: usize = 256 << 10;
/// Bytes read at once when looking for a frame.
pub(super) const GLANCE: usize = 4096;

/// A record lent by a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The record's LSN.
    pub lsn: Lsn,
    /// The position just past the record.
    pub end: Lsn,
    /// Its payload.
    pub payload: &'a [u8],
}

/// An owned record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record's LSN.
    pub lsn: Lsn,
    /// The position just past the record.
    pub end: Lsn,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A walk over the durable records of a log, in order, without copying them: each is lent until
/// the next call. Keeps the log open.
pub struct Cursor {
    pub(super) log: Arc<dyn Follow>,
    pub(super) file: ReadFile,
    /// The next position to look at.
    pub(super) at: Lsn,
    /// End of the records of the frame that `at` is in; at or before `at` between frames.
    pub(super) frame_end: Lsn,
    /// Records before this are passed over.
    from: Lsn,
    /// The end of the record lent last; where the walk began, before the first.
    done: Lsn,
    /// The number of cuts when the walk began or was set right for one.
    cuts: u64,
    pub(super) limit: Lsn,
    window: Vec<u8>,
    /// Stream position of the window's first byte.
    window_at: Lsn,
}

impl Cursor {
    pub(super) fn new(log: Arc<dyn Follow>, from: Lsn) -> Result<Self, Error> {
        // Before the files are looked at.
        let cuts = log.cuts();
        log.check_cut(from)?;
        let limit = log.limit();
        let Some(file) = log.file_of(from)? else {
            return Err(Error::NotDurable { lsn: from, durable: limit });
        };
        // Behind the file's end there is nothing to look for in it.
        let over = file.end.is_some_and(|end| from >= end);
        let at = if over { from } else { file.header.base };
        Ok(Self { from, done: from, cuts, limit, ..Self::at_file(log, file, at) })
    }

    /// A walk from `at` on, where a frame of `file` starts.
    pub(super) fn at_file(log: Arc<dyn Follow>, file: ReadFile, at: Lsn) -> Self {
        Self {
            file,
            at,
            frame_end: at,
            from: at,
            done: at,
            cuts: log.cuts(),
            limit: log.limit(),
            window: Vec::new(),
            window_at: Lsn::ZERO,
            log,
        }
    }

    /// The next record, or `None` at the durable watermark; called again later, goes on from
    /// there. Blocks for I/O.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] at damage, [`Error::Sink`] if a read fails; [`Error::Truncated`] if the
    /// next record is gone because a [truncation](crate::Wal::truncate_before) has overtaken the
    /// cursor, or the last one because the log was [cut back](crate::Wal::truncate_after) behind it.
    /// Calling again tries the same place again.
    #[expect(clippy::should_implement_trait, reason = "an `Iterator` cannot lend")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        let Some((lsn, len)) = self.find()? else { return Ok(None) };
        Ok(Some(self.lend(lsn, len)))
    }

    /// The next record, which is then in the window: where it is, and its length.
    pub(super) fn find(&mut self) -> Result<Option<(Lsn, usize)>, Error> {
        loop {
            if self.cuts != self.log.cuts() {
                *self = Self::new(Arc::clone(&self.log), self.done)?;
            }
            match self.walk() {
                // Of no concern if the files it was found in are not those of the log any more.
                Err(_) if self.cuts != self.log.cuts() => {}
                Ok(Some((lsn, len))) => {
                    self.done = self.at;
                    return Ok(Some((lsn, len)));
                }
                over => return over,
            }
        }
    }

    /// Walks on to the next record.
    fn walk(&mut self) -> Result<Option<(Lsn, usize)>, Error> {
        loop {
            if let Some(end) = self.log.hole_end(self.at) {
                self.at = end;
                self.frame_end = end;
            }
            if self.at < self.frame_end {
                let (lsn, len, kind) = self.record()?;
                self.at = lsn.advance(record::stored_len(len) as u64);
                if kind != record::Kind::Void && lsn >= self.from {
                    return Ok(Some((lsn, len)));
                }
            } else if !self.enter_frame()? {
                return Ok(None);
            }
        }
    }

    /// The record that was found last.
    pub(super) fn lend(&self, lsn: Lsn, len: usize) -> Entry<'_> {
        let from = (lsn.get() - self.window_at.get()) as usize + record::HEADER_LEN;
        Entry { lsn, end: self.at, payload: &self.window[from..from + len] }
    }

    /// Moves to the first record of the next frame that has one of interest; `false` at the end.
    fn enter_frame(&mut self) -> Result<bool, Error> {
        loop {
            self.at = self.at.align_up(u64::from(self.file.header.align));
            if let Some(end) = self.log.hole_end(self.at) {
                self.at = end;
            }
            if self.file.end.is_none() {
                // It may have got a successor since, or be gone for that.
                let now = self.log.file(self.file.header.sequence);
                self.file.end = now.map_or(Some(self.at), |now| now.end);
            }
            if self.file.end.is_some_and(|end| self.at >= end) {
                let past = self.at.max(self.from);
                let Some(next) = self.log.file_after(self.file.header.sequence, past)? else {
                    return Ok(false);
                };
                self.at = next.header.base;
                self.file = next;
                self.window.clear();
                continue;
            }
            if self.at >= self.limit {
                self.limit = self.log.limit();
                if self.at >= self.limit {
                    return Ok(false);
                }
                // What has become durable since may lie in a new file: look again.
                continue;
            }
            let (at, salt) = (self.at, self.file.header.salt);
            let room = self.file.header.limit().get().saturating_sub(at.get());
            let bytes = self.bytes(frame::HEADER_LEN, GLANCE)?;
            let header = match frame::decode(bytes, at, salt, room) {
                Ok(header) => header,
                Err(fault) => return Err(self.corrupt(Reason::FrameHeader(fault))),
            };
            let end = self.file.end.map_or(header.end(), |end| end.min(header.end()));
            if header.kind == frame::Kind::Data && end > self.from {
                self.at = at.advance(frame::HEADER_LEN as u64);
                self.frame_end = end;
                return Ok(true);
            }
            self.at = end;
        }
    }

    /// Verifies the record at `at`, which is then in the window.
    pub(super) fn record(&mut self) -> Result<(Lsn, usize, record::Kind), Error> {
        let at = self.at;
        let (salt, max) = (self.file.header.salt, self.file.header.max_record_len as usize);
        let room = (self.frame_end.get() - at.get()) as usize;
        let peeked = record::peek(self.bytes(record::HEADER_LEN.min(room), WINDOW)?);
        let len = peeked.map_or(usize::MAX, record::Word::len);
        if len > max || record::stored_len(len) > room {
            return Err(self.corrupt(Reason::Record(record::Fault::Length)));
        }
        let bytes = self.bytes(record::stored_len(len), WINDOW)?;
        match record::decode(bytes, at, salt, max) {
            Ok(record) => Ok((at, record.payload.len(), record.kind)),
            Err(fault) => Err(self.corrupt(Reason::Record(fault))),
        }
    }

    /// The `len` bytes at `at`, as far as the file has them; reads `ahead` bytes if they are not in
    /// the window, and never beyond the file's own length.
    pub(super) fn bytes(&mut self, len: usize, ahead: usize) -> Result<&[u8], Error> {
        let held = self.at.distance_from(self.window_at).map_or(usize::MAX, |d| d as usize);
        if held.checked_add(len).is_none_or(|end| end > self.window.len()) {
            let header = &self.file.header;
            // Not past the watermark: what lies there may still change.
            let limit = header.limit().min(self.limit);
            let room = limit.distance_from(self.at).unwrap_or(0);
            let want = (len.max(ahead) as u64).min(room) as usize;
            self.window.resize(want, 0);
            self.window_at = self.at;
            let read = self.log.read(&self.file, self.at, &mut self.window);
            self.window.truncate(*read.as_ref().unwrap_or(&0));
            read?;
        }
        let from = (self.at.get() - self.window_at.get()) as usize;
        let to = (from + len).min(self.window.len());
        Ok(&self.window[from..to])
    }

    pub(super) fn corrupt(&self, reason: Reason) -> Error {
        self.log.corrupt(&self.file, self.at, self.limit, reason)
    }
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursor").field("at", &self.at).finish_non_exhaustive()
    }
}

/// An iterator over copies of the durable records of a log, in order. Ends at the durable watermark
/// or after its first error.
#[derive(Debug)]
pub struct Records {
    cursor: Option<Cursor>,
}

impl Records {
    pub(super) const fn new(cursor: Cursor) -> Self {
        Self { cursor: Some(cursor) }
    }
}

impl Iterator for Records {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = match self.cursor.as_mut()?.next() {
            Ok(Some(Entry { lsn, end, payload })) => {
                return Some(Ok(Record { lsn, end, payload: payload.to_vec() }));
            }
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        };
        self.cursor = None;
        item
    }
}

impl std::iter::FusedIterator for Records {}

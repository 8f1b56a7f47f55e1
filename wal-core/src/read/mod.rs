//! Reading durable records back: by position, or in order.
//!
//! Readers take no lock that a writer takes and read through the sink's [`LogSource`], so they do
//! not slow appends. They see durable records only, check every one, and skip void ones.
//!
//! A file may be retired while it is read, and used again under another number. So what was read
//! counts only if the file is still in the log's table of files afterwards: it is taken out before.

mod back;
mod boundary;
mod cursor;
mod log;
mod sealed;
mod tail;
mod watch;

pub use back::RecordsBack;
pub(crate) use boundary::end_before;
pub use cursor::{Cursor, Entry, Record, Records};
pub use log::Log;
pub(crate) use sealed::{Content, verify};
pub use tail::Tail;
#[cfg(not(any(wal_loom, wal_shuttle)))]
pub(crate) use watch::block_for;
pub(crate) use watch::{News, Watch, Watcher, block_on};

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use crate::error::Error;
use crate::format::record;
use crate::lsn::Lsn;
use crate::probe::Probe;
use crate::recover::{Corruption, Reason};
use crate::shared::{ReadFile, Shared};
use crate::sink::{LogSource, SegmentSink};
use crate::sync::Ordering;
use crate::wal::Wal;

/// What a cursor reads from: an open log, or the result of a scan.
pub(crate) trait Follow: Send + Sync {
    /// Where the bytes are.
    fn source(&self) -> &dyn LogSource;
    /// Everything before this is durable.
    fn limit(&self) -> Lsn;
    /// Runs `f` with the files, oldest first, never empty.
    fn with_files(&self, f: &mut dyn FnMut(&[ReadFile]));
    /// The holes that a salvage has left, in order.
    fn holes(&self) -> &[Range<Lsn>];
    /// Another number whenever the log was cut back: who sees it looks at the files anew.
    fn cuts(&self) -> u64;
}

impl dyn Follow + '_ {
    /// What `f` makes of the files.
    #[expect(clippy::expect_used, reason = "`with_files` runs what it is given")]
    pub(crate) fn files<R>(&self, f: impl Fn(&[ReadFile]) -> R) -> R {
        let mut result = None;
        self.with_files(&mut |files| result = Some(f(files)));
        result.expect("the files were looked at")
    }

    /// The file that holds `lsn`, or the first behind it if nothing lies in between; `None` if there
    /// is no file at all.
    fn file_of(&self, lsn: Lsn) -> Result<Option<ReadFile>, Error> {
        self.files(|files| {
            let after = files.partition_point(|file| file.header.base <= lsn);
            match files.first() {
                Some(first) if after == 0 && lsn < reach(first) => Err(truncated(lsn, first)),
                _ => Ok(files.get(after.saturating_sub(1)).cloned()),
            }
        })
    }

    /// File `sequence` as it is now, unless it is gone.
    fn file(&self, sequence: u64) -> Option<ReadFile> {
        self.files(|files| files.iter().find(|file| file.header.sequence == sequence).cloned())
    }

    /// The file that follows `sequence`, for who has read that one up to `at`.
    fn file_after(&self, sequence: u64, at: Lsn) -> Result<Option<ReadFile>, Error> {
        self.files(|files| {
            let after = files.partition_point(|file| file.header.sequence <= sequence);
            let next = files.get(after);
            match next {
                // That one is gone: with what was not read of it, or with others that followed?
                Some(next) if after == 0 && at < reach(next) => Err(truncated(at, next)),
                next => Ok(next.cloned()),
            }
        })
    }

    /// Reads what lies at `lsn` of `file`, as far as there is so much.
    fn read(&self, file: &ReadFile, lsn: Lsn, buf: &mut [u8]) -> Result<usize, Error> {
        let header = &file.header;
        let read = self.source().read_at(header.sequence, header.offset_of(lsn), buf);
        // Afterwards: what came before may be an error, or bytes of another file, because of it.
        self.files(|files| {
            let at = files.partition_point(|file| file.header.sequence < header.sequence);
            match files.get(at) {
                // A file that has no end yet, or one that lies before it.
                Some(now) if now.header.sequence == header.sequence => {
                    let next = files.get(at + 1).filter(|_| now.end.is_some_and(|end| lsn >= end));
                    next.map_or(Ok(()), |next| Err(truncated(lsn, next)))
                }
                Some(next) => Err(truncated(lsn, next)),
                None => Ok(()),
            }
        })?;
        Ok(read?)
    }

    /// Refuses a reader that has come to `lsn` if that was cut off: the log goes on further on, and
    /// what the reader has seen last may be gone.
    fn check_cut(&self, lsn: Lsn) -> Result<(), Error> {
        self.files(|files| match files.iter().find(|file| lsn < file.header.base) {
            Some(next) if next.cut_off.as_ref().is_some_and(|cut| cut.start < lsn) => {
                Err(truncated(lsn, next))
            }
            _ => Ok(()),
        })
    }

    /// [`check_cut`](Self::check_cut) for a reader that goes backwards and has read up to `lsn`.
    fn check_kept(&self, lsn: Lsn) -> Result<(), Error> {
        self.files(|files| match files.first() {
            Some(first) if lsn < reach(first) => Err(truncated(lsn, first)),
            _ => Ok(()),
        })?;
        self.check_cut(lsn)
    }

    /// Damage at `lsn` of `file`, in a log that was durable up to `durable`.
    fn corrupt(&self, file: &ReadFile, lsn: Lsn, durable: Lsn, reason: Reason) -> Error {
        let header = &file.header;
        let listed = self.source().list().ok();
        let path = listed
            .and_then(|l| l.files.into_iter().find(|file| file.sequence == header.sequence))
            .map_or_else(PathBuf::new, |file| file.path);
        let len = durable.distance_from(lsn).unwrap_or(0);
        let (sequence, offset) = (header.sequence, header.offset_of(lsn));
        let proof = durable;
        Error::from(Corruption { reason, lsn, file: sequence, path, offset, len, proof })
    }

    /// Where the log starts.
    fn start(&self) -> Lsn {
        self.files(|files| files.first().map_or(Lsn::ZERO, |file| file.header.base))
    }

    /// Where the hole around `lsn` ends, if there is one.
    fn hole_end(&self, lsn: Lsn) -> Option<Lsn> {
        self.holes().iter().find(|hole| hole.contains(&lsn)).map(|hole| hole.end)
    }
}

impl<S: SegmentSink, P: Probe> Follow for Shared<S, P> {
    fn source(&self) -> &dyn LogSource {
        &self.sink
    }

    fn limit(&self) -> Lsn {
        self.durable()
    }

    fn with_files(&self, f: &mut dyn FnMut(&[ReadFile])) {
        f(&self.files.read().unwrap_or_else(PoisonError::into_inner));
    }

    fn holes(&self) -> &[Range<Lsn>] {
        &self.holes
    }

    fn cuts(&self) -> u64 {
        // Acquire: pairs with the Release in `Shared::cut_table`.
        self.cuts.load(Ordering::Acquire)
    }
}

/// From where on a log that starts with `first` has everything: between the end of the file before
/// and its own base nothing was ever written.
pub(crate) fn reach(first: &ReadFile) -> Lsn {
    first.header.prev.map_or(first.header.base, |prev| prev.end)
}

/// A position of a log that starts with `first`.
pub(crate) fn truncated(lsn: Lsn, first: &ReadFile) -> Error {
    Error::Truncated { lsn, first_available: first.header.base }
}

/// Reads the payload of the record at `lsn`.
fn read_at(log: &Arc<dyn Follow>, lsn: Lsn) -> Result<Vec<u8>, Error> {
    let (start, durable) = (log.start(), log.limit());
    if lsn < start {
        return Err(Error::Truncated { lsn, first_available: start });
    }
    if lsn >= durable {
        return Err(Error::NotDurable { lsn, durable });
    }
    log.check_cut(lsn.advance(1))?;
    if let Some(payload) = try_read_at(&**log, lsn)? {
        return Ok(payload);
    }
    // Either nobody was ever given this LSN, or the record is damaged: walking there tells.
    match Cursor::new(Arc::clone(log), lsn)?.next()? {
        Some(entry) if entry.lsn == lsn => Ok(entry.payload.to_vec()),
        _ => Err(Error::NotARecord { lsn }),
    }
}

/// Reads the record at `lsn` directly; `None` if what lies there does not verify.
fn try_read_at(log: &dyn Follow, lsn: Lsn) -> Result<Option<Vec<u8>>, Error> {
    let Some(file) = log.file_of(lsn)? else { return Ok(None) };
    let within = file.header.base <= lsn && file.end.is_none_or(|end| lsn < end);
    if !within || !lsn.get().is_multiple_of(record::ALIGN as u64) {
        return Ok(None);
    }
    let header = &file.header;
    // Most records are small: one read usually brings all of it.
    let mut bytes = vec![0; 4096];
    let got = log.read(&file, lsn, &mut bytes)?;
    bytes.truncate(got);
    let Some(word) = record::peek(&bytes) else { return Ok(None) };
    let stored = record::stored_len(word.len());
    let room = header.limit().get() - lsn.get();
    if word.len() > header.max_record_len as usize || stored as u64 > room {
        return Ok(None);
    }
    if stored > got {
        bytes.resize(stored, 0);
        let more = log.read(&file, lsn.advance(got as u64), &mut bytes[got..])?;
        bytes.truncate(got + more);
    }
    match record::decode(&bytes, lsn, header.salt, header.max_record_len as usize) {
        Ok(found) if found.kind != record::Kind::Void => Ok(Some(found.payload.to_vec())),
        _ => Ok(None),
    }
}

/// Reading.
impl<S: SegmentSink, P: Probe> Wal<S, P> {
    /// Reads the payload of the durable record at `lsn`. Blocks for I/O.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] before the start of the log or where its tail was
    /// [cut off](Self::truncate_after), also if that happens while this reads;
    /// [`Error::NotDurable`] at or past the durable watermark; [`Error::NotARecord`] if no record (or a void one) starts there;
    /// [`Error::Corrupt`] if the record is damaged; [`Error::Sink`] if reading fails.
    pub fn read_at(&self, lsn: Lsn) -> Result<Vec<u8>, Error> {
        read_at(&self.follow(), lsn)
    }

    /// Iterates over copies of the durable records whose LSN is `lsn` or more, in order, up to
    /// the durable watermark as it moves; ends there. The iterator keeps the log open.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] if `lsn` lies before the start of the log. The iterator itself yields
    /// an error at damage, a failed read, or where a truncation has overtaken it, and nothing after
    /// it.
    pub fn iter_from(&self, lsn: Lsn) -> Result<Records, Error> {
        self.cursor_from(lsn).map(Records::new)
    }

    /// Like [`iter_from`](Self::iter_from), but lends each record from the cursor's buffer instead
    /// of copying it.
    ///
    /// # Errors
    ///
    /// As for [`iter_from`](Self::iter_from).
    pub fn cursor_from(&self, lsn: Lsn) -> Result<Cursor, Error> {
        Cursor::new(self.follow(), lsn)
    }

    /// Iterates backwards over copies of the durable records whose LSN is less than `lsn`, newest
    /// first, down to the first of the log: with [`Lsn::MAX`] over all that is durable now. What
    /// becomes durable later is not seen. The iterator keeps the log open.
    ///
    /// It holds 1 MiB of the log at most, or the largest record, and the places of the records in
    /// that: 8 bytes for each. It reads every byte once, those of a frame of more than 1 MiB twice.
    /// Finding the first record reads the headers of the frames before it in its file, of which there
    /// can be one for each block; so do the holes of a salvage. Blocks for I/O.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] if `lsn` lies before the start of the log. The iterator itself yields
    /// an error, and nothing after it, at damage, at a failed read, where a truncation has overtaken
    /// it (also at the end, if the log started further back when the iterator was made), and where the
    /// log was [cut back](Self::truncate_after) behind what the iterator has yielded.
    pub fn iter_back_from(&self, lsn: Lsn) -> Result<RecordsBack, Error> {
        RecordsBack::new(self.follow(), lsn)
    }

    /// Follows the log from the first record whose LSN is `lsn` or more: yields durable records in
    /// order, and waits at the end for the next one. The tail keeps the log open, and ends when no
    /// handle is left or the log is closed.
    ///
    /// # Errors
    ///
    /// As for [`iter_from`](Self::iter_from).
    pub fn tail_from(&self, lsn: Lsn) -> Result<Tail, Error> {
        Tail::new(Arc::<Shared<S, P>>::clone(&self.shared), lsn)
    }

    /// The first position of the log. Use it to iterate over everything.
    #[must_use]
    pub fn start_lsn(&self) -> Lsn {
        self.follow().start()
    }

    pub(crate) fn follow(&self) -> Arc<dyn Follow> {
        Arc::<Shared<S, P>>::clone(&self.shared)
    }
}

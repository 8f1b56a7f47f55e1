//! Truncation: the oldest files go when nobody needs what they hold, and the newest records when
//! they should not have been written.
//!
//! Readers are told first, by the table of files; then the sink removes the files, oldest first. So
//! whoever reads looks into the table once more when it has read (`read/mod.rs`): if the file is
//! still there, its removal had not begun, and the bytes are its own.

use std::ops::Range;

use crate::error::Error;
use crate::flush::{DirectFrame, Need};
use crate::format::file_header::BLOCK_LEN;
use crate::format::frame;
use crate::format::record::stored_len;
use crate::hold::Pin;
use crate::lsn::Lsn;
use crate::observe::{Operation, Outcome};
use crate::probe::Probe;
use crate::read::end_before;
use crate::shared::{ReadFile, Shared};
use crate::sink::{SegmentSink, SinkError, SinkOp};
use crate::sync::{Arc, PoisonError, lock};
use crate::wal::Wal;

/// What [`Wal::truncate_before`] has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// Where the log starts now.
    pub start: Lsn,
    /// The lowest hold, if files would have gone that it has kept.
    pub held_by: Option<Pin>,
}

/// Truncation.
impl<S: SegmentSink, P: Probe> Wal<S, P> {
    /// Frees the oldest log files, those that hold nothing at or behind `lsn`, and says where the
    /// log starts now. Call it when everything before `lsn` is safe elsewhere, as after a
    /// checkpoint.
    ///
    /// Nothing goes that lies at or behind the lowest [hold](Self::hold); if that is why a file
    /// stays, the outcome names the hold.
    ///
    /// Only whole files go, never the newest, and none that is not durable together with what
    /// follows it; so any `lsn` will do, also one that is not reached yet. Calling it when there is
    /// nothing to free costs no I/O.
    ///
    /// On return the files are gone for good. Should the machine fail before, some of the oldest
    /// are gone and the others are part of the log again, until the next call.
    ///
    /// A reader that still needs what they held gets [`Error::Truncated`]. One that has read as far
    /// as `lsn` does not, wherever the log starts now.
    ///
    /// Appends, waits and readers go on meanwhile. Blocks for I/O, one step of it for each file, and
    /// while another call of this is under way.
    ///
    /// # Errors
    ///
    /// [`Error::Sink`] if a file cannot be removed: nothing is lost, readers find the log to start
    /// at the new position all the same, and the next call tries again. [`Error::Closed`] and
    /// [`Error::Poisoned`]: nothing is removed from a log that takes no more records, so that what
    /// is there stays as it is until it is opened again.
    pub fn truncate_before(&self, lsn: Lsn) -> Result<Truncation, Error> {
        let observer = &self.shared.observer;
        let span = observer.begin(Operation::Truncate { lsn });
        let freed = self.free_before(lsn);
        observer.settle(span, &freed, |(freed, files)| Outcome::Truncated {
            start: freed.start,
            files: *files,
            held_by: freed.held_by.as_ref().map(|pin| &*pin.name),
        });
        freed.map(|(freed, _)| freed)
    }

    /// The same; says as well how many files are gone.
    fn free_before(&self, lsn: Lsn) -> Result<(Truncation, u64), Error> {
        let shared = &self.shared;
        let mut front = lock(&shared.front);
        shared.check_open()?;
        let mut files = 0;
        let (first, outcome) = shared.let_go(lsn);
        if first > front.gone_below {
            // They must not be kept for reuse.
            self.remove_cut_files(&mut front)?;
            // By the listing: it has those as well that failed to go, and those that are not in
            // the table because nothing in them could be read.
            let listing = shared.sink.list().map_err(Arc::new).map_err(Error::Sink)?;
            let over = listing.files.iter().filter(|file| file.sequence < first);
            for file in over.filter(|file| !front.put_away.contains(&file.sequence)) {
                shared.sink.retire(file.sequence).map_err(Arc::new).map_err(Error::Sink)?;
                files += 1;
            }
            front.gone_below = first;
        }
        Ok((outcome, files))
    }
}

/// Cutting back.
impl<S: SegmentSink, P: Probe> Wal<S, P> {
    /// Cuts off everything at and behind `lsn`, and returns the position that the log goes on at:
    /// no record appended from now on has an LSN before that. This is how a replica drops what its
    /// leader has never agreed to.
    ///
    /// `lsn` is where the log is to end: a record's LSN, to drop that record and all behind it, or a
    /// record's end, to keep it. A batch goes as a whole or not at all. Nothing is done if there is
    /// nothing at or behind it; otherwise everything before `lsn` is durable on return, and what was
    /// cut off is gone for good: neither a crash, at whatever moment, nor leftovers of the files
    /// bring any of it back. A crash before it returns leaves the log as it was or cut, nothing in
    /// between. No LSN that was cut off is ever given out again; the gap is as long as the largest
    /// file that the log can have, so it is for rare occasions.
    ///
    /// The cut is one point in the order of appends: whatever other threads append at the same time
    /// comes before it, and is cut off, or after it. Nobody is stopped meanwhile. Who waits for a
    /// record that is cut off is told that it was durable, which it was, just before.
    ///
    /// Readers that have read past `lsn` get [`Error::Truncated`] with the position that the log goes
    /// on at; all others read on. [Holds](Self::hold) are of no effect: they are
    /// about the other end.
    ///
    /// Blocks for I/O: makes what is there durable, reads headers of the file that `lsn` lies in,
    /// makes a new file, writes and syncs its header, removes the files that are not needed any more.
    /// What it costs does not depend on the length of the log. Do not call it while the same thread
    /// holds a [`Reservation`](crate::Reservation): it would wait for itself.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] if `lsn` lies before the start of the log, [`Error::NotARecord`] if it
    /// lies within a record or batch, [`Error::Corrupt`] if what lies before it is damaged,
    /// [`Error::NoSpace`] or [`Error::Sink`] if the new file cannot be made, [`Error::Closed`]: nothing
    /// is cut, now or later. [`Error::Poisoned`] if a write or sync fails: the log is cut or not when
    /// it is opened again. [`Error::Sink`] with
    /// [`SinkOp::Remove`](crate::sink::SinkOp::Remove) if a file could not be removed: the log is
    /// cut all the same; the next truncation at either end tries again to remove that file, and
    /// opening the log again puts it aside.
    pub fn truncate_after(&self, lsn: Lsn) -> Result<Lsn, Error> {
        let observer = &self.shared.observer;
        let span = observer.begin(Operation::Cut { lsn });
        let cut = self.cut_back(lsn);
        observer.settle(span, &cut, |&next| Outcome::Cut { next });
        cut
    }

    fn cut_back(&self, lsn: Lsn) -> Result<Lsn, Error> {
        let shared = &self.shared;
        // Neither end moves meanwhile.
        let mut front = lock(&shared.front);
        shared.check_open()?;
        let next = shared.ring.next_lsn();
        if lsn >= next {
            return Ok(next);
        }
        shared.wait(Need::Durable(next), None)?;
        let last = end_before(self.follow(), lsn)?;
        let end = last.map_or_else(|| self.start_lsn(), |last| last.end);
        let behind = self.iter_from(end)?.next().transpose()?;
        if behind.is_none() && shared.durable() >= shared.ring.next_lsn() {
            return Ok(shared.durable());
        }
        // So long that no file has room for it, and the next segment opens another.
        let layout = shared.ring.layout();
        let largest = BLOCK_LEN + frame::HEADER_LEN + stored_len(shared.max_record_len);
        let len = layout.file.max(largest as u64).next_multiple_of(BLOCK_LEN as u64);
        let claim = self.claim_direct(len, false)?;
        shared.wait_direct(&DirectFrame::cut(claim, len, last))?;
        // Those that hold nothing but what was cut off.
        let kept = last.map_or(0, |last| last.sequence);
        front.cut_off.push(kept + 1..claim.place.file + 1);
        self.remove_cut_files(&mut front)?;
        Ok(claim.place.base.advance(len).align_up(layout.align))
    }

    /// Removes the files that were cut off. They are not kept for reuse: what they hold lies behind
    /// the end that a newer file names, and as long as nothing is appended to that, nothing else does.
    fn remove_cut_files(&self, front: &mut Front) -> Result<(), Error> {
        let sink = &self.shared.sink;
        // Also of a failure to list them: to who has cut the log, any other says that it is whole.
        let failed = |cause| Error::Sink(Arc::new(SinkError { op: SinkOp::Remove, ..cause }));
        while let Some(range) = front.cut_off.last() {
            let listing = sink.list().map_err(failed)?;
            for file in listing.files.iter().filter(|file| range.contains(&file.sequence)) {
                sink.remove_unused(file.sequence).map_err(failed)?;
            }
            front.cut_off.pop();
        }
        Ok(())
    }
}

/// The files that are no part of the log any more, as far as they may still be there.
#[derive(Debug)]
pub(crate) struct Front {
    /// Every file with a lower number is gone for good.
    pub(crate) gone_below: u64,
    /// The numbers of files that were cut off.
    pub(crate) cut_off: Vec<Range<u64>>,
    /// The files that opening has found to be none of the log, and puts away itself once there is
    /// room to go on.
    pub(crate) put_away: Vec<u64>,
}

impl<S: SegmentSink, P: Probe> Shared<S, P> {
    /// Takes what holds nothing at or behind `lsn`, and nothing held, out of the table of files.
    /// Returns the number of the oldest file left, and what has come of it.
    fn let_go(&self, lsn: Lsn) -> (u64, Truncation) {
        let durable = self.durable();
        self.holds.with(|pins| {
            let lowest = pins.lowest();
            let limit = lowest.as_ref().map_or(lsn, |pin| pin.lsn.min(lsn));
            let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
            let over = |files: &[ReadFile], lsn| {
                let stays = |pair: &[ReadFile]| !self.is_over(&pair[0], &pair[1], lsn, durable);
                files.windows(2).position(stays).unwrap_or(files.len() - 1)
            };
            let wanted = over(&files, lsn);
            let kept = over(&files, limit);
            files.drain(..kept);
            let held_by = lowest.filter(|_| kept < wanted);
            let first = &files[0].header;
            (first.sequence, Truncation { start: first.base, held_by })
        })
    }

    /// Whether `file`, which `next` follows, can go.
    fn is_over(&self, file: &ReadFile, next: &ReadFile, lsn: Lsn, durable: Lsn) -> bool {
        // Without the header of `next` nothing would say that the log goes on there.
        let header_is_durable = next.header.base < durable || next.begun;
        file.end.is_some_and(|end| {
            // What a salvage could not read goes when the position is behind it, not before.
            let between = end..next.header.base;
            let holes = self.holes.iter().filter(|hole| between.contains(&hole.start));
            // A file without records goes with what lies behind it: who ships files needs it, as a link
            // between the one before and the next, and holds no more than its place.
            let behind = file.header.base < lsn;
            header_is_durable && behind && holes.map(|hole| hole.end).fold(end, Lsn::max) <= lsn
        })
    }
}

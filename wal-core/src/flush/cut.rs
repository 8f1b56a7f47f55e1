//! Cutting a log back, in its turn.
//!
//! A cut is a point of the stream like any frame: whoever wants it claims a range, and the leader
//! comes to that when everything claimed before has been submitted. So no writer is stopped and no
//! lock is held: what was appended before the claim is cut off if it lies behind the new end; what
//! is appended after it follows the cut. The claim is as long as no file has room for, which makes
//! the ring open another one behind it, and no position in between is ever given out again.
//!
//! One write decides: the header of that file, which names where the log now ends before it, by the
//! same words as after a recovery. Until it is durable the log is what it was. From then on no
//! reader of the files finds what was cut off, whatever becomes of them.

use std::io::IoSlice;

use super::drive::{Failure, Lead};
use crate::format::file_header::{FileHeader, Predecessor};
use crate::lsn::Lsn;
use crate::probe::{Event, Probe};
use crate::segment::Sealed;
use crate::shared::{ReadFile, Shared};
use crate::sink::{Created, SegmentSink, Write};
use crate::sync::{Ordering, PoisonError};

impl<S: SegmentSink, P: Probe> Lead<'_, S, P> {
    /// Ends the log with `last`, or with nothing, and goes on in a new file behind the range that
    /// was claimed for this. On return all that is left is durable.
    pub(super) fn cut(
        &mut self,
        sealed: &Sealed,
        last: Option<Predecessor>,
    ) -> Result<(), Failure> {
        let shared = self.shared;
        self.finish_start()?;
        // Nothing is in flight to a file that may be taken away, and the sync covers all of it.
        while self.pipeline().in_flight.iter().any(|flight| !flight.done) {
            self.reap(true)?;
        }
        let rotation = shared.ring.layout().rotate(sealed.place, sealed.len, sealed.direct);
        let next = rotation.next;
        let created =
            shared.sink.create(next.file, next.file_capacity).map_err(Failure::Harmless)?;
        let end = last.map_or(next.base, |last| last.end);
        let header = FileHeader {
            sequence: next.file,
            salt: shared.ring.salt(next.file),
            base: next.base,
            capacity: next.file_capacity,
            prev: last,
            durable: end,
            recovered: true,
            recycled: created == Created::Recycled,
            in_place: created == Created::InPlace,
            ..*self.pipeline().file()
        };
        let (block, ticket) = (header.encode(), self.pipeline().ticket());
        let parts = [IoSlice::new(&block[..])];
        let write = Write { ticket, file: header.sequence, offset: 0, parts: &parts };
        shared.sink.write(&write).map_err(Failure::Fatal)?;
        shared.sink.sync().map_err(Failure::Fatal)?;
        shared.counters.sync();
        shared.ring.probe().event(Event::Sync { lsn: next.base });
        shared.cut_table(header);
        self.pipeline().cut(header, end);
        self.pipeline().advance();
        shared.publish(next.base, next.base);
        shared.seal(next.file);
        Ok(())
    }
}

impl<S: SegmentSink, P: Probe> Shared<S, P> {
    /// Tells readers that the log was cut back to where `header` says, and goes on there.
    fn cut_table(&self, header: FileHeader) {
        let last = header.prev.map_or((0, Lsn::ZERO), |last| (last.sequence, last.end));
        // Twice: who meets the new table in the middle of a look knows by the first that it is one,
        // and who looks behind the second sees it.
        // AcqRel: the change of the table comes after it.
        self.cuts.fetch_add(1, Ordering::AcqRel);
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.retain(|file| file.header.sequence <= last.0);
        if let Some(file) = files.last_mut().filter(|file| file.header.sequence == last.0) {
            file.end = Some(last.1);
        }
        files.push(ReadFile::behind_cut(header));
        drop(files);
        // Release: pairs with the Acquire in `Follow::cuts`, so that who sees that there was a cut
        // finds the table that it has left.
        self.cuts.fetch_add(1, Ordering::Release);
    }
}

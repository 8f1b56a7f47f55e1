//! The state of the flush: which frame comes next, what is in flight, what can be recycled.

use std::collections::VecDeque;

use super::siblings::Siblings;
use crate::format::file_header::{self, FileHeader, Predecessor};
use crate::format::frame::Link;
use crate::lsn::Lsn;
use crate::segment::Sealed;
use crate::segment::place::Place;
use crate::sink::Created;
use crate::start::Start;

/// What belongs to whoever leads.
pub(crate) struct Pipeline {
    /// The segment to submit next.
    pub(super) next: u64,
    /// That segment itself, once it is submitted and the frame behind it is not.
    pub(super) awaiting_direct: Option<Sealed>,
    /// That frame was given up by its owner.
    pub(super) abandoned: bool,
    pub(super) next_ticket: u64,
    /// Frames submitted and not known to be written, in stream order.
    pub(super) in_flight: VecDeque<Flight>,
    /// Segments written and not free yet, in order.
    pub(super) held: VecDeque<Held>,
    /// The last frame submitted, and where it ended.
    pub(super) link: Link,
    pub(super) end: Lsn,
    /// Ranges given up between two files, as far as the durable watermark may still stand there.
    gaps: VecDeque<Gap>,
    /// The file written last.
    pub(super) file: FileHeader,
    /// What opening could not do for want of room: goes before the first write.
    pub(super) start: Option<Start>,
    /// A new file was begun, and the sink has not been told to prepare the next.
    pub(super) prepare: bool,
    pub(super) siblings: Siblings,
}

/// A frame in flight.
pub(super) struct Flight {
    pub(super) ticket: u64,
    /// The file that it is in, or the newest one if it is in none.
    pub(super) file: u64,
    /// Where the next frame starts: the written watermark once this and all before it are done.
    pub(super) next: Lsn,
    pub(super) done: bool,
    /// The segment whose memory it uses.
    pub(super) held: Option<Held>,
    /// A file header that is written with it.
    pub(super) _file_header: Option<Box<[u8; file_header::BLOCK_LEN]>>,
}

/// A range of the stream that was claimed and is in no file.
#[derive(Clone, Copy)]
struct Gap {
    /// Where a frame would have started.
    from: Lsn,
    /// Where the next one starts instead.
    to: Lsn,
    /// The file that starts there, if its header was durable before anything else was written.
    begun: Option<u64>,
}

/// A segment that waits to be recycled.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) sequence: u64,
    pub(super) slot: usize,
    pub(super) base: Lsn,
    pub(super) end: Lsn,
}

impl Pipeline {
    /// The state of a log whose newest file is `file`, whose header is on disk, and which
    /// continues after `link`, a frame that ended at `end`. With `start`, that header is not on
    /// disk yet.
    pub(crate) fn new(file: FileHeader, link: Link, end: Lsn, start: Option<Start>) -> Self {
        let mut pipeline = Self {
            next: 0,
            awaiting_direct: None,
            abandoned: false,
            next_ticket: 0,
            in_flight: VecDeque::new(),
            held: VecDeque::new(),
            link,
            end,
            gaps: VecDeque::new(),
            file,
            start,
            prepare: true,
            siblings: Siblings::new(),
        };
        pipeline.skip(file.base, Some(file.sequence));
        pipeline
    }

    /// Goes on in `file`, which was begun behind a log that was cut back to `end`.
    pub(super) fn cut(&mut self, file: FileHeader, end: Lsn) {
        self.link = file.prev.map_or(Link::NONE, |last| last.last_frame);
        (self.file, self.end) = (file, end);
        self.gaps.clear();
        self.skip(file.base, Some(file.sequence));
        self.prepare = true;
    }

    /// Notes that what comes next starts at `to`, in another file, and not where it would have.
    pub(super) fn skip(&mut self, to: Lsn, begun: Option<u64>) {
        let from = self.end.align_up(u64::from(self.file.align));
        if from < to {
            self.gaps.push_back(Gap { from, to, begun });
        }
    }

    /// What a header in `file` may claim to be durable when the watermark stands at `durable`: no
    /// more than was written. Behind a gap the watermark is further on, and a header that is lost
    /// together with the one that names the gap would prove the loss of what never was. In the file
    /// behind a cut it does prove one: that of a header which was durable before.
    pub(super) fn claim(&mut self, durable: Lsn, file: u64) -> Lsn {
        self.gaps.retain(|gap| gap.to >= durable);
        let gap = self.gaps.iter().find(|gap| gap.to == durable && gap.begun != Some(file));
        gap.map_or(durable, |gap| gap.from)
    }

    /// The file that the pipeline writes to.
    pub(crate) const fn file(&self) -> &FileHeader {
        &self.file
    }

    /// The file of the oldest frame that is not known to be written.
    pub(super) fn oldest_file(&self) -> u64 {
        self.in_flight.front().map_or(self.file.sequence, |flight| flight.file)
    }

    /// Where the last frame ended.
    pub(crate) const fn end(&self) -> Lsn {
        self.end
    }

    /// The header of the new file at `place`, which follows the present one.
    pub(super) fn header_of(
        &self,
        place: Place,
        salt: u64,
        durable: Lsn,
        created: Created,
    ) -> FileHeader {
        FileHeader {
            log_id: self.file.log_id,
            sequence: place.file,
            salt,
            base: place.file_base,
            capacity: place.file_capacity,
            align: self.file.align,
            max_record_len: self.file.max_record_len,
            prev: Some(Predecessor {
                sequence: self.file.sequence,
                salt: self.file.salt,
                end: self.end,
                last_frame: self.link,
            }),
            durable,
            recovered: false,
            recycled: created == Created::Recycled,
            in_place: created == Created::InPlace,
        }
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Marks a write as done.
    pub(super) fn complete(&mut self, ticket: u64) {
        if let Some(flight) = self.in_flight.iter_mut().find(|f| f.ticket == ticket) {
            flight.done = true;
        }
    }

    /// Removes the frames at the front that are done; returns where the written prefix now ends,
    /// if it has grown. A gap in the middle stops it.
    pub(super) fn advance(&mut self) -> Option<Lsn> {
        let mut written = None;
        while self.in_flight.front().is_some_and(|flight| flight.done) {
            if let Some(flight) = self.in_flight.pop_front() {
                written = Some(flight.next);
                self.held.extend(flight.held);
            }
        }
        written
    }
}

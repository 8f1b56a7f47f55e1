//! Submitting: frames in stream order, as deep as allowed, and reaping what has ended.

use std::io::IoSlice;

use super::direct::{DirectFrame, Work};
use super::drive::{Failure, Lead};
use super::pipeline::{Flight, Held};
use crate::format::{file_header, frame};
use crate::lsn::Lsn;
use crate::observe::{Operation, Outcome};
use crate::probe::{Event, Probe};
use crate::segment::place::Place;
use crate::segment::{START, Sealed};
use crate::shared::{ReadFile, Shared};
use crate::sink::{SegmentSink, Submitted, Write};
use crate::sync::{PoisonError, lock};

/// Padding behind a frame that is not in segment memory; frames are aligned to 64 KiB at most.
static ZEROS: [u8; 65536] = [0; 65536];

/// Why submitting came to a halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// As many writes as allowed are in flight.
    Depth,
    /// The next segment is not sealed, or a writer is still in it.
    Incomplete,
    /// The next frame is the one behind this segment, and somebody else's to write.
    Direct(u64),
}

/// Ends the process if it is dropped, and is forgotten where all is well: a write still in flight
/// may read bytes of a stack that is about to unwind.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

impl<S: SegmentSink, P: Probe> Lead<'_, S, P> {
    /// Submits what is complete, in stream order, as deep as allowed.
    pub(super) fn submit_ready(
        &mut self,
        direct: Option<&DirectFrame<'_>>,
    ) -> Result<Halt, Failure> {
        loop {
            let depth = self.shared.depth;
            let pipeline = self.pipeline();
            if pipeline.in_flight.iter().filter(|flight| !flight.done).count() >= depth {
                return Ok(Halt::Depth);
            }
            if let Some(sealed) = pipeline.awaiting_direct {
                let sequence = sealed.sequence;
                match direct {
                    Some(frame) if frame.claim.sequence == sequence => match frame.work {
                        Work::Frame(kind) => self.submit_direct(frame, kind)?,
                        Work::Cut(last) => self.cut(&sealed, last)?,
                    },
                    _ if self.may_wait && self.is_abandoned(sequence) => {
                        self.submit_void(&sealed)?
                    }
                    _ => return Ok(Halt::Direct(sequence)),
                }
                let pipeline = self.pipeline();
                pipeline.awaiting_direct = None;
                pipeline.next += 1;
                continue;
            }
            let next = pipeline.next;
            let Some(sealed) = self.shared.ring.sealed(next) else { return Ok(Halt::Incomplete) };
            if !self.may_wait && !self.is_at_hand(&sealed.place) {
                return Ok(Halt::Incomplete);
            }
            self.submit_segment(&sealed)?;
            let pipeline = self.pipeline();
            if sealed.direct > 0 {
                pipeline.awaiting_direct = Some(sealed);
            } else {
                pipeline.next += 1;
            }
        }
    }

    /// Submits a complete segment's frame; an empty segment passes through without one.
    fn submit_segment(&mut self, sealed: &Sealed) -> Result<(), Failure> {
        let shared = self.shared;
        let (base, align) = (sealed.place.base, shared.ring.layout().align);
        let empty = sealed.len <= START;
        let next = if empty { base } else { base.advance(sealed.len).align_up(align) };
        let held = Some(Held { sequence: sealed.sequence, slot: sealed.slot, base, end: next });
        if empty {
            self.pass(next, held);
            return Ok(());
        }
        let file_header = self.open_file(sealed.place, sealed.salt)?;
        let header = self.frame_header(frame::Kind::Data, base, sealed.len, sealed.salt);
        let padded = (next.get() - base.get()) as usize;
        let buffer = shared.ring.buffer(sealed.slot);
        #[expect(unsafe_code, reason = "the one place that reads a whole segment")]
        // SAFETY: the segment is complete and this thread leads, holding the pipeline; it is
        // submitted once per life, since `next` moves on, and `padded` is at most the capacity,
        // a multiple of every alignment.
        let bytes = unsafe { buffer.finish(&header.encode(), sealed.len as usize, padded) };
        self.submit(sealed.place, next, held, file_header, &[IoSlice::new(bytes)])?;
        shared.counters.records(sealed.records);
        Ok(())
    }

    /// Submits the caller's own frame and waits for it, whatever the depth.
    fn submit_direct(&mut self, frame: &DirectFrame<'_>, kind: frame::Kind) -> Result<(), Failure> {
        let align = self.shared.ring.layout().align;
        let place = frame.claim.place;
        let next = frame.end().align_up(align);
        let file_header = self.open_file(place, frame.claim.salt)?;
        let header = self.frame_header(kind, place.base, frame.len, frame.claim.salt).encode();
        let mut parts = vec![IoSlice::new(&header)];
        parts.extend(frame.parts());
        parts.push(IoSlice::new(&ZEROS[..(next.get() - frame.end().get()) as usize]));
        self.submit_waiting(place, next, file_header, &parts)?;
        self.shared.counters.records(frame.records());
        Ok(())
    }

    /// Submits bytes that are on somebody's stack, and waits until they are written.
    fn submit_waiting(
        &mut self,
        place: Place,
        next: Lsn,
        file_header: Option<Box<[u8; file_header::BLOCK_LEN]>>,
        parts: &[IoSlice<'_>],
    ) -> Result<(), Failure> {
        self.submit(place, next, None, file_header, parts)?;
        let guard = AbortOnUnwind;
        let mut result = Ok(());
        while result.is_ok() && !self.pipeline().in_flight.iter().all(|flight| flight.done) {
            result = self.reap(true);
        }
        if result.is_err() {
            self.drain();
        }
        std::mem::forget(guard);
        result
    }

    fn is_abandoned(&mut self, sequence: u64) -> bool {
        // Remembered, since writing the void frame may be refused, too.
        let abandoned = lock(&self.shared.desk).take_abandoned(sequence);
        let pipeline = self.pipeline();
        pipeline.abandoned |= abandoned;
        pipeline.abandoned
    }

    /// Fills the range of a direct frame that its owner gave up: with a void frame if the file
    /// goes on behind it, with nothing if the next segment opens another.
    fn submit_void(&mut self, sealed: &Sealed) -> Result<(), Failure> {
        let layout = self.shared.ring.layout();
        let rotation = layout.rotate(sealed.place, sealed.len, sealed.direct);
        let next = rotation.next;
        match rotation.direct {
            Some(place) if place.file == next.file => {
                let salt = self.shared.ring.salt(place.file);
                let file_header = self.open_file(place, salt)?;
                let header = self.frame_header(frame::Kind::Void, place.base, sealed.direct, salt);
                let header = header.encode();
                let padding = header.len().next_multiple_of(layout.align as usize) - header.len();
                let parts = [IoSlice::new(&header), IoSlice::new(&ZEROS[..padding])];
                self.submit_waiting(place, next.base, file_header, &parts)?;
            }
            _ => {
                // For readers, the file ends before the range, whatever the watermark.
                let end = self.pipeline().end;
                self.shared.end_file(end);
                self.pipeline().skip(next.base, None);
                self.pass(next.base, None);
            }
        }
        self.pipeline().abandoned = false;
        Ok(())
    }

    /// Lets a range pass through in order for which nothing is written.
    fn pass(&mut self, next: Lsn, held: Option<Held>) {
        let pipeline = self.pipeline();
        let ticket = pipeline.ticket();
        let file = pipeline.file.sequence;
        let flight = Flight { ticket, file, next, done: true, held, _file_header: None };
        pipeline.in_flight.push_back(flight);
    }

    /// Does what opening had to leave undone.
    pub(super) fn finish_start(&mut self) -> Result<(), Failure> {
        let shared = self.shared;
        let pipeline = self.pipeline();
        if let Some(start) = &mut pipeline.start {
            start.run(&shared.sink)?;
            pipeline.start = None;
            let mut files = shared.files.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(newest) = files.last_mut() {
                newest.begun = true;
            }
        }
        Ok(())
    }

    /// Makes sure that the file of `place` exists; returns its header if it is still to be
    /// written, with its first frame.
    fn open_file(
        &mut self,
        place: Place,
        salt: u64,
    ) -> Result<Option<Box<[u8; file_header::BLOCK_LEN]>>, Failure> {
        let shared = self.shared;
        self.finish_start()?;
        if place.file == self.pipeline().file.sequence {
            return Ok(None);
        }
        let span =
            shared.observer.begin(Operation::Rotate { file: place.file, lsn: place.file_base });
        let created = shared.sink.create(place.file, place.file_capacity);
        shared.observer.settle(span, &created, |_| Outcome::Rotated);
        let created = created.map_err(Failure::Harmless)?;
        let durable = shared.durable();
        let pipeline = self.pipeline();
        let claim = pipeline.claim(durable, place.file);
        let header = pipeline.header_of(place, salt, claim, created);
        let end = pipeline.end;
        pipeline.file = header;
        pipeline.prepare = true;
        shared.add_file(header, end);
        Ok(Some(header.encode()))
    }

    /// The header of the next frame, which becomes the last.
    fn frame_header(&mut self, kind: frame::Kind, lsn: Lsn, len: u64, salt: u64) -> frame::Header {
        let durable = self.shared.durable();
        let pipeline = self.pipeline();
        let durable = pipeline.claim(durable, pipeline.file.sequence);
        let header = frame::Header { kind, lsn, len, durable, prev: pipeline.link, salt };
        pipeline.link = header.link();
        pipeline.end = header.end();
        header
    }

    /// Submits one frame.
    fn submit(
        &mut self,
        place: Place,
        next: Lsn,
        held: Option<Held>,
        file_header: Option<Box<[u8; file_header::BLOCK_LEN]>>,
        frame: &[IoSlice<'_>],
    ) -> Result<(), Failure> {
        let shared = self.shared;
        let mut parts = Vec::with_capacity(frame.len() + 1);
        let mut offset = place.offset();
        if let Some(block) = &file_header {
            offset -= file_header::BLOCK_LEN as u64;
            parts.push(IoSlice::new(&block[..]));
        }
        parts.extend_from_slice(frame);
        let pipeline = self.pipeline();
        let ticket = pipeline.ticket();
        let write = Write { ticket, file: place.file, offset, parts: &parts };
        let bytes = write.len() as u64;
        shared.ring.probe().event(Event::Write { lsn: place.base, len: bytes });
        #[expect(unsafe_code, reason = "the one place that submits")]
        // SAFETY: if the write stays in flight, its bytes stay valid and unchanged until it is
        // reaped: a segment's memory is not touched before its `Flight` is done and recycled, and
        // `Shared` drops it after the sink; the file header's block moves into the `Flight`, which
        // is dropped after the sink, too, without moving its heap bytes; bytes on a stack come through `submit_waiting`, which does
        // not let that stack go before, not even in a panic.
        let submitted = unsafe { shared.sink.submit(&write) };
        let done = match submitted {
            Submitted::Done(result) => {
                result.map_err(Failure::Fatal)?;
                true
            }
            Submitted::Pending => false,
        };
        shared.counters.frame(bytes);
        let flight =
            Flight { ticket, file: place.file, next, done, held, _file_header: file_header };
        self.pipeline().in_flight.push_back(flight);
        Ok(())
    }

    /// Collects finished writes, if any are in flight; with `wait`, waits for one of them.
    pub(super) fn reap(&mut self, wait: bool) -> Result<(), Failure> {
        if self.pipeline().in_flight.iter().all(|flight| flight.done) {
            return Ok(());
        }
        let mut done = Vec::new();
        self.shared.sink.reap(wait, &mut done);
        let mut failed = None;
        for completion in done {
            match completion.result {
                Ok(()) => self.pipeline().complete(completion.ticket),
                Err(cause) => {
                    // It is over, too: the sink has let go of its bytes.
                    self.pipeline().in_flight.retain(|f| f.ticket != completion.ticket);
                    failed = failed.or(Some(cause));
                }
            }
        }
        failed.map_or(Ok(()), |cause| Err(Failure::Fatal(cause)))
    }

    /// Waits for every write in flight, whatever becomes of it: the log is being poisoned.
    pub(super) fn drain(&mut self) {
        while self.pipeline().in_flight.iter().any(|flight| !flight.done) {
            let mut done = Vec::new();
            self.shared.sink.reap(true, &mut done);
            for completion in done {
                self.pipeline().complete(completion.ticket);
            }
        }
        self.pipeline().in_flight.clear();
    }
}

impl<S: SegmentSink, P: Probe> Shared<S, P> {
    /// Tells readers of a new file; the last one ends at `end`.
    fn add_file(&self, header: file_header::FileHeader, end: Lsn) {
        self.end_file(end);
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        files.push(ReadFile::new(header));
    }

    /// Tells readers that the newest file holds nothing at or behind `end`.
    fn end_file(&self, end: Lsn) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = files.last_mut() {
            last.end = Some(end);
        }
    }
}

//! The walk over files and frames, in the order of the stream.

use crate::error::Error;
use crate::format::file_header::{BLOCK_LEN, FileHeader, Predecessor};
use crate::format::frame::{self, Fault, Header, Kind, Link};
use crate::format::record;
use crate::lsn::Lsn;
use crate::recover::evidence::{self, Survey};
use crate::recover::frame_body::{self, BadBody, Delivery};
use crate::recover::inventory::Candidate;
use crate::recover::window::Window;
use crate::recover::{Aside, LogFile, Progress, Reason, RecoveryReport, ScanOptions};

/// Stream bytes between two calls of the progress callback.
const PROGRESS_STEP: u64 = 16 << 20;

/// Where the log ends as far as it has been walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// The position after the last record kept.
    pub(super) end: Lsn,
    /// Where the next frame would start: `end`, aligned.
    pub(super) next: Lsn,
    /// The last frame kept.
    pub(super) link: Link,
    /// Whether `end` and `link` are what the next frame must continue; not so behind a hole.
    pub(super) chained: bool,
    /// Whether the last frame kept is a close mark.
    pub(super) closed: bool,
    /// Sequence and salt of the last file accepted.
    pub(super) file: Option<(u64, u64)>,
}

/// What to do after something was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Go on at this position of the same file.
    Resume(Lsn),
    /// Go on with the next file.
    NextFile,
    /// The log ends here.
    Stop,
}

/// A place that does not read well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Damage {
    pub(super) reason: Reason,
    /// Index of the file among the candidates.
    pub(super) index: usize,
    /// The first bad position.
    pub(super) at: Lsn,
    /// Byte offset of that position in the file.
    pub(super) offset: u64,
    /// Whether bytes that this life of the file wrote are known to be there: something is lost,
    /// acknowledged or not.
    pub(super) ours: bool,
    /// Whether no crash leaves such a log, so that it takes no proof.
    pub(super) impossible: bool,
    /// Whether a frame of this file has been kept.
    pub(super) kept: bool,
}

pub(super) struct Walk<'a> {
    pub(super) options: ScanOptions,
    pub(super) window: Window<'a>,
    pub(super) delivery: Delivery<'a>,
    pub(super) progress: &'a mut dyn FnMut(Progress),
    pub(super) seen: Progress,
    pub(super) files: Vec<Candidate>,
    pub(super) tail: Tail,
    pub(super) report: RecoveryReport,
    /// Where the last file begins.
    pub(super) next: Lsn,
    pub(super) table: Vec<LogFile>,
    pub(super) last: Option<Predecessor>,
    pub(super) aside: Vec<Aside>,
    pub(super) unused: Vec<u64>,
    pub(super) vacant: Vec<u64>,
}

impl Walk<'_> {
    pub(super) fn run(&mut self) -> Result<(), Error> {
        self.put_strays_away()?;
        for index in 0..self.files.len() {
            let flow = match self.files[index].header {
                Ok(header) => self.file(index, &header)?,
                Err(reason) => self.headless_file(index, reason)?,
            };
            if flow == Flow::Stop {
                break;
            }
            let len = self.files[index].entry.len;
            self.seen.bytes_done = self.seen.bytes_done.saturating_add(len);
            (self.progress)(self.seen);
        }
        Ok(())
    }

    /// Takes out the files with an intact header that a later one has skipped: they were cut off, and
    /// the crash came before they were taken away. Nothing they hold counts. A vacant file stays, to
    /// be found as one, if it says of the log before it what the later one says.
    fn put_strays_away(&mut self) -> Result<(), Error> {
        let skips: Vec<(u64, FileHeader)> = self
            .files
            .iter()
            .filter_map(|file| file.header.ok().filter(|header| header.recovered))
            // Without a predecessor: nothing of the log had survived.
            .map(|header| (header.prev.map_or(0, |prev| prev.sequence), header))
            .collect();
        let mut index = 0;
        while index < self.files.len() {
            let file = &self.files[index];
            let (sequence, len) = (file.sequence(), file.entry.len);
            let mut skips =
                skips.iter().filter(|(from, to)| *from < sequence && sequence < to.sequence);
            let (Some((_, first)), Ok(header)) = (skips.next(), &file.header) else {
                index += 1;
                continue;
            };
            let agree = skips.all(|(_, to)| to.prev == first.prev) && header.prev == first.prev;
            self.window.open(sequence, len);
            let blank = BLOCK_LEN as u64;
            if agree && evidence::nonzero_end(&mut self.window, blank, len)? <= blank {
                index += 1;
                continue;
            }
            self.files.remove(index);
            self.aside.push(Aside::File { sequence });
        }
        Ok(())
    }

    /// The next file behind `index` with an intact header.
    fn successor(&self, index: usize) -> Option<&FileHeader> {
        self.files[index + 1..].iter().find_map(|file| file.header.as_ref().ok())
    }

    /// A file whose header is damaged, absent or not of this log.
    fn headless_file(&mut self, index: usize, reason: Reason) -> Result<Flow, Error> {
        let sequence = self.files[index].sequence();
        let unused = self.files[index].is_unused();
        let header_fault = matches!(reason, Reason::FileHeader(_));
        let skipped = self
            .successor(index)
            .is_some_and(|next| next.prev.is_none_or(|prev| prev.sequence < sequence));
        if header_fault && skipped {
            // The log went on without this file: no part of it.
            if unused {
                self.unused.push(sequence);
            } else {
                self.aside.push(Aside::File { sequence });
            }
            return Ok(Flow::NextFile);
        }
        let damage = Damage {
            reason,
            index,
            at: self.tail.next,
            offset: 0,
            ours: !unused,
            impossible: !header_fault,
            kept: false,
        };
        let flow = self.judge(&damage, None)?;
        if unused && flow == Flow::NextFile {
            self.unused.push(sequence);
        }
        Ok(flow)
    }

    /// A file with an intact header.
    fn file(&mut self, index: usize, header: &FileHeader) -> Result<Flow, Error> {
        if let Some(reason) = self.file_chain_fault(header) {
            let damage = Damage {
                reason,
                index,
                at: self.tail.next,
                offset: 0,
                ours: true,
                impossible: true,
                kept: false,
            };
            let flow = self.judge(&damage, None)?;
            if flow == Flow::Stop || header.base < self.tail.end {
                return Ok(flow);
            }
        }
        self.next = self.next.max(header.base);
        if self.tail.file.is_none() && self.tail.chained {
            let (end, link) =
                header.prev.map_or((header.base, Link::NONE), |prev| (prev.end, prev.last_frame));
            self.tail = Tail { end, next: header.base, link, ..self.tail };
            self.last = header.prev;
        }
        if self.table.is_empty() {
            self.report.start = header.base;
        }
        let bound = self
            .successor(index)
            .filter(|next| {
                let prev = next
                    .prev
                    .filter(|prev| (prev.sequence, prev.salt) == (header.sequence, header.salt));
                // An end at or before the base: nothing was written here before a frame too large
                // for this file opened the next, which then names the same last frame.
                prev.is_some_and(|prev| {
                    let link = self.tail.link;
                    prev.end <= header.limit()
                        && (header.base < prev.end || prev.last_frame == link)
                })
            })
            .copied();
        // A close mark excuses the shortness of its own file only.
        self.tail.closed = false;
        let frames = self.report.frames;
        let flow = self.frames(index, header, bound.as_ref())?;
        if self.report.frames > frames || bound.is_some() {
            let path = self.files[index].entry.path.clone();
            let end = self.tail.end.max(header.base);
            self.table.push(LogFile { header: *header, path, end });
        }
        if self.report.frames > frames {
            self.report.files += 1;
            self.last = Some(Predecessor {
                sequence: header.sequence,
                salt: header.salt,
                end: self.tail.end,
                last_frame: self.tail.link,
            });
        }
        if self.report.frames > frames || bound.is_some() || flow == Flow::Stop {
            self.tail.file = Some((header.sequence, header.salt));
        } else if !self.aside.contains(&Aside::File { sequence: header.sequence }) {
            // Opening made it, and nothing was appended.
            self.vacant.push(header.sequence);
        }
        Ok(flow)
    }

    /// Why this file cannot be the next one, if so. No crash leads to any of these.
    fn file_chain_fault(&self, header: &FileHeader) -> Option<Reason> {
        let Some((sequence, salt)) = self.tail.file else {
            // Nothing was read yet; but a file that is named and there is the one that is meant.
            let other = |prev: &Predecessor| {
                self.files
                    .iter()
                    .filter_map(|file| file.header.as_ref().ok())
                    .any(|found| found.sequence == prev.sequence && found.salt != prev.salt)
            };
            return header.prev.as_ref().is_some_and(other).then_some(Reason::BrokenFileChain);
        };
        let Some(prev) = &header.prev else { return Some(Reason::BrokenFileChain) };
        let present = |number| self.files.iter().any(|file| file.sequence() == number);
        if prev.sequence > sequence && !present(prev.sequence) {
            return Some(Reason::MissingFile);
        }
        let continues = !self.tail.chained
            || (prev.sequence, prev.salt) == (sequence, salt)
                && (prev.end, prev.last_frame) == (self.tail.end, self.tail.link);
        (!continues || header.base < self.tail.end).then_some(Reason::BrokenFileChain)
    }

    /// Walks the frames of a file up to the end that its successor names, or to the last one.
    fn frames(
        &mut self,
        index: usize,
        header: &FileHeader,
        bound: Option<&FileHeader>,
    ) -> Result<Flow, Error> {
        let entry_len = self.files[index].entry.len;
        self.window.open(header.sequence, entry_len);
        let align = u64::from(header.align);
        let until = bound.and_then(|next| next.prev).map_or(header.limit(), |prev| prev.end);
        let mut kept = false;
        let mut reported = header.base;
        let mut pos = header.base;
        // Without a bound there is a first frame to look for in any case.
        while pos < until || bound.is_none() && pos == header.base {
            let offset = header.offset_of(pos);
            let room = header.capacity - offset;
            if bound.is_none() && pos > header.base && room < frame::HEADER_LEN as u64 {
                break;
            }
            let mut damage = Damage {
                reason: Reason::ShortFile,
                index,
                at: pos,
                offset,
                ours: true,
                impossible: false,
                kept,
            };
            let flow = match self.frame(header, pos, bound, until, entry_len)? {
                Ok(next) => {
                    (pos, kept) = (next, true);
                    if pos.get() - reported.get() >= PROGRESS_STEP {
                        reported = pos;
                        let bytes_done = self.seen.bytes_done.saturating_add(offset);
                        (self.progress)(Progress { bytes_done, ..self.seen });
                    }
                    continue;
                }
                Err(Bad::Short) if self.tail.closed && bound.is_none() => break,
                Err(Bad::Short) => {
                    damage.impossible = true;
                    self.judge(&damage, None)?
                }
                Err(Bad::Header(reason)) => {
                    let survey = evidence::survey(&mut self.window, header, pos, until)?;
                    damage.reason = reason;
                    // The header is written with the first frame, but for that of a file that
                    // opening made.
                    let begun = pos == header.base && !header.recovered && header.prev.is_some();
                    damage.ours = begun || self.is_ours(header, pos, reason, &survey)?;
                    let quiet = survey.claim <= pos && survey.first.is_none();
                    if bound.is_none() && quiet && !damage.ours {
                        break;
                    }
                    // At the very end of a trimmed file there was nothing but the close mark.
                    let mark = Lsn::new(frame::HEADER_LEN as u64).align_up(align).get();
                    damage.impossible =
                        self.was_trimmed(header, entry_len) && entry_len - offset > mark;
                    self.judge(&damage, Some(survey))?
                }
                Err(Bad::Body(bad)) => {
                    let survey = evidence::survey(&mut self.window, header, bad.at, until)?;
                    damage.reason = bad.reason;
                    (damage.at, damage.offset) = (bad.at, header.offset_of(bad.at));
                    kept |= self.tail.end > pos;
                    damage.kept = kept;
                    damage.impossible = self.was_trimmed(header, entry_len);
                    self.judge(&damage, Some(survey))?
                }
            };
            self.window.open(header.sequence, entry_len);
            match flow {
                Flow::Resume(next) => pos = next,
                other => return Ok(other),
            }
        }
        let recovered = bound.is_some_and(|next| next.recovered);
        if self.was_trimmed(header, entry_len) && !recovered {
            // All that is known to be there was read, yet what was cut off may have been more.
            let at = header.base.advance(entry_len.saturating_sub(BLOCK_LEN as u64));
            let damage = Damage {
                reason: Reason::ShortFile,
                index,
                at: at.max(self.tail.next),
                offset: entry_len,
                ours: true,
                impossible: true,
                kept,
            };
            return self.judge(&damage, None);
        }
        self.tail.next = self.tail.end.align_up(align);
        Ok(Flow::NextFile)
    }

    /// Whether a file of `len` bytes was made shorter though no close mark was read in it: then it
    /// lost one, since a file is trimmed once its close mark, and all before that, is durable.
    const fn was_trimmed(&self, header: &FileHeader, len: u64) -> bool {
        len < header.capacity && !self.tail.closed
    }

    /// Reads the frame at `pos`, keeps it, and says where the next one starts.
    fn frame(
        &mut self,
        header: &FileHeader,
        pos: Lsn,
        bound: Option<&FileHeader>,
        until: Lsn,
        entry_len: u64,
    ) -> Result<Result<Lsn, Bad>, Error> {
        let offset = header.offset_of(pos);
        let room = header.capacity - offset;
        let bytes = self.window.get(offset, frame::HEADER_LEN as u64)?;
        if bytes.len() < frame::HEADER_LEN && entry_len < header.capacity {
            return Ok(Err(Bad::Short));
        }
        let found = match frame::decode(bytes, pos, header.salt, room) {
            Ok(found) => found,
            Err(fault) => return Ok(Err(Bad::Header(Reason::FrameHeader(fault)))),
        };
        if self.tail.chained && found.prev != self.tail.link {
            return Ok(Err(Bad::Header(Reason::BrokenFrameChain)));
        }
        // Only a recovery ends a file within a frame: it kept the records before a bad one.
        let kept = until > pos.advance(frame::HEADER_LEN as u64) && found.kind == Kind::Data;
        if found.end() > until && bound.is_some_and(|next| !next.recovered || !kept) {
            return Ok(Err(Bad::Header(Reason::BrokenFileChain)));
        }
        let len = found.end().min(until).get() - pos.get();
        if offset + len > entry_len {
            return Ok(Err(Bad::Short));
        }
        // What a void frame spans was never written.
        let body = if found.kind == Kind::Void { frame::HEADER_LEN as u64 } else { len };
        let bytes = self.window.get(offset, body)?;
        if (bytes.len() as u64) < body {
            return Ok(Err(Bad::Short));
        }
        let max_len = header.max_record_len as usize;
        let body = frame_body::read(bytes, pos, header.salt, max_len, &mut self.delivery);
        let align = u64::from(header.align);
        match body {
            Ok(()) => {
                self.keep(&found, pos.advance(len), align);
                // At the end of the stream, alignment saturates: there is no next place.
                let next = found.next(align);
                Ok(Ok(if next < found.end() { header.limit() } else { next }))
            }
            Err(bad) => {
                if bad.good > pos.advance(frame::HEADER_LEN as u64) {
                    self.keep(&found, bad.good, align);
                }
                Ok(Err(Bad::Body(bad)))
            }
        }
    }

    /// Extends the log to `end`, within or at the end of `found`.
    fn keep(&mut self, found: &Header, end: Lsn, align: u64) {
        self.report.frames += 1;
        self.tail = Tail {
            end,
            next: end.align_up(align),
            link: found.link(),
            chained: true,
            closed: found.kind == Kind::Close,
            ..self.tail
        };
    }

    /// Whether something that this life of the file wrote lies at `pos`, where no valid frame
    /// header is; otherwise the bytes are zeros, or can be of an earlier life.
    fn is_ours(
        &mut self,
        header: &FileHeader,
        pos: Lsn,
        reason: Reason,
        survey: &Survey,
    ) -> Result<bool, Error> {
        let absent = matches!(reason, Reason::FrameHeader(Fault::Magic | Fault::Salt));
        let zeroed = !header.recycled && !header.in_place;
        if !absent || survey.nonzero && zeroed {
            return Ok(true);
        }
        if header.in_place {
            // Records without a frame are what it holds behind its end. A frame comes to be there
            // from a magic of zeros, so any other that is not right was right once.
            let head = self.window.get(header.offset_of(pos), frame::HEADER_LEN as u64)?;
            return Ok(frame::salt_behind_other_magic(head) == Some(header.salt));
        }
        // A frame whose header alone was lost still has its records.
        let first = pos.advance(frame::HEADER_LEN as u64);
        let offset = header.offset_of(first);
        let head = self.window.get(offset, record::HEADER_LEN as u64)?;
        let Some(word) = record::peek(head) else { return Ok(false) };
        let max_len = header.max_record_len as usize;
        let stored = record::stored_len(word.len()) as u64;
        // A file can have room for less than a frame header, or be longer than it should be.
        let fits = header.limit().distance_from(first).is_some_and(|room| stored <= room);
        if word.len() > max_len || !fits {
            return Ok(false);
        }
        let bytes = self.window.get(offset, stored)?;
        Ok(record::decode(bytes, first, header.salt, max_len).is_ok())
    }
}

/// Why there is no frame at a place.
enum Bad {
    /// The file ends before it.
    Short,
    /// No header that belongs there.
    Header(Reason),
    /// A header, and bad records behind it.
    Body(BadBody),
}

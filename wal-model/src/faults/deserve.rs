//! What recovery should say, worked out from what was written and what is left of it.
//!
//! This is a second, naive reading of `spec/FORMAT.md`: it walks the log as it would be had
//! everything survived, which is sound, and compares bytes. No code of the log is used.

use std::path::Path;

use wal_core::Lsn;
use wal_core::testing::sim::Image;

use super::medium::DIR;

const BLOCK: usize = 4096;
const HEAD: usize = 64;
const FRAME_MAGIC: [u8; 4] = [0x57, 0x66, 0x52, 0x6d];

/// A verdict, and the place it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deserved {
    /// There is no log.
    New,
    /// The end is proved by a close mark.
    Closed,
    /// The log ends here, with nothing behind.
    Clean(Lsn),
    /// The log ends here, before what later writes overtook.
    Torn(Lsn),
    /// The log ends here, and nothing tells whether more was acknowledged.
    Ambiguous(Lsn),
    /// What was durable at this place is damaged.
    Corrupt(Lsn),
    /// The file that held this place is not there, and later ones are.
    Gap(Lsn),
}

impl Deserved {
    /// Where the log ends, if that depends on what was damaged.
    #[must_use]
    pub const fn end(self) -> Option<Lsn> {
        match self {
            Self::Clean(end) | Self::Torn(end) | Self::Ambiguous(end) => Some(end),
            Self::New | Self::Closed | Self::Corrupt(_) | Self::Gap(_) => None,
        }
    }
}

/// The files of a log, in order of their numbers.
type Files<'a> = Vec<(u64, &'a [u8])>;

fn files(image: &Image) -> Files<'_> {
    let logs = image.files(Path::new(DIR)).filter_map(|(path, bytes)| {
        let number = path.file_name()?.to_str()?.strip_suffix(".wal")?.parse().ok()?;
        Some((number, bytes))
    });
    logs.collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A file of the log as written.
struct File<'a> {
    number: u64,
    bytes: &'a [u8],
    salt: u64,
    base: u64,
    align: u64,
    recovered: bool,
    recycled: bool,
    in_place: bool,
    prev_number: u64,
    prev_salt: u64,
    prev_end: u64,
    durable: u64,
    capacity: u64,
}

impl<'a> File<'a> {
    fn read((number, bytes): (u64, &'a [u8])) -> Option<Self> {
        let magic = [0x89, 0x57, 0x41, 0x4c, 0x0d, 0x0a, 0x1a, 0x0a];
        (bytes.len() >= BLOCK && bytes[..8] == magic).then(|| Self {
            number,
            bytes,
            salt: u64_at(bytes, 40),
            base: u64_at(bytes, 48),
            align: u64::from(u32_at(bytes, 64)),
            recovered: u32_at(bytes, 12) & 1 == 1,
            recycled: u32_at(bytes, 12) & 2 == 2,
            in_place: u32_at(bytes, 12) & 4 == 4,
            prev_number: u64_at(bytes, 72),
            prev_salt: u64_at(bytes, 80),
            prev_end: u64_at(bytes, 88),
            durable: u64_at(bytes, 112),
            capacity: u64_at(bytes, 56),
        })
    }

    /// Whether the file was begun behind a cut: opening leaves out no more than the alignment takes.
    const fn follows_cut(&self) -> bool {
        let next = if self.prev_number == 0 { 0 } else { self.prev_end };
        self.recovered && self.base > next.next_multiple_of(self.align)
    }

    /// Whether its header goes out with its first frame: unless opening made the file.
    const fn begins_with_frame(&self) -> bool {
        !self.recovered && self.prev_number > 0
    }

    fn offset(&self, lsn: u64) -> usize {
        BLOCK + (lsn - self.base) as usize
    }

    /// The frame at `lsn`, read up to `until`.
    fn frame(&self, lsn: u64, until: u64) -> Option<Frame> {
        let at = self.offset(lsn);
        let head = self.bytes.get(at..at + HEAD)?;
        let is_frame =
            head[..4] == FRAME_MAGIC && u64_at(head, 8) == lsn && u64_at(head, 40) == self.salt;
        if !is_frame {
            return None;
        }
        let (flags, len) = (u32_at(head, 4), u64_at(head, 16));
        let end = (lsn + len).min(until);
        let mut records = Vec::new();
        let (mut at, mut first) = (lsn + HEAD as u64, None);
        while flags == 0 && at < end {
            let word = u32_at(self.bytes, self.offset(at));
            let end = at + 8 + u64::from(word & 0x3fff_ffff);
            let next = end.next_multiple_of(8);
            let batch = *first.get_or_insert(at);
            records.push((at, end, batch));
            if word >> 30 != 1 {
                first = None;
            }
            at = next;
        }
        let next = (lsn + len).next_multiple_of(self.align);
        let durable = u64_at(head, 24);
        let cut = lsn + len > until;
        Some(Frame { lsn, end, next, durable, close: flags == 3, cut, records })
    }
}

struct Frame {
    lsn: u64,
    end: u64,
    /// Where the next frame starts.
    next: u64,
    durable: u64,
    close: bool,
    /// Whether the next file says that the log ended within it.
    cut: bool,
    /// Start, end without the padding, and start of the batch.
    records: Vec<(u64, u64, u64)>,
}

/// A file of the log, and its frames in order.
type Chained<'a> = (File<'a>, Vec<Frame>);

/// The files that hold the log, the newest naming the one before, and so on. A cut of which `has` has
/// not the header was none: then the log before it goes on as far as it is there.
fn chain<'a>(files: &Files<'a>, has: impl Fn(&File<'_>) -> bool) -> Vec<Chained<'a>> {
    let mut headed: Vec<File<'a>> = files.iter().copied().filter_map(File::read).collect();
    let mut found: Vec<File<'a>> = Vec::new();
    let names = |next: &File<'_>| !next.follows_cut() || has(next);
    while let Some(file) = headed.pop() {
        match found.last() {
            Some(next)
                if names(next)
                    && (next.prev_number, next.prev_salt) != (file.number, file.salt) => {}
            _ => found.push(file),
        }
    }
    found.reverse();
    let ends: Vec<Option<u64>> = found
        .iter()
        .skip(1)
        .map(|next| names(next).then_some(next.prev_end))
        .chain([None])
        .collect();
    let with_frames = found.into_iter().zip(ends).map(|(file, end)| {
        let until = end.unwrap_or(u64::MAX);
        let mut frames = Vec::new();
        let mut at = file.base;
        while at < until {
            let Some(frame) = file.frame(at, until) else { break };
            at = frame.next;
            frames.push(frame);
        }
        (file, frames)
    });
    with_frames.collect()
}

/// A log as written, next to what is left of it.
struct Comparison<'a> {
    left: Files<'a>,
    /// What was there before anything undecided was written; zeros if nothing is known.
    before: Option<Files<'a>>,
}

fn range<'a>(files: &Files<'a>, number: u64, from: usize, to: usize) -> Option<&'a [u8]> {
    let (_, bytes) = files.iter().find(|(other, _)| *other == number)?;
    bytes.get(from..to)
}

fn rest<'a>(files: &Files<'a>, number: u64, from: usize) -> Option<&'a [u8]> {
    let (_, bytes) = files.iter().find(|(other, _)| *other == number)?;
    bytes.get(from..)
}

impl Comparison<'_> {
    fn is_left(&self, file: &File<'_>, from: usize, to: usize) -> bool {
        range(&self.left, file.number, from, to) == file.bytes.get(from..to)
    }

    fn has_header(&self, file: &File<'_>) -> bool {
        self.is_left(file, 0, BLOCK)
    }

    fn has_head(&self, file: &File<'_>, frame: &Frame) -> bool {
        let at = file.offset(frame.lsn);
        self.is_left(file, at, at + HEAD)
    }

    /// Whether anything shows that the file was begun. Behind a blank header block, what is there
    /// may be of an earlier life.
    fn is_begun(&self, file: &File<'_>) -> bool {
        range(&self.left, file.number, 0, BLOCK)
            .is_some_and(|block| block.iter().any(|&byte| byte != 0))
    }

    /// Whether anything shows that the frame was written, in a file where anything may lie.
    fn shows(&self, file: &File<'_>, frame: &Frame) -> bool {
        let at = file.offset(frame.lsn);
        let head = |files| range(files, file.number, at, at + HEAD);
        let old = self.before.as_ref().and_then(head) == head(&self.left);
        let magic = head(&self.left).map_or(&[0; 4][..], |head| &head[..4]);
        let has_magic = magic == FRAME_MAGIC;
        // Records may lie in a file before their frame, so they show nothing of it.
        let record = frame.records.first().filter(|_| !file.in_place);
        // But a salt behind what no writer puts there until it is whole does.
        let half = file.in_place && !has_magic && magic != [0; 4] && {
            head(&self.left).is_some_and(|head| u64_at(head, 40) == file.salt)
        };
        // Its header has survived.
        let begun = frame.lsn == file.base && file.begins_with_frame();
        begun
            || half
            || has_magic && !old
            || record
                .is_some_and(|&(at, end, _)| self.is_left(file, file.offset(at), file.offset(end)))
    }

    /// The frame headers that are left in a file from `from` on, wherever they were sent: where each
    /// is, whose it is, and what it is of.
    fn heads<'b>(
        &'b self,
        chain: &'b [Chained<'b>],
        file: &'b File<'_>,
        from: u64,
        align: u64,
    ) -> impl Iterator<Item = (u64, &'b File<'b>, &'b Frame)> {
        let bytes = rest(&self.left, file.number, file.offset(from)).unwrap_or_default();
        (0..bytes.len()).step_by(align as usize).filter_map(move |step| {
            let head = bytes.get(step..step + HEAD).filter(|head| head[..4] == FRAME_MAGIC)?;
            let mut all =
                chain.iter().flat_map(|(home, frames)| frames.iter().map(move |f| (home, f)));
            let (home, frame) = all.find(|(home, frame)| {
                let place = home.offset(frame.lsn);
                home.bytes.get(place..place + HEAD) == Some(head)
            })?;
            Some((from + step as u64, home, frame))
        })
    }

    /// The highest watermark that anything behind what is bad claims, and whether any frame or file
    /// is there.
    fn behind(&self, chain: &[Chained<'_>], bad: &Bad) -> (u64, bool) {
        let (mut claim, mut behind) = (0, false);
        for (index, (file, _)) in chain.iter().enumerate().skip(bad.file) {
            if !self.has_header(file) {
                for (at, _, frame) in self.heads(chain, file, file.base, 8) {
                    let base = (frame.lsn + file.base).checked_sub(at);
                    let Some(base) = base.filter(|&base| base >= bad.end) else { continue };
                    behind = true;
                    // With some alignment, nothing is missing before a file that begins there.
                    let next = (3..=16).any(|shift| bad.end.next_multiple_of(1 << shift) == base);
                    if !next || frame.durable > base {
                        claim = claim.max(frame.durable);
                    }
                }
                continue;
            }
            let from =
                if index == bad.file { bad.lsn / file.align * file.align } else { file.base };
            if index > bad.file {
                behind = true;
                claim = claim.max(file.durable);
                if file.recovered {
                    claim = claim.max(file.prev_end);
                }
            }
            for (at, home, frame) in self.heads(chain, file, from, file.align) {
                if home.salt == file.salt {
                    claim = claim.max(frame.durable);
                    behind |= frame.lsn == at && at > bad.lsn;
                }
            }
        }
        (claim, behind)
    }

    /// Where a file is damaged that was cut off behind its close mark, since all in it was durable.
    fn is_short(&self, file: &File<'_>, bad: &Bad, frames: &[Frame], marked: bool) -> Option<u64> {
        let len = rest(&self.left, file.number, 0)?.len();
        if len as u64 >= file.capacity {
            return None;
        }
        let of_header = frames.get(bad.frames).is_some_and(|frame| frame.lsn == bad.lsn);
        let mark = (HEAD as u64).next_multiple_of(file.align) as usize;
        match of_header && len - file.offset(bad.lsn) <= mark {
            // Nothing but the mark can be missing.
            true if marked => None,
            true => Some((file.base + (len - BLOCK) as u64).max(bad.lsn)),
            false => Some(bad.lsn),
        }
    }

    /// Whether any of what was written from there on is left.
    fn is_marked(&self, file: &File<'_>, from: usize) -> bool {
        let Some(now) = rest(&self.left, file.number, from) else { return false };
        match &self.before {
            Some(before) => rest(before, file.number, from) != Some(now),
            None => now.iter().any(|&byte| byte != 0),
        }
    }
}

/// The first place that does not read well.
struct Bad {
    /// Index of the file.
    file: usize,
    /// Frames of that file before it.
    frames: usize,
    lsn: u64,
    /// Where the log ends before it.
    end: u64,
    /// Offset of the first byte that was written in one go with what is bad.
    from: usize,
}

fn first_bad(chain: &[Chained<'_>], left: &Comparison<'_>) -> Result<(u64, bool), Bad> {
    let mut end = chain.first().map_or(0, |(file, _)| match file.prev_number {
        0 => file.base,
        _ => file.prev_end,
    });
    let mut closed = false;
    for (index, (file, frames)) in chain.iter().enumerate() {
        if !left.has_header(file) {
            // Nothing tells where it began: without a file before it nowhere, otherwise where the log
            // goes on, whatever was cut off there.
            let (lsn, end) = match index.checked_sub(1).map(|before| chain[before].0.align) {
                None => (0, 0),
                Some(align) => (end.next_multiple_of(align), end),
            };
            return Err(Bad { file: index, frames: 0, lsn, end, from: 0 });
        }
        closed = false;
        for (number, frame) in frames.iter().enumerate() {
            let with_header = number == 0 && file.begins_with_frame();
            let from = if with_header { 0 } else { file.offset(frame.lsn) };
            let bad = |lsn: u64, end: u64, from: usize| {
                Err(Bad { file: index, frames: number, lsn, end, from })
            };
            if !left.has_head(file, frame) {
                return bad(frame.lsn, end, from);
            }
            for &(at, last, batch) in &frame.records {
                if !left.is_left(file, file.offset(at), file.offset(last)) {
                    let kept = if batch == frame.lsn + HEAD as u64 { end } else { batch };
                    return bad(at, kept, file.offset(frame.lsn));
                }
            }
            (end, closed) = (frame.end, frame.close);
        }
        // A header that went out with a frame of which nothing was written yet.
        if frames.is_empty() && file.begins_with_frame() {
            return Err(Bad { file: index, frames: 0, lsn: file.base, end, from: 0 });
        }
    }
    Ok((end, closed))
}

/// What recovery deserves to say of `left`, which is `truth` but for what did not survive. `before`
/// is the same log without anything that was undecided, or `None` if what is damaged had been
/// durable, in files that were zeros before.
#[must_use]
pub fn deserved(truth: &Image, left: &Image, before: Option<&Image>) -> Deserved {
    let left = Comparison { left: files(left), before: before.map(files) };
    let chain = chain(&files(truth), |file| left.has_header(file));
    if chain.is_empty() {
        return Deserved::New;
    }
    let bad = match first_bad(&chain, &left) {
        Ok((_, true)) => return Deserved::Closed,
        Ok((end, false)) => return Deserved::Clean(Lsn::new(end)),
        Err(bad) => bad,
    };
    let is_there = |file: &File<'_>| range(&left.left, file.number, 0, 0).is_some();
    // Files become durable in order, and go from the front: no crash leaves a later one alone.
    let alone = || chain[bad.file + 1..].iter().any(|(file, _)| left.has_header(file));
    if bad.file > 0 && !is_there(&chain[bad.file].0) && alone() {
        // Only the file that is missing told that the frame before it was cut off in the middle.
        let cut = chain[bad.file - 1].1.last().is_some_and(|frame| frame.cut);
        let at = Lsn::new(if cut { bad.end } else { bad.lsn });
        return if cut { Deserved::Corrupt(at) } else { Deserved::Gap(at) };
    }
    let headless = !left.has_header(&chain[bad.file].0);
    let (claim, behind) = left.behind(&chain, &bad);
    let mut later = chain.iter().skip(bad.file + 1);
    let here = &chain[bad.file].0;
    let marked = match chain[bad.file].1.get(bad.frames) {
        _ if headless => left.is_begun(here),
        // With direct writes the header is on the device before the frame that it goes out with.
        _ if bad.lsn == here.base && here.begins_with_frame() => true,
        Some(frame) if (here.recycled || here.in_place) && bad.lsn == frame.lsn => {
            left.shows(here, frame)
        }
        _ => left.is_marked(here, bad.from),
    };
    let marked = marked || later.any(|(file, _)| left.is_begun(file));
    let (lsn, end) = (Lsn::new(bad.lsn), Lsn::new(bad.end));
    let short = if headless { None } else { left.is_short(here, &bad, &chain[bad.file].1, marked) };
    if let Some(lsn) = short {
        Deserved::Corrupt(Lsn::new(lsn))
    } else if claim > bad.lsn {
        Deserved::Corrupt(lsn)
    } else if behind {
        Deserved::Torn(end)
    } else if marked {
        Deserved::Ambiguous(end)
    } else if bad.file == 0 && headless {
        Deserved::New
    } else {
        Deserved::Clean(end)
    }
}

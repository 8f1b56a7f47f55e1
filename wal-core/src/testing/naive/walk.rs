//! Section 7, steps 2 to 4 and 6: files in order, frames in order, records in order.

use super::bytes::{
    Block, Frame, Header, Kind, Link, NO_FRAME, Pos, align_up, frame, part, record,
};
use super::judge::{self, Meaning};
use super::{End, File, Log, Place};

/// The log as far as it was read.
pub(super) struct Tail {
    /// The end so far.
    pub(super) end: Pos,
    /// `end`, aligned as the last file aligns.
    pub(super) next: Pos,
    link: Link,
    /// Number and salt of the last file.
    file: Option<(u64, u64)>,
    closed: bool,
}

/// A place that does not read well.
pub(super) struct Bad {
    /// Index of the file.
    pub(super) index: usize,
    pub(super) at: Pos,
    pub(super) offset: Pos,
    /// Up to where the file at hand is searched, if its header is valid.
    pub(super) until: Pos,
    /// Whether bytes of this life lie there.
    pub(super) ours: bool,
    /// Whether a frame of the file lies before.
    pub(super) kept: bool,
}

/// What follows a file.
enum Then {
    GoOn,
    Over(End),
}

pub(super) fn walk(mut files: Vec<File<'_>>, log: &mut Log) {
    let any = files.iter().any(|file| matches!(file.block, Block::Valid(_)));
    put_away(&mut files);
    let mut tail = Tail { end: 0, next: 0, link: NO_FRAME, file: None, closed: false };
    let mut outcome = None;
    for index in 0..files.len() {
        let then = match &files[index].block {
            Block::Valid(header) => read_file(&files, index, header, &mut tail, log),
            block => headless(&files, index, block, &tail),
        };
        if let Then::Over(end) = then {
            outcome = Some(end);
            break;
        }
    }
    log.end = tail.end as u64;
    log.outcome = outcome.unwrap_or(match (any, tail.closed) {
        (false, _) => End::New,
        (true, true) => End::Closed,
        (true, false) => End::Clean,
    });
}

/// Step 2: takes out what a later file has cut off.
fn put_away(files: &mut Vec<File<'_>>) {
    let mut cuts = Vec::new();
    for file in &*files {
        if let Block::Valid(header) = &file.block
            && header.recovered
        {
            let from = header.prev.as_ref().map_or(0, |prev| prev.sequence);
            cuts.push((from, file.sequence, header.prev.clone()));
        }
    }
    files.retain(|file| {
        let Block::Valid(header) = &file.block else { return true };
        let bare = file.bytes.iter().skip(4096).all(|&byte| byte == 0);
        let mut between =
            cuts.iter().filter(|&&(from, to, _)| from < file.sequence && file.sequence < to);
        between.all(|(_, _, prev)| bare && *prev == header.prev)
    });
}

fn next_valid<'a>(files: &'a [File<'_>], index: usize) -> Option<&'a Header> {
    files[index + 1..].iter().find_map(|file| match &file.block {
        Block::Valid(header) => Some(header),
        _ => None,
    })
}

fn corrupt(file: &File<'_>, lsn: Pos, offset: Pos) -> Then {
    let place = Place { file: file.sequence, lsn: lsn as u64, offset: offset as u64 };
    Then::Over(End::Corrupt(place))
}

/// Step 2: a file whose header block is not valid.
fn headless(files: &[File<'_>], index: usize, block: &Block, tail: &Tail) -> Then {
    let file = &files[index];
    if matches!(block, Block::Strange) {
        return corrupt(file, tail.next, 0);
    }
    let skipped = next_valid(files, index)
        .is_some_and(|next| next.prev.as_ref().is_none_or(|prev| prev.sequence < file.sequence));
    if skipped {
        return Then::GoOn;
    }
    let ours = !matches!(block, Block::Unused);
    let bad = Bad { index, at: tail.next, offset: 0, until: 0, ours, kept: false };
    judge(files, &bad, tail)
}

/// Step 5, put in terms of what follows.
fn judge(files: &[File<'_>], bad: &Bad, tail: &Tail) -> Then {
    let file = &files[bad.index];
    let offset = match &file.block {
        Block::Valid(header) if bad.kept => header.offset(tail.end),
        _ => 0,
    };
    let cut = Place { file: file.sequence, lsn: tail.end as u64, offset: offset as u64 };
    match judge::judge(files, bad, tail) {
        Meaning::Corruption => corrupt(file, bad.at, bad.offset),
        Meaning::Torn => Then::Over(End::Torn(cut)),
        Meaning::Ambiguous => Then::Over(End::Ambiguous(cut)),
        Meaning::Clean => Then::GoOn,
    }
}

/// Step 3.
fn read_file(
    files: &[File<'_>],
    index: usize,
    header: &Header,
    tail: &mut Tail,
    log: &mut Log,
) -> Then {
    let file = &files[index];
    if let Some(last) = tail.file {
        let fits = header.prev.as_ref().is_some_and(|prev| {
            (prev.sequence, prev.salt) == last
                && (prev.end, prev.last_frame) == (tail.end, tail.link)
                && header.base >= tail.end
        });
        if !fits {
            return corrupt(file, tail.next, 0);
        }
    } else {
        let other = files.iter().any(|file| {
            let Block::Valid(found) = &file.block else { return false };
            let prev = header.prev.as_ref();
            prev.is_some_and(|prev| prev.sequence == file.sequence && prev.salt != found.salt)
        });
        if other {
            return corrupt(file, tail.next, 0);
        }
        let before = header.prev.as_ref().map(|prev| (prev.end, prev.last_frame));
        (tail.end, tail.link) = before.unwrap_or((header.base, NO_FRAME));
        tail.next = header.base;
    }
    let bound = next_valid(files, index).filter(|next| {
        next.prev.as_ref().is_some_and(|prev| {
            (prev.sequence, prev.salt) == (header.sequence, header.salt)
                && prev.end <= header.limit
                && (prev.end > header.base || prev.last_frame == tail.link)
        })
    });
    let before = log.frames;
    tail.closed = false;
    let then = read_frames(files, index, header, bound, tail, log);
    if log.frames > before || bound.is_some() {
        tail.file = Some((header.sequence, header.salt));
    }
    then
}

/// Step 4.
fn read_frames(
    files: &[File<'_>],
    index: usize,
    header: &Header,
    bound: Option<&Header>,
    tail: &mut Tail,
    log: &mut Log,
) -> Then {
    let file = &files[index];
    let len = file.bytes.len() as Pos;
    let named = bound.and_then(|next| next.prev.as_ref()).map(|prev| prev.end);
    let until = named.unwrap_or(header.limit);
    let before = log.frames;
    let mut at = header.base;
    loop {
        let here = if named.is_some() { at < until } else { at == header.base || at + 64 <= until };
        if !here {
            break;
        }
        let offset = header.offset(at);
        let bad = |at: Pos, ours, kept| {
            let offset = header.offset(at);
            Bad { index, at, offset, until, ours, kept }
        };
        let short = len < header.capacity();
        if short && offset + 64 > len {
            if tail.closed && named.is_none() {
                break;
            }
            return corrupt(file, at, offset);
        }
        let head = part(file.bytes, offset..offset + 64);
        let valid = frame(head).filter(|frame| {
            let place =
                frame.salt == header.salt && frame.lsn == at && at + frame.len <= header.limit;
            let over = at + frame.len > until;
            let within = frame.flags == 0 && at + 64 < until;
            let cut = bound.is_some_and(|next| next.recovered) && within;
            place && frame.prev == tail.link && (!over || cut)
        });
        let Some(frame) = valid else {
            let begun = at == header.base && !header.recovered && header.prev.is_some();
            let ours = begun || judge::is_ours(file.bytes, header, at, until);
            let quiet = !judge::anything_behind(file.bytes, header, at, until);
            if named.is_none() && quiet && !ours {
                break;
            }
            let mark = align_up(64, header.align);
            if short && !tail.closed && offset + mark < len {
                return corrupt(file, at, offset);
            }
            // What lies behind, or is this life's, leaves no clean end.
            return judge(files, &bad(at, ours, log.frames > before), tail);
        };
        let end = (at + frame.len).min(until);
        if offset + (end - at) > len {
            if tail.closed && named.is_none() {
                break;
            }
            return corrupt(file, at, offset);
        }
        let body = if frame.flags == 0 { end } else { at + 64 };
        match read_records(file.bytes, header, at + 64..body, log) {
            Ok(()) => tail.keep(&frame, at, end, header.align, log),
            Err((wrong, good)) => {
                if good > at + 64 {
                    tail.keep(&frame, at, good, header.align, log);
                }
                if short && !tail.closed {
                    return corrupt(file, wrong, header.offset(wrong));
                }
                return judge(files, &bad(wrong, true, log.frames > before), tail);
            }
        }
        at = align_up(at + frame.len, header.align);
    }
    let authoritative = bound.is_some_and(|next| next.recovered);
    if len < header.capacity() && !tail.closed && !authoritative {
        let read = header.base + len.saturating_sub(4096);
        return corrupt(file, read.max(tail.next), len);
    }
    tail.next = align_up(tail.end, header.align);
    Then::GoOn
}

impl Tail {
    fn keep(&mut self, frame: &Frame, at: Pos, end: Pos, align: Pos, log: &mut Log) {
        log.frames += 1;
        log.void_frames += u64::from(frame.flags == 4);
        (self.end, self.next) = (end, align_up(end, align));
        self.link = (at as u64, frame.crc);
        self.closed = frame.flags == 3;
    }
}

/// Section 4, for the records of one frame. If they are bad, says where, and the end of the last
/// whole record or batch before.
fn read_records(
    bytes: &[u8],
    header: &Header,
    range: std::ops::Range<Pos>,
    log: &mut Log,
) -> Result<(), (Pos, Pos)> {
    let mut at = range.start;
    let mut batch = Vec::new();
    let mut first = at;
    while at < range.end {
        let rest = part(bytes, header.offset(at)..header.offset(range.end));
        let Some(found) = record(rest, at, header) else { return Err((at, first)) };
        if found.kind == Kind::Void {
            if !batch.is_empty() {
                return Err((first, first));
            }
            log.voids += 1;
        } else {
            batch.push((at as u64, found.payload.to_vec()));
        }
        at += found.stored;
        if found.kind != Kind::More {
            if !batch.is_empty() {
                log.batches.push(batch.len());
            }
            log.records.append(&mut batch);
            first = at;
        }
    }
    if batch.is_empty() { Ok(()) } else { Err((first, first)) }
}

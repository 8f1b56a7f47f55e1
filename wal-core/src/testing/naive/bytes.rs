//! Sections 2 to 4: what bytes are a header block, a frame header, a record.

use std::ops::Range;

/// A position, or a difference of two.
pub(super) type Pos = u128;

/// What the first 4096 bytes of a file are.
#[derive(Clone, Debug)]
pub(super) enum Block {
    Unused,
    Bad,
    /// Intact, of another version.
    Newer(u32),
    /// Valid, of another log or another number.
    Strange,
    Valid(Header),
}

/// The last frame before a place: position and header checksum.
pub(super) type Link = (u64, u32);

/// How a log begins.
pub(super) const NO_FRAME: Link = (u64::MAX, 0);

#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) recovered: bool,
    pub(super) recycled: bool,
    pub(super) in_place: bool,
    pub(super) log_id: [u8; 16],
    pub(super) sequence: u64,
    pub(super) salt: u64,
    pub(super) base: Pos,
    /// Base plus capacity less 4096.
    pub(super) limit: Pos,
    pub(super) align: Pos,
    pub(super) max_record_len: u32,
    pub(super) prev: Option<Prev>,
    pub(super) durable: Pos,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Prev {
    pub(super) sequence: u64,
    pub(super) salt: u64,
    pub(super) end: Pos,
    pub(super) last_frame: Link,
}

impl Header {
    pub(super) const fn offset(&self, position: Pos) -> Pos {
        4096 + (position - self.base)
    }

    pub(super) const fn capacity(&self) -> Pos {
        self.limit - self.base + 4096
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at + 4)) << 32 | u64::from(u32_at(bytes, at))
}

/// The least multiple of `align` that is not less than `position`.
pub(super) const fn align_up(position: Pos, align: Pos) -> Pos {
    position.div_ceil(align) * align
}

/// The part of `bytes` at `range`, as far as there is any.
pub(super) fn part(bytes: &[u8], range: Range<Pos>) -> &[u8] {
    let clamp = |at: Pos| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
    let (start, end) = (clamp(range.start), clamp(range.end));
    bytes.get(start..end).unwrap_or_default()
}

/// Section 2.
pub(super) fn block(file: &[u8]) -> Block {
    let block = &file[..file.len().min(4096)];
    if block.iter().all(|&byte| byte == 0) {
        return Block::Unused;
    }
    let magic = [0x89, 0x57, 0x41, 0x4c, 0x0d, 0x0a, 0x1a, 0x0a];
    if block.len() < 4096 || block[..8] != magic {
        return Block::Bad;
    }
    if crc32c::crc32c(&block[..4092]) != u32_at(block, 4092) {
        return Block::Bad;
    }
    if u32_at(block, 8) != 1 {
        return Block::Newer(u32_at(block, 8));
    }
    let flags = u32_at(block, 12);
    let sequence = u64_at(block, 32);
    let base = Pos::from(u64_at(block, 48));
    let capacity = Pos::from(u64_at(block, 56));
    let align = u32_at(block, 64);
    let max_record_len = u32_at(block, 68);
    let prev = Prev {
        sequence: u64_at(block, 72),
        salt: u64_at(block, 80),
        end: Pos::from(u64_at(block, 88)),
        last_frame: (u64_at(block, 96), u32_at(block, 104)),
    };
    let durable = Pos::from(u64_at(block, 112));
    let first = prev.sequence == 0;
    let zero = |range: Range<usize>| block[range].iter().all(|&byte| byte == 0);
    let ok = flags <= 7
        && sequence >= 1
        && align.is_power_of_two()
        && (8..=65536).contains(&align)
        && base.is_multiple_of(Pos::from(align))
        && capacity >= 4096
        && base + capacity - 4096 <= Pos::from(u64::MAX)
        && max_record_len < 1 << 30
        && prev.sequence < sequence
        && (first || prev.end <= base)
        && durable <= base
        && (!first || zero(72..108))
        && zero(108..112)
        && zero(120..4092);
    if !ok {
        return Block::Bad;
    }
    let mut log_id = [0; 16];
    log_id.copy_from_slice(&block[16..32]);
    Block::Valid(Header {
        recovered: flags & 1 == 1,
        recycled: flags & 2 == 2,
        in_place: flags & 4 == 4,
        log_id,
        sequence,
        salt: u64_at(block, 40),
        base,
        limit: base + capacity - 4096,
        align: Pos::from(align),
        max_record_len,
        prev: (!first).then_some(prev),
        durable,
    })
}

/// An intact frame header.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) flags: u32,
    pub(super) lsn: Pos,
    pub(super) len: Pos,
    pub(super) durable: Pos,
    pub(super) prev: Link,
    pub(super) salt: u64,
    pub(super) crc: u32,
}

/// Section 3.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame> {
    let head = bytes.get(..64)?;
    if !has_magic(head) || crc32c::crc32c(&head[..60]) != u32_at(head, 60) {
        return None;
    }
    let frame = Frame {
        flags: u32_at(head, 4),
        lsn: Pos::from(u64_at(head, 8)),
        len: Pos::from(u64_at(head, 16)),
        durable: Pos::from(u64_at(head, 24)),
        prev: (u64_at(head, 32), u32_at(head, 48)),
        salt: u64_at(head, 40),
        crc: u32_at(head, 60),
    };
    let eights = frame.len.is_multiple_of(8);
    let len_ok = match frame.flags {
        0 => eights && frame.len > 64,
        1 | 3 => frame.len == 64,
        4 => eights && frame.len >= 64,
        _ => false,
    };
    let reserved = u64_at(head, 52) == 0;
    (len_ok && reserved && frame.durable <= frame.lsn).then_some(frame)
}

pub(super) fn has_magic(head: &[u8]) -> bool {
    head.starts_with(&[0x57, 0x66, 0x52, 0x6d])
}

/// Whether this is a header with the file's salt behind a magic that is neither right nor zero.
pub(super) fn has_rotten_magic(head: &[u8], file: &Header) -> bool {
    !has_magic(head) && head[..4] != [0; 4] && u64_at(head, 40) == file.salt
}

/// The salt of a frame header whose magic and checksum are right, whatever else it says.
pub(super) fn sealed_salt(bytes: &[u8]) -> Option<u64> {
    let head = bytes.get(..64)?;
    let sealed = has_magic(head) && crc32c::crc32c(&head[..60]) == u32_at(head, 60);
    sealed.then(|| u64_at(head, 40))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    More,
    Void,
}

pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) payload: &'a [u8],
    /// Bytes it takes in the stream.
    pub(super) stored: Pos,
}

/// Section 4: the record at `position`, given the bytes from there to the end of its frame.
pub(super) fn record<'a>(bytes: &'a [u8], position: Pos, file: &Header) -> Option<Record<'a>> {
    if bytes.len() < 8 {
        return None;
    }
    let word = u32_at(bytes, 0);
    let len = word & 0x3fff_ffff;
    let stored = align_up(8 + Pos::from(len), 8);
    if len > file.max_record_len || stored > bytes.len() as Pos {
        return None;
    }
    let kind = match word >> 30 {
        0 => Kind::Data,
        1 => Kind::More,
        2 => Kind::Void,
        _ => return None,
    };
    let payload = &bytes[8..8 + len as usize];
    let mut crc = crc32c::crc32c(payload);
    for field in
        [&(position as u64).to_le_bytes()[..], &file.salt.to_le_bytes(), &word.to_le_bytes()]
    {
        crc = crc32c::crc32c_append(crc, field);
    }
    (crc == u32_at(bytes, 4)).then_some(Record { kind, payload, stored })
}

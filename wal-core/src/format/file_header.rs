//! The first block of a log file: who it is, where it lies in the stream, what came before it.

use std::ops::Range;

use crate::format::{checksum::crc32c, frame::Link, put, record, u32_at, u64_at};
use crate::lsn::Lsn;

/// Bytes of the header block; the file's first frame starts right behind it.
pub const BLOCK_LEN: usize = 4096;
/// The format version that this crate writes.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"\x89WAL\r\n\x1a\n";
const CRC_AT: usize = BLOCK_LEN - 4;
const FLAG_RECOVERED: u32 = 1;
const FLAG_RECYCLED: u32 = 2;
const FLAG_IN_PLACE: u32 = 4;
const FLAGS: u32 = FLAG_RECOVERED | FLAG_RECYCLED | FLAG_IN_PLACE;

/// What a file's header says of the file before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predecessor {
    /// Its sequence number.
    pub sequence: u64,
    /// Its salt.
    pub salt: u64,
    /// Its authoritative end: whatever it holds at or behind this position is no part of the log.
    pub end: Lsn,
    /// Its last frame before `end`, or an earlier file's if it has none.
    pub last_frame: Link,
}

/// A decoded file header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Random identity of the log, the same in all of its files.
    pub log_id: [u8; 16],
    /// Position of the file among the log's files, counted from 1.
    pub sequence: u64,
    /// Random; part of every checksum in the file, so that bytes of an earlier life of the same
    /// blocks never validate.
    pub salt: u64,
    /// Stream position of the file's first frame.
    pub base: Lsn,
    /// Length of the file in bytes, header block included.
    pub capacity: u64,
    /// Alignment of frames in bytes, a power of two from 8 to 65536.
    pub align: u32,
    /// Largest payload that the writer accepted.
    pub max_record_len: u32,
    /// The file before this one; `None` for the first file of a log.
    pub prev: Option<Predecessor>,
    /// The durable watermark when the header was written.
    pub durable: Lsn,
    /// Whether recovery wrote this header: then `prev.end` was durable when it did.
    pub recovered: bool,
    /// Whether the file may hold leftovers of an earlier life of it wherever this one has written
    /// nothing. If not, all of that is zeros.
    pub recycled: bool,
    /// Whether records are stored in this file before the frame that holds them is there, so that
    /// behind the last frame there may be records without one, and leftovers as well.
    pub in_place: bool,
}

/// Why bytes are not a file header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every byte is zero: a file prepared ahead of need and not yet used.
    Unused,
    /// Fewer than [`BLOCK_LEN`] bytes.
    Short,
    /// The magic number is absent.
    Magic,
    /// The checksum does not match.
    Checksum,
    /// Intact, but of a format version that this crate does not know.
    Version(u32),
    /// Intact, but with a value that no writer produces.
    Field(&'static str),
}

impl FileHeader {
    /// File offset of stream position `lsn`, which must not lie before `base`.
    #[must_use]
    pub const fn offset_of(&self, lsn: Lsn) -> u64 {
        BLOCK_LEN as u64 + (lsn.get() - self.base.get())
    }

    /// The position just past the last byte that the file has room for.
    #[must_use]
    pub const fn limit(&self) -> Lsn {
        self.base.advance(self.capacity - BLOCK_LEN as u64)
    }

    /// The block as stored.
    #[must_use]
    pub fn encode(&self) -> Box<[u8; BLOCK_LEN]> {
        let mut block = Box::new([0; BLOCK_LEN]);
        let bytes = &mut block[..];
        put(bytes, 0, &MAGIC);
        put(bytes, 8, &VERSION.to_le_bytes());
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        let flags = flag(self.recovered, FLAG_RECOVERED)
            | flag(self.recycled, FLAG_RECYCLED)
            | flag(self.in_place, FLAG_IN_PLACE);
        put(bytes, 12, &flags.to_le_bytes());
        put(bytes, 16, &self.log_id);
        put(bytes, 32, &self.sequence.to_le_bytes());
        put(bytes, 40, &self.salt.to_le_bytes());
        put(bytes, 48, &self.base.get().to_le_bytes());
        put(bytes, 56, &self.capacity.to_le_bytes());
        put(bytes, 64, &self.align.to_le_bytes());
        put(bytes, 68, &self.max_record_len.to_le_bytes());
        if let Some(prev) = &self.prev {
            put(bytes, 72, &prev.sequence.to_le_bytes());
            put(bytes, 80, &prev.salt.to_le_bytes());
            put(bytes, 88, &prev.end.get().to_le_bytes());
            put(bytes, 96, &prev.last_frame.lsn.get().to_le_bytes());
            put(bytes, 104, &prev.last_frame.crc.to_le_bytes());
        }
        put(bytes, 112, &self.durable.get().to_le_bytes());
        let crc = crc32c(&bytes[..CRC_AT]);
        put(bytes, CRC_AT, &crc.to_le_bytes());
        block
    }
}

/// Decodes the header at the start of `bytes`.
///
/// # Errors
///
/// The first [`Fault`] found, in the order of the enum. Every version keeps magic number, version
/// and checksum where version 1 has them, so that damage is told from a newer format.
pub fn decode(bytes: &[u8]) -> Result<FileHeader, Fault> {
    if bytes.iter().take(BLOCK_LEN).all(|&b| b == 0) {
        return Err(Fault::Unused);
    }
    let Some(bytes) = bytes.get(..BLOCK_LEN) else { return Err(Fault::Short) };
    if bytes[..8] != MAGIC {
        return Err(Fault::Magic);
    }
    if crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
        return Err(Fault::Checksum);
    }
    let version = u32_at(bytes, 8);
    if version != VERSION {
        return Err(Fault::Version(version));
    }
    let mut log_id = [0; 16];
    log_id.copy_from_slice(&bytes[16..32]);
    let lsn_at = |at| Lsn::new(u64_at(bytes, at));
    let prev_sequence = u64_at(bytes, 72);
    let flags = u32_at(bytes, 12);
    let header = FileHeader {
        log_id,
        sequence: u64_at(bytes, 32),
        salt: u64_at(bytes, 40),
        base: lsn_at(48),
        capacity: u64_at(bytes, 56),
        align: u32_at(bytes, 64),
        max_record_len: u32_at(bytes, 68),
        prev: (prev_sequence != 0).then(|| Predecessor {
            sequence: prev_sequence,
            salt: u64_at(bytes, 80),
            end: lsn_at(88),
            last_frame: Link { lsn: lsn_at(96), crc: u32_at(bytes, 104) },
        }),
        durable: lsn_at(112),
        recovered: flags & FLAG_RECOVERED != 0,
        recycled: flags & FLAG_RECYCLED != 0,
        in_place: flags & FLAG_IN_PLACE != 0,
    };
    check(&header, flags)?;
    // What is left of the block is zero, and so is what is said of a predecessor that is none.
    static ZEROS: [u8; BLOCK_LEN] = [0; BLOCK_LEN];
    let zero = |range: Range<usize>| bytes[range.clone()] == ZEROS[range];
    if header.prev.is_none() && !zero(72..108) {
        return Err(Fault::Field("prev"));
    }
    if !zero(108..112) || !zero(120..CRC_AT) {
        return Err(Fault::Field("reserved"));
    }
    Ok(header)
}

fn check(header: &FileHeader, flags: u32) -> Result<(), Fault> {
    if flags & !FLAGS != 0 {
        return Err(Fault::Field("flags"));
    }
    if header.sequence == 0 {
        return Err(Fault::Field("sequence"));
    }
    if !header.align.is_power_of_two() || !(8..=65536).contains(&header.align) {
        return Err(Fault::Field("align"));
    }
    if !header.base.get().is_multiple_of(u64::from(header.align)) {
        return Err(Fault::Field("base"));
    }
    let room = header.capacity.checked_sub(BLOCK_LEN as u64);
    if room.is_none_or(|room| header.base.get().checked_add(room).is_none()) {
        return Err(Fault::Field("capacity"));
    }
    if header.max_record_len as usize > record::MAX_LEN {
        return Err(Fault::Field("max_record_len"));
    }
    if let Some(prev) = &header.prev {
        if prev.sequence >= header.sequence {
            return Err(Fault::Field("prev.sequence"));
        }
        if prev.end > header.base {
            return Err(Fault::Field("prev.end"));
        }
    }
    if header.durable > header.base {
        return Err(Fault::Field("durable"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> FileHeader {
        FileHeader {
            log_id: *b"0123456789abcdef",
            sequence: 3,
            salt: 99,
            base: Lsn::new(8192),
            capacity: 1 << 20,
            align: 4096,
            max_record_len: 1 << 20,
            prev: Some(Predecessor {
                sequence: 2,
                salt: 98,
                end: Lsn::new(8000),
                last_frame: Link { lsn: Lsn::new(4096), crc: 5 },
            }),
            durable: Lsn::new(8000),
            recovered: true,
            recycled: false,
            in_place: false,
        }
    }

    #[test]
    fn round_trip() {
        let h = header();
        assert_eq!(decode(&h.encode()[..]), Ok(h));
        let first = FileHeader { prev: None, recovered: false, ..h };
        assert_eq!(decode(&first.encode()[..]), Ok(first));
        let again = FileHeader { recycled: true, ..h };
        assert_eq!(decode(&again.encode()[..]), Ok(again));
        let mapped = FileHeader { in_place: true, ..h };
        assert_eq!(decode(&mapped.encode()[..]), Ok(mapped));
        assert_eq!(h.offset_of(Lsn::new(8192 + 64)), 4096 + 64);
        assert_eq!(h.limit(), Lsn::new(8192 + (1 << 20) - 4096));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = header().encode();
        for bit in 0..BLOCK_LEN * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes[..]).is_err(), "bit {bit}");
        }
    }

    /// Each field forged in turn, the checksum made right again.
    #[test]
    fn each_forged_field_is_refused_by_name() {
        let forge = |at: usize, field: &[u8]| {
            let mut bytes = header().encode();
            put(&mut bytes[..], at, field);
            let crc = crc32c(&bytes[..CRC_AT]);
            put(&mut bytes[..], CRC_AT, &crc.to_le_bytes());
            decode(&bytes[..])
        };
        assert_eq!(decode(&[0; BLOCK_LEN]), Err(Fault::Unused));
        assert_eq!(decode(&header().encode()[..100]), Err(Fault::Short));
        assert_eq!(forge(0, b"x"), Err(Fault::Magic));
        assert_eq!(forge(8, &2u32.to_le_bytes()), Err(Fault::Version(2)));
        assert_eq!(forge(12, &8u32.to_le_bytes()), Err(Fault::Field("flags")));
        assert_eq!(forge(32, &0u64.to_le_bytes()), Err(Fault::Field("sequence")));
        assert_eq!(forge(48, &8200u64.to_le_bytes()), Err(Fault::Field("base")));
        assert_eq!(forge(56, &4095u64.to_le_bytes()), Err(Fault::Field("capacity")));
        assert_eq!(forge(56, &u64::MAX.to_le_bytes()), Err(Fault::Field("capacity")));
        assert_eq!(forge(64, &3u32.to_le_bytes()), Err(Fault::Field("align")));
        assert_eq!(forge(68, &u32::MAX.to_le_bytes()), Err(Fault::Field("max_record_len")));
        assert_eq!(forge(72, &3u64.to_le_bytes()), Err(Fault::Field("prev.sequence")));
        assert_eq!(forge(88, &8193u64.to_le_bytes()), Err(Fault::Field("prev.end")));
        assert_eq!(forge(112, &8193u64.to_le_bytes()), Err(Fault::Field("durable")));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let _ = decode(&bytes);
        }
    }
}

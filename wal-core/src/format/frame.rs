//! Frame headers: what one persisted segment or large record starts with.

use crate::format::{checksum::crc32c, put, u32_at, u64_at};
use crate::lsn::Lsn;

/// Bytes of a frame header; the frame's first record starts right behind it.
pub const HEADER_LEN: usize = 64;
/// Default alignment of frames in bytes: a synced frame never shares a block with the next.
pub const DEFAULT_ALIGN: u64 = 4096;

const MAGIC: [u8; 4] = *b"WfRm";
const FLAG_MARK: u32 = 1;
const FLAG_CLOSE: u32 = 2;
const FLAG_VOID: u32 = 4;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records.
    Data,
    /// No records: only the durable watermark, written when a log goes idle.
    Mark,
    /// No records: a range that was claimed for a frame and given up. Its bytes behind the header
    /// are not written and mean nothing.
    Void,
    /// No records: the log was closed, and everything before this frame is durable.
    Close,
}

/// The place and header checksum of a frame: how its successor names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where the frame starts.
    pub lsn: Lsn,
    /// Its header's checksum.
    pub crc: u32,
}

impl Link {
    /// The predecessor of a log's first frame.
    pub const NONE: Self = Self { lsn: Lsn::MAX, crc: 0 };
}

/// A decoded frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame carries.
    pub kind: Kind,
    /// Where the frame starts; its header lies there.
    pub lsn: Lsn,
    /// Bytes of the frame: header and records, without the padding behind them.
    pub len: u64,
    /// The durable watermark when the frame was handed to the sink: everything before it had
    /// been durable, so damage before it is corruption and not a torn write.
    pub durable: Lsn,
    /// The frame before this one.
    pub prev: Link,
    /// Salt of the file it was written to.
    pub salt: u64,
}

impl Header {
    /// The bytes as stored.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let flags = match self.kind {
            Kind::Data => 0,
            Kind::Mark => FLAG_MARK,
            Kind::Void => FLAG_VOID,
            Kind::Close => FLAG_MARK | FLAG_CLOSE,
        };
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 4, &flags.to_le_bytes());
        put(&mut bytes, 8, &self.lsn.get().to_le_bytes());
        put(&mut bytes, 16, &self.len.to_le_bytes());
        put(&mut bytes, 24, &self.durable.get().to_le_bytes());
        put(&mut bytes, 32, &self.prev.lsn.get().to_le_bytes());
        put(&mut bytes, 40, &self.salt.to_le_bytes());
        put(&mut bytes, 48, &self.prev.crc.to_le_bytes());
        let crc = crc32c(&bytes[..HEADER_LEN - 4]);
        put(&mut bytes, HEADER_LEN - 4, &crc.to_le_bytes());
        bytes
    }

    /// How the next frame names this one.
    #[must_use]
    pub fn link(&self) -> Link {
        Link { lsn: self.lsn, crc: u32_at(&self.encode(), HEADER_LEN - 4) }
    }

    /// Where the next frame starts, if it lies in the same file.
    #[must_use]
    pub const fn next(&self, align: u64) -> Lsn {
        self.end().align_up(align)
    }

    /// The position just past the frame's last record.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.lsn.advance(self.len)
    }
}

/// Why bytes are not the frame header that belongs at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fewer than [`HEADER_LEN`] bytes.
    Short,
    /// The magic number is absent (zeros, or something that never was a frame).
    Magic,
    /// The header's own checksum does not match.
    Checksum,
    /// Intact, but written to another file or an earlier life of this one.
    Salt,
    /// Intact, but written for another position.
    Lsn,
    /// Intact, but of a kind that no writer produces.
    Flags,
    /// Intact, but with a length that its kind does not have, or that does not fit its file.
    Length,
    /// Intact, but claiming a watermark behind its own position.
    Durable,
    /// Intact, but not zero where it has to be.
    Reserved,
}

/// Decodes the frame header at the start of `bytes`, which lie at `lsn` in a file with `salt`
/// that has `room` bytes left from there.
///
/// # Errors
///
/// The first [`Fault`] found, in the order of the enum.
pub fn decode(bytes: &[u8], lsn: Lsn, salt: u64, room: u64) -> Result<Header, Fault> {
    let header = intact(bytes)?;
    if header.salt != salt {
        return Err(Fault::Salt);
    }
    if header.lsn != lsn {
        return Err(Fault::Lsn);
    }
    let header = header.check(bytes)?;
    if header.len > room {
        return Err(Fault::Length);
    }
    Ok(header)
}

/// Decodes the frame header at the start of `bytes`, wherever and whenever it was written: what a
/// search for evidence wants to know. `None` if there is none.
#[must_use]
pub fn decode_anywhere(bytes: &[u8]) -> Option<Header> {
    intact(bytes).and_then(|header| header.check(bytes)).ok()
}

/// The salt of what would be a frame header, had it the right magic number, and has one that is
/// neither that nor zero.
pub(crate) fn salt_behind_other_magic(bytes: &[u8]) -> Option<u64> {
    let bytes = bytes.get(..HEADER_LEN)?;
    (bytes[..4] != MAGIC && bytes[..4] != [0; 4]).then(|| u64_at(bytes, 40))
}

/// The fields of a header whose checksum is right; unknown flags count as those of data.
fn intact(bytes: &[u8]) -> Result<Header, Fault> {
    let Some(bytes) = bytes.get(..HEADER_LEN) else { return Err(Fault::Short) };
    if bytes[..4] != MAGIC {
        return Err(Fault::Magic);
    }
    if crc32c(&bytes[..HEADER_LEN - 4]) != u32_at(bytes, HEADER_LEN - 4) {
        return Err(Fault::Checksum);
    }
    Ok(Header {
        kind: kind_of(u32_at(bytes, 4)).unwrap_or(Kind::Data),
        lsn: Lsn::new(u64_at(bytes, 8)),
        len: u64_at(bytes, 16),
        durable: Lsn::new(u64_at(bytes, 24)),
        prev: Link { lsn: Lsn::new(u64_at(bytes, 32)), crc: u32_at(bytes, 48) },
        salt: u64_at(bytes, 40),
    })
}

const fn kind_of(flags: u32) -> Option<Kind> {
    const CLOSE: u32 = FLAG_MARK | FLAG_CLOSE;
    match flags {
        0 => Some(Kind::Data),
        FLAG_MARK => Some(Kind::Mark),
        CLOSE => Some(Kind::Close),
        FLAG_VOID => Some(Kind::Void),
        _ => None,
    }
}

impl Header {
    /// Refuses what no writer produces, in a header that was read from `bytes`.
    fn check(self, bytes: &[u8]) -> Result<Self, Fault> {
        const HEADER: u64 = HEADER_LEN as u64;
        let kind = kind_of(u32_at(bytes, 4)).ok_or(Fault::Flags)?;
        let len_ok = match kind {
            Kind::Data => self.len > HEADER && self.len.is_multiple_of(8),
            Kind::Void => self.len >= HEADER && self.len.is_multiple_of(8),
            Kind::Mark | Kind::Close => self.len == HEADER,
        };
        if !len_ok {
            return Err(Fault::Length);
        }
        // A frame cannot claim that bytes at or behind its own place had been durable before it.
        if self.durable > self.lsn {
            return Err(Fault::Durable);
        }
        if u64_at(bytes, 52) != 0 {
            return Err(Fault::Reserved);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header {
            kind: Kind::Data,
            lsn: Lsn::new(8192),
            len: 160,
            durable: Lsn::new(4096),
            prev: Link { lsn: Lsn::new(4096), crc: 0xdead_beef },
            salt: 77,
        }
    }

    #[test]
    fn round_trip_and_each_refusal_by_name() {
        let h = header();
        let bytes = h.encode();
        assert_eq!(decode(&bytes, h.lsn, 77, 4096), Ok(h));
        assert_eq!(decode(&bytes[..63], h.lsn, 77, 4096), Err(Fault::Short));
        assert_eq!(decode(&[0; 64], h.lsn, 77, 4096), Err(Fault::Magic));
        assert_eq!(decode(&bytes, h.lsn, 78, 4096), Err(Fault::Salt));
        assert_eq!(decode(&bytes, Lsn::new(4096), 77, 4096), Err(Fault::Lsn));
        assert_eq!(decode(&bytes, h.lsn, 77, 159), Err(Fault::Length));
        for len in [0, 64, 161] {
            let bad = Header { len, ..h }.encode();
            assert_eq!(decode(&bad, h.lsn, 77, 4096), Err(Fault::Length));
        }
        let boast = Header { durable: h.lsn.advance(1), ..h }.encode();
        assert_eq!(decode(&boast, h.lsn, 77, 4096), Err(Fault::Durable));
        assert_eq!(decode_anywhere(&boast), None);
        assert_eq!(decode_anywhere(&bytes), Some(h));
        for (at, fault) in [(4, Fault::Flags), (52, Fault::Reserved), (59, Fault::Reserved)] {
            let mut forged = bytes;
            forged[at] = FLAG_CLOSE as u8;
            let crc = crc32c(&forged[..HEADER_LEN - 4]);
            put(&mut forged, HEADER_LEN - 4, &crc.to_le_bytes());
            assert_eq!(decode(&forged, h.lsn, 77, 4096), Err(fault));
            assert_eq!(decode_anywhere(&forged), None);
        }
        let void = Header { kind: Kind::Void, ..h };
        assert_eq!(decode(&void.encode(), h.lsn, 77, 4096), Ok(void));
        let mark = Header { kind: Kind::Close, len: 64, ..h };
        assert_eq!(decode(&mark.encode(), h.lsn, 77, 64), Ok(mark));
        assert_eq!(
            decode(&Header { len: 72, ..mark }.encode(), h.lsn, 77, 4096),
            Err(Fault::Length)
        );
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let h = header();
        for bit in 0..HEADER_LEN * 8 {
            let mut bytes = h.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes, h.lsn, 77, 4096).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&bytes, Lsn::ZERO, 0, u64::MAX);
        }
    }
}

//! Records: an 8-byte header, the payload, padding to 8 bytes.

use crate::format::{checksum, u32_at};
use crate::lsn::Lsn;

/// Bytes of a record's header.
pub const HEADER_LEN: usize = 8;
/// Records start at multiples of this many bytes in the stream.
pub const ALIGN: usize = 8;
/// The largest payload that the format can express, in bytes (2^30 - 1).
pub const MAX_LEN: usize = (1 << 30) - 1;

const LEN_MASK: u32 = (1 << 30) - 1;
const MORE: u32 = 1 << 30;
const VOID: u32 = 1 << 31;

/// Bytes that a record of `len` payload bytes takes in the stream: header and padding included.
/// `len` is at most [`MAX_LEN`], so the sum cannot overflow on any platform of 32 bits or more.
#[must_use]
pub const fn stored_len(len: usize) -> usize {
    (HEADER_LEN + len).next_multiple_of(ALIGN)
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A record on its own, or the last of a batch.
    Data,
    /// A record that the next one of the same batch follows directly.
    DataMore,
    /// A reservation that was given up; readers skip it.
    Void,
}

/// The first four bytes of a record: payload length and kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(u32);

impl Word {
    /// Encodes `len` (at most [`MAX_LEN`]) and `kind`.
    #[must_use]
    pub const fn new(len: usize, kind: Kind) -> Self {
        debug_assert!(len <= MAX_LEN);
        let kind = match kind {
            Kind::Data => 0,
            Kind::DataMore => MORE,
            Kind::Void => VOID,
        };
        Self(len as u32 & LEN_MASK | kind)
    }

    /// Payload bytes.
    #[must_use]
    pub const fn len(self) -> usize {
        (self.0 & LEN_MASK) as usize
    }

    /// Whether the payload is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The kind, or `None` for a combination of bits that no writer produces.
    #[must_use]
    pub const fn kind(self) -> Option<Kind> {
        match (self.0 & VOID != 0, self.0 & MORE != 0) {
            (false, false) => Some(Kind::Data),
            (false, true) => Some(Kind::DataMore),
            (true, false) => Some(Kind::Void),
            (true, true) => None,
        }
    }

    /// The word as stored.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Encodes the header of the record at `lsn` whose payload has the CRC-32C `payload_crc`.
#[must_use]
pub fn encode_header(word: Word, payload_crc: u32, lsn: Lsn, salt: u64) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(&word.get().to_le_bytes());
    let sum = checksum::record(payload_crc, lsn, salt, word.get());
    header[4..].copy_from_slice(&sum.to_le_bytes());
    header
}

/// A record found intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Position of its header.
    pub lsn: Lsn,
    /// What it is.
    pub kind: Kind,
    /// Its payload.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// The position just past the record, padding included.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.lsn.advance(stored_len(self.payload.len()) as u64)
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Fewer bytes are left than a header or the stated length needs.
    Length,
    /// The kind bits form no known kind.
    Kind,
    /// The checksum does not match payload, position, salt and header.
    Checksum,
}

/// Reads the length and kind at the start of `bytes` without checking anything else.
#[must_use]
pub fn peek(bytes: &[u8]) -> Option<Word> {
    (bytes.len() >= HEADER_LEN).then(|| Word(u32_at(bytes, 0)))
}

/// Decodes and verifies the record at the start of `bytes`, which lies at `lsn` in a file with
/// `salt`. Bytes behind the record are ignored.
///
/// # Errors
///
/// The first [`Fault`] found, in the order of the enum.
pub fn decode(bytes: &[u8], lsn: Lsn, salt: u64, max_len: usize) -> Result<Record<'_>, Fault> {
    let word = peek(bytes).ok_or(Fault::Length)?;
    let len = word.len();
    if len > max_len || stored_len(len) > bytes.len() {
        return Err(Fault::Length);
    }
    let kind = word.kind().ok_or(Fault::Kind)?;
    let payload = &bytes[HEADER_LEN..HEADER_LEN + len];
    let sum = checksum::record(checksum::crc32c(payload), lsn, salt, word.get());
    if sum != u32_at(bytes, 4) {
        return Err(Fault::Checksum);
    }
    Ok(Record { lsn, kind, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(payload: &[u8], kind: Kind, lsn: Lsn, salt: u64) -> Vec<u8> {
        let word = Word::new(payload.len(), kind);
        let mut bytes = encode_header(word, checksum::crc32c(payload), lsn, salt).to_vec();
        bytes.extend_from_slice(payload);
        bytes.resize(stored_len(payload.len()), 0);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_and_only_at_its_place(
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            lsn in 0u64..1 << 40, salt: u64, kind in 0usize..3,
        ) {
            let kind = [Kind::Data, Kind::DataMore, Kind::Void][kind];
            let lsn = Lsn::new(lsn);
            let bytes = encode(&payload, kind, lsn, salt);
            let record = decode(&bytes, lsn, salt, MAX_LEN).unwrap();
            prop_assert_eq!(record, Record { lsn, kind, payload: &payload });
            prop_assert_eq!(record.end().get() - lsn.get(), bytes.len() as u64);
            prop_assert_eq!(decode(&bytes, lsn.advance(8), salt, MAX_LEN), Err(Fault::Checksum));
            prop_assert_eq!(decode(&bytes, lsn, salt ^ 1, MAX_LEN), Err(Fault::Checksum));
        }

        #[test]
        fn every_flipped_bit_before_the_padding_is_found(
            payload in proptest::collection::vec(any::<u8>(), 0..40), salt: u64,
        ) {
            let lsn = Lsn::new(64);
            let bytes = encode(&payload, Kind::Data, lsn, salt);
            for bit in 0..(HEADER_LEN + payload.len()) * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(decode(&bad, lsn, salt, MAX_LEN).is_err(), "bit {}", bit);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&bytes, Lsn::ZERO, 0, MAX_LEN);
        }
    }

    #[test]
    fn limits_and_kinds_are_refused_by_name() {
        let bytes = encode(&[1; 20], Kind::Data, Lsn::ZERO, 7);
        assert_eq!(decode(&bytes[..7], Lsn::ZERO, 7, MAX_LEN), Err(Fault::Length));
        assert_eq!(decode(&bytes[..24], Lsn::ZERO, 7, MAX_LEN), Err(Fault::Length));
        assert_eq!(decode(&bytes, Lsn::ZERO, 7, 19), Err(Fault::Length));
        let mut both = bytes;
        both[3] |= 0xc0;
        assert_eq!(decode(&both, Lsn::ZERO, 7, MAX_LEN), Err(Fault::Kind));
    }
}

//! Frames written directly from the caller's bytes: records larger than a segment, and marks. And
//! what takes such a frame's turn: the cut of a log's tail.

use std::io::IoSlice;

use super::waiters::Need;
use crate::format::file_header::Predecessor;
use crate::format::{checksum, frame, record};
use crate::lsn::{Appended, Lsn};
use crate::segment::Direct;

/// What is done when a directly claimed range has its turn.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// A frame of this kind is written there.
    Frame(frame::Kind),
    /// The range is given up, and with it all that came before it and behind the end that this
    /// names: the log goes on behind both, in a new file.
    Cut(Option<Predecessor>),
}

/// One frame whose records are still the caller's.
pub(crate) struct DirectFrame<'a> {
    pub(super) claim: Direct,
    pub(super) work: Work,
    /// Every record's header, in order.
    headers: Vec<[u8; record::HEADER_LEN]>,
    records: &'a [&'a [IoSlice<'a>]],
    /// Bytes of the frame, header included, padding to the block not.
    pub(super) len: u64,
}

const ZEROS: [u8; record::ALIGN] = [0; record::ALIGN];

/// Stream bytes of `records`.
pub(crate) fn stored_len(records: &[&[IoSlice<'_>]]) -> u64 {
    records.iter().map(|parts| record::stored_len(payload_len(parts)) as u64).sum()
}

pub(crate) fn payload_len(parts: &[IoSlice<'_>]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// The kind of the record at `index` of a batch of `count`.
pub(crate) const fn batch_kind(index: usize, count: usize) -> record::Kind {
    if index + 1 < count { record::Kind::DataMore } else { record::Kind::Data }
}

impl<'a> DirectFrame<'a> {
    /// A frame of `records` (one, or a batch) at the place claimed.
    pub(crate) fn data(claim: Direct, records: &'a [&'a [IoSlice<'a>]]) -> Self {
        let mut lsn = claim.place.base.advance(frame::HEADER_LEN as u64);
        let headers = records
            .iter()
            .enumerate()
            .map(|(index, parts)| {
                let len = payload_len(parts);
                let word = record::Word::new(len, batch_kind(index, records.len()));
                let crc = checksum::crc32c_parts(parts);
                let header = record::encode_header(word, crc, lsn, claim.salt);
                lsn = lsn.advance(record::stored_len(len) as u64);
                header
            })
            .collect();
        let len = frame::HEADER_LEN as u64 + stored_len(records);
        Self { claim, work: Work::Frame(frame::Kind::Data), headers, records, len }
    }

    /// A frame that holds no records.
    pub(crate) fn mark(claim: Direct, kind: frame::Kind) -> Self {
        let len = frame::HEADER_LEN as u64;
        Self { claim, work: Work::Frame(kind), headers: Vec::new(), records: &[], len }
    }

    /// The turn of a claim of `len` bytes, at which the log is cut back to the end of `last`.
    pub(crate) fn cut(claim: Direct, len: u64, last: Option<Predecessor>) -> Self {
        Self { claim, work: Work::Cut(last), headers: Vec::new(), records: &[], len }
    }

    /// Where its records lie.
    pub(crate) fn appended(&self) -> Appended {
        Appended { lsn: self.claim.place.base.advance(frame::HEADER_LEN as u64), end: self.end() }
    }

    /// The position just past its last record.
    pub(crate) fn end(&self) -> Lsn {
        self.claim.place.base.advance(self.len)
    }

    /// How many records it holds.
    pub(super) const fn records(&self) -> u64 {
        self.records.len() as u64
    }

    /// What its owner waits for.
    pub(crate) fn need(&self) -> Need {
        Need::Direct { sequence: self.claim.sequence, end: self.end() }
    }

    /// The records' bytes, to follow the frame header.
    pub(super) fn parts(&self) -> Vec<IoSlice<'_>> {
        let mut parts = Vec::with_capacity(3 * self.records.len());
        for (header, payload) in self.headers.iter().zip(self.records) {
            parts.push(IoSlice::new(header));
            parts.extend(payload.iter().map(|part| IoSlice::new(part)));
            let len = record::HEADER_LEN + payload_len(payload);
            parts.push(IoSlice::new(&ZEROS[..len.next_multiple_of(record::ALIGN) - len]));
        }
        parts
    }
}

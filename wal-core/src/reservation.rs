//! A record that its writer fills in place.

use std::io::IoSlice;
use std::ops::{Deref, DerefMut};

use crate::append::Patience;
use crate::error::Error;
use crate::format::{checksum, record};
use crate::lsn::{Appended, Lsn};
use crate::probe::{NoProbe, Probe};
use crate::segment::{Filler, Grant};
use crate::sink::SegmentSink;
use crate::wal::Wal;

/// Room for one record, from [`Wal::reserve`]. Dereferences to its payload bytes.
///
/// Dropped without [`commit`](Self::commit), also by a panic, it becomes a void record: its bytes
/// are zeroed, and readers skip it.
#[must_use = "a reservation that is not committed becomes a void record"]
pub struct Reservation<'a, S: SegmentSink, P: Probe = NoProbe> {
    wal: &'a Wal<S, P>,
    bytes: Bytes,
}

enum Bytes {
    InRing { grant: Grant, filler: Filler, len: usize },
    Large(Vec<u8>),
    Committed,
}

impl<'a, S: SegmentSink, P: Probe> Reservation<'a, S, P> {
    pub(crate) fn in_ring(wal: &'a Wal<S, P>, grant: Grant, filler: Filler, len: usize) -> Self {
        Self { wal, bytes: Bytes::InRing { grant, filler, len } }
    }

    pub(crate) fn large(wal: &'a Wal<S, P>, len: usize) -> Self {
        Self { wal, bytes: Bytes::Large(vec![0; len]) }
    }

    /// The record's LSN, if it is decided already: a record larger than a segment takes its place
    /// in the log when it is committed.
    #[must_use]
    pub fn lsn(&self) -> Option<Lsn> {
        match &self.bytes {
            Bytes::InRing { grant, .. } => Some(grant.lsn),
            Bytes::Large(_) | Bytes::Committed => None,
        }
    }

    /// Appends the record as filled. Does not block, unless the record is larger than a segment
    /// (see [`Wal::append`]).
    ///
    /// # Errors
    ///
    /// None for a record that fits a segment, not even on a poisoned log: waiting for it tells.
    /// As for [`Wal::append`] for a larger one.
    pub fn commit(mut self) -> Result<Appended, Error> {
        match std::mem::replace(&mut self.bytes, Bytes::Committed) {
            Bytes::InRing { grant, filler, len } => {
                Ok(finish(self.wal, grant, filler, len, record::Kind::Data))
            }
            Bytes::Large(payload) => {
                self.wal.append_record(&[IoSlice::new(&payload)], Patience::Wait)
            }
            // `commit` consumes the reservation, so it comes here once and with bytes.
            Bytes::Committed => Err(Error::Closed),
        }
    }
}

fn finish<S: SegmentSink, P: Probe>(
    wal: &Wal<S, P>,
    grant: Grant,
    mut filler: Filler,
    len: usize,
    kind: record::Kind,
) -> Appended {
    filler.zero_padding(len);
    let crc = checksum::crc32c(filler.payload(len));
    let word = record::Word::new(len, kind);
    filler.put_header(0, record::encode_header(word, crc, grant.lsn, grant.salt));
    wal.commit(grant, filler, u64::from(kind != record::Kind::Void))
}

impl<S: SegmentSink, P: Probe> Drop for Reservation<'_, S, P> {
    fn drop(&mut self) {
        if let Bytes::InRing { grant, mut filler, len } =
            std::mem::replace(&mut self.bytes, Bytes::Committed)
        {
            // Neither half-filled bytes nor those of an earlier life reach the disk.
            filler.payload_mut(len).fill(0);
            let _ = finish(self.wal, grant, filler, len, record::Kind::Void);
        }
    }
}

impl<S: SegmentSink, P: Probe> Deref for Reservation<'_, S, P> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::InRing { filler, len, .. } => filler.payload(*len),
            Bytes::Large(payload) => payload,
            Bytes::Committed => &[],
        }
    }
}

impl<S: SegmentSink, P: Probe> DerefMut for Reservation<'_, S, P> {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.bytes {
            Bytes::InRing { filler, len, .. } => filler.payload_mut(*len),
            Bytes::Large(payload) => payload,
            Bytes::Committed => &mut [],
        }
    }
}

//! The records of one frame: verified in place, delivered by whole batches.

use crate::format::frame;
use crate::format::record::{self, Kind, Record};
use crate::lsn::Lsn;
use crate::recover::Reason;

/// Who gets the records, and how many there were.
pub(super) struct Delivery<'a> {
    pub(super) visit: &'a mut dyn FnMut(Record<'_>),
    pub(super) records: u64,
    pub(super) payload_bytes: u64,
    pub(super) voids: u64,
}

impl Delivery<'_> {
    fn record(&mut self, record: Record<'_>) {
        self.records += 1;
        self.payload_bytes += record.payload.len() as u64;
        (self.visit)(record);
    }

    /// Delivers the records in `bytes`, all of which have been verified.
    fn batch(&mut self, bytes: &[u8], lsn: Lsn) {
        let mut at = 0;
        while let Some(word) = bytes.get(at..).and_then(record::peek) {
            let kind =
                if word.kind() == Some(Kind::DataMore) { Kind::DataMore } else { Kind::Data };
            let payload = &bytes[at + record::HEADER_LEN..][..word.len()];
            self.record(Record { lsn: lsn.advance(at as u64), kind, payload });
            at += record::stored_len(word.len());
        }
    }
}

/// What is wrong in a frame, and how much of it is good.
pub(super) struct BadBody {
    pub(super) reason: Reason,
    /// The first position that is bad.
    pub(super) at: Lsn,
    /// The end of the last whole record or batch before it.
    pub(super) good: Lsn,
}

/// Verifies and delivers the records of a frame, given the frame from its header on.
pub(super) fn read(
    bytes: &[u8],
    lsn: Lsn,
    salt: u64,
    max_len: usize,
    delivery: &mut Delivery<'_>,
) -> Result<(), BadBody> {
    let place = |at: usize| lsn.advance(at as u64);
    let mut at = frame::HEADER_LEN;
    // Where the batch that is under way began.
    let mut batch = None;
    while at < bytes.len() {
        let record = record::decode(&bytes[at..], place(at), salt, max_len).map_err(|fault| {
            let good = place(batch.unwrap_or(at));
            BadBody { reason: Reason::Record(fault), at: place(at), good }
        })?;
        let next = at + record::stored_len(record.payload.len());
        match (record.kind, batch) {
            (Kind::Data, None) => delivery.record(record),
            (Kind::Data, Some(first)) => {
                delivery.batch(&bytes[first..next], place(first));
                batch = None;
            }
            (Kind::DataMore, _) => batch = batch.or(Some(at)),
            (Kind::Void, None) => delivery.voids += 1,
            // A batch is one reservation: nothing comes between its records.
            (Kind::Void, Some(_)) => break,
        }
        at = next;
    }
    match batch {
        None => Ok(()),
        Some(first) => {
            let at = place(first);
            Err(BadBody { reason: Reason::UnfinishedBatch, at, good: at })
        }
    }
}

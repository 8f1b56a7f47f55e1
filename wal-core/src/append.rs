//! Appending: records, batches, reservations.

use std::io::IoSlice;

use crate::error::Error;
use crate::flush::{DirectFrame, Need, batch_kind, payload_len, stored_len};
use crate::format::{checksum, frame, record};
use crate::lsn::Appended;
use crate::probe::Probe;
use crate::reservation::Reservation;
use crate::segment::{Claim, Direct, Filler, Grant, START};
use crate::sink::SegmentSink;
use crate::sync::{SPINS, lane, spin_loop};
use crate::wal::{Durability, Wal};

/// Whether a call may wait for a free segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    Wait,
    Try,
}

/// Appending.
impl<S: SegmentSink, P: Probe> Wal<S, P> {
    /// Appends one record of 0 to `max_record_len` bytes.
    ///
    /// Returns when the record is in the ring: in memory, not yet safe from anything. Lock-free
    /// while a segment is free; blocks for I/O while none is. A record larger than a segment is
    /// written directly, and the call blocks until the operating system has it. Whoever completes a
    /// segment also makes the system calls that start its write, where the sink [can start it without
    /// waiting](SegmentSink::starts_writes).
    ///
    /// Do not call this while the same thread holds a [`Reservation`]: with a full ring it would
    /// wait for itself.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`]; [`Error::Closed`]; [`Error::Poisoned`]; [`Error::NoSpace`] or
    /// [`Error::Sink`] if the ring is full and the next log file cannot be made. The record has
    /// not been appended, except that a poisoned log may hold it.
    #[inline]
    pub fn append(&self, payload: &[u8]) -> Result<Appended, Error> {
        self.append_record(&[IoSlice::new(payload)], Patience::Wait)
    }

    /// Like [`append`](Self::append), with the payload given in parts that are stored as one.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub fn append_vectored(&self, parts: &[IoSlice<'_>]) -> Result<Appended, Error> {
        self.append_record(parts, Patience::Wait)
    }

    /// Like [`append`](Self::append), but never waits, neither for a segment nor for a write.
    ///
    /// # Errors
    ///
    /// [`Error::WouldBlock`] if no segment is free; [`Error::NeedsToWait`] if the record is larger
    /// than a segment; otherwise as for [`append`](Self::append).
    #[inline]
    pub fn try_append(&self, payload: &[u8]) -> Result<Appended, Error> {
        self.append_record(&[IoSlice::new(payload)], Patience::Try)
    }

    /// Appends several records with one reservation: they follow each other directly, and after a
    /// crash either all of them are there or none. Record `i` has the LSN
    /// `lsn + Σ stored_len(len of record j) for j < i` (see
    /// [`stored_len`](crate::format::record::stored_len)).
    ///
    /// # Errors
    ///
    /// [`Error::EmptyBatch`]; [`Error::TooLarge`] if a record, or the batch with its headers, is
    /// larger than the log accepts (as much as the larger of one segment and one largest record);
    /// otherwise as for [`append`](Self::append).
    pub fn append_batch<R: AsRef<[u8]>>(&self, records: &[R]) -> Result<Appended, Error> {
        self.append_all(records, Patience::Wait)
    }

    /// Like [`append_batch`](Self::append_batch), but never waits.
    ///
    /// # Errors
    ///
    /// As for [`try_append`](Self::try_append) and [`append_batch`](Self::append_batch).
    pub fn try_append_batch<R: AsRef<[u8]>>(&self, records: &[R]) -> Result<Appended, Error> {
        self.append_all(records, Patience::Try)
    }

    /// Appends one record and waits until it is durable.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append) and [`wait_durable`](Self::wait_durable). After an error of
    /// the wait the record may or may not survive.
    pub fn append_and_sync(&self, payload: &[u8]) -> Result<Appended, Error> {
        self.append_with(payload, Durability::PowerLoss)
    }

    /// Appends one record and waits until it is as safe as asked.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append) and [`wait`](Self::wait).
    pub fn append_with(&self, payload: &[u8], durability: Durability) -> Result<Appended, Error> {
        let appended = self.append(payload)?;
        self.wait(appended.lsn, durability)?;
        Ok(appended)
    }

    /// Reserves room for one record of `len` bytes, to be filled in place and then
    /// [committed](Reservation::commit). Dropping the reservation, or a panic while filling it,
    /// leaves a void record that readers skip. What the bytes hold before they are filled is
    /// unspecified.
    ///
    /// Until it is committed or dropped the reservation holds up everything behind it, so fill it
    /// at once; leaking it (`mem::forget`) holds the log up for ever.
    ///
    /// A record larger than a segment is gathered in memory of its own and takes its place in the
    /// log when it is committed.
    ///
    /// # Errors
    ///
    /// As for [`append`](Self::append).
    pub fn reserve(&self, len: usize) -> Result<Reservation<'_, S, P>, Error> {
        self.reserve_with(len, Patience::Wait)
    }

    /// Like [`reserve`](Self::reserve), but never waits.
    ///
    /// # Errors
    ///
    /// As for [`try_append`](Self::try_append).
    pub fn try_reserve(&self, len: usize) -> Result<Reservation<'_, S, P>, Error> {
        self.reserve_with(len, Patience::Try)
    }

    fn reserve_with(&self, len: usize, patience: Patience) -> Result<Reservation<'_, S, P>, Error> {
        self.check_len(len)?;
        let stored = record::stored_len(len);
        if stored as u64 > self.room() {
            if patience == Patience::Try {
                return Err(self.needs_to_wait(stored));
            }
            return Ok(Reservation::large(self, len));
        }
        let (grant, filler) = self.claim(stored as u64, patience)?;
        Ok(Reservation::in_ring(self, grant, filler, len))
    }

    /// Payload and header bytes that fit into one segment.
    fn room(&self) -> u64 {
        self.shared.ring.layout().segment - START
    }

    fn needs_to_wait(&self, len: usize) -> Error {
        Error::NeedsToWait { len, room: self.room() as usize }
    }

    fn check_len(&self, len: usize) -> Result<(), Error> {
        let max = self.shared.max_record_len;
        if len > max { Err(Error::TooLarge { len, max }) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn append_record(
        &self,
        parts: &[IoSlice<'_>],
        patience: Patience,
    ) -> Result<Appended, Error> {
        let len = payload_len(parts);
        self.check_len(len)?;
        let stored = record::stored_len(len) as u64;
        if stored > self.room() {
            return self.append_direct(&[parts], patience);
        }
        let (grant, mut filler) = self.claim(stored, patience)?;
        filler.copy(0, parts);
        let crc = checksum::crc32c_parts(parts);
        let word = record::Word::new(len, record::Kind::Data);
        filler.put_header(0, record::encode_header(word, crc, grant.lsn, grant.salt));
        Ok(self.commit(grant, filler, 1))
    }

    fn append_all<R: AsRef<[u8]>>(
        &self,
        records: &[R],
        patience: Patience,
    ) -> Result<Appended, Error> {
        // Taken once: `as_ref` is the caller's code, and none of it runs while space is reserved.
        let records: Vec<[IoSlice<'_>; 1]> =
            records.iter().map(|record| [IoSlice::new(record.as_ref())]).collect();
        if records.is_empty() {
            return Err(Error::EmptyBatch);
        }
        let mut stored = 0;
        for record in &records {
            self.check_len(record[0].len())?;
            stored += record::stored_len(record[0].len());
        }
        if stored as u64 > self.room() {
            let max = record::stored_len(self.shared.max_record_len);
            if stored > max {
                return Err(Error::TooLarge { len: stored, max });
            }
            let parts: Vec<&[IoSlice<'_>]> = records.iter().map(|part| &part[..]).collect();
            return self.append_direct(&parts, patience);
        }
        let (grant, mut filler) = self.claim(stored as u64, patience)?;
        let mut at = 0;
        for (index, record) in records.iter().enumerate() {
            filler.copy(at, record);
            let word = record::Word::new(record[0].len(), batch_kind(index, records.len()));
            let crc = checksum::crc32c_parts(record);
            let lsn = grant.lsn.advance(at as u64);
            filler.put_header(at, record::encode_header(word, crc, lsn, grant.salt));
            at += record::stored_len(record[0].len());
        }
        Ok(self.commit(grant, filler, records.len() as u64))
    }

    /// Reserves `stored` bytes of a segment.
    #[inline]
    fn claim(&self, stored: u64, patience: Patience) -> Result<(Grant, Filler), Error> {
        let shared = &self.shared;
        shared.check_open()?;
        let (claim, duty) = shared.ring.reserve(stored, || !shared.is_poisoned(), shared.lend());
        shared.fulfil(duty);
        match claim {
            Claim::Granted(grant, filler) => Ok((grant, filler)),
            Claim::Full { sequence } => self.claim_later(stored, sequence, patience),
        }
    }

    /// The same once segment `full` is no longer the last.
    #[cold]
    fn claim_later(
        &self,
        stored: u64,
        mut full: u64,
        patience: Patience,
    ) -> Result<(Grant, Filler), Error> {
        let shared = &self.shared;
        let mut stalls = 0;
        loop {
            self.await_space(Need::Space(full), patience, &mut stalls)?;
            let (claim, duty) =
                shared.ring.reserve(stored, || !shared.is_poisoned(), shared.lend());
            shared.fulfil(duty);
            match claim {
                Claim::Granted(grant, filler) => return Ok((grant, filler)),
                Claim::Full { sequence } => full = sequence,
            }
        }
    }

    /// The slow path of a reservation: waits until a segment is active. Counts up `stalls` if that
    /// takes sleep.
    #[cold]
    fn await_space(&self, need: Need, patience: Patience, stalls: &mut u64) -> Result<(), Error> {
        for _ in 0..SPINS {
            if self.shared.progress().satisfies(need) {
                return Ok(());
            }
            spin_loop();
        }
        match patience {
            Patience::Wait => {
                self.shared.counters.stall(*stalls == 0);
                *stalls += 1;
                self.shared.wait(need, None)
            }
            Patience::Try => Err(self.shared.refusal().unwrap_or(Error::WouldBlock)),
        }
    }

    #[inline]
    pub(crate) fn commit(&self, grant: Grant, filler: Filler, records: u64) -> Appended {
        let appended = Appended { lsn: grant.lsn, end: grant.lsn.advance(filler.len() as u64) };
        let duty = self.shared.ring.commit(grant, filler, records, lane());
        self.shared.fulfil(duty);
        appended
    }

    /// Appends what does not fit a segment: takes its range of the stream in order, then writes it
    /// from the caller's bytes when its turn comes.
    pub(crate) fn append_direct(
        &self,
        records: &[&[IoSlice<'_>]],
        patience: Patience,
    ) -> Result<Appended, Error> {
        let shared = &self.shared;
        if patience == Patience::Try {
            return Err(self.needs_to_wait(stored_len(records) as usize));
        }
        shared.check_open()?;
        let len = frame::HEADER_LEN as u64 + stored_len(records);
        let claim = self.claim_direct(len, false)?;
        let frame = DirectFrame::data(claim, records);
        shared.wait_direct(&frame)?;
        Ok(frame.appended())
    }

    /// Claims a frame of its own behind the active segment; the `last` one of a log's life leaves
    /// no segment active.
    pub(crate) fn claim_direct(&self, len: u64, last: bool) -> Result<Direct, Error> {
        let shared = &self.shared;
        let mut stalls = 0;
        loop {
            let may_rotate = || !last && !shared.is_poisoned();
            let (claim, duty) = shared.ring.claim_direct(len, may_rotate, shared.lend());
            shared.fulfil(duty);
            match claim {
                Ok(direct) => return Ok(direct),
                Err(sequence) if last => {
                    self.await_space(Need::LastSpace(sequence), Patience::Wait, &mut stalls)?;
                }
                Err(sequence) => {
                    self.await_space(Need::Space(sequence), Patience::Wait, &mut stalls)?;
                }
            }
        }
    }
}

//! Reading an export.

use std::io::Read;

use super::order::Order;
use super::{
    CLOSING, CLOSING_LEN, CRC_LEN, Damage, ExportError, HEADER_LEN, Header, LEN_MASK, MORE,
    PREFIX_LEN, Record, Sum, Summary, WORD_LEN,
};
use crate::format::{u32_at, u64_at};
use crate::lsn::Lsn;

/// Reads records one by one. What it has returned is what was written, as far as checksums tell; that
/// there was no more is known when [`next`](Self::next) returns `None`.
///
/// Reads in small pieces, so give it a buffered reader.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    header: Header,
    sum: Sum,
    order: Order,
    max_len: usize,
    /// Bytes read.
    at: u64,
    payload: Vec<u8>,
    summary: Summary,
    /// Whether the closing mark was read.
    over: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header. Records of more than `max_len` bytes will be refused: it bounds the memory
    /// taken. Blocks for I/O, as every call here does.
    ///
    /// # Errors
    ///
    /// [`ExportError::NotAnExport`], [`ExportError::Version`], [`ExportError::Damaged`],
    /// [`ExportError::Io`].
    pub fn new(mut input: R, max_len: usize) -> Result<Self, ExportError> {
        let mut bytes = [0; HEADER_LEN];
        let read = read_up_to(&mut input, &mut bytes)?;
        let magic = &bytes[..read.min(super::MAGIC.len())];
        if !super::MAGIC.starts_with(magic) || read == 0 {
            return Err(ExportError::NotAnExport);
        }
        if read < HEADER_LEN {
            return Err(ExportError::damaged(0, Damage::Unfinished));
        }
        let header = Header::decode(&bytes)?;
        let mut sum = Sum::new();
        sum.add(&bytes[..HEADER_LEN - CRC_LEN]);
        Ok(Self {
            input,
            header,
            sum,
            order: Order::new(&header),
            max_len,
            at: HEADER_LEN as u64,
            payload: Vec::new(),
            summary: Summary::default(),
            over: false,
        })
    }

    /// What the export is of.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What has been read so far: all of it once [`next`](Self::next) has returned `None`.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// Bytes of the export read so far.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.at
    }

    /// The next record, or `None` if all of the export has been read and verified.
    ///
    /// # Errors
    ///
    /// [`ExportError::Damaged`], [`ExportError::TooLarge`], [`ExportError::Io`]; nothing that comes
    /// behind can be read then.
    #[expect(clippy::should_implement_trait, reason = "an `Iterator` cannot lend")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ExportError> {
        if self.over {
            return Ok(None);
        }
        let start = self.at;
        let mut word = [0; WORD_LEN];
        self.fill(&mut word, start)?;
        let word = u32_at(&word, 0);
        if word & CLOSING != 0 {
            self.close(word, start)?;
            return Ok(None);
        }
        let mut lsn = [0; PREFIX_LEN - WORD_LEN];
        self.fill(&mut lsn, start)?;
        let len = (word & LEN_MASK) as usize;
        if len > self.max_len {
            // A damaged length looks like this, too: nothing has vouched for it yet.
            return Err(ExportError::TooLarge { offset: start, len, max: self.max_len });
        }
        // Grows with what is really there, whatever the length says.
        self.payload.clear();
        let read = self.input.by_ref().take(len as u64).read_to_end(&mut self.payload);
        self.at += read.map_err(ExportError::Io)? as u64;
        if self.payload.len() < len {
            return Err(ExportError::damaged(start, Damage::Unfinished));
        }
        self.sum.add(&self.payload);
        self.check_sum(start)?;
        self.summary.count(&self.payload);
        let lsn = Lsn::new(u64_at(&lsn, 0));
        let record = Record { lsn, more: word & MORE != 0, payload: &self.payload };
        if !self.order.admit(&record) {
            return Err(ExportError::damaged(start, Damage::Order));
        }
        Ok(Some(record))
    }

    /// Reads the rest of the closing mark, and that nothing follows it.
    fn close(&mut self, word: u32, start: u64) -> Result<(), ExportError> {
        let mut counts = [0; CLOSING_LEN - WORD_LEN];
        self.fill(&mut counts, start)?;
        self.check_sum(start)?;
        let (records, payload_bytes) = (u64_at(&counts, 0), u64_at(&counts, 8));
        if word != CLOSING || self.order.batch {
            return Err(ExportError::damaged(start, Damage::Field));
        }
        if (Summary { records, payload_bytes }) != self.summary {
            return Err(ExportError::damaged(start, Damage::Count));
        }
        if read_up_to(&mut self.input, &mut [0])? != 0 {
            return Err(ExportError::damaged(self.at, Damage::Trailing));
        }
        self.over = true;
        Ok(())
    }

    /// Reads a part of what began at `start`.
    fn fill(&mut self, bytes: &mut [u8], start: u64) -> Result<(), ExportError> {
        let read = read_up_to(&mut self.input, bytes)?;
        self.at += read as u64;
        if read < bytes.len() {
            return Err(ExportError::damaged(start, Damage::Unfinished));
        }
        self.sum.add(bytes);
        Ok(())
    }

    fn check_sum(&mut self, start: u64) -> Result<(), ExportError> {
        let mut stored = [0; CRC_LEN];
        let read = read_up_to(&mut self.input, &mut stored)?;
        self.at += read as u64;
        if read < CRC_LEN {
            return Err(ExportError::damaged(start, Damage::Unfinished));
        }
        if stored != self.sum.so_far() {
            return Err(ExportError::damaged(start, Damage::Checksum));
        }
        Ok(())
    }
}

/// Reads until `bytes` are full or the input ends.
fn read_up_to(input: &mut impl Read, bytes: &mut [u8]) -> Result<usize, ExportError> {
    let mut done = 0;
    while done < bytes.len() {
        match input.read(&mut bytes[done..]) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ExportError::Io(error)),
        }
    }
    Ok(done)
}

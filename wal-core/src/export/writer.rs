//! Writing an export.

use std::io::Write;

use super::order::Order;
use super::{CLOSING, ExportError, Header, MORE, PREFIX_LEN, Record, Sum, Summary, WORD_LEN};
use crate::format::{put, record};

/// Writes records one by one, in the order of their LSNs. Nothing is gathered, so give it a buffered
/// writer.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    sum: Sum,
    order: Order,
    summary: Summary,
}

impl<W: Write> Writer<W> {
    /// Begins an export. Blocks for I/O, as every call here does.
    ///
    /// # Errors
    ///
    /// [`ExportError::Io`].
    pub fn new(mut out: W, header: Header) -> Result<Self, ExportError> {
        let bytes = header.encode();
        let mut sum = Sum::new();
        // Without the header's own checksum, as all others.
        sum.add(&bytes[..bytes.len() - super::CRC_LEN]);
        out.write_all(&bytes).map_err(ExportError::Io)?;
        Ok(Self { out, sum, order: Order::new(&header), summary: Summary::default() })
    }

    /// Writes `record`.
    ///
    /// # Errors
    ///
    /// [`ExportError::TooLarge`] if its payload has 2^30 bytes or more and
    /// [`ExportError::OutOfOrder`]: nothing is written. [`ExportError::Io`]: the export is no good.
    pub fn record(&mut self, record: &Record<'_>) -> Result<(), ExportError> {
        let (len, max) = (record.payload.len(), record::MAX_LEN);
        if len > max {
            return Err(ExportError::TooLarge { offset: 0, len, max });
        }
        let after = self.order.after;
        if !self.order.admit(record) {
            return Err(ExportError::OutOfOrder { lsn: record.lsn, after });
        }
        let mut prefix = [0; PREFIX_LEN];
        let word = len as u32 | if record.more { MORE } else { 0 };
        put(&mut prefix, 0, &word.to_le_bytes());
        put(&mut prefix, WORD_LEN, &record.lsn.get().to_le_bytes());
        self.part(&prefix)?;
        self.part(record.payload)?;
        self.summary.count(record.payload);
        self.checksum()
    }

    /// Ends the export, flushes and returns what it was written to, and what it holds. Without this
    /// it is not whole.
    ///
    /// # Errors
    ///
    /// [`ExportError::UnfinishedBatch`], [`ExportError::Io`].
    pub fn finish(mut self) -> Result<(W, Summary), ExportError> {
        if self.order.batch {
            return Err(ExportError::UnfinishedBatch);
        }
        let mut closing = [0; super::CLOSING_LEN];
        put(&mut closing, 0, &CLOSING.to_le_bytes());
        put(&mut closing, WORD_LEN, &self.summary.records.to_le_bytes());
        put(&mut closing, WORD_LEN + 8, &self.summary.payload_bytes.to_le_bytes());
        self.part(&closing)?;
        self.checksum()?;
        self.out.flush().map_err(ExportError::Io)?;
        Ok((self.out, self.summary))
    }

    fn part(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.sum.add(bytes);
        self.out.write_all(bytes).map_err(ExportError::Io)
    }

    fn checksum(&mut self) -> Result<(), ExportError> {
        self.out.write_all(&self.sum.so_far()).map_err(ExportError::Io)
    }
}

//! Buffered reading of one file at a time: every byte is fetched once, however small the frames.

use std::io;
use std::sync::Arc;

use crate::error::Error;
use crate::sink::{LogSource, SinkError, SinkOp};

/// Smallest read in bytes, but for the end of a file.
pub(super) const READ_LEN: u64 = 1 << 20;

/// A sliding view of a file. One buffer serves the whole scan; it grows to the largest frame at
/// most, and never beyond the length of the file.
pub(super) struct Window<'a> {
    source: &'a dyn LogSource,
    file: u64,
    file_len: u64,
    /// File offset of the first byte held.
    start: u64,
    /// Bytes held.
    held: usize,
    buf: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) fn new(source: &'a dyn LogSource) -> Self {
        Self { source, file: 0, file_len: 0, start: 0, held: 0, buf: Vec::new() }
    }

    /// Turns to file `file` of `file_len` bytes.
    pub(super) fn open(&mut self, file: u64, file_len: u64) {
        if self.file != file || self.file_len != file_len {
            (self.file, self.file_len, self.start, self.held) = (file, file_len, 0, 0);
        }
    }

    /// The `len` bytes at `offset`, or fewer if the file ends before.
    pub(super) fn get(&mut self, offset: u64, len: u64) -> Result<&[u8], Error> {
        let end = offset.saturating_add(len).min(self.file_len);
        if offset >= end {
            return Ok(&[]);
        }
        if offset < self.start || end > self.start + self.held as u64 {
            self.fill(offset, end)?;
        }
        let from = (offset - self.start) as usize;
        let to = self.held.min((end - self.start) as usize);
        // The file may have shrunk since it was listed; then fewer bytes are held.
        Ok(self.buf.get(from..to).unwrap_or_default())
    }

    /// Holds at least `offset..end`, which lies within the file.
    fn fill(&mut self, offset: u64, end: u64) -> Result<(), Error> {
        let len = (end - offset).max(READ_LEN).min(self.file_len - offset);
        let len = usize::try_from(len).map_err(|_| self.out_of_memory())?;
        let kept = match offset.checked_sub(self.start) {
            Some(skip) if skip < self.held as u64 => {
                self.buf.copy_within(skip as usize..self.held, 0);
                self.held - skip as usize
            }
            _ => 0,
        };
        (self.start, self.held) = (offset, kept);
        if self.buf.len() < len {
            let more = len - self.buf.len();
            self.buf.try_reserve_exact(more).map_err(|_| self.out_of_memory())?;
            self.buf.resize(len, 0);
        }
        let rest = &mut self.buf[kept..len];
        let read = self.source.read_at(self.file, offset + kept as u64, rest)?;
        self.held += read.min(len - kept);
        Ok(())
    }

    fn out_of_memory(&self) -> Error {
        Error::Sink(Arc::new(SinkError {
            op: SinkOp::Memory,
            file: Some(self.file),
            path: None,
            offset: None,
            source: io::ErrorKind::OutOfMemory.into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Listing;
    use std::cell::RefCell;

    /// Serves one file and remembers what was asked for.
    struct Bytes(Vec<u8>, RefCell<Vec<(u64, usize)>>);

    impl LogSource for Bytes {
        fn list(&self) -> Result<Listing, SinkError> {
            Ok(Listing::default())
        }

        fn read_at(&self, _: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
            self.1.borrow_mut().push((offset, buf.len()));
            let rest = self.0.get(offset as usize..).unwrap_or_default();
            let len = rest.len().min(buf.len());
            buf[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        }
    }

    #[test]
    fn serves_every_range_and_reads_each_byte_once() {
        let len = 3 * READ_LEN + 100;
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let source = Bytes(bytes.clone(), RefCell::default());
        let mut window = Window::new(&source);
        window.open(1, len);
        for offset in (0..len).step_by(1000) {
            let got = window.get(offset, 1500).unwrap();
            let expected = &bytes[offset as usize..((offset + 1500).min(len)) as usize];
            assert!(got == expected, "at {offset}");
        }
        let read: usize = source.1.borrow().iter().map(|(_, len)| len).sum();
        assert_eq!(read as u64, len);
        assert!(source.1.borrow().len() <= 5, "{:?}", source.1);
        assert_eq!(window.get(len, 1).unwrap(), b"");
        assert_eq!(window.get(u64::MAX, u64::MAX).unwrap(), b"");
    }

    #[test]
    fn a_file_that_shrank_gives_fewer_bytes() {
        let source = Bytes(vec![7; 10], RefCell::default());
        let mut window = Window::new(&source);
        window.open(1, 1 << 40);
        assert_eq!(window.get(5, 100).unwrap(), [7; 5]);
        assert_eq!(window.get(50, 100).unwrap(), b"");
        assert!(window.buf.len() as u64 <= READ_LEN);
    }
}

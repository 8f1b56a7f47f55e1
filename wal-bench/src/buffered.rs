//! What most programs write first: a buffered writer behind a mutex.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use wal_core::format::checksum;
use wal_core::format::record::HEADER_LEN;

use crate::log::{Log, Writer, fail};
use crate::raw::fill;

/// Records with length and checksum through the standard library's buffer of 8 KiB, into one file that
/// is zero-filled beforehand, over and over.
pub struct Buffered {
    len: u64,
    state: Mutex<State>,
}

struct State {
    file: BufWriter<File>,
    at: u64,
}

impl Buffered {
    /// A log in a file of `len` bytes in `dir`.
    ///
    /// # Errors
    ///
    /// Any error of making it.
    pub fn create(dir: &Path, len: u64) -> io::Result<Self> {
        let path = dir.join("buffered");
        fill(&path, len)?;
        let file = BufWriter::new(OpenOptions::new().write(true).open(path)?);
        Ok(Self { len, state: Mutex::new(State { file, at: 0 }) })
    }

    fn put(&self, payload: &[u8]) -> io::Result<()> {
        let crc = checksum::crc32c(payload);
        let header = payload.len() as u64 | u64::from(crc) << 32;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let len = (HEADER_LEN + payload.len()) as u64;
        if state.at + len > self.len {
            state.file.rewind()?;
            state.at = 0;
        }
        state.at += len;
        state.file.write_all(&header.to_le_bytes()[..HEADER_LEN])?;
        state.file.write_all(payload)
    }

    fn flush(&self) -> io::Result<()> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).file.flush()
    }
}

impl Log for Buffered {
    type Writer<'a> = &'a Self;

    fn writer(&self, _: usize) -> &Self {
        self
    }
}

impl Writer for &Buffered {
    fn append(&mut self, payload: &[u8]) {
        if let Err(error) = self.put(payload) {
            fail(&error);
        }
    }

    fn finish(&mut self) {
        if let Err(error) = self.flush() {
            fail(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_in_the_file_once_it_is_flushed_and_start_over_at_its_end() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let log = Buffered::create(dir.path(), 3 * 108).unwrap();
        let path = dir.path().join("buffered");
        let mut writer = log.writer(0);
        (1..=4).for_each(|number| writer.append(&[number; 100]));
        writer.finish();
        let bytes = std::fs::read(path).unwrap();
        let numbers: Vec<u8> = bytes.chunks(108).map(|record| record[8]).collect();
        assert_eq!(numbers, [4, 2, 3]);
        assert_eq!(bytes[4..8], checksum::crc32c(&[4; 100]).to_le_bytes());
    }
}

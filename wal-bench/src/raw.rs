//! The yardstick of durable commits: each thread writes and syncs a file of its own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use wal_core::format::record::stored_len;

use crate::log::{Log, Writer, fail};

/// `pwrite` and `fdatasync` per record, one after the other, into files that are zero-filled and
/// synced beforehand, so that no sync has to commit an allocation.
pub struct RawFiles {
    files: Vec<(File, AtomicU64)>,
    len: u64,
}

impl RawFiles {
    /// Files for `threads` threads in `dir`, `len` bytes each.
    ///
    /// # Errors
    ///
    /// Any error of making them.
    pub fn create(dir: &Path, threads: usize, len: u64) -> io::Result<Self> {
        let zeros = vec![0; 1 << 20];
        let mut files = Vec::with_capacity(threads);
        for thread in 0..threads {
            let path = dir.join(format!("raw-{thread}"));
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
            let mut at = 0;
            while at < len {
                let part = zeros.len().min((len - at) as usize);
                file.write_all_at(&zeros[..part], at)?;
                at += part as u64;
            }
            file.sync_all()?;
            files.push((file, AtomicU64::new(0)));
        }
        File::open(dir)?.sync_all()?;
        Ok(Self { files, len })
    }
}

impl Log for RawFiles {
    type Writer<'a> = RawWriter<'a>;

    fn writer(&self, thread: usize) -> RawWriter<'_> {
        let (file, at) = &self.files[thread];
        RawWriter { file, at, len: self.len }
    }
}

/// One thread's file.
pub struct RawWriter<'a> {
    file: &'a File,
    at: &'a AtomicU64,
    len: u64,
}

impl Writer for RawWriter<'_> {
    fn append(&mut self, payload: &[u8]) {
        let stored = stored_len(payload.len()) as u64;
        // Relaxed: only this thread uses the position.
        let mut at = self.at.load(Ordering::Relaxed);
        if at + stored > self.len {
            at = 0;
        }
        let done = self.file.write_all_at(payload, at).and_then(|()| self.file.sync_data());
        if let Err(error) = done {
            fail(&error);
        }
        self.at.store(at + stored, Ordering::Relaxed);
    }
}

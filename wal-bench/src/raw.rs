//! The yardstick of durable commits: each thread writes a file of its own, and makes it durable.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log::{Log, Writer, fail};

/// What is written at least, and what every write is a multiple of.
pub const BLOCK: usize = 4096;

/// How a write becomes durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `pwrite` into the page cache, then `fdatasync`.
    Synced,
    /// One `pwrite` to a file opened with `O_DIRECT` and `O_DSYNC`.
    #[cfg(target_os = "linux")]
    Direct,
    /// One `pwrite` to a file opened with `O_DIRECT` only: on the disk, but perhaps in its cache.
    #[cfg(target_os = "linux")]
    Stream,
}

/// One write of whole blocks per record, one after the other, into files that are
/// zero-filled and synced beforehand, so that nothing has to commit an allocation.
pub struct RawFiles(Vec<Mutex<RawFile>>);

struct RawFile {
    file: File,
    way: Way,
    at: u64,
    len: u64,
    block: Block,
}

impl RawFiles {
    /// Files for `threads` threads in `dir`, `len` bytes each, which `way` writes to.
    ///
    /// # Errors
    ///
    /// Any error of making them, such as a file system that cannot bypass its page cache.
    pub fn create(dir: &Path, way: Way, threads: usize, len: u64) -> io::Result<Self> {
        let files = (0..threads).map(|thread| {
            let path = dir.join(format!("raw-{way:?}-{thread}"));
            fill(&path, len)?;
            let mut options = OpenOptions::new();
            options.write(true);
            #[cfg(target_os = "linux")]
            {
                use rustix::fs::OFlags;
                use std::os::unix::fs::OpenOptionsExt;
                let flags = match way {
                    Way::Synced => OFlags::empty(),
                    Way::Direct => OFlags::DIRECT | OFlags::DSYNC,
                    Way::Stream => OFlags::DIRECT,
                };
                options.custom_flags(flags.bits() as i32);
            }
            let file = options.open(path)?;
            Ok(Mutex::new(RawFile { file, way, at: 0, len, block: Block::default() }))
        });
        let files = files.collect::<io::Result<_>>()?;
        File::open(dir)?.sync_all()?;
        Ok(Self(files))
    }
}

/// Makes a file of zeros, durably.
pub(crate) fn fill(path: &Path, len: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let mut at = 0;
    while at < len {
        let part = zeros.len().min((len - at) as usize);
        file.write_all_at(&zeros[..part], at)?;
        at += part as u64;
    }
    file.sync_all()
}

impl Log for RawFiles {
    type Writer<'a> = RawWriter<'a>;

    fn writer(&self, thread: usize) -> RawWriter<'_> {
        RawWriter(self.0[thread].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One thread's file.
pub struct RawWriter<'a>(MutexGuard<'a, RawFile>);

impl Writer for RawWriter<'_> {
    fn append(&mut self, payload: &[u8]) {
        let RawFile { file, way, at, len, block } = &mut *self.0;
        let bytes = block.holding(payload);
        if *at + bytes.len() as u64 > *len {
            *at = 0;
        }
        let mut done = file.write_all_at(bytes, *at);
        if *way == Way::Synced {
            done = done.and_then(|()| file.sync_data());
        }
        if let Err(error) = done {
            fail(&error);
        }
        *at += bytes.len() as u64;
    }
}

/// Memory that a write past the page cache can start in.
#[derive(Default)]
struct Block(Vec<u8>);

impl Block {
    /// Whole blocks that start with `payload`.
    fn holding(&mut self, payload: &[u8]) -> &[u8] {
        let len = payload.len().max(1).next_multiple_of(BLOCK);
        if self.0.len() < len + BLOCK {
            self.0.resize(len + BLOCK, 0);
        }
        let start = self.0.as_ptr().align_offset(BLOCK);
        let bytes = &mut self.0[start..start + len];
        bytes[..payload.len()].copy_from_slice(payload);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_writes_whole_blocks_and_starts_over_at_the_end() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let mut ways = vec![Way::Synced];
        #[cfg(target_os = "linux")]
        ways.extend([Way::Direct, Way::Stream]);
        for way in ways {
            let raw = match RawFiles::create(dir.path(), way, 1, 4 * BLOCK as u64) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    eprintln!("skipped: {way:?}: this file system cannot bypass its page cache");
                    continue;
                }
                raw => raw.unwrap(),
            };
            let mut writer = raw.writer(0);
            for (number, len) in (1..).zip([100, 4096, 5000, 1]) {
                writer.append(&vec![number; len]);
            }
            let bytes = std::fs::read(dir.path().join(format!("raw-{way:?}-0"))).unwrap();
            let firsts: Vec<u8> = bytes.chunks(BLOCK).map(|block| block[0]).collect();
            assert_eq!(firsts, [4, 2, 3, 3], "{way:?}");
            assert_eq!(bytes.len(), 4 * BLOCK, "{way:?}");
        }
    }
}

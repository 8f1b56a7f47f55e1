//! What a careful programmer writes by hand: a mutex around a buffer, and group commit.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use wal_core::format::checksum;
use wal_core::format::record::HEADER_LEN;

use crate::log::{Log, Writer, fail};
use crate::raw::fill;

/// Records with length and checksum, appended to a buffer under a mutex. Whoever comes first writes
/// and syncs for all who have appended by then; the others sleep. One file, zero-filled beforehand,
/// over and over.
pub struct GroupCommit {
    file: File,
    len: u64,
    /// Whether a group is synced, and not only written.
    sync: bool,
    state: Mutex<State>,
    synced: Condvar,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    /// The number of the group in the buffer; those before it are durable, or being made so.
    group: u64,
    /// Groups before this one are durable.
    durable: u64,
    leading: bool,
    spare: Vec<u8>,
    at: u64,
    syncs: u64,
}

impl GroupCommit {
    /// A log in a file of `len` bytes in `dir`.
    ///
    /// # Errors
    ///
    /// Any error of making it.
    pub fn create(dir: &Path, len: u64) -> io::Result<Self> {
        let path = dir.join("group");
        fill(&path, len)?;
        File::open(dir)?.sync_all()?;
        let file = OpenOptions::new().write(true).open(path)?;
        Ok(Self { file, len, sync: true, state: Mutex::default(), synced: Condvar::new() })
    }

    /// The same that leaves records to the operating system.
    #[must_use]
    pub fn without_sync(self) -> Self {
        Self { sync: false, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit(&self, payload: &[u8]) -> io::Result<()> {
        self.settle(self.push(payload))
    }

    /// Puts a record into the buffer, and says which group it belongs to.
    pub(crate) fn push(&self, payload: &[u8]) -> u64 {
        let crc = checksum::crc32c(payload);
        let header = payload.len() as u64 | u64::from(crc) << 32;
        let mut state = self.lock();
        state.buffer.extend_from_slice(&header.to_le_bytes()[..HEADER_LEN]);
        state.buffer.extend_from_slice(payload);
        state.group
    }

    /// Groups before this one are durable.
    pub(crate) fn durable(&self) -> u64 {
        self.lock().durable
    }

    /// Waits until a group is durable, or makes it so.
    pub(crate) fn settle(&self, mine: u64) -> io::Result<()> {
        let mut state = self.lock();
        while state.durable <= mine {
            if state.leading {
                state = self.synced.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.leading = true;
            let spare = std::mem::take(&mut state.spare);
            let group = std::mem::replace(&mut state.buffer, spare);
            state.group += 1;
            let end = state.group;
            if state.at + group.len() as u64 > self.len {
                state.at = 0;
            }
            let at = state.at;
            state.at += group.len() as u64;
            drop(state);
            let mut written = self.file.write_all_at(&group, at);
            if self.sync {
                written = written.and_then(|()| self.file.sync_data());
            }
            state = self.lock();
            state.spare = group;
            state.spare.clear();
            state.leading = false;
            state.durable = end;
            state.syncs += 1;
            self.synced.notify_all();
            written?;
        }
        Ok(())
    }
}

impl Log for GroupCommit {
    type Writer<'a> = &'a Self;

    fn writer(&self, _: usize) -> &Self {
        self
    }

    fn syncs(&self) -> Option<u64> {
        Some(self.lock().syncs)
    }
}

impl Writer for &GroupCommit {
    fn append(&mut self, payload: &[u8]) {
        if let Err(error) = self.commit(payload) {
            fail(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_is_in_the_file_once_and_whole() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let log = GroupCommit::create(dir.path(), 1 << 20).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let log = &log;
                scope.spawn(move || {
                    for number in 0..50 {
                        log.commit(&[thread * 50 + number; 100]).unwrap();
                    }
                });
            }
        });
        let bytes = std::fs::read(dir.path().join("group")).unwrap();
        let records = bytes.chunks(108).take(200);
        let mut found: Vec<u8> = records
            .map(|record| {
                let payload = &record[8..];
                assert!(payload.iter().all(|byte| *byte == payload[0]));
                assert_eq!(record[4..8], checksum::crc32c(payload).to_le_bytes());
                payload[0]
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, (0..200).collect::<Vec<u8>>());
        assert!(log.syncs().is_some_and(|syncs| (50..=200).contains(&syncs)));
    }
}

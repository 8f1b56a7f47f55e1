//! The in-memory sink: the contract in its plainest form, and a disk that tests can crash.
//!
//! A [`MemDisk`] keeps two images of every file: what was written, and what a sync has made
//! durable. [`MemDisk::crash`] is a power loss that keeps the second only; [`MemDisk::snapshot`]
//! is what a process crash leaves. Nothing survives the process itself.
//!
//! A [`MemSink`] recycles the files that the log retires as a sink of files does, so that tests in
//! memory run over leftovers too.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::format::file_header::BLOCK_LEN;
use crate::sink::{
    Created, FileEntry, Listing, LogSource, SegmentSink, SinkError, SinkOp, Spares, Write,
};

/// Retired files that are kept for reuse.
const SPARES: usize = 2;

/// Files in memory, shared by all clones.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<u64, File>,
    aside: Vec<Aside>,
    locked: bool,
    /// The files that the sink which has the disk open has made, and what it said of them.
    made: BTreeMap<u64, Created>,
    /// Files of these that were retired, oldest first.
    spares: VecDeque<File>,
}

#[derive(Clone, Debug, Default)]
struct File {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// Ranges written since the last sync.
    dirty: Vec<Range<usize>>,
}

/// Bytes that recovery had set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// The file they were in.
    pub sequence: u64,
    /// Where they began in that file; 0 if the whole file was moved.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The place that recovery reported.
    pub path: PathBuf,
}

impl File {
    /// A file whose bytes are durable.
    fn stored(bytes: Vec<u8>) -> Self {
        Self { written: bytes.clone(), durable: bytes, dirty: Vec::new() }
    }

    fn set_len(&mut self, len: usize) {
        self.written.resize(len, 0);
        self.durable.resize(len, 0);
        self.dirty.retain_mut(|range| {
            range.end = range.end.min(len);
            range.start < range.end
        });
    }

    fn sync(&mut self) {
        for range in self.dirty.drain(..) {
            self.durable[range.clone()].copy_from_slice(&self.written[range]);
        }
    }

    /// Makes a retired file unused, durably: what it holds behind its header block stays.
    fn reuse(mut self) -> Self {
        self.sync();
        let block = BLOCK_LEN.min(self.written.len());
        self.written[..block].fill(0);
        self.durable[..block].fill(0);
        self
    }
}

impl State {
    fn file_mut(&mut self, op: SinkOp, sequence: u64) -> Result<&mut File, SinkError> {
        self.files.get_mut(&sequence).ok_or_else(|| {
            failure(op, sequence, 0, io::Error::new(io::ErrorKind::NotFound, "no such file"))
        })
    }

    /// The sink is gone: none of its files is used again.
    fn unlock(&mut self) {
        self.locked = false;
        self.made.clear();
        self.spares.clear();
    }

    /// Takes a file away.
    fn remove(&mut self, op: SinkOp, sequence: u64) -> Result<File, SinkError> {
        self.file_mut(op, sequence)?;
        Ok(self.files.remove(&sequence).unwrap_or_default())
    }
}

fn path(sequence: u64) -> PathBuf {
    PathBuf::from(format!("mem/{sequence:016}.wal"))
}

fn failure(op: SinkOp, sequence: u64, offset: u64, source: io::Error) -> SinkError {
    SinkError { op, file: Some(sequence), path: Some(path(sequence)), offset: Some(offset), source }
}

fn outside(op: SinkOp, sequence: u64, offset: u64) -> SinkError {
    let source = io::Error::new(io::ErrorKind::InvalidInput, "outside of the file");
    failure(op, sequence, offset, source)
}

/// The range of `len` bytes at `offset` if it lies within `within` bytes.
fn range(offset: u64, len: u64, within: usize) -> Option<Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    (end <= within).then_some(start..end)
}

/// Looking at and tampering with the disk, for tests. Unless stated otherwise, changes are durable
/// at once, and a method panics if the file is absent or the position lies outside of it.
impl MemDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // No method leaves the state half changed when it panics, so a poisoned lock is of no concern.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_file<R>(&self, sequence: u64, change: impl FnOnce(&mut File) -> R) -> R {
        let mut state = self.state();
        let Some(file) = state.files.get_mut(&sequence) else { panic!("no file {sequence}") };
        change(file)
    }

    /// A new disk that holds what a power loss at this moment would leave: writes that no sync
    /// has covered are gone. Nobody has it open.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut state = self.state().clone();
        state.unlock();
        for file in state.files.values_mut() {
            file.written.clone_from(&file.durable);
            file.dirty.clear();
        }
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A new disk that holds what a crash of the process at this moment would leave: every write,
    /// synced or not (a later [`crash`](Self::crash) can still take the unsynced ones). Nobody has
    /// it open.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let mut state = self.state().clone();
        state.unlock();
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Sequence numbers of the files, ascending.
    #[must_use]
    pub fn sequences(&self) -> Vec<u64> {
        self.state().files.keys().copied().collect()
    }

    /// The bytes of a file, synced or not.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    #[must_use]
    pub fn file(&self, sequence: u64) -> Vec<u8> {
        self.with_file(sequence, |file| file.written.clone())
    }

    /// Puts a file there, in place of one with the same number.
    pub fn put_file(&self, sequence: u64, bytes: Vec<u8>) {
        self.state().files.insert(sequence, File::stored(bytes));
    }

    /// Takes a file away.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn remove_file(&self, sequence: u64) {
        let removed = self.state().files.remove(&sequence);
        assert!(removed.is_some(), "no file {sequence}");
    }

    /// Inverts bit `bit_index % 8` of byte `bit_index / 8`, in both images.
    ///
    /// # Panics
    ///
    /// If there is no such file or bit.
    pub fn flip_bit(&self, sequence: u64, bit_index: u64) {
        self.with_file(sequence, |file| {
            let Some(byte) = range(bit_index / 8, 1, file.written.len()) else {
                panic!("no bit {bit_index} in file {sequence}")
            };
            file.written[byte.start] ^= 1 << (bit_index % 8);
            file.durable[byte.start] ^= 1 << (bit_index % 8);
        });
    }

    /// Cuts a file to `len` bytes, or extends it with zeros.
    ///
    /// # Panics
    ///
    /// If there is no such file, or `len` exceeds the address space.
    pub fn truncate_file(&self, sequence: u64, len: u64) {
        let Ok(len) = usize::try_from(len) else { panic!("{len} bytes do not fit memory") };
        self.with_file(sequence, |file| file.set_len(len));
    }

    /// What recovery has set aside, in order.
    #[must_use]
    pub fn aside(&self) -> Vec<Aside> {
        self.state().aside.clone()
    }

    /// Whether a [`MemSink`] has the disk open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state().locked
    }
}

/// Reads without taking the lock of the log, as inspection tools do.
impl LogSource for MemDisk {
    fn list(&self) -> Result<Listing, SinkError> {
        let state = self.state();
        let entry = |(&sequence, file): (&u64, &File)| FileEntry {
            sequence,
            len: file.written.len() as u64,
            path: path(sequence),
        };
        Ok(Listing { files: state.files.iter().map(entry).collect(), foreign: Vec::new() })
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        let mut state = self.state();
        let bytes = &state.file_mut(SinkOp::Read, sequence)?.written;
        let start = usize::try_from(offset).map_or(bytes.len(), |start| start.min(bytes.len()));
        let len = buf.len().min(bytes.len() - start);
        buf[..len].copy_from_slice(&bytes[start..start + len]);
        Ok(len)
    }
}

/// The sink that stores a log on a [`MemDisk`]; the only one on its disk until it is dropped.
#[derive(Debug)]
pub struct MemSink {
    disk: MemDisk,
}

impl MemSink {
    /// Opens `disk` for a log, and makes durable what an earlier process left unsynced, so that
    /// recovery decides nothing by bytes that a power loss could still take.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another sink has the disk open.
    pub fn open(disk: &MemDisk) -> Result<Self, Error> {
        let mut state = disk.state();
        if state.locked {
            return Err(Error::Locked { path: PathBuf::from("mem") });
        }
        state.locked = true;
        state.files.values_mut().for_each(File::sync);
        Ok(Self { disk: disk.clone() })
    }

    /// The disk beneath.
    #[must_use]
    pub const fn disk(&self) -> &MemDisk {
        &self.disk
    }
}

impl Drop for MemSink {
    fn drop(&mut self) {
        self.disk.state().unlock();
    }
}

impl LogSource for MemSink {
    fn list(&self) -> Result<Listing, SinkError> {
        self.disk.list()
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        self.disk.read_at(sequence, offset, buf)
    }
}

impl SegmentSink for MemSink {
    fn create(&self, sequence: u64, capacity: u64) -> Result<Created, SinkError> {
        let Ok(capacity) = usize::try_from(capacity) else {
            let source = io::Error::from(io::ErrorKind::StorageFull);
            return Err(failure(SinkOp::Create, sequence, 0, source));
        };
        let mut state = self.disk.state();
        let spare = state.spares.iter().position(|spare| spare.written.len() == capacity);
        let created = if state.files.contains_key(&sequence) {
            // Of this life, or left unused by an earlier one: then with who knows what in it.
            state.made.get(&sequence).copied().unwrap_or(Created::Recycled)
        } else {
            let spare = spare.and_then(|spare| state.spares.remove(spare));
            let created = if spare.is_some() { Created::Recycled } else { Created::Zeroed };
            state.files.insert(sequence, spare.map(File::reuse).unwrap_or_default());
            state.made.insert(sequence, created);
            created
        };
        let file = state.file_mut(SinkOp::Create, sequence)?;
        file.set_len(capacity);
        file.sync();
        Ok(created)
    }

    fn spares(&self) -> Spares {
        let state = self.disk.state();
        let bytes = state.spares.iter().map(|spare| spare.written.len() as u64).sum();
        Spares { prepared: 0, retired: state.spares.len(), bytes }
    }

    fn write(&self, write: &Write<'_>) -> Result<(), SinkError> {
        let mut state = self.disk.state();
        let file = state.file_mut(SinkOp::Write, write.file)?;
        let Some(target) = range(write.offset, write.len() as u64, file.written.len()) else {
            return Err(outside(SinkOp::Write, write.file, write.offset));
        };
        let mut at = target.start;
        for part in write.parts {
            file.written[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        file.dirty.push(target);
        Ok(())
    }

    fn sync(&self) -> Result<(), SinkError> {
        self.disk.state().files.values_mut().for_each(File::sync);
        Ok(())
    }

    fn trim(&self, sequence: u64, len: u64) -> Result<(), SinkError> {
        let mut state = self.disk.state();
        let file = state.file_mut(SinkOp::Trim, sequence)?;
        if let Some(keep) = range(0, len, file.written.len()) {
            file.set_len(keep.end);
        }
        Ok(())
    }

    fn set_aside(&self, sequence: u64, offset: u64, len: u64) -> Result<PathBuf, SinkError> {
        let mut state = self.disk.state();
        let file = state.file_mut(SinkOp::SetAside, sequence)?;
        let Some(from) = range(offset, len, file.written.len()) else {
            return Err(outside(SinkOp::SetAside, sequence, offset));
        };
        let bytes = file.written[from].to_vec();
        let path = PathBuf::from(format!("mem/{sequence:016}.wal.{offset}.aside"));
        state.aside.push(Aside { sequence, offset, bytes, path: path.clone() });
        Ok(path)
    }

    fn set_aside_file(&self, sequence: u64) -> Result<PathBuf, SinkError> {
        let mut state = self.disk.state();
        let bytes = state.remove(SinkOp::SetAside, sequence)?.written;
        state.made.remove(&sequence);
        let path = PathBuf::from(format!("mem/{sequence:016}.wal.aside"));
        state.aside.push(Aside { sequence, offset: 0, bytes, path: path.clone() });
        Ok(path)
    }

    fn remove_unused(&self, sequence: u64) -> Result<(), SinkError> {
        let mut state = self.disk.state();
        state.remove(SinkOp::Remove, sequence)?;
        state.made.remove(&sequence);
        Ok(())
    }

    fn retire(&self, sequence: u64) -> Result<(), SinkError> {
        let mut state = self.disk.state();
        let file = state.remove(SinkOp::Remove, sequence)?;
        if state.made.remove(&sequence).is_some() {
            state.spares.push_back(file);
        }
        if state.spares.len() > SPARES {
            state.spares.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;

    fn write(sink: &MemSink, offset: u64, parts: &[&[u8]]) -> Result<(), SinkError> {
        let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        sink.write(&Write { ticket: 0, file: 1, offset, parts: &parts })
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_nothing_else() {
        let disk = MemDisk::new();
        let sink = MemSink::open(&disk).unwrap();
        sink.create(1, 8).unwrap();
        write(&sink, 0, &[b"a", b"b"]).unwrap();
        sink.sync().unwrap();
        write(&sink, 1, &[b"xy"]).unwrap();

        assert_eq!(disk.file(1), b"axy\0\0\0\0\0");
        assert_eq!(disk.crash().file(1), b"ab\0\0\0\0\0\0");
        assert_eq!(disk.snapshot().file(1), b"axy\0\0\0\0\0");
        assert_eq!(disk.snapshot().crash().file(1), b"ab\0\0\0\0\0\0");
        sink.sync().unwrap();
        assert_eq!(disk.crash().file(1), b"axy\0\0\0\0\0");
        assert_eq!(disk.crash().sequences(), [1]);
    }

    #[test]
    fn a_created_file_survives_a_crash_and_keeps_prepared_bytes() {
        let disk = MemDisk::new();
        disk.put_file(2, b"old".to_vec());
        let sink = MemSink::open(&disk).unwrap();
        assert_eq!(sink.create(1, 4).unwrap(), Created::Zeroed);
        assert_eq!(sink.create(2, 5).unwrap(), Created::Recycled);
        assert_eq!(disk.crash().file(1), [0; 4]);
        assert_eq!(disk.crash().file(2), b"old\0\0");
    }

    #[test]
    fn retired_files_of_this_life_are_used_again_and_no_others() {
        const LEN: usize = BLOCK_LEN + 4;
        let disk = MemDisk::new();
        disk.put_file(1, vec![7; LEN]);
        let sink = MemSink::open(&disk).unwrap();
        for file in [2, 3, 4] {
            assert_eq!(sink.create(file, LEN as u64).unwrap(), Created::Zeroed);
            sink.write(&Write {
                ticket: 0,
                file,
                offset: 0,
                parts: &[IoSlice::new(&[file as u8; LEN])],
            })
            .unwrap();
        }
        for file in [1, 2, 3, 4] {
            sink.retire(file).unwrap();
            assert!(sink.retire(file).is_err() && sink.read_at(file, 0, &mut [0]).is_err());
        }
        assert_eq!(disk.sequences(), [0; 0]);
        // Another length does not fit; two are kept, of which the older goes first.
        assert_eq!(sink.create(5, 2 * LEN as u64).unwrap(), Created::Zeroed);
        for (file, byte) in [(6, 3), (7, 4)] {
            assert_eq!(sink.create(file, LEN as u64).unwrap(), Created::Recycled);
            assert_eq!(sink.create(file, LEN as u64).unwrap(), Created::Recycled, "again");
            let expected = [[0; BLOCK_LEN].as_slice(), &[byte; 4]].concat();
            assert_eq!(disk.file(file), expected);
            assert_eq!(disk.crash().file(file), expected, "synced or not in its earlier life");
        }
        assert_eq!(sink.create(8, LEN as u64).unwrap(), Created::Zeroed);
        // The next life uses none of them.
        sink.retire(6).unwrap();
        drop(sink);
        let sink = MemSink::open(&disk).unwrap();
        sink.retire(7).unwrap();
        assert_eq!(sink.create(9, LEN as u64).unwrap(), Created::Zeroed);
    }

    #[test]
    fn one_sink_at_a_time_and_opening_syncs() {
        let disk = MemDisk::new();
        let first = MemSink::open(&disk).unwrap();
        assert!(matches!(MemSink::open(&disk), Err(Error::Locked { .. })));
        first.create(1, 1).unwrap();
        write(&first, 0, &[b"z"]).unwrap();
        let after_process_crash = disk.snapshot();
        assert_eq!(after_process_crash.crash().file(1), [0]);
        let _second = MemSink::open(&after_process_crash).unwrap();
        assert_eq!(after_process_crash.crash().file(1), b"z");
        drop(first);
        assert!(!disk.is_open());
        assert!(MemSink::open(&disk).is_ok());
    }

    #[test]
    fn what_lies_outside_is_an_error() {
        let disk = MemDisk::new();
        let sink = MemSink::open(&disk).unwrap();
        assert!(write(&sink, 0, &[b"a"]).is_err());
        sink.create(1, 2).unwrap();
        assert!(write(&sink, 1, &[b"ab"]).is_err());
        assert!(write(&sink, u64::MAX, &[b"ab"]).is_err());
        assert!(sink.set_aside(1, 1, 2).is_err());
        assert!(sink.remove_unused(7).is_err());
        let mut buf = [9; 4];
        assert_eq!(sink.read_at(1, 1, &mut buf).unwrap(), 1);
        assert_eq!(sink.read_at(1, 5, &mut buf).unwrap(), 0);
        assert!(sink.read_at(7, 0, &mut buf).is_err());
    }

    #[test]
    fn damage_set_aside_stays_readable_and_trim_only_shortens() {
        let disk = MemDisk::new();
        disk.put_file(1, b"abcdef".to_vec());
        let sink = MemSink::open(&disk).unwrap();
        let part = sink.set_aside(1, 4, 2).unwrap();
        sink.trim(1, 9).unwrap();
        assert_eq!(disk.file(1), b"abcdef");
        write(&sink, 3, &[b"XYZ"]).unwrap();
        sink.trim(1, 4).unwrap();
        sink.sync().unwrap();
        assert_eq!(disk.crash().file(1), b"abcX");
        let whole = sink.set_aside_file(1).unwrap();
        assert_eq!(disk.sequences(), [0; 0]);
        let expected = [
            Aside { sequence: 1, offset: 4, bytes: b"ef".to_vec(), path: part },
            Aside { sequence: 1, offset: 0, bytes: b"abcX".to_vec(), path: whole },
        ];
        assert_eq!(disk.aside(), expected);
    }
}

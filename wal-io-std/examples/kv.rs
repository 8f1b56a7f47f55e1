//! A key-value store that lives in memory, and in a log and a checkpoint on disk.
//!
//! A write is appended and applied under one lock, so that the log has the order in which the map
//! changed, and waited for outside of it, so that writers share a sync. A read may therefore see what
//! is not durable yet; who was answered has a write that is.
//!
//! A checkpoint is a copy of the map and the LSN at which replay starts. It replaces the one before by
//! a rename, and only then lets the log go that it makes superfluous.
//!
//! `cargo run -p wal-io-std --example kv`

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wal_core::format::checksum::crc32c;
use wal_core::{Lsn, Options};
use wal_io_std::{Wal, open};

pub(crate) type Outcome<T> = Result<T, Box<dyn StdError + Send + Sync>>;
pub(crate) type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A change of one key: a new value, or none.
pub(crate) type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// What a length says of a value that is none.
const NONE: u32 = u32::MAX;

/// The store. Shared by any number of threads.
pub(crate) struct Store {
    dir: PathBuf,
    pub(crate) wal: Wal,
    map: Mutex<Map>,
    /// One checkpoint at a time.
    checkpoint: Mutex<()>,
}

impl Store {
    /// Opens the store in `dir`: loads its checkpoint and replays the log from there.
    pub(crate) fn open(dir: &Path, options: Options) -> Outcome<Self> {
        // Makes `dir`, too, and its name durable.
        let (wal, _) = open(dir.join("log"), options)?;
        let (mut map, from) = match fs::read(dir.join("checkpoint")) {
            Ok(bytes) => decode_checkpoint(&bytes).ok_or("the checkpoint is damaged")?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Map::new(), Lsn::ZERO),
            Err(error) => return Err(error.into()),
        };
        // Such a log is not the one of this checkpoint: it would hand out LSNs that replay skips.
        if from > wal.next_lsn() {
            return Err(format!("the log ends before the checkpoint, at LSN {from}").into());
        }
        // Refused if the log starts further on: then it does not follow this checkpoint.
        for record in wal.iter_from(from)? {
            apply(&mut map, &record?.payload).ok_or("a record is no batch of this store")?;
        }
        Ok(Self { dir: dir.to_owned(), wal, map: Mutex::new(map), checkpoint: Mutex::default() })
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        lock(&self.map).get(key).cloned()
    }

    /// Sets a key; durable when this returns.
    pub(crate) fn put(&self, key: &[u8], value: &[u8]) -> Outcome<()> {
        self.write(&[(key, Some(value))])
    }

    /// Removes a key; durable when this returns.
    pub(crate) fn delete(&self, key: &[u8]) -> Outcome<()> {
        self.write(&[(key, None)])
    }

    /// Makes changes that take effect together, in memory and after a crash: they are one record.
    /// Durable when this returns. After an error the store may or may not have them when it is opened
    /// again, which it then has to be.
    pub(crate) fn write(&self, changes: &[Change<'_>]) -> Outcome<()> {
        let record = encode(changes.iter().copied())?;
        let mut map = lock(&self.map);
        let lsn = self.wal.append(&record)?.lsn;
        apply(&mut map, &record).ok_or("what was encoded cannot be decoded")?;
        drop(map);
        Ok(self.wal.wait_durable(lsn)?)
    }

    /// Writes the map to disk and frees the log before it. Writers wait while the map is copied, not
    /// while the copy is written.
    pub(crate) fn checkpoint(&self) -> Outcome<()> {
        let _alone = lock(&self.checkpoint);
        let map = lock(&self.map);
        // Appending happens under this lock: the map is what the log says up to here.
        let (from, content) = (self.wal.next_lsn(), map.clone());
        drop(map);
        let body = encode(content.iter().map(|(key, value)| (&key[..], Some(&value[..]))))?;
        // A checkpoint ahead of its log would make replay skip what is appended there after a crash.
        self.wal.sync()?;
        let unfinished = self.dir.join("checkpoint.unfinished");
        let mut file = File::create(&unfinished)?;
        let head = [from.get().to_le_bytes(), (body.len() as u64).to_le_bytes()].concat();
        file.write_all(&head)?;
        file.write_all(&body)?;
        file.write_all(&crc32c(&[head, body].concat()).to_le_bytes())?;
        // The content before the name, the name before the log is let go.
        file.sync_all()?;
        fs::rename(&unfinished, self.dir.join("checkpoint"))?;
        File::open(&self.dir)?.sync_all()?;
        self.wal.truncate_before(from)?;
        Ok(())
    }

    /// A copy of everything.
    pub(crate) fn all(&self) -> Map {
        lock(&self.map).clone()
    }
}

/// Changes as bytes: of each, the lengths of key and value, then both.
fn encode<'a>(changes: impl Iterator<Item = Change<'a>>) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    for (key, value) in changes {
        let lens = [key.len(), value.map_or(NONE as usize, <[u8]>::len)];
        if lens[0] >= NONE as usize || value.is_some_and(|value| value.len() >= NONE as usize) {
            return Err("a key or value is too long".into());
        }
        lens.iter().for_each(|&len| bytes.extend((len as u32).to_le_bytes()));
        bytes.extend(key);
        bytes.extend(value.unwrap_or_default());
    }
    Ok(bytes)
}

/// Makes the changes; `None` if these are none.
fn apply(map: &mut Map, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        let (key_len, rest) = bytes.split_first_chunk()?;
        let (value_len, rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
        let value_len = u32::from_le_bytes(*value_len);
        let len = if value_len == NONE { 0 } else { value_len as usize };
        let (value, rest) = rest.split_at_checked(len)?;
        match value_len {
            NONE => map.remove(key),
            _ => map.insert(key.to_vec(), value.to_vec()),
        };
        bytes = rest;
    }
    Some(())
}

/// The map and the LSN from which to replay; `None` if these bytes are not as they were written.
fn decode_checkpoint(bytes: &[u8]) -> Option<(Map, Lsn)> {
    let (content, checksum) = bytes.split_last_chunk()?;
    let (from, rest) = content.split_first_chunk()?;
    let (len, body) = rest.split_first_chunk()?;
    let whole = u64::from_le_bytes(*len) == body.len() as u64;
    let mut map = Map::new();
    if whole && crc32c(content) == u32::from_le_bytes(*checksum) {
        apply(&mut map, body)?;
        return Some((map, Lsn::new(u64::from_le_bytes(*from))));
    }
    None
}

/// Nothing under these locks panics half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() -> Outcome<()> {
    let small = Options::default().segment_size(64 << 10).file_size(1 << 20);
    if let Some(dir) = std::env::args_os().nth(1) {
        // The process that crashes.
        let store = Store::open(dir.as_ref(), small)?;
        for n in 0..3000_u32 {
            let key = (n % 100).to_le_bytes();
            store.write(&[(&key, Some(&n.to_le_bytes())), (b"last", Some(&n.to_le_bytes()))])?;
            if n % 1000 == 999 {
                store.checkpoint()?;
                println!("checkpoint after {n}: the log starts at {}", store.wal.start_lsn());
            }
        }
        store.delete(b"last")?;
        println!("3001 batches written; and now a crash");
        std::process::abort();
    }
    let dir = tempfile::tempdir()?;
    let status = Command::new(std::env::current_exe()?).arg(dir.path()).status()?;
    println!("the process has ended: {status}");
    let store = Store::open(dir.path(), small)?;
    let newest = store.get(&99_u32.to_le_bytes());
    println!("{} keys are back, and key 99 is {newest:?}", store.all().len());
    store.put(b"life", b"goes on")?;
    let right = store.get(b"last").is_none() && newest == Some(2999_u32.to_le_bytes().to_vec());
    if right { Ok(()) } else { Err("that is not what was written".into()) }
}

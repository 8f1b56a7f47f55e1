//! Filling rivals and reading them back, for those that can be read from one end to the other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Append, Failure, Peer, Settle, lock};

type RaftEngine = raft_engine::Engine;

/// Records of one write, where a single one would take a sync, or for ever.
const BATCH: u64 = 1024;
/// The one queue, or region.
const QUEUE: &str = "records";
const REGION: u64 = 1;

pub(super) fn raft_engine(dir: &Path) -> Result<RaftEngine, Failure> {
    Ok(RaftEngine::open(raft_engine::Config {
        dir: dir.to_string_lossy().into_owned(),
        batch_compression_threshold: raft_engine::ReadableSize(0),
        ..raft_engine::Config::default()
    })?)
}

/// mrecordlog and a runtime to call it on.
struct Mrecordlog {
    runtime: tokio::runtime::Runtime,
    log: mrecordlog::MultiRecordLog,
}

impl Mrecordlog {
    fn open(dir: &Path, each: bool) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let policy = if each {
            mrecordlog::SyncPolicy::OnAppend
        } else {
            // When it is asked to.
            mrecordlog::SyncPolicy::OnDelay(Duration::from_secs(1 << 20))
        };
        let log = runtime.block_on(mrecordlog::MultiRecordLog::open_with_prefs(dir, policy))?;
        Ok(Self { runtime, log })
    }

    fn append(&mut self, payload: &[u8]) -> Result<u64, Failure> {
        let done = self.runtime.block_on(self.log.append_record(QUEUE, None, payload))?;
        Ok(done.unwrap_or(0))
    }

    /// It keeps all records in memory until they are truncated.
    fn forget(&mut self, position: u64) -> Result<(), Failure> {
        self.runtime.block_on(self.log.truncate(QUEUE, position))?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.runtime.block_on(self.log.sync())?)
    }
}

pub(super) fn mrecordlog(dir: &Path, each: bool) -> Result<(Append, Settle), Failure> {
    let mut log = Mrecordlog::open(dir, each)?;
    log.runtime.block_on(log.log.create_queue(QUEUE))?;
    let log = Arc::new(Mutex::new(log));
    let appender = Arc::clone(&log);
    let append: Append = Box::new(move |_, payload| {
        let mut log = lock(&appender);
        let position = log.append(payload)?;
        if position % (1 << 16) == (1 << 16) - 1 {
            log.forget(position)?;
        }
        Ok(())
    });
    Ok((append, Box::new(move || lock(&log).flush())))
}

/// Counts what okaywal hands over.
#[derive(Debug)]
struct Counting(Arc<Mutex<u64>>);

impl okaywal::LogManager for Counting {
    fn recover(&mut self, entry: &mut okaywal::Entry<'_>) -> std::io::Result<()> {
        if let Some(chunks) = entry.read_all_chunks()? {
            *lock(&self.0) += chunks.len() as u64;
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _: okaywal::EntryId,
        _: &mut okaywal::SegmentReader,
        _: &okaywal::WriteAheadLog,
    ) -> std::io::Result<()> {
        Ok(())
    }
}

/// Puts so many records into a new log in `dir` and closes it; `false` if it cannot be read back from
/// one end to the other.
///
/// # Errors
///
/// The rival's.
pub fn fill(peer: Peer, dir: &Path, records: u64, bytes: usize) -> Result<bool, Failure> {
    let payload = vec![0x5a; bytes];
    let batches = (0..records).step_by(BATCH as usize).map(|at| at..records.min(at + BATCH));
    match peer {
        Peer::Commitlog => {
            let mut log = commitlog(dir)?;
            for _ in 0..records {
                log.append_msg(&payload).map_err(|error| error.to_string())?;
            }
            log.flush()?;
        }
        Peer::Mrecordlog => {
            let mut log = Mrecordlog::open(dir, false)?;
            log.runtime.block_on(log.log.create_queue(QUEUE))?;
            for _ in 0..records {
                log.append(&payload)?;
            }
            log.flush()?;
        }
        Peer::Okaywal => {
            // An entry of many chunks, which does it a favour: it syncs for each entry.
            let log = okaywal(dir, okaywal::LogVoid)?;
            for batch in batches {
                let mut entry = log.begin_entry()?;
                for _ in batch {
                    entry.write_chunk(&payload)?;
                }
                entry.commit()?;
            }
            log.shutdown()?;
        }
        Peer::OpenWal => {
            let (mut wal, _) = open_wal::Wal::open(dir, open_wal::WalConfig::default())?;
            for batch in batches {
                for _ in batch {
                    wal.append(&payload)?;
                }
                wal.commit()?;
            }
        }
        Peer::RaftEngine => {
            let engine = raft_engine(dir)?;
            for range in batches {
                let mut batch = raft_engine::LogBatch::default();
                for key in range {
                    batch.put(REGION, key.to_be_bytes().to_vec(), payload.clone())?;
                }
                engine.write(&mut batch, false)?;
            }
            engine.sync()?;
        }
        Peer::WalDb => {
            let wal = wal_db::Wal::open(dir.join("log"))?;
            for _ in 0..records {
                let _at = wal.append(&payload)?;
            }
            wal.sync()?;
        }
        // A store of keys, a journal without a reader here, and one that remembers what was read.
        Peer::Fjall | Peer::Fsys | Peer::Walrus => return Ok(false),
        #[cfg(feature = "rocksdb")]
        Peer::RocksDb => return Ok(false),
    }
    Ok(true)
}

/// Opens the log in `dir` and reads every record, each verified by the rival; says how many there were.
///
/// # Errors
///
/// The rival's.
pub fn replay(peer: Peer, dir: &Path) -> Result<u64, Failure> {
    let mut found = 0;
    match peer {
        Peer::Commitlog => {
            use commitlog::message::MessageSet;
            let log = commitlog(dir)?;
            let mut next = 0;
            while next < log.next_offset() {
                let limit = commitlog::ReadLimit::max_bytes(1 << 20);
                let messages = log.read(next, limit).map_err(|error| error.to_string())?;
                messages.verify_hashes().map_err(|at| format!("damaged: message {at}"))?;
                let before = found;
                for message in messages.iter() {
                    std::hint::black_box(message.payload());
                    next = message.offset() + 1;
                    found += 1;
                }
                if found == before {
                    return Err("a read without messages".into());
                }
            }
        }
        Peer::Mrecordlog => {
            let log = Mrecordlog::open(dir, false)?;
            let records = log.log.range(QUEUE, ..).map_err(|_| "no such queue")?;
            found = records.map(std::hint::black_box).count() as u64;
        }
        Peer::Okaywal => {
            let count = Arc::new(Mutex::new(0));
            let log = okaywal(dir, Counting(Arc::clone(&count)))?;
            log.shutdown()?;
            found = *lock(&count);
        }
        Peer::OpenWal => {
            let (wal, _) = open_wal::Wal::open(dir, open_wal::WalConfig::default())?;
            let mut reader = wal.reader_from(open_wal::Lsn(0))?;
            while let Some(record) = reader.next() {
                std::hint::black_box(record?);
                found += 1;
            }
        }
        Peer::RaftEngine => {
            let engine = raft_engine(dir)?;
            engine.scan_raw_messages(REGION, None, None, false, |_, value| {
                std::hint::black_box(value);
                found += 1;
                true
            })?;
        }
        Peer::WalDb => {
            let wal = wal_db::Wal::open(dir.join("log"))?;
            for record in wal.iter()? {
                std::hint::black_box(record?);
                found += 1;
            }
        }
        Peer::Fjall | Peer::Fsys | Peer::Walrus => return Err("it is not read back here".into()),
        #[cfg(feature = "rocksdb")]
        Peer::RocksDb => return Err("it is not read back here".into()),
    }
    Ok(found)
}

/// It forgets what is in full segments, unless they never become too many.
fn okaywal(
    dir: &Path,
    manager: impl okaywal::LogManager,
) -> Result<okaywal::WriteAheadLog, Failure> {
    let settings = okaywal::Configuration::default_for(dir).checkpoint_after_bytes(u64::MAX);
    Ok(settings.open(manager)?)
}

pub(super) fn commitlog(dir: &Path) -> Result<commitlog::CommitLog, Failure> {
    let dir: PathBuf = dir.join("log");
    Ok(commitlog::CommitLog::new(commitlog::LogOptions::new(dir))?)
}

//! Other logs that programs embed, each as its documentation has it used.
//!
//! commitlog 0.2 and mrecordlog 0.4 cannot be asked to sync: they take part only where nothing is to
//! survive power loss.

mod replay;
#[cfg(feature = "rocksdb")]
mod rocksdb;

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;

use crate::lag::Lagging;
use crate::log::{Log, Writer, fail};

pub use replay::{fill, replay};

/// A rival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// commitlog: it has one writer, so behind a mutex
    Commitlog,
    /// fjall: a key of its own for each thread, and its journal synced
    Fjall,
    /// fsys: its journal
    Fsys,
    /// mrecordlog: it has one writer, so behind a mutex
    Mrecordlog,
    /// okaywal
    Okaywal,
    /// open-wal: it has one writer, so behind a mutex
    OpenWal,
    /// raft-engine: a region of its own for each thread, uncompressed
    RaftEngine,
    /// RocksDB: a key of its own for each thread, log files recycled
    #[cfg(feature = "rocksdb")]
    #[value(name = "rocksdb")]
    RocksDb,
    /// wal-db
    WalDb,
    /// walrus: a topic of its own for each thread
    Walrus,
}

/// What is asked of a rival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// A record survives power loss when its append returns.
    PowerLoss,
    /// It does once the log was asked to sync behind it.
    Later,
    /// A record survives the process when its append returns, and nothing is synced.
    ProcessCrash,
    /// It does once the log was flushed, which happens at the end of a turn; it may be held back
    /// until then.
    Flushed,
}

type Failure = Box<dyn Error + Send + Sync>;

/// A call that appends a record of a thread.
pub type Append = Box<dyn Fn(usize, &[u8]) -> Result<(), Failure> + Send + Sync>;

/// A call that keeps the promise for all that was appended before.
pub type Settle = Box<dyn Fn() -> Result<(), Failure> + Send + Sync>;

/// A rival's log.
pub struct PeerLog {
    append: Append,
    settle: Settle,
    /// Whether a turn ends with settling.
    flushes: bool,
    /// Records appended, and how many of them a sync has covered.
    appended: AtomicU64,
    durable: AtomicU64,
}

impl PeerLog {
    fn new(append: Append) -> Self {
        Self::settled(append, Box::new(|| Ok(())))
    }

    fn settled(append: Append, settle: Settle) -> Self {
        let (appended, durable) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { append, settle, flushes: false, appended, durable }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    /// A new log in `dir`, which is there and empty; `None` if it cannot promise that, or promises
    /// more. Walrus takes `dir` as the current directory of the process: it finds its files no other
    /// way.
    ///
    /// # Errors
    ///
    /// The rival's.
    pub fn open(self, dir: &Path, promise: Promise) -> Result<Option<PeerLog>, Failure> {
        use Promise::{Flushed, Later, PowerLoss, ProcessCrash};
        Ok(Some(match (self, promise) {
            (Self::Commitlog, ProcessCrash) => {
                let log = Mutex::new(replay::commitlog(dir)?);
                PeerLog::new(Box::new(move |_, payload| {
                    lock(&log)
                        .append_msg(payload)
                        .map(drop)
                        .map_err(|error| error.to_string().into())
                }))
            }
            (Self::Fjall, PowerLoss) => {
                let db = fjall::Database::builder(dir).open()?;
                let keys = db.keyspace("records", fjall::KeyspaceCreateOptions::default)?;
                PeerLog::new(Box::new(move |thread, payload| {
                    keys.insert(thread.to_le_bytes(), payload)?;
                    Ok(db.persist(fjall::PersistMode::SyncData)?)
                }))
            }
            (Self::Fsys, PowerLoss) => {
                let files = fsys::builder().build()?;
                let journal = files.journal(dir.join("journal"))?;
                PeerLog::new(Box::new(move |_, payload| {
                    let lsn = journal.append(payload)?;
                    Ok(journal.sync_through(lsn)?)
                }))
            }
            (Self::Mrecordlog, ProcessCrash | Flushed) => {
                let (append, settle) = replay::mrecordlog(dir, promise == ProcessCrash)?;
                PeerLog { flushes: promise == Flushed, ..PeerLog::settled(append, settle) }
            }
            (Self::Okaywal, PowerLoss) => {
                let log = okaywal::WriteAheadLog::recover(dir, okaywal::LogVoid)?;
                PeerLog::new(Box::new(move |_, payload| {
                    let mut entry = log.begin_entry()?;
                    entry.write_chunk(payload)?;
                    entry.commit()?;
                    Ok(())
                }))
            }
            (Self::OpenWal, PowerLoss | Later) => {
                let (wal, _) = open_wal::Wal::open(dir, open_wal::WalConfig::default())?;
                let wal = std::sync::Arc::new(Mutex::new(wal));
                let (appender, each) = (std::sync::Arc::clone(&wal), promise == PowerLoss);
                PeerLog::settled(
                    Box::new(move |_, payload| {
                        let mut wal = lock(&appender);
                        wal.append(payload)?;
                        if each {
                            wal.commit()?;
                        }
                        Ok(())
                    }),
                    Box::new(move || Ok(lock(&wal).commit().map(drop)?)),
                )
            }
            (Self::RaftEngine, PowerLoss | Later | ProcessCrash) => {
                let engine = std::sync::Arc::new(replay::raft_engine(dir)?);
                let (appender, each) = (std::sync::Arc::clone(&engine), promise == PowerLoss);
                PeerLog::settled(
                    Box::new(move |thread, payload| {
                        let mut batch = raft_engine::LogBatch::default();
                        batch.put(thread as u64 + 1, b"record".to_vec(), payload.to_vec())?;
                        appender.write(&mut batch, each)?;
                        Ok(())
                    }),
                    Box::new(move || if each { Ok(()) } else { Ok(engine.sync()?) }),
                )
            }
            #[cfg(feature = "rocksdb")]
            (Self::RocksDb, PowerLoss | Later | ProcessCrash) => {
                let each = promise == PowerLoss;
                let db = std::sync::Arc::new(rocksdb::RocksDb::open(dir, each)?);
                let appender = std::sync::Arc::clone(&db);
                PeerLog::settled(
                    Box::new(move |thread, payload| appender.put(&thread.to_le_bytes(), payload)),
                    Box::new(move || if each { Ok(()) } else { db.sync() }),
                )
            }
            (Self::WalDb, PowerLoss | Later | ProcessCrash) => {
                let wal = std::sync::Arc::new(wal_db::Wal::open(dir.join("log"))?);
                let (appender, each) = (std::sync::Arc::clone(&wal), promise == PowerLoss);
                PeerLog::settled(
                    Box::new(move |_, payload| {
                        let _at = if each {
                            appender.append_and_sync(payload)?
                        } else {
                            appender.append(payload)?
                        };
                        Ok(())
                    }),
                    Box::new(move || if each { Ok(()) } else { Ok(wal.sync()?) }),
                )
            }
            (Self::Walrus, PowerLoss | ProcessCrash) => {
                std::env::set_current_dir(dir)?;
                let schedule = if promise == PowerLoss {
                    walrus_rust::FsyncSchedule::SyncEach
                } else {
                    walrus_rust::FsyncSchedule::NoFsync
                };
                let wal = walrus_rust::Walrus::with_consistency_and_schedule(
                    walrus_rust::ReadConsistency::StrictlyAtOnce,
                    schedule,
                )?;
                PeerLog::new(Box::new(move |thread, payload| {
                    Ok(wal.append_for_topic(&format!("thread-{thread}"), payload)?)
                }))
            }
            _ => return Ok(None),
        }))
    }
}

impl Lagging for PeerLog {
    fn append(&self, thread: usize, payload: &[u8]) -> Result<u64, Failure> {
        (self.append)(thread, payload)?;
        // Release: pairs with the Acquire in `wait`, so that a sync behind the count covers the record.
        Ok(self.appended.fetch_add(1, Ordering::Release))
    }

    fn wait(&self, record: u64) -> Result<(), Failure> {
        // Acquire: pairs with the Release below: what another thread's sync has covered.
        if self.durable.load(Ordering::Acquire) > record {
            return Ok(());
        }
        let covered = self.appended.load(Ordering::Acquire);
        (self.settle)()?;
        self.durable.fetch_max(covered, Ordering::Release);
        Ok(())
    }

    fn durable(&self) -> u64 {
        // Acquire: as above.
        self.durable.load(Ordering::Acquire)
    }
}

impl Log for PeerLog {
    type Writer<'a> = PeerWriter<'a>;

    fn writer(&self, thread: usize) -> PeerWriter<'_> {
        PeerWriter { log: self, thread }
    }
}

/// One thread's access to a rival's log.
pub struct PeerWriter<'a> {
    log: &'a PeerLog,
    thread: usize,
}

impl Writer for PeerWriter<'_> {
    fn append(&mut self, payload: &[u8]) {
        if let Err(error) = (self.log.append)(self.thread, payload) {
            fail(&*error);
        }
    }

    fn finish(&mut self) {
        if self.log.flushes
            && let Err(error) = (self.log.settle)()
        {
            fail(&*error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_takes_records_of_several_threads() {
        use Promise::{Flushed, Later, PowerLoss, ProcessCrash};
        for &peer in Peer::value_variants() {
            let mut promises = 0;
            for promise in [PowerLoss, Later, ProcessCrash, Flushed] {
                let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
                let dir = dir.path().canonicalize().unwrap();
                let Some(log) = peer.open(&dir, promise).unwrap() else { continue };
                promises += 1;
                std::thread::scope(|scope| {
                    for thread in 0..3 {
                        let log = &log;
                        scope.spawn(move || {
                            for len in [1, 100, 4096] {
                                let at = Lagging::append(log, thread, &vec![7; len]).unwrap();
                                log.wait(at).unwrap();
                                assert!(Lagging::durable(log) > at);
                            }
                        });
                    }
                });
            }
            assert!(promises > 0, "{peer:?}");
        }
    }

    #[test]
    fn a_peer_that_can_be_read_back_has_every_record() {
        // More than a segment of any of them that has small ones, or one read.
        const RECORDS: u64 = 30_000;
        let mut read_back = 0;
        for &peer in Peer::value_variants() {
            let home = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
            let (dir, to) = (home.path().join("log"), home.path().join("copy"));
            std::fs::create_dir(&dir).unwrap();
            if !fill(peer, &dir, RECORDS, 100).unwrap() {
                continue;
            }
            read_back += 1;
            for _ in 0..2 {
                crate::replay::copy(&dir, &to).unwrap();
                assert_eq!(replay(peer, &to).unwrap(), RECORDS, "{peer:?}");
            }
        }
        assert!(read_back >= 6, "{read_back}");
    }
}

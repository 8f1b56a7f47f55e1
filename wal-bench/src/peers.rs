//! Other logs that programs embed, each as its documentation has it used, every record durable when
//! its append returns.
//!
//! Left out, for they cannot be asked for that: commitlog 0.2 and mrecordlog 0.4, which never sync.

use std::error::Error;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;

use crate::log::{Log, Writer, fail};

/// A rival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// fjall: a key of its own for each thread, and its journal synced
    Fjall,
    /// fsys: its journal
    Fsys,
    /// okaywal
    Okaywal,
    /// open-wal: it has one writer, so behind a mutex
    OpenWal,
    /// raft-engine: a region of its own for each thread, uncompressed
    RaftEngine,
    /// wal-db
    WalDb,
    /// walrus: a topic of its own for each thread
    Walrus,
}

type Failure = Box<dyn Error + Send + Sync>;

/// A call that makes a record of a thread durable.
pub type Commit = Box<dyn Fn(usize, &[u8]) -> Result<(), Failure> + Send + Sync>;

/// A rival's log.
pub struct PeerLog(Commit);

impl Peer {
    /// A new log in `dir`, which is there and empty. Walrus takes it as the current directory of the
    /// process: it finds its files no other way.
    ///
    /// # Errors
    ///
    /// The rival's.
    pub fn open(self, dir: &Path) -> Result<PeerLog, Failure> {
        Ok(PeerLog(match self {
            Self::Fjall => {
                let db = fjall::Database::builder(dir).open()?;
                let keys = db.keyspace("records", fjall::KeyspaceCreateOptions::default)?;
                Box::new(move |thread, payload| {
                    keys.insert(thread.to_le_bytes(), payload)?;
                    Ok(db.persist(fjall::PersistMode::SyncData)?)
                })
            }
            Self::Fsys => {
                let files = fsys::builder().build()?;
                let journal = files.journal(dir.join("journal"))?;
                Box::new(move |_, payload| {
                    let lsn = journal.append(payload)?;
                    Ok(journal.sync_through(lsn)?)
                })
            }
            Self::Okaywal => {
                let log = okaywal::WriteAheadLog::recover(dir, okaywal::LogVoid)?;
                Box::new(move |_, payload| {
                    let mut entry = log.begin_entry()?;
                    entry.write_chunk(payload)?;
                    entry.commit()?;
                    Ok(())
                })
            }
            Self::OpenWal => {
                let (wal, _) = open_wal::Wal::open(dir, open_wal::WalConfig::default())?;
                let wal = Mutex::new(wal);
                Box::new(move |_, payload| {
                    let mut wal = wal.lock().unwrap_or_else(PoisonError::into_inner);
                    wal.append(payload)?;
                    wal.commit()?;
                    Ok(())
                })
            }
            Self::RaftEngine => {
                let engine = raft_engine::Engine::open(raft_engine::Config {
                    dir: dir.to_string_lossy().into_owned(),
                    batch_compression_threshold: raft_engine::ReadableSize(0),
                    ..raft_engine::Config::default()
                })?;
                Box::new(move |thread, payload| {
                    let mut batch = raft_engine::LogBatch::default();
                    batch.put(thread as u64 + 1, b"record".to_vec(), payload.to_vec())?;
                    engine.write(&mut batch, true)?;
                    Ok(())
                })
            }
            Self::WalDb => {
                let wal = wal_db::Wal::open(dir.join("log"))?;
                Box::new(move |_, payload| {
                    let _durable = wal.append_and_sync(payload)?;
                    Ok(())
                })
            }
            Self::Walrus => {
                std::env::set_current_dir(dir)?;
                let wal = walrus_rust::Walrus::with_consistency_and_schedule(
                    walrus_rust::ReadConsistency::StrictlyAtOnce,
                    walrus_rust::FsyncSchedule::SyncEach,
                )?;
                Box::new(move |thread, payload| {
                    Ok(wal.append_for_topic(&format!("thread-{thread}"), payload)?)
                })
            }
        }))
    }
}

impl Log for PeerLog {
    type Writer<'a> = PeerWriter<'a>;

    fn writer(&self, thread: usize) -> PeerWriter<'_> {
        PeerWriter { commit: &self.0, thread }
    }
}

/// One thread's access to a rival's log.
pub struct PeerWriter<'a> {
    commit: &'a Commit,
    thread: usize,
}

impl Writer for PeerWriter<'_> {
    fn append(&mut self, payload: &[u8]) {
        if let Err(error) = (self.commit)(self.thread, payload) {
            fail(&*error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_takes_records_of_several_threads() {
        for peer in Peer::value_variants() {
            let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
            let dir = dir.path().canonicalize().unwrap();
            let log = peer.open(&dir).unwrap();
            std::thread::scope(|scope| {
                for thread in 0..3 {
                    let log = &log;
                    scope.spawn(move || {
                        for len in [0, 100, 4096] {
                            (log.0)(thread, &vec![7; len]).unwrap();
                        }
                    });
                }
            });
        }
    }
}

//! The application: keys and values in memory, with snapshots in a file.
//!
//! What is applied is not written anywhere: after a restart the last snapshot and the entries behind it
//! bring it back. So a snapshot is durable before anybody is told of it, and only then does openraft
//! purge the entries that it holds.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::RaftStateMachine;
use openraft::{
    AnyError, EmptyNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, Snapshot,
    SnapshotMeta, StorageError, StorageIOError, StoredMembership,
};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

openraft::declare_raft_types!(
    /// The types of the key-value log.
    pub(crate) Types:
        D = Set,
        R = (),
        Node = EmptyNode,
);

/// The number of a node.
pub(crate) type NodeId = u64;

/// What clients ask for: a key and its value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Set {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The state machine, and what builds its snapshots. Clones share it.
#[derive(Clone)]
pub(crate) struct KeyValues {
    inner: Arc<Mutex<Inner>>,
    /// The file of the snapshot. Whoever writes it holds the lock.
    file: Arc<Mutex<PathBuf>>,
}

struct Inner {
    applied: Applied,
    snapshot: Option<Stored>,
}

/// What was applied, as a snapshot holds it.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Applied {
    last: Option<LogId<NodeId>>,
    membership: StoredMembership<NodeId, EmptyNode>,
    values: BTreeMap<String, String>,
}

/// A snapshot: an [`Applied`] in `data`.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    meta: SnapshotMeta<NodeId, EmptyNode>,
    data: String,
}

impl KeyValues {
    /// What the snapshot in `dir` holds, or nothing. Blocks for I/O.
    ///
    /// # Errors
    ///
    /// If there is one that cannot be read.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let file = dir.join("snapshot.json");
        let snapshot: Option<Stored> = match fs::read(&file) {
            Ok(bytes) => Some(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let applied = match &snapshot {
            Some(stored) => serde_json::from_str(&stored.data)?,
            None => Applied::default(),
        };
        let inner = Arc::new(Mutex::new(Inner { applied, snapshot }));
        Ok(Self { inner, file: Arc::new(Mutex::new(file)) })
    }

    /// What was applied so far.
    pub(crate) fn values(&self) -> BTreeMap<String, String> {
        self.inner().applied.values.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `stored` the snapshot, unless there is a newer one.
    async fn keep(&self, stored: Stored) -> Result<(), StorageError<NodeId>> {
        let this = self.clone();
        let kept = spawn_blocking(move || -> io::Result<()> {
            let file = this.file.lock().unwrap_or_else(PoisonError::into_inner);
            let newest = this.inner().snapshot.as_ref().map(|there| there.meta.last_log_id);
            if newest.is_some_and(|newest| newest > stored.meta.last_log_id) {
                return Ok(());
            }
            replace(&file, &serde_json::to_vec(&stored)?)?;
            this.inner().snapshot = Some(stored);
            Ok(())
        });
        let kept = kept.await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        kept.map_err(|error| StorageIOError::write_snapshot(None, AnyError::new(&error)).into())
    }
}

/// Puts a file in the place of another, durably: a crash leaves one of the two.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

impl RaftStateMachine<Types> for KeyValues {
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogId<NodeId>>, StoredMembership<NodeId, EmptyNode>), StorageError<NodeId>>
    {
        let applied = &self.inner().applied;
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, StorageError<NodeId>>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let applied = &mut self.inner().applied;
        let apply = |entry: Entry<Types>| {
            applied.last = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(Set { key, value }) => {
                    applied.values.insert(key, value);
                }
                EntryPayload::Membership(membership) => {
                    applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
        };
        Ok(entries.into_iter().map(apply).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(
        &mut self,
    ) -> Result<Box<Cursor<Vec<u8>>>, StorageError<NodeId>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<NodeId, EmptyNode>,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError<NodeId>> {
        let unreadable = |error: &(dyn std::error::Error + 'static)| {
            let cause = AnyError::from_dyn(error, None);
            StorageIOError::read_snapshot(Some(meta.signature()), cause)
        };
        let data = String::from_utf8(snapshot.into_inner()).map_err(|error| unreadable(&error))?;
        let applied = serde_json::from_str(&data).map_err(|error| unreadable(&error))?;
        self.keep(Stored { meta: meta.clone(), data }).await?;
        self.inner().applied = applied;
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<Types>>, StorageError<NodeId>> {
        Ok(self.inner().snapshot.clone().map(Snapshot::from))
    }
}

impl RaftSnapshotBuilder<Types> for KeyValues {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError<NodeId>> {
        let applied = self.inner().applied.clone();
        let data = serde_json::to_string(&applied);
        let data =
            data.map_err(|error| StorageIOError::read_state_machine(AnyError::new(&error)))?;
        let snapshot_id = applied.last.map_or_else(|| "empty".to_owned(), |last| last.to_string());
        let meta = SnapshotMeta {
            last_log_id: applied.last,
            last_membership: applied.membership,
            snapshot_id,
        };
        let stored = Stored { meta, data };
        self.keep(stored.clone()).await?;
        Ok(stored.into())
    }
}

impl From<Stored> for Snapshot<Types> {
    fn from(Stored { meta, data }: Stored) -> Self {
        Self { meta, snapshot: Box::new(Cursor::new(data.into_bytes())) }
    }
}

//! Openraft's own suite over the log store of the example `raft`, on any backend.
#![allow(clippy::result_large_err, reason = "openraft's errors are what they are")]

use std::path::PathBuf;

use openraft::testing::{StoreBuilder, Suite};
use openraft::{AnyError, StorageError, StorageIOError};
use tempfile::TempDir;
use wal_core::{Error, Options, RecoveryReport, SegmentSink, Wal};

use crate::kv::{KeyValues, NodeId, Types};
use crate::store::LogStore;

/// Opens a backend in a directory.
pub(crate) type Open<S> = fn(PathBuf, Options) -> Result<(Wal<S>, RecoveryReport), Error>;

struct Directories<S: SegmentSink>(Open<S>);

/// Runs the suite as it is, each of its tests in a directory of its own.
pub(crate) fn run<S: SegmentSink>(open: Open<S>) -> Result<(), StorageError<NodeId>> {
    Suite::test_all(Directories(open))
}

impl<S: SegmentSink> StoreBuilder<Types, LogStore<Types, S>, KeyValues, TempDir>
    for Directories<S>
{
    async fn build(
        &self,
    ) -> Result<(TempDir, LogStore<Types, S>, KeyValues), StorageError<NodeId>> {
        let failed = |error| StorageIOError::write(AnyError::new(&error));
        let home = tempfile::tempdir().map_err(failed)?;
        let values = KeyValues::open(home.path()).map_err(failed)?;
        let (open, dir) = (self.0, home.path().join("log"));
        // Small enough for files to be freed.
        let options = Options::default().segment_size(8 << 10).file_size(16 << 10);
        let (store, _) = LogStore::open(options, move |options| open(dir, options)).await?;
        Ok((home, store, values))
    }
}

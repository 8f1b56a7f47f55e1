//! What a record of the log holds.

use openraft::{LogId, RaftTypeConfig, Vote};
use serde::{Deserialize, Serialize};

/// One record. They are JSON, so that `wal cat` shows them; a product would choose something shorter
/// here, and nowhere else.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) enum Record<C: RaftTypeConfig> {
    /// An entry of the Raft log.
    Entry(C::Entry),
    /// The entries from this one on, whatever their terms, are no part of the Raft log any more.
    Cut(LogId<C::NodeId>),
    /// What is to be known besides entries.
    Marks(Marks<C>),
}

/// What a node has to know besides entries. Each record has all of it, so that the newest one alone
/// counts, and everything before that one may go.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Marks<C: RaftTypeConfig> {
    /// The last vote.
    pub(crate) vote: Option<Vote<C::NodeId>>,
    /// The last entry known to be committed.
    pub(crate) committed: Option<LogId<C::NodeId>>,
    /// The last entry that was purged.
    pub(crate) purged: Option<LogId<C::NodeId>>,
}

impl<C: RaftTypeConfig> Record<C> {
    /// The bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads it back.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

// Not derived: that would ask it of `C`.
impl<C: RaftTypeConfig> Clone for Marks<C> {
    fn clone(&self) -> Self {
        let Self { vote, committed, purged } = self;
        Self { vote: vote.clone(), committed: committed.clone(), purged: purged.clone() }
    }
}

impl<C: RaftTypeConfig> Default for Marks<C> {
    fn default() -> Self {
        Self { vote: None, committed: None, purged: None }
    }
}

impl<C: RaftTypeConfig> PartialEq for Marks<C> {
    fn eq(&self, other: &Self) -> bool {
        (&self.vote, &self.committed, &self.purged)
            == (&other.vote, &other.committed, &other.purged)
    }
}

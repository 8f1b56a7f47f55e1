//! The processes of the nodes, and the clients that write through whichever leads.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::error::ClientWriteError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::kv::{NodeId, Set};
use crate::node::{NODES, READY};
use crate::wire::{Answer, Client, Question, Values, home_of};

/// Whatever takes longer than this has failed. Far more than anything needs, on a machine that has
/// anything else to do.
const DEADLINE: Duration = Duration::from_secs(120);

/// A question that is not answered in this time is asked again, of another node. Longer than a node
/// takes to say that it does not know.
const PATIENCE: Duration = Duration::from_secs(10);

/// The processes. They are killed when this is dropped, and end by themselves if this process does.
pub(crate) struct Cluster<F> {
    dir: PathBuf,
    command: F,
    running: BTreeMap<NodeId, Child>,
}

/// What a node says of itself when it begins.
pub(crate) struct Begun {
    /// The index of the next entry that it needs.
    pub(crate) next: u64,
    /// What recovery has found.
    pub(crate) verdict: String,
}

impl<F: Fn(&Path, NodeId) -> Command> Cluster<F> {
    /// None runs yet. `command` is what starts a node.
    pub(crate) const fn new(dir: PathBuf, command: F) -> Self {
        Self { dir, command, running: BTreeMap::new() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a node, and waits until it can be asked.
    pub(crate) async fn start(&mut self, node: NodeId) -> Result<Begun, String> {
        let failed = |error: &dyn std::fmt::Display| format!("node {node} does not start: {error}");
        std::fs::create_dir_all(home_of(&self.dir, node)).map_err(|error| failed(&error))?;
        let mut command = (self.command)(&self.dir, node);
        // It ends when its standard input does.
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| failed(&error))?;
        let stdout = child.stdout.take();
        self.running.insert(node, child);
        let line = spawn_blocking(move || {
            let mut line = String::new();
            stdout.map(|stdout| BufReader::new(stdout).read_line(&mut line));
            line
        });
        let line = timeout(DEADLINE, line).await.map_err(|error| failed(&error))?;
        let line = line.map_err(|error| failed(&error))?;
        let mut words = line.trim_end().splitn(3, ' ');
        match (words.next(), words.next().and_then(|next| next.parse().ok()), words.next()) {
            (Some(READY), Some(next), Some(verdict)) => {
                Ok(Begun { next, verdict: verdict.to_owned() })
            }
            _ => Err(failed(&format!("it says {line:?}"))),
        }
    }

    /// Kills a node, by SIGKILL.
    pub(crate) fn kill(&mut self, node: NodeId) -> io::Result<()> {
        let Some(mut child) = self.running.remove(&node) else { return Ok(()) };
        child.kill()?;
        child.wait().map(drop)
    }
}

impl<F> Drop for Cluster<F> {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One client: a connection to each node, and who led last, which all clients share.
pub(crate) struct Writer<'a> {
    clients: Vec<Client>,
    leader: &'a Mutex<Option<NodeId>>,
    turn: usize,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(cluster: &Path, leader: &'a Mutex<Option<NodeId>>) -> Self {
        let clients = NODES.iter().map(|&node| Client::new(cluster, node)).collect();
        Self { clients, leader, turn: 0 }
    }

    fn hint(&self) -> MutexGuard<'_, Option<NodeId>> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a node; `None` if it is dead, or silent.
    async fn ask(&mut self, node: NodeId, question: &Question) -> Option<Answer> {
        let client = self.clients.iter_mut().find(|client| client.node() == node)?;
        timeout(PATIENCE, client.ask(question)).await.ok()?.ok()
    }

    fn next(&mut self) -> NodeId {
        self.turn += 1;
        NODES[self.turn % NODES.len()]
    }

    /// Writes a key, whatever happens meanwhile, and returns the index of its entry. It may be written
    /// twice, which makes no difference.
    pub(crate) async fn write(&mut self, set: &Set) -> Result<u64, String> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            let hint = *self.hint();
            let node = hint.unwrap_or_else(|| self.next());
            match self.ask(node, &Question::Write(set.clone())).await {
                Some(Answer::Write(Ok(index))) => {
                    *self.hint() = Some(node);
                    return Ok(index);
                }
                Some(Answer::Write(Err(error))) => match error.into_api_error() {
                    Some(ClientWriteError::ForwardToLeader(to)) if to.leader_id.is_some() => {
                        *self.hint() = to.leader_id;
                    }
                    _ => self.look_for_leader(None).await,
                },
                _ => self.look_for_leader(Some(node)).await,
            }
        }
        Err(format!("{} is not acknowledged within {DEADLINE:?}", set.key))
    }

    /// Has one of the nodes say who leads, once it is another than `old`.
    async fn look_for_leader(&mut self, old: Option<NodeId>) {
        *self.hint() = None;
        for _ in NODES {
            let node = self.next();
            if Some(node) == old {
                continue;
            }
            if let Some(Answer::Leader(leader)) =
                self.ask(node, &Question::LeaderOtherThan(old)).await
            {
                *self.hint() = leader;
                return;
            }
        }
    }

    /// Who leads.
    pub(crate) async fn leader(&mut self) -> Result<NodeId, String> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            self.look_for_leader(None).await;
            if let Some(leader) = *self.hint() {
                return Ok(leader);
            }
        }
        Err(format!("nobody leads within {DEADLINE:?}"))
    }

    /// What a node holds once it has applied the entry at `index`.
    pub(crate) async fn values(&mut self, node: NodeId, index: u64) -> Result<Values, String> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if let Some(Answer::Values(values)) = self.ask(node, &Question::ValuesAt(index)).await {
                return Ok(values);
            }
        }
        Err(format!("node {node} does not come to entry {index} within {DEADLINE:?}"))
    }
}

//! What is done to the cluster, and what has to hold all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, Writer};
use crate::kv::{NodeId, Set};
use crate::node::NODES;

/// Clients that write at the same time.
const CLIENTS: usize = 4;

/// What is to be done.
pub(crate) struct Plan {
    /// An empty directory.
    pub(crate) dir: PathBuf,
    /// How often each node is killed.
    pub(crate) rounds: u32,
    /// Keys written around each kill: a third before, a third while the node is dead, a third after.
    pub(crate) writes: u64,
    /// Takes what happens, line by line.
    pub(crate) say: fn(&str),
}

/// What has happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) killed: BTreeSet<NodeId>,
    pub(crate) leaders_killed: u32,
    pub(crate) followers_killed: u32,
    /// Nodes that came back and needed entries that the leader no longer had.
    pub(crate) by_snapshot: u32,
    pub(crate) acknowledged: usize,
}

/// What was acknowledged, whoever has written it.
struct Written {
    next: AtomicU64,
    /// The pairs, and the index of the last entry.
    acknowledged: Mutex<(BTreeMap<String, String>, u64)>,
    /// How many, or what has gone wrong for good.
    count: watch::Sender<Result<u64, String>>,
    leader: Mutex<Option<NodeId>>,
}

/// Runs the plan, and says what happens. `command` is what starts a node.
///
/// # Errors
///
/// If anything does not hold, or does not happen.
pub(crate) async fn run(
    plan: Plan,
    command: impl Fn(&Path, NodeId) -> Command,
) -> Result<Tally, String> {
    let Plan { dir, rounds, writes, say } = plan;
    let mut cluster = Cluster::new(dir, command);
    let mut tally = Tally::default();
    let written = Arc::new(Written {
        next: AtomicU64::new(0),
        acknowledged: Mutex::default(),
        count: watch::Sender::new(Ok(0)),
        leader: Mutex::new(None),
    });
    for node in NODES {
        cluster.start(node).await?;
    }
    let leader = Writer::new(cluster.dir(), &written.leader).leader().await?;
    say(&format!("three nodes run in {}; node {leader} leads", cluster.dir().display()));
    for _ in 0..rounds {
        for node in NODES {
            round(&mut cluster, &written, writes, Victim::Node(node), &mut tally, say).await?;
        }
    }
    // As chance would have it, one of the two may have been spared.
    if rounds > 0 && tally.leaders_killed == 0 {
        round(&mut cluster, &written, writes, Victim::Leader, &mut tally, say).await?;
    }
    if rounds > 0 && tally.followers_killed == 0 {
        round(&mut cluster, &written, writes, Victim::Follower, &mut tally, say).await?;
    }
    for node in NODES {
        cluster.kill(node).map_err(|error| format!("node {node} cannot be killed: {error}"))?;
    }
    say("all three killed");
    for node in NODES {
        let begun = cluster.start(node).await?;
        say(&format!("  node {node} is back, its log was {}", begun.verdict));
    }
    verify(&cluster, &written, say).await?;
    tally.acknowledged = written.state().0.len();
    Ok(tally)
}

/// Who is to be killed.
enum Victim {
    Node(NodeId),
    Leader,
    Follower,
}

/// Kills one while clients write, starts it again, and verifies what all hold.
async fn round<F: Fn(&Path, NodeId) -> Command>(
    cluster: &mut Cluster<F>,
    written: &Arc<Written>,
    writes: u64,
    victim: Victim,
    tally: &mut Tally,
    say: fn(&str),
) -> Result<(), String> {
    let before = written.count();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (written, dir) = (Arc::clone(written), cluster.dir().to_owned());
        clients.spawn(async move {
            if let Err(error) = written.write_up_to(before + writes, &dir).await {
                drop(written.count.send_replace(Err(error)));
            }
        });
    }
    written.reach(before + writes / 3).await?;
    let shared = Mutex::new(None);
    let mut client = Writer::new(cluster.dir(), &shared);
    let leader = client.leader().await?;
    let node = match victim {
        Victim::Node(node) => node,
        Victim::Leader => leader,
        Victim::Follower => NODES[usize::from(NODES[0] == leader)],
    };
    cluster.kill(node).map_err(|error| format!("node {node} cannot be killed: {error}"))?;
    let role = if node == leader { "the leader" } else { "a follower" };
    say(&format!("node {node}, {role}, killed after {} acknowledged writes", written.count()));
    tally.killed.insert(node);
    if node == leader {
        tally.leaders_killed += 1;
    } else {
        tally.followers_killed += 1;
    }
    written.reach(before + writes / 3 * 2).await?;
    let leader = client.leader().await?;
    say(&format!("  {} acknowledged without it; node {leader} leads", written.count()));
    let purged = client.values(leader, 0).await?.purged;
    let begun = cluster.start(node).await?;
    let by = if purged.is_some_and(|purged| purged >= begun.next) {
        tally.by_snapshot += 1;
        "a snapshot and entries"
    } else {
        "entries"
    };
    say(&format!("  back; its log was {} up to entry {}; needs {by}", begun.verdict, begun.next));
    written.reach(before + writes).await?;
    verify(cluster, written, say).await
}

/// Waits until all nodes have caught up, and compares what they hold with what was acknowledged.
async fn verify<F: Fn(&Path, NodeId) -> Command>(
    cluster: &Cluster<F>,
    written: &Written,
    say: fn(&str),
) -> Result<(), String> {
    let (expected, last) = written.state().clone();
    let mut client = Writer::new(cluster.dir(), &written.leader);
    for node in NODES {
        let found = client.values(node, last).await?.values;
        if found != expected {
            let lost = expected.iter().filter(|&(key, value)| found.get(key) != Some(value));
            let lost: Vec<_> = lost.map(|(key, _)| key).collect();
            let other = found.keys().filter(|key| !expected.contains_key(*key)).count();
            return Err(format!("node {node} has lost {lost:?}, and has {other} others"));
        }
    }
    say(&format!("  all three hold exactly the {} acknowledged keys", expected.len()));
    Ok(())
}

impl Written {
    fn state(&self) -> MutexGuard<'_, (BTreeMap<String, String>, u64)> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes keys until there are `total`.
    async fn write_up_to(&self, total: u64, dir: &Path) -> Result<(), String> {
        let mut writer = Writer::new(dir, &self.leader);
        // Relaxed: only the number counts.
        while let Ok(number) =
            self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                (next < total).then_some(next + 1)
            })
        {
            let set = Set { key: format!("key {number}"), value: format!("value {}", number * 7) };
            let index = writer.write(&set).await?;
            {
                let mut state = self.state();
                state.0.insert(set.key, set.value);
                state.1 = state.1.max(index);
            }
            self.count.send_modify(|count| count.iter_mut().for_each(|count| *count += 1));
        }
        Ok(())
    }

    /// Waits until `total` keys are acknowledged, or one cannot be written.
    async fn reach(&self, total: u64) -> Result<(), String> {
        let mut counts = self.count.subscribe();
        let over = |count: &Result<u64, String>| !matches!(count, Ok(count) if *count < total);
        let reached = counts.wait_for(over).await.map_err(|gone| gone.to_string())?;
        reached.as_ref().map(drop).map_err(Clone::clone)
    }

    fn count(&self) -> u64 {
        self.state().0.len() as u64
    }
}

//! Kills the nodes of a replicated log, each in turn, and compares what all of them hold with what was
//! acknowledged: the run of the example `raft`, with this program as the nodes.

#[path = "../examples/raft/cluster.rs"]
mod cluster;
#[path = "../examples/raft/demo.rs"]
mod demo;
#[path = "../examples/raft/kv.rs"]
mod kv;
#[path = "../examples/raft/node.rs"]
mod node;
mod process;
#[allow(dead_code, reason = "a node uses a part of it")]
#[path = "../examples/raft/store/mod.rs"]
mod store;
#[path = "../examples/raft/wire.rs"]
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};

use libtest_mimic::{Failed, Trial};
use tokio::runtime::{Builder, Runtime};

use demo::Plan;
use kv::NodeId;

/// The directory of the cluster, and the number of the node, for a process that is one.
const DIR: &str = "WAL_RAFT_DIR";
const NODE: &str = "WAL_RAFT_NODE";

/// What the run has said: told if it fails.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn said() -> MutexGuard<'static, Vec<String>> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn any_one_node_may_die() -> Result<(), Failed> {
    let home = tempfile::Builder::new().prefix("wal-raft-").tempdir()?;
    let command = |dir: &Path, node: NodeId| {
        let mut command = process::itself();
        command.env(DIR, dir).env(NODE, node.to_string());
        command
    };
    let dir = home.path().to_owned();
    let say = |line: &str| said().push(line.to_owned());
    let plan = Plan { dir, rounds: process::rounds(1), writes: 300, say };
    match runtime()?.block_on(demo::run(plan, command)) {
        Ok(tally) => {
            let kills = tally.leaders_killed + tally.followers_killed;
            process::count("nodes killed", kills.into());
            process::count("writes acknowledged by a quorum", tally.acknowledged as u64);
            let idle = tally.killed.len() < 3
                || tally.leaders_killed == 0
                || tally.followers_killed == 0
                || tally.acknowledged < 900;
            if idle { Err(format!("too little happened: {tally:?}").into()) } else { Ok(()) }
        }
        Err(wrong) => {
            let (said, dir) = (said().join("\n"), home.keep());
            Err(format!("{said}\n{wrong}; the nodes are in {}", dir.display()).into())
        }
    }
}

fn be_a_node(dir: &Path, node: &str) -> Result<(), Box<dyn std::error::Error>> {
    runtime()?.block_on(node::run(dir, node.parse()?))
}

fn main() -> ExitCode {
    if let (Some(dir), Ok(node)) = (std::env::var_os(DIR).map(PathBuf::from), std::env::var(NODE)) {
        let Err(error) = be_a_node(&dir, &node) else { return ExitCode::SUCCESS };
        eprintln!("node {node} fails: {error}");
        return ExitCode::FAILURE;
    }
    process::run(vec![Trial::test("any_one_node_may_die", any_one_node_may_die)])
}

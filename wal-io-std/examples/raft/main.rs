//! A replicated key-value log: three nodes on this machine, each with its part of the consensus in a
//! write-ahead log of its own, and kills.
//!
//! `cargo run --release -p wal-io-std --example raft -- [--dir DIR] [--rounds N] [--writes N]`
//!
//! The program starts itself three times, each a node with a directory of its own, and writes keys
//! through whichever node leads. It kills each node in turn, by SIGKILL and while clients write, goes
//! on writing with the other two, starts it again from its log, waits until it has caught up, and
//! holds what all three have against what was acknowledged. In the end it kills all of them at once.
//! It prints what happens, and fails if anything is not as it should be.
//!
//! # What is where
//!
//! | | |
//! | --- | --- |
//! | `store/` | the log store for openraft: to be copied; its documentation says what holds, and why |
//! | `kv.rs` | the application: keys and values in memory, snapshots in a file |
//! | `node.rs` | a node: openraft between a store, a state machine, and a network |
//! | `wire.rs` | messages: JSON over TCP |
//! | `cluster.rs` | the processes, and clients that find the leader |
//! | `demo.rs` | what is done to them |
//!
//! # What makes a write safe here
//!
//! 1. The leader appends the entry to its log, waits until that is durable, and sends it to the
//!    others, whose logs do the same. Entries that come in during a sync share the next.
//! 2. A node counts an entry as accepted when its own log has made it durable, not before: the
//!    callback of `append`.
//! 3. Once two of three have it the leader tells the client, so that any two nodes that are left have
//!    it between them. A node that is elected has all that was acknowledged, since two have to vote for
//!    it, and none votes for a node whose log is behind its own. This is why a node must never forget a
//!    vote or an entry that it has accepted, and why it must not open a log that has lost any.
//!
//! A real service would also take away and add members, ask before it reads, send snapshots in
//! pieces from a file, authenticate its peers, and keep its messages small. None of that concerns the
//! log.

mod cluster;
mod demo;
mod kv;
mod node;
#[allow(dead_code, reason = "nodes are killed, not closed")]
mod store;
mod wire;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use tokio::runtime::Builder;

use demo::Plan;
use kv::NodeId;

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: raft [--dir DIR] [--rounds N] [--writes N]

  --dir DIR     an absent or empty directory for the nodes, which stays [default: a temporary one]
  --rounds N    how often each node is killed [default: 1]
  --writes N    keys written around each kill [default: 900]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("raft: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let [node, dir, number] = &arguments[..]
        && node == "node"
    {
        return runtime.block_on(node::run(Path::new(dir), number.parse()?));
    }
    let Some(mut plan) = parse(&arguments)? else {
        println!("{USAGE}");
        return Ok(());
    };
    let temporary = if plan.dir.as_os_str().is_empty() {
        let temporary = tempfile::Builder::new().prefix("raft-").tempdir()?;
        temporary.path().clone_into(&mut plan.dir);
        Some(temporary)
    } else {
        fs::create_dir_all(&plan.dir)?;
        if fs::read_dir(&plan.dir)?.next().is_some() {
            return Err(format!("{} is not empty", plan.dir.display()).into());
        }
        plan.dir = plan.dir.canonicalize()?;
        None
    };
    let itself = std::env::current_exe()?;
    let command = |dir: &Path, node: NodeId| {
        let mut command = Command::new(&itself);
        command.arg("node").arg(dir).arg(node.to_string());
        command
    };
    match runtime.block_on(demo::run(plan, command)) {
        Ok(tally) => {
            println!(
                "{} kills of leaders, {} of followers, {} came back by a snapshot; \
                 nothing of {} acknowledged writes is lost",
                tally.leaders_killed, tally.followers_killed, tally.by_snapshot, tally.acknowledged
            );
            Ok(())
        }
        Err(wrong) => {
            let kept = temporary.map(tempfile::TempDir::keep);
            let kept = kept.map_or_else(String::new, |dir| format!("; see {}", dir.display()));
            Err(format!("{wrong}{kept}").into())
        }
    }
}

/// What the arguments ask for; `None` for how to use them. An empty directory is a temporary one.
fn parse(arguments: &[String]) -> Outcome<Option<Plan>> {
    let mut plan =
        Plan { dir: PathBuf::new(), rounds: 1, writes: 900, say: |line| println!("{line}") };
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        if name == "--help" || name == "-h" {
            return Ok(None);
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
        match name.as_str() {
            "--dir" => plan.dir = value.into(),
            "--rounds" => plan.rounds = value.parse()?,
            "--writes" => plan.writes = value.parse()?,
            _ => return Err(format!("{name} is no option\n{USAGE}").into()),
        }
    }
    Ok(Some(plan))
}

//! One node: a process that serves its part of the cluster until it is killed, or until its standard
//! input ends, as it does when the process that has started it is gone.

#![allow(clippy::result_large_err, reason = "openraft's errors are what they are")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use openraft::error::{NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::storage::RaftLogStorage;
use openraft::{
    Config, EmptyNode, LogIdOptionExt, Raft, RaftNetwork, RaftNetworkFactory, SnapshotPolicy,
};
use tokio::net::TcpStream;
use wal_core::Options;

use crate::kv::{KeyValues, NodeId, Types};
use crate::store::LogStore;
use crate::wire::{Answer, Client, Hello, Question, Values, home_of, listen, receive, send};

/// The members of the cluster.
pub(crate) const NODES: [NodeId; 3] = [1, 2, 3];

/// What a node prints when it can be asked; the index of the next entry that it needs and what
/// recovery has found follow.
pub(crate) const READY: &str = "ready";

/// How long a node waits for what it is asked about, before it says that it has not come to it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a node, for as long as its standard input is open.
///
/// # Errors
///
/// If it cannot begin, or its part of the cluster ends with an error.
pub(crate) async fn run(cluster: &Path, node: NodeId) -> Result<(), Box<dyn Error>> {
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        process::exit(0);
    });
    let home = home_of(cluster, node);
    let values = KeyValues::open(&home)?;
    let dir = home.join("log");
    let (mut store, report) =
        LogStore::<Types, _>::open(options(), move |options| wal_io_std::open(dir, options))
            .await?;
    let last = store.get_log_state().await?.last_log_id.next_index();
    let network = Network { cluster: cluster.to_owned() };
    let raft = Raft::new(node, Arc::new(config()?), network, store, values.clone()).await?;
    if !raft.is_initialized().await? {
        // All of them may, with the same members. Who has heard from another meanwhile is refused.
        let members = BTreeMap::from(NODES.map(|node| (node, EmptyNode {})));
        let _ = raft.initialize(members).await;
    }
    let hello = Arc::new(Hello { cluster: cluster.to_owned(), node });
    let listener = listen(&hello).await?;
    end_with(&raft);
    println!("{READY} {last} {:?}", report.verdict);
    loop {
        let (stream, _) = listener.accept().await?;
        let (raft, values, hello) = (raft.clone(), values.clone(), Arc::clone(&hello));
        // Ends with the connection, whatever ends that.
        tokio::spawn(async move { serve(stream, &raft, &values, &hello).await });
    }
}

/// Ends the process when its part of the cluster fails: it may be started again, and recovers.
fn end_with(raft: &Raft<Types>) {
    let mut metrics = raft.metrics();
    tokio::spawn(async move {
        loop {
            let state = metrics.borrow_and_update().running_state.clone();
            if let Err(error) = state {
                eprintln!("the node fails: {error}");
                process::exit(1);
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Small files, so that some are freed.
fn options() -> Options {
    Options::default().segment_size(64 << 10).file_size(256 << 10)
}

/// Patient, for machines with much else to do; and with so few entries kept that a node that was away
/// may have to catch up by a snapshot.
fn config() -> Result<Config, openraft::ConfigError> {
    let config = Config {
        cluster_name: "raft".to_owned(),
        heartbeat_interval: 250,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        install_snapshot_timeout: 5000,
        max_payload_entries: 64,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(100),
        max_in_snapshot_log_to_keep: 20,
        replication_lag_threshold: 100,
        ..Config::default()
    };
    config.validate()
}

/// Answers the questions of one connection.
async fn serve(
    mut stream: TcpStream,
    raft: &Raft<Types>,
    values: &KeyValues,
    hello: &Hello,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if receive::<Hello>(&mut stream).await?.as_ref() != Some(hello) {
        return Err(io::Error::other("meant for somebody else"));
    }
    while let Some(question) = receive(&mut stream).await? {
        let answer = match question {
            Question::Append(request) => Answer::Append(raft.append_entries(request).await),
            Question::Vote(request) => Answer::Vote(raft.vote(request).await),
            Question::Snapshot(request) => Answer::Snapshot(raft.install_snapshot(request).await),
            Question::Write(set) => {
                let written = raft.client_write(set).await;
                Answer::Write(written.map(|written| written.log_id.index))
            }
            Question::LeaderOtherThan(old) => {
                let other = |leader: Option<NodeId>| leader.is_some() && leader != old;
                let wait = raft.wait(Some(PATIENCE));
                match wait.metrics(|now| other(now.current_leader), "a leader").await {
                    Ok(metrics) => Answer::Leader(metrics.current_leader),
                    Err(_) => Answer::NotYet,
                }
            }
            Question::ValuesAt(index) => {
                let wait = raft.wait(Some(PATIENCE));
                match wait.applied_index_at_least(Some(index), "an entry").await {
                    Ok(metrics) => Answer::Values(Values {
                        purged: metrics.purged.index(),
                        values: values.values(),
                    }),
                    Err(_) => Answer::NotYet,
                }
            }
        };
        send(&mut stream, &answer).await?;
    }
    Ok(())
}

/// Makes the connections to the other nodes.
struct Network {
    cluster: PathBuf,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, _: &EmptyNode) -> Peer {
        Peer(Client::new(&self.cluster, target))
    }
}

/// Another node.
struct Peer(Client);

type Failure<E> = RPCError<NodeId, EmptyNode, E>;

impl Peer {
    async fn ask<E: Error>(&mut self, question: Question) -> Result<Answer, Failure<E>> {
        self.0.ask(&question).await.map_err(|error| match error.kind() {
            // Openraft tries it again at once.
            io::ErrorKind::UnexpectedEof => NetworkError::new(&error).into(),
            _ => Unreachable::new(&error).into(),
        })
    }

    fn told<T, E: Error>(&self, told: Result<T, E>) -> Result<T, Failure<E>> {
        told.map_err(|error| RemoteError::new(self.0.node(), error).into())
    }
}

fn beside_the_point<E: Error>() -> Failure<E> {
    NetworkError::new(&io::Error::other("the answer to another question")).into()
}

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failure<RaftError<NodeId>>> {
        match self.ask(Question::Append(request)).await {
            Ok(Answer::Append(told)) => self.told(told),
            Ok(_) => Err(beside_the_point()),
            Err(lost) => Err(lost),
        }
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Result<
        InstallSnapshotResponse<NodeId>,
        Failure<RaftError<NodeId, openraft::error::InstallSnapshotError>>,
    > {
        match self.ask(Question::Snapshot(request)).await {
            Ok(Answer::Snapshot(told)) => self.told(told),
            Ok(_) => Err(beside_the_point()),
            Err(lost) => Err(lost),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        _: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failure<RaftError<NodeId>>> {
        match self.ask(Question::Vote(request)).await {
            Ok(Answer::Vote(told)) => self.told(told),
            Ok(_) => Err(beside_the_point()),
            Err(lost) => Err(lost),
        }
    }
}

//! Messages between nodes, and from clients to nodes: JSON with its length before it, over TCP.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use openraft::EmptyNode;
use openraft::error::{ClientWriteError, InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::kv::{NodeId, Set, Types};

/// A message longer than this is none.
const LONGEST: usize = 64 << 20;

/// The first message of a connection: whom it is for. An address that was given to somebody else
/// meanwhile must not lead to the wrong node, or to another cluster.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) cluster: PathBuf,
    pub(crate) node: NodeId,
}

/// What a node is asked.
#[derive(Serialize, Deserialize)]
pub(crate) enum Question {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<NodeId>),
    Snapshot(InstallSnapshotRequest<Types>),
    /// To write, if it leads.
    Write(Set),
    /// Who leads, once that is anybody but this one.
    LeaderOtherThan(Option<NodeId>),
    /// All it holds, once it has applied the entry with this index.
    ValuesAt(u64),
}

/// What it answers.
#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Append(Result<AppendEntriesResponse<NodeId>, RaftError<NodeId>>),
    Vote(Result<VoteResponse<NodeId>, RaftError<NodeId>>),
    Snapshot(Result<InstallSnapshotResponse<NodeId>, RaftError<NodeId, InstallSnapshotError>>),
    /// The index of the entry.
    Write(Result<u64, RaftError<NodeId, ClientWriteError<NodeId, EmptyNode>>>),
    Leader(Option<NodeId>),
    Values(Values),
    /// That it has not come to this in time.
    NotYet,
}

/// What a node holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Values {
    /// The last entry that it no longer has, because a snapshot holds it.
    pub(crate) purged: Option<u64>,
    pub(crate) values: BTreeMap<String, String>,
}

/// Sends a message.
pub(crate) async fn send(stream: &mut TcpStream, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let len = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    stream.write_all(&bytes).await
}

/// Receives one; `None` if the other side has ended.
pub(crate) async fn receive<T: DeserializeOwned>(stream: &mut TcpStream) -> io::Result<Option<T>> {
    let len = match stream.read_u32_le().await {
        Ok(len) => len as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if len > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{len} bytes to come")));
    }
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Where a node keeps what it has.
pub(crate) fn home_of(cluster: &Path, node: NodeId) -> PathBuf {
    cluster.join(format!("node-{node}"))
}

/// Listens at any address, and leaves it where the others look for it: a directory stands in for a
/// name service.
pub(crate) async fn listen(hello: &Hello) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let home = home_of(&hello.cluster, hello.node);
    fs::write(home.join("address.unfinished"), listener.local_addr()?.to_string())?;
    fs::rename(home.join("address.unfinished"), home.join("address"))?;
    Ok(listener)
}

/// A connection to a node, made when it is needed.
pub(crate) struct Client {
    hello: Hello,
    stream: Option<TcpStream>,
}

impl Client {
    pub(crate) fn new(cluster: &Path, node: NodeId) -> Self {
        Self { hello: Hello { cluster: cluster.to_owned(), node }, stream: None }
    }

    pub(crate) const fn node(&self) -> NodeId {
        self.hello.node
    }

    /// Asks, and waits for the answer. Can be cancelled: the connection is given up then, since an
    /// answer might come that belongs to no question any more.
    pub(crate) async fn ask(&mut self, question: &Question) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        send(&mut stream, question).await?;
        let answer = receive(&mut stream).await?;
        self.stream = Some(stream);
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let path = home_of(&self.hello.cluster, self.hello.node).join("address");
        let address: SocketAddr =
            fs::read_to_string(path)?.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        send(&mut stream, &self.hello).await?;
        Ok(stream)
    }
}

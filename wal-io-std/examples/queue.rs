//! A durable queue: producers push, consumers receive and acknowledge, and what was not acknowledged
//! comes again, also after a crash. At least once: a consumer that crashes between its work and the
//! acknowledgement sees the message again.
//!
//! Acknowledgements are records of the same log, not of one beside it. So one sync serves both, what
//! was acknowledged and what was pushed survive in one order, and nobody has to truncate two logs in
//! step: an acknowledgement lies behind its message, so it is there for as long as the message is.
//!
//! `cargo run -p wal-io-std --example queue`

use std::collections::{BTreeSet, HashSet};
use std::error::Error as StdError;
use std::io::IoSlice;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wal_core::{Error, Lsn, Options, Tail};
use wal_io_std::{Wal, open};

/// The first byte of a record.
const MESSAGE: u8 = 0;
const ACKNOWLEDGED: u8 = 1;

/// Shared by any number of producers and consumers.
pub(crate) struct Queue {
    pub(crate) wal: Wal,
    feed: Mutex<Feed>,
    open: Mutex<Open>,
}

/// Where messages come from.
struct Feed {
    tail: Tail,
    /// Messages that were acknowledged in an earlier life: passed over.
    acknowledged: HashSet<Lsn>,
}

/// What was received and is not acknowledged.
struct Open {
    messages: BTreeSet<Lsn>,
    /// Those of them that nobody is working on any more.
    returned: Vec<(Lsn, Vec<u8>)>,
    /// Everything before was received.
    fed: Lsn,
}

/// A message on loan. Dropped without being acknowledged, it comes again.
pub(crate) struct Delivery<'a> {
    queue: &'a Queue,
    pub(crate) id: Lsn,
    pub(crate) payload: Vec<u8>,
    over: bool,
}

impl Queue {
    /// Opens the queue in `dir`: what was pushed and not acknowledged will be received again.
    pub(crate) fn open(dir: &Path, options: Options) -> Result<Self, Error> {
        let (wal, _) = open(dir, options)?;
        let (mut acknowledged, mut messages) = (HashSet::new(), Vec::new());
        for record in wal.iter_from(wal.start_lsn())? {
            let record = record?;
            match acknowledged_by(&record.payload) {
                Some(id) => drop(acknowledged.insert(id)),
                None => messages.push(record.lsn),
            }
        }
        let waiting = messages.into_iter().find(|lsn| !acknowledged.contains(lsn));
        let fed = waiting.unwrap_or_else(|| wal.durable_lsn());
        // Of what lies before, nothing is asked any more.
        acknowledged.retain(|&id| id >= fed);
        let feed = Mutex::new(Feed { tail: wal.tail_from(fed)?, acknowledged });
        let open = Mutex::new(Open { messages: BTreeSet::new(), returned: Vec::new(), fed });
        Ok(Self { wal, feed, open })
    }

    /// Adds a message. When this returns it is durable; after an error it may be, so that a producer
    /// that tries again may have pushed it twice.
    pub(crate) fn push(&self, payload: &[u8]) -> Result<Lsn, Error> {
        let parts = [IoSlice::new(&[MESSAGE]), IoSlice::new(payload)];
        let id = self.wal.append_vectored(&parts)?.lsn;
        // Producers that wait at the same time share one sync.
        self.wal.wait_durable(id)?;
        Ok(id)
    }

    /// The next message, or `None` if none comes within `timeout`; one that is dropped meanwhile is for
    /// the next call. Only what is durable is handed out: no crash takes back what a consumer has seen.
    pub(crate) fn receive(&self, timeout: Duration) -> Result<Option<Delivery<'_>>, Error> {
        let delivery = |(id, payload)| Delivery { queue: self, id, payload, over: false };
        if let Some(again) = lock(&self.open).returned.pop() {
            return Ok(Some(delivery(again)));
        }
        let mut feed = lock(&self.feed);
        loop {
            let (id, end, payload) = match feed.tail.next_timeout(timeout) {
                Ok(Some(record)) => (record.lsn, record.end, record.payload.to_vec()),
                Ok(None) | Err(Error::TimedOut { .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
            let over = acknowledged_by(&payload).is_some() || feed.acknowledged.remove(&id);
            let mut open = lock(&self.open);
            open.fed = end;
            if !over {
                open.messages.insert(id);
                let content = payload.get(1..).unwrap_or_default().to_vec();
                return Ok(Some(delivery((id, content))));
            }
        }
    }

    /// Frees what lies before the oldest message that is not acknowledged.
    fn truncate(&self) -> Result<(), Error> {
        let open = lock(&self.open);
        let oldest = open.messages.first().copied().unwrap_or(open.fed);
        drop(open);
        // Only whole files go; with nothing to free this costs no I/O.
        self.wal.truncate_before(oldest).map(drop)
    }
}

impl Delivery<'_> {
    /// Says that the message was dealt with. When this returns, that is durable: the message never
    /// comes again. After an error it may come again.
    pub(crate) fn acknowledge(mut self) -> Result<(), Error> {
        let id = self.id.get().to_le_bytes();
        let parts = [IoSlice::new(&[ACKNOWLEDGED]), IoSlice::new(&id)];
        let lsn = self.queue.wal.append_vectored(&parts)?.lsn;
        self.queue.wal.wait_durable(lsn)?;
        self.over = true;
        // Not before: a message must not go while its acknowledgement can still be lost.
        lock(&self.queue.open).messages.remove(&self.id);
        self.queue.truncate()
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        if !self.over {
            let again = (self.id, std::mem::take(&mut self.payload));
            lock(&self.queue.open).returned.push(again);
        }
    }
}

/// The message that a record acknowledges, if it is an acknowledgement.
fn acknowledged_by(record: &[u8]) -> Option<Lsn> {
    let (&ACKNOWLEDGED, id) = record.split_first()? else { return None };
    id.try_into().ok().map(|id| Lsn::new(u64::from_le_bytes(id)))
}

/// Nothing under these locks panics half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Receives all there is, and acknowledges `count` of it.
pub(crate) fn work(queue: &Queue, count: usize) -> Result<(usize, usize), Error> {
    let mut left = Vec::new();
    let mut acknowledged = 0;
    while let Some(delivery) = queue.receive(Duration::from_millis(20))? {
        if acknowledged < count {
            delivery.acknowledge()?;
            acknowledged += 1;
        } else {
            // Kept until the end: dropped, it would come again at once.
            left.push(delivery);
        }
    }
    Ok((acknowledged, left.len()))
}

fn main() -> Result<(), Box<dyn StdError>> {
    let small = Options::default().segment_size(64 << 10).file_size(1 << 20);
    if let Some(dir) = std::env::args_os().nth(1) {
        // The process that crashes.
        let queue = Queue::open(dir.as_ref(), small)?;
        for n in 0..2000_u32 {
            let payload = n.to_le_bytes().repeat(500);
            queue.push(&payload)?;
        }
        let (acknowledged, left) = work(&queue, 1500)?;
        println!("2000 pushed, {acknowledged} acknowledged, {left} in work; and now a crash");
        std::process::abort();
    }
    let dir = tempfile::tempdir()?;
    let status = Command::new(std::env::current_exe()?).arg(dir.path()).status()?;
    println!("the process has ended: {status}");
    let queue = Queue::open(dir.path(), small)?;
    println!("the log starts at {}: what was acknowledged is freed", queue.wal.start_lsn());
    let (acknowledged, left) = work(&queue, usize::MAX)?;
    println!("{acknowledged} came again and are acknowledged now, {left} are left");
    if (acknowledged, left) == (500, 0) { Ok(()) } else { Err("these are not all".into()) }
}

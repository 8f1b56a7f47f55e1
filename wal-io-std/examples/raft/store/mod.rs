//! A log store for openraft in one write-ahead log.
//!
//! This directory is meant to be copied. It is generic over the types of the application and over the
//! backend of the log; [`record`] has what is written, [`state`] what is kept in memory.
//!
//! # What is kept in which record
//!
//! | record | written by | holds |
//! | --- | --- | --- |
//! | `Entry` | `append`, one for each entry, those of a call as one batch | the entry |
//! | `Cut` | `truncate` | the first entry that is no part of the Raft log any more |
//! | `Marks` | `save_vote`, `save_committed`, `purge` | the vote, the committed and the purged log id, all three each time |
//!
//! Opening reads the records in order and takes the same steps as when they were written. In memory
//! there is, for each entry, its log id and its LSN, some 40 bytes; and the bytes of those that are not
//! durable yet, because the log reads back durable records only.
//!
//! # What is durable when
//!
//! | call | returns | durable |
//! | --- | --- | --- |
//! | `append` | when the entries can be read | when the callback is called |
//! | `save_vote`, `truncate`, `purge` | when they are durable | on return |
//! | `save_committed` | at once | with whatever is waited for next |
//!
//! A crash before that leaves the state after some earlier call: a record or batch is there whole or
//! not at all, and none is there without all before it. So a committed log id that survives never
//! points behind the entries that survive, which is why nobody has to wait for it; openraft takes it as
//! a hint that may be old.
//!
//! # Why order holds
//!
//! openraft wants writes of entries and votes to take effect one after the other. Every call that
//! writes takes `&mut self`, there is one store for a log, and all records are in one sequence, of
//! which a crash leaves a prefix: so a vote cannot survive without the entries before it, or entries
//! without the vote under which they were accepted. Callbacks are called by one task, in the order
//! of the appends. While it waits for one batch the following ones are appended, and the next sync
//! covers all of them.
//!
//! No thread of the runtime ever waits for I/O: what blocks goes to `spawn_blocking`, by
//! [`Options::executor`] or directly. That includes the end, if a reader was taken before the store
//! went to openraft and is [closed](LogReader::close) once openraft is shut down; otherwise whoever
//! drops the last handle writes what is left.
//!
//! # Why `truncate` writes a record
//!
//! [`Wal::truncate_after`] would cut off the end of the log itself, and with it every vote and mark
//! that was written behind the entries in question. To write those once more behind the cut takes a
//! second step, and a crash between the two would leave a node that has forgotten its vote, may vote
//! again in the same term, and so elect two leaders. One record has no such gap: before it is durable
//! nothing is cut, afterwards everything is. The entries that were cut stay in the files until these
//! are purged, as far as bytes go; nothing reads them. `truncate_after` also leaves a gap as long as
//! the largest file, and would cut what other groups have in the same log. It suits a log that holds
//! entries only.
//!
//! # What the log guarantees to consensus, and what it does not
//!
//! - What was acknowledged is there after a crash, or opening fails: with a hole in durable data
//!   ([`Error::Corrupt`]) a node must not go on, since it might have voted or accepted what it has
//!   lost. Never open it with `RecoveryMode::Salvage`; remove the node from the group and add it anew.
//! - A last write that is damaged is taken for torn, and cut off, as long as nothing tells that it was
//!   acknowledged. That rests on a device that keeps what it has acknowledged as flushed. Where that is
//!   in doubt choose `AmbiguousTail::Refuse`, and add the node anew when it refuses.
//! - After a failed write or sync nothing is acknowledged any more: the callback gets the error, the
//!   vote returns it, openraft stops the node. Entries that were not acknowledged may be there when it
//!   is opened again, as after any crash.
//! - LSNs are places, not log ids: an index that is cut and written again has another LSN, and an LSN
//!   whose record was lost in a crash before it was durable may be given out again. So nothing outside
//!   the log may keep LSNs, and memory is built from the log alone.
//! - The state machine and its snapshots are not the log's: a snapshot has to be durable before
//!   `purge` is called, which openraft sees to if `build_snapshot` and `install_snapshot` return no
//!   sooner.
//!
//! # One log for each group, or one for many
//!
//! With a log for each group, as here, a sync covers one group. Many groups in one log share every
//! sync. Then each record names its group, opening sorts them to one [`State`] each, and space is
//! freed before the lowest [`State::needed_from`] of all: a group that is idle holds the log up, so let
//! it purge, which writes its marks anew, or write its last entries anew, as one batch behind a
//! `Cut`. Nothing else here changes, since nothing relies on what the next record is; but one writer
//! has to see to the order of each group's records, as `&mut self` does here.

#![allow(clippy::result_large_err, reason = "openraft's errors are what they are")]

pub(crate) mod record;
pub(crate) mod state;

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{
    AnyError, DefensiveError, ErrorSubject, ErrorVerb, LogId, LogState, NodeId, OptionalSend,
    RaftLogId, RaftLogReader, RaftTypeConfig, StorageError, StorageIOError, Violation, Vote,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use wal_core::format::record::stored_len;
use wal_core::{Error, Lsn, Options, RecoveryReport, SegmentSink, Wal};

use record::{Marks, Record};
use state::{Change, NotConsecutive, State};

type Outcome<C, T> = Result<T, StorageError<<C as RaftTypeConfig>::NodeId>>;
type LogIdOf<C> = LogId<<C as RaftTypeConfig>::NodeId>;

/// The log store. There is one for a log: whoever has it may write.
pub(crate) struct LogStore<C: RaftTypeConfig, S: SegmentSink> {
    reader: LogReader<C, S>,
    waiting: mpsc::UnboundedSender<Waiting>,
    acknowledging: JoinHandle<()>,
}

/// Reads entries while the store writes.
pub(crate) struct LogReader<C: RaftTypeConfig, S: SegmentSink> {
    shared: Arc<Shared<C, S>>,
}

struct Shared<C: RaftTypeConfig, S: SegmentSink> {
    wal: Wal<S>,
    memory: Mutex<Memory<C>>,
}

struct Memory<C: RaftTypeConfig> {
    state: State<C>,
    /// Entries that may not be durable yet, which the log does not read back.
    unsettled: BTreeMap<Lsn, Arc<[u8]>>,
}

/// Somebody to be told when everything up to a record is durable.
struct Waiting {
    /// The last record, if there is one.
    last: Option<Lsn>,
    done: Box<dyn FnOnce(io::Result<()>) + Send>,
}

/// An entry that was found: where, and its bytes if they are in memory.
struct Found<C: RaftTypeConfig> {
    log_id: LogIdOf<C>,
    lsn: Lsn,
    bytes: Option<Arc<[u8]>>,
}

impl<C: RaftTypeConfig, S: SegmentSink> LogStore<C, S> {
    /// Opens a log by `open`, which gets `options` with the current runtime as the executor, and
    /// builds the state from what is in it. Has to be called in a runtime.
    ///
    /// # Errors
    ///
    /// What `open` reports, or that the records are none of a store like this.
    pub(crate) async fn open(
        options: Options,
        open: impl FnOnce(Options) -> Result<(Wal<S>, RecoveryReport), Error> + Send + 'static,
    ) -> Outcome<C, (Self, RecoveryReport)> {
        let runtime = Handle::current();
        let options = options.executor(move |job| drop(runtime.spawn_blocking(job)));
        let opened = blocking(move || {
            let (wal, report) = open(options).map_err(|error| failed(ErrorVerb::Read, &error))?;
            let state = replay(&wal)?;
            Ok((wal, report, state))
        });
        let (wal, report, state) = opened.await?;
        let memory = Mutex::new(Memory { state, unsettled: BTreeMap::new() });
        let shared = Arc::new(Shared { wal, memory });
        let (waiting, queue) = mpsc::unbounded_channel();
        let acknowledging = tokio::spawn(acknowledge(Arc::clone(&shared), queue));
        Ok((Self { reader: LogReader { shared }, waiting, acknowledging }, report))
    }

    /// Waits until every callback was called, and closes the log.
    ///
    /// # Errors
    ///
    /// If the log cannot be closed: what was acknowledged is safe all the same.
    pub(crate) async fn close(self) -> Outcome<C, ()> {
        let Self { reader, waiting, acknowledging } = self;
        drop(waiting);
        acknowledging.await.map_err(|error| failed(ErrorVerb::Write, &error))?;
        reader.close().await
    }

    /// [`append`](RaftLogStorage::append) with any callback.
    ///
    /// # Errors
    ///
    /// If the entries do not follow the last one, or the log takes no more. The callback is not
    /// called then.
    pub(crate) async fn append_then(
        &mut self,
        entries: impl IntoIterator<Item = C::Entry>,
        done: impl FnOnce(io::Result<()>) + Send + 'static,
    ) -> Outcome<C, ()> {
        let mut records = entries.into_iter().map(Record::Entry).collect::<Vec<_>>();
        // What a snapshot has is not written: it need not be consecutive, as the log has to be.
        self.reader.shared.memory().state.leave_out_purged(&mut records);
        let last = self.put(&records, StorageIOError::write_logs).await?;
        let waiting = Waiting { last, done: Box::new(done) };
        // Only with its runtime does the other side end before this one.
        let sent = self.waiting.send(waiting);
        sent.map_err(|_| failed(ErrorVerb::Write, &io::Error::other("the runtime is gone")))
    }

    /// Appends records, all or none unless they are too many for one batch, and takes note of them.
    /// Returns the LSN of the last.
    async fn put(
        &self,
        records: &[Record<C>],
        error: fn(AnyError) -> StorageIOError<C::NodeId>,
    ) -> Outcome<C, Option<Lsn>> {
        let shared = &self.reader.shared;
        let entries = records.iter().filter_map(|record| match record {
            Record::Entry(entry) => Some(entry.get_log_id()),
            Record::Cut(_) | Record::Marks(_) => None,
        });
        shared.memory().state.check(entries).map_err(not_consecutive)?;
        let encode = |record: &Record<C>| record.encode().map(Arc::from);
        let encoded = records.iter().map(encode).collect::<Result<Vec<Arc<[u8]>>, _>>();
        let encoded = encoded.map_err(|cause| error(AnyError::new(&cause)))?;
        let mut last = None;
        let all = 0..records.len();
        let mut rest = vec![all];
        while let Some(part) = rest.pop().filter(|part| !part.is_empty()) {
            match shared.append(&encoded[part.clone()]).await? {
                Ok(appended) => {
                    let mut memory = shared.memory();
                    let mut lsn = appended.lsn;
                    for (record, bytes) in records[part.clone()].iter().zip(&encoded[part]) {
                        memory.take(lsn, record, bytes)?;
                        last = Some(lsn);
                        lsn = lsn.advance(stored_len(bytes.len()) as u64);
                    }
                }
                Err(Error::TooLarge { .. }) if part.len() > 1 => {
                    let middle = part.start + part.len() / 2;
                    rest.extend([middle..part.end, part.start..middle]);
                }
                Err(cause) => return Err(error(AnyError::new(&cause)).into()),
            }
        }
        Ok(last)
    }

    /// Writes the marks with one of them changed.
    async fn mark(
        &self,
        error: fn(AnyError) -> StorageIOError<C::NodeId>,
        change: impl FnOnce(&mut Marks<C>),
    ) -> Outcome<C, Option<Lsn>> {
        let mut marks = self.reader.shared.memory().state.marks().clone();
        change(&mut marks);
        self.put(&[Record::Marks(marks)], error).await
    }

    async fn durable(
        &self,
        lsn: Option<Lsn>,
        error: fn(AnyError) -> StorageIOError<C::NodeId>,
    ) -> Outcome<C, ()> {
        let Some(lsn) = lsn else { return Ok(()) };
        let waited = self.reader.shared.wal.durable(lsn).await;
        waited.map_err(|cause| error(AnyError::new(&cause)).into())
    }
}

impl<C: RaftTypeConfig, S: SegmentSink> Shared<C, S> {
    fn memory(&self) -> MutexGuard<'_, Memory<C>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends without waiting, or on a thread that may wait: for room, or for a direct write.
    async fn append(&self, records: &[Arc<[u8]>]) -> Outcome<C, Result<wal_core::Appended, Error>> {
        match self.wal.try_append_batch(records) {
            Err(Error::WouldBlock | Error::NeedsToWait { .. }) => {
                let (wal, records) = (self.wal.clone(), records.to_vec());
                blocking(move || Ok(wal.append_batch(&records))).await
            }
            over => Ok(over),
        }
    }
}

impl<C: RaftTypeConfig> Memory<C> {
    /// Takes note of a record that was appended.
    fn take(&mut self, lsn: Lsn, record: &Record<C>, bytes: &Arc<[u8]>) -> Outcome<C, ()> {
        if matches!(record, Record::Entry(_)) {
            self.unsettled.insert(lsn, Arc::clone(bytes));
        }
        self.state.apply(lsn, Change::of(record)).map_err(not_consecutive)
    }
}

/// Calls the callbacks, in the order of the appends.
async fn acknowledge<C: RaftTypeConfig, S: SegmentSink>(
    shared: Arc<Shared<C, S>>,
    mut queue: mpsc::UnboundedReceiver<Waiting>,
) {
    while let Some(Waiting { last, done }) = queue.recv().await {
        let over = match last {
            Some(lsn) => shared.wal.durable(lsn).await,
            None => Ok(()),
        };
        if over.is_ok() {
            let durable = shared.wal.durable_lsn();
            let mut memory = shared.memory();
            memory.unsettled = memory.unsettled.split_off(&durable);
        }
        done(over.map_err(io::Error::other));
    }
}

/// The state that the records of a log amount to.
fn replay<C: RaftTypeConfig, S: SegmentSink>(wal: &Wal<S>) -> Outcome<C, State<C>> {
    let mut state = State::default();
    let mut step = || -> Result<(), Box<dyn StdError>> {
        let mut cursor = wal.cursor_from(wal.start_lsn())?;
        while let Some(entry) = cursor.next()? {
            let at = |error: &dyn StdError| format!("the record at LSN {}: {error}", entry.lsn);
            let record = Record::decode(entry.payload).map_err(|error| at(&error))?;
            let applied = state.apply(entry.lsn, Change::of(&record));
            applied.map_err(|hole| at(&not_consecutive(hole)))?;
        }
        state.check_begin().map_err(not_consecutive)?;
        Ok(())
    };
    step().map_err(|error| StorageIOError::read_logs(AnyError::error(error)))?;
    Ok(state)
}

impl<C: RaftTypeConfig, S: SegmentSink> RaftLogStorage<C> for LogStore<C, S> {
    type LogReader = LogReader<C, S>;

    async fn get_log_state(&mut self) -> Outcome<C, LogState<C>> {
        let memory = self.reader.shared.memory();
        let last_purged_log_id = memory.state.marks().purged.clone();
        Ok(LogState { last_purged_log_id, last_log_id: memory.state.last().cloned() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<C::NodeId>) -> Outcome<C, ()> {
        let vote = Some(vote.clone());
        let at = self.mark(StorageIOError::write_vote, |marks| marks.vote = vote).await?;
        self.durable(at, StorageIOError::write_vote).await
    }

    async fn read_vote(&mut self) -> Outcome<C, Option<Vote<C::NodeId>>> {
        Ok(self.reader.shared.memory().state.marks().vote.clone())
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<C>>) -> Outcome<C, ()> {
        self.mark(StorageIOError::write, |marks| marks.committed = committed).await.map(drop)
    }

    async fn read_committed(&mut self) -> Outcome<C, Option<LogIdOf<C>>> {
        Ok(self.reader.shared.memory().state.marks().committed.clone())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<C>) -> Outcome<C, ()>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.append_then(entries, |result| callback.log_io_completed(result)).await
    }

    async fn truncate(&mut self, log_id: LogIdOf<C>) -> Outcome<C, ()> {
        if !self.reader.shared.memory().state.reaches(log_id.index) {
            return Ok(());
        }
        let at = self.put(&[Record::Cut(log_id)], StorageIOError::write_logs).await?;
        self.durable(at, StorageIOError::write_logs).await
    }

    async fn purge(&mut self, log_id: LogIdOf<C>) -> Outcome<C, ()> {
        let purged = Some(log_id);
        if self.reader.shared.memory().state.marks().purged >= purged {
            return Ok(());
        }
        let at = self.mark(StorageIOError::write_logs, |marks| marks.purged = purged).await?;
        // Otherwise a crash could leave a log that starts behind the entry that it says was purged.
        self.durable(at, StorageIOError::write_logs).await?;
        let Some(needed) = self.reader.shared.memory().state.needed_from() else { return Ok(()) };
        let wal = self.reader.shared.wal.clone();
        blocking(move || {
            let freed = wal.truncate_before(needed);
            freed.map(drop).map_err(|error| failed(ErrorVerb::Delete, &error))
        })
        .await
    }
}

impl<C: RaftTypeConfig, S: SegmentSink> RaftLogReader<C> for LogStore<C, S> {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Outcome<C, Vec<C::Entry>> {
        self.reader.try_get_log_entries(range).await
    }
}

impl<C: RaftTypeConfig, S: SegmentSink> RaftLogReader<C> for LogReader<C, S> {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Outcome<C, Vec<C::Entry>> {
        let found = self.find(&range);
        if found.iter().all(|found| found.bytes.is_some()) {
            return self.shared.read(found);
        }
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.read(found)).await
    }
}

impl<C: RaftTypeConfig, S: SegmentSink> LogReader<C, S> {
    /// Closes the log, for the store as well: for whoever has given that to openraft, and has shut
    /// openraft down.
    ///
    /// # Errors
    ///
    /// As for [`LogStore::close`].
    pub(crate) async fn close(self) -> Outcome<C, ()> {
        let wal = self.shared.wal.clone();
        drop(self);
        let closed = move || wal.close().map_err(|error| failed(ErrorVerb::Write, &error));
        blocking(closed).await.map(drop)
    }

    fn find(&self, range: &impl RangeBounds<u64>) -> Vec<Found<C>> {
        let memory = self.shared.memory();
        let places = memory.state.range(range).map(|place| Found {
            log_id: place.log_id.clone(),
            lsn: place.lsn,
            bytes: memory.unsettled.get(&place.lsn).cloned(),
        });
        places.collect()
    }
}

impl<C: RaftTypeConfig, S: SegmentSink> Shared<C, S> {
    /// Reads what was found. Blocks for I/O unless all bytes are there.
    fn read(&self, found: Vec<Found<C>>) -> Outcome<C, Vec<C::Entry>> {
        let mut entries = Vec::with_capacity(found.len());
        for Found { log_id, lsn, bytes } in found {
            let error = |cause: AnyError| StorageIOError::read_log_entry(log_id.clone(), cause);
            let record = match bytes {
                Some(bytes) => Record::<C>::decode(&bytes),
                None => match self.wal.read_at(lsn) {
                    Ok(bytes) => Record::<C>::decode(&bytes),
                    // Purged since it was found, and so was all before it: no hole is left.
                    Err(Error::Truncated { .. }) if !self.has(lsn, log_id.index) => {
                        entries.clear();
                        continue;
                    }
                    Err(cause) => return Err(error(AnyError::new(&cause)).into()),
                },
            };
            match record {
                Ok(Record::Entry(entry)) if *entry.get_log_id() == log_id => entries.push(entry),
                Ok(_) => {
                    let cause = format!("there is another record at LSN {lsn}");
                    return Err(error(AnyError::error(cause)).into());
                }
                Err(cause) => return Err(error(AnyError::new(&cause)).into()),
            }
        }
        Ok(entries)
    }

    /// Whether the entry at `index` still lies at `lsn`.
    fn has(&self, lsn: Lsn, index: u64) -> bool {
        let memory = self.memory();
        memory.state.range(&(index..=index)).any(|place| place.lsn == lsn)
    }
}

impl<C: RaftTypeConfig, S: SegmentSink> Clone for LogReader<C, S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// Runs what may block where that holds up nobody.
async fn blocking<N: NodeId, T: Send + 'static>(
    job: impl FnOnce() -> Result<T, StorageError<N>> + Send + 'static,
) -> Result<T, StorageError<N>> {
    match spawn_blocking(job).await {
        Ok(result) => result,
        Err(gone) => Err(failed(ErrorVerb::Write, &gone)),
    }
}

/// A failure of the store as a whole.
fn failed<N: NodeId>(verb: ErrorVerb, cause: &(impl StdError + 'static)) -> StorageError<N> {
    StorageIOError::new(ErrorSubject::Store, verb, AnyError::new(cause)).into()
}

fn not_consecutive<C: RaftTypeConfig>(hole: NotConsecutive<C>) -> StorageError<C::NodeId> {
    let NotConsecutive { last: prev, next } = hole;
    let subject = ErrorSubject::Log(next.clone());
    DefensiveError::new(subject, Violation::LogsNonConsecutive { prev, next }).into()
}

//! The log store of the example `raft`: what it keeps through reopening and crashes, and when it says
//! that something is durable.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use openraft::storage::{LogState, RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log_id;
use openraft::{Entry, EntryPayload, ErrorSubject, LogId, RaftLogReader, StorageError, Vote};
use rustix::io::Errno;
use tokio::task::spawn_blocking;
use wal_core::testing::sim::{SimDisk, SimOptions, SimSink, Survival};
use wal_core::{Options, SegmentSink, Verdict, Wal};
use wal_io_std::{FileOptions, FileSink, Preparation};

use crate::kv::{NodeId, Set, Types};
use crate::store::LogStore;
use crate::support::{Call, Fault, Faulty, Gate, count, names};

type Store<S> = LogStore<Types, S>;

/// Small enough for everything to happen.
fn options() -> Options {
    Options::default().segment_size(4096).segments(4).file_size(5 * 4096).seed(1)
}

/// Runs on one thread: whoever blocks it blocks everything.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn open_files(dir: &Path) -> Store<FileSink> {
    let dir = dir.to_owned();
    LogStore::open(options(), move |options| wal_io_std::open(dir, options)).await.unwrap().0
}

async fn open_faulty(dir: &Path) -> (Faulty, Store<FileSink<Faulty>>) {
    let layer = Faulty::default();
    let (dir, clone) = (dir.to_owned(), layer.clone());
    let open = move |options| {
        let files = FileOptions::default().preparation(Preparation::Inline);
        Wal::open(FileSink::with_layer(clone, &dir, &files)?, options)
    };
    let (store, _) = LogStore::open(options(), open).await.unwrap();
    layer.take();
    (layer, store)
}

async fn open_sim(disk: &SimDisk) -> Result<Store<SimSink>, StorageError<NodeId>> {
    let disk = disk.clone();
    let open = move |options| Wal::open(SimSink::open(&disk, SimOptions::default())?, options);
    Ok(LogStore::open(options(), open).await?.0)
}

fn entry_of(term: u64, index: u64, len: usize) -> Entry<Types> {
    let set = Set { key: format!("{term}-{index}"), value: "v".repeat(len) };
    Entry { log_id: log_id(term, 1, index), payload: EntryPayload::Normal(set) }
}

fn entry(term: u64, index: u64) -> Entry<Types> {
    entry_of(term, index, 20)
}

/// An entry's log id and key.
fn content(entry: &Entry<Types>) -> (LogId<NodeId>, String) {
    let EntryPayload::Normal(set) = &entry.payload else { panic!("no entry of ours") };
    (entry.log_id, set.key.clone())
}

/// What a store has to say of itself.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    /// The key of each entry, by its index, and its log id.
    entries: BTreeMap<u64, (LogId<NodeId>, String)>,
    vote: Option<Vote<NodeId>>,
    committed: Option<LogId<NodeId>>,
    purged: Option<LogId<NodeId>>,
}

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<Entry<Types>>),
    Vote(u64),
    Committed(u64, u64),
    Truncate(u64),
    Purge(u64, u64),
}

impl Model {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Append(entries) => self
                .entries
                .extend(entries.iter().map(|entry| (entry.log_id.index, content(entry)))),
            Op::Vote(term) => self.vote = Some(Vote::new(*term, 1)),
            Op::Committed(term, index) => self.committed = Some(log_id(*term, 1, *index)),
            Op::Truncate(since) => drop(self.entries.split_off(since)),
            Op::Purge(term, upto) => {
                self.entries = self.entries.split_off(&(upto + 1));
                self.purged = Some(log_id(*term, 1, *upto));
            }
        }
    }

    async fn of<S: SegmentSink>(store: &mut Store<S>) -> Self {
        let LogState { last_purged_log_id: purged, last_log_id } =
            store.get_log_state().await.unwrap();
        let mut this = Self {
            entries: BTreeMap::new(),
            vote: store.read_vote().await.unwrap(),
            committed: store.read_committed().await.unwrap(),
            purged,
        };
        this.apply(&Op::Append(store.try_get_log_entries(..).await.unwrap()));
        let last = this.entries.values().next_back().map(|(log_id, _)| *log_id);
        assert_eq!(last_log_id, last.or(purged));
        this
    }
}

async fn apply<S: SegmentSink>(store: &mut Store<S>, op: &Op) {
    match op.clone() {
        Op::Append(entries) => store.blocking_append(entries).await,
        Op::Vote(term) => store.save_vote(&Vote::new(term, 1)).await,
        Op::Committed(term, index) => store.save_committed(Some(log_id(term, 1, index))).await,
        Op::Truncate(since) => store.truncate(log_id(1, 1, since)).await,
        Op::Purge(term, upto) => store.purge(log_id(term, 1, upto)).await,
    }
    .unwrap();
}

/// Every call, in many orders: votes and marks behind what is cut, entries written anew, files freed, a
/// purge behind the end, records and batches larger than a segment.
fn life() -> Vec<Op> {
    let append = |term, range: std::ops::Range<u64>| {
        Op::Append(range.map(|index| entry(term, index)).collect())
    };
    let mut ops = vec![Op::Vote(1), append(1, 0..1), append(1, 1..4), append(1, 4..5)];
    ops.extend([Op::Committed(1, 2), Op::Vote(2), Op::Truncate(3), Op::Vote(3)]);
    ops.extend([append(3, 3..9), Op::Truncate(7), append(3, 7..8), Op::Vote(4)]);
    ops.push(Op::Append(vec![entry_of(4, 8, 6000), entry(4, 9), entry_of(4, 10, 3000)]));
    ops.extend([Op::Committed(4, 9), Op::Purge(3, 5), append(4, 11..40), Op::Truncate(30)]);
    ops.extend([Op::Vote(6), Op::Purge(4, 25), append(6, 30..60), Op::Purge(6, 59)]);
    ops.extend([Op::Vote(7), Op::Committed(6, 59), Op::Purge(7, 70), append(7, 71..73)]);
    for round in 0..4 {
        let from = 73 + round * 20;
        ops.extend([append(7 + round, from..from + 20), Op::Vote(8 + round)]);
        ops.extend([Op::Purge(7 + round, from + 15), Op::Truncate(from + 18)]);
        ops.extend([append(8 + round, from + 18..from + 20), Op::Committed(7 + round, from + 16)]);
    }
    ops
}

#[test]
fn reopening_gives_the_state_after_the_last_call() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let mut expected = Model::default();
        let mut store = open_files(dir.path()).await;
        for op in life() {
            apply(&mut store, &op).await;
            expected.apply(&op);
            assert_eq!(Model::of(&mut store).await, expected, "after {op:?}");
            store.close().await.unwrap();
            store = open_files(dir.path()).await;
            assert_eq!(Model::of(&mut store).await, expected, "reopened after {op:?}");
        }
        // Of some thirty files.
        let left = names(dir.path()).len();
        assert!(left < 12, "{left} files are left");
    });
}

/// After a power loss at any moment the store is as some call has left it, none before the last that
/// was acknowledged.
#[test]
fn a_crash_at_any_moment_loses_nothing_acknowledged() {
    let disk = SimDisk::new(1);
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let images = Arc::new(Mutex::new(Vec::new()));
    let (seen, taken) = (Arc::clone(&acknowledged), Arc::clone(&images));
    disk.watch(move |_, image| {
        taken.lock().unwrap().push((seen.load(Ordering::SeqCst), image.clone()));
    });
    let mut states = vec![Model::default()];
    run(async {
        let mut store = open_sim(&disk).await.unwrap();
        for (number, op) in life().into_iter().enumerate() {
            let mut next = states[number].clone();
            next.apply(&op);
            states.push(next);
            match op {
                // Several under way at a time.
                Op::Append(entries) if number % 3 > 0 => {
                    let acknowledged = Arc::clone(&acknowledged);
                    let done = move |result: std::io::Result<()>| {
                        result.unwrap();
                        acknowledged.fetch_max(number + 1, Ordering::SeqCst);
                    };
                    store.append_then(entries, done).await.unwrap();
                }
                Op::Committed(..) => apply(&mut store, &op).await,
                _ => {
                    apply(&mut store, &op).await;
                    acknowledged.fetch_max(number + 1, Ordering::SeqCst);
                }
            }
            assert_eq!(Model::of(&mut store).await, states[number + 1], "after call {number}");
        }
        store.close().await.unwrap();
    });
    let images = std::mem::take(&mut *images.lock().unwrap());
    assert!(images.len() > 100, "only {} moments", images.len());
    let mut between = 0;
    for (seed, (acknowledged, image)) in (0..).zip(&images) {
        let survivals = [
            Survival::Nothing,
            Survival::Everything,
            Survival::Random(seed),
            Survival::Random(!seed),
        ];
        for survival in survivals {
            let found = run(async {
                let disk = SimDisk::of(image.power_loss(survival), seed);
                Model::of(&mut open_sim(&disk).await.unwrap()).await
            });
            // Several calls may leave the same state.
            let after = states.iter().rposition(|state| *state == found);
            let lost = after.is_none_or(|after| after < *acknowledged);
            assert!(
                !lost,
                "moment {seed}, {survival:?}: {acknowledged} calls were acknowledged, \
                 {after:?} are there: {found:?}"
            );
            between += usize::from(after > Some(*acknowledged));
        }
    }
    assert!(between > 0, "nothing was ever under way");
}

/// Callbacks wait for the sync, entries do not, and nobody's thread is held up.
#[test]
fn callbacks_come_in_order_once_entries_are_durable() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (layer, mut store) = open_faulty(dir.path()).await;
        let gate = Arc::new(Gate::default());
        let _open = gate.opened_at_last();
        layer.inject(Call::SyncData, ".wal", 0, 1, Fault::Gate(Arc::clone(&gate)));
        let called = Arc::new(Mutex::new(Vec::new()));
        let (send, receive) = mpsc::channel();
        for number in 0..6 {
            let (called, send) = (Arc::clone(&called), send.clone());
            let done = move |result: std::io::Result<()>| {
                result.unwrap();
                called.lock().unwrap().push(number);
                let _ = send.send(());
            };
            store
                .append_then([entry(1, 2 * number), entry(1, 2 * number + 1)], done)
                .await
                .unwrap();
            if number == 0 {
                reached(&gate).await;
            }
            let entries = store.get_log_reader().await.try_get_log_entries(..).await.unwrap();
            assert_eq!(entries.len() as u64, 2 * number + 2);
        }
        assert_eq!(*called.lock().unwrap(), [0; 0]);
        assert_eq!(count(&layer.take(), Call::SyncData), 1);
        gate.open();
        spawn_blocking(move || (0..6).for_each(|_| receive.recv().unwrap())).await.unwrap();
        assert_eq!(*called.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
        let syncs = count(&layer.take(), Call::SyncData);
        assert!(syncs < 4, "{syncs} more syncs for five batches that waited for one");
        // From the log, now.
        let entries = store.try_get_log_entries(3..=8).await.unwrap();
        let contents: Vec<_> = entries.iter().map(content).collect();
        assert_eq!(contents, (3..=8).map(|index| content(&entry(1, index))).collect::<Vec<_>>());
        assert!(count(&layer.take(), Call::Read) > 0);
    });
}

/// Waits until somebody waits at the gate.
async fn reached(gate: &Arc<Gate>) {
    let gate = Arc::clone(gate);
    let reached = spawn_blocking(move || gate.reached());
    tokio::time::timeout(Duration::from_secs(30), reached).await.expect("nobody syncs").unwrap();
}

/// As it is after openraft has had the store.
#[test]
fn a_reader_closes_the_log_of_a_store_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let mut store = open_files(dir.path()).await;
        store.save_committed(Some(log_id(1, 1, 3))).await.unwrap();
        let reader = store.get_log_reader().await;
        drop(store);
        reader.close().await.unwrap();
        let at = dir.path().to_owned();
        let open = move |options| wal_io_std::open(at, options);
        let (mut store, report) = Store::open(options(), open).await.unwrap();
        assert_eq!(report.verdict, Verdict::Closed);
        assert_eq!(store.read_committed().await.unwrap(), Some(log_id(1, 1, 3)));
    });
}

#[test]
fn votes_cuts_and_purges_return_when_they_are_durable() {
    for op in [Op::Vote(3), Op::Truncate(2), Op::Purge(1, 1)] {
        let dir = tempfile::tempdir().unwrap();
        run(async {
            let (layer, mut store) = open_faulty(dir.path()).await;
            apply(&mut store, &Op::Append((0..4).map(|index| entry(1, index)).collect())).await;
            let gate = Arc::new(Gate::default());
            let _open = gate.opened_at_last();
            layer.inject(Call::SyncData, ".wal", 0, 1, Fault::Gate(Arc::clone(&gate)));
            let asked = op.clone();
            let call = tokio::spawn(async move { apply(&mut store, &asked).await });
            reached(&gate).await;
            assert!(!call.is_finished(), "{op:?}");
            gate.open();
            call.await.unwrap();
        });
    }
}

#[test]
fn a_failed_sync_reaches_every_callback_and_the_vote() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (layer, mut store) = open_faulty(dir.path()).await;
        layer.inject(Call::SyncData, ".wal", 0, 1, Fault::Errno(Errno::IO));
        let (send, receive) = mpsc::channel();
        for number in 0..2 {
            let send = send.clone();
            let done = move |result: std::io::Result<()>| send.send(result).unwrap();
            if store.append_then([entry(1, number)], done).await.is_err() {
                assert_eq!(number, 1, "the first is refused");
            }
        }
        drop(send);
        let results = spawn_blocking(move || receive.iter().collect::<Vec<_>>()).await.unwrap();
        assert!(!results.is_empty());
        for result in results {
            let error = result.unwrap_err().to_string();
            assert!(error.contains("poisoned") && error.contains("sync"), "{error}");
        }
        let error = store.save_vote(&Vote::new(1, 1)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("Write Vote") && text.contains("poisoned"), "{text}");
        let error = store.blocking_append([entry(1, 2)]).await.unwrap_err().to_string();
        assert!(error.contains("poisoned"), "{error}");
        // Reading goes on.
        assert!(!store.try_get_log_entries(..1).await.unwrap().is_empty());
    });
}

#[test]
fn batches_that_the_log_does_not_take_at_once_are_appended_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (dir, mut expected) = (dir.path().to_owned(), Model::default());
        let open = || {
            let dir = dir.clone();
            let options = options().max_record_len(8000);
            LogStore::<Types, _>::open(options, move |options| wal_io_std::open(dir, options))
        };
        let mut store = open().await.unwrap().0;
        let op = Op::Append((0..9).map(|index| entry_of(1, index, 3000)).collect());
        apply(&mut store, &op).await;
        expected.apply(&op);
        assert_eq!(Model::of(&mut store).await, expected);
        let error = store.blocking_append([entry_of(1, 9, 9000)]).await.unwrap_err().to_string();
        assert!(error.contains("max_record_len"), "{error}");
        store.close().await.unwrap();
        assert_eq!(Model::of(&mut open().await.unwrap().0).await, expected);
    });
}

#[test]
fn entries_that_leave_a_hole_or_come_twice_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let mut store = open_files(dir.path()).await;
        store.blocking_append([entry(1, 5), entry(1, 6)]).await.unwrap();
        for wrong in [vec![entry(1, 8)], vec![entry(1, 6)], vec![entry(1, 7), entry(1, 9)]] {
            let error = store.blocking_append(wrong).await.unwrap_err();
            assert!(matches!(error, StorageError::Defensive { .. }), "{error}");
        }
        store.purge(log_id(1, 1, 9)).await.unwrap();
        let error = store.blocking_append([entry(1, 11)]).await.unwrap_err();
        let error = error.into_defensive().unwrap();
        assert_eq!(error.subject, ErrorSubject::Log(log_id(1, 1, 11)));
        store.blocking_append([entry(1, 10)]).await.unwrap();
    });
}

#[test]
fn a_log_that_is_none_of_a_store_is_refused_by_its_place() {
    let record =
        |index| format!(r#"{{"Entry":{}}}"#, serde_json::to_string(&entry(1, index)).unwrap());
    for (records, says) in [
        (vec![record(1), record(3)], "not consecutive"),
        (vec![record(1), "something else".to_owned()], "expected"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (wal, _) = wal_io_std::open(dir.path(), options()).unwrap();
        let lsns: Vec<_> =
            records.iter().map(|record| wal.append(record.as_bytes()).unwrap().lsn).collect();
        wal.close().unwrap();
        let dir = dir.path().to_owned();
        let open = move |options| wal_io_std::open(dir, options);
        let error =
            run(LogStore::<Types, _>::open(options(), open)).map(drop).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains(&format!("LSN {}", lsns[1])), "{error}");
    }
}

/// What a snapshot has, appended once more, is nowhere in the way: not when it comes with gaps, and
/// not when the record that says how far was purged is gone.
#[test]
fn entries_that_were_purged_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let mut store = open_files(dir.path()).await;
        store.purge(log_id(1, 1, 10)).await.unwrap();
        store.blocking_append((0..300).map(|n| entry(1, n * 7 % 11))).await.unwrap();
        store.blocking_append((8..20).map(|index| entry(1, index))).await.unwrap();
        store.blocking_append([entry(1, 5), entry(1, 9)]).await.unwrap();
        store.purge(log_id(1, 1, 12)).await.unwrap();
        let expected = Model::of(&mut store).await;
        store.close().await.unwrap();
        assert_eq!(Model::of(&mut open_files(dir.path()).await).await, expected);
    });
}

/// A reader that is overtaken by a purge on its way leaves no hole: engines look at the first and the
/// last entry only.
#[test]
fn what_is_purged_under_a_reader_leaves_no_hole() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let (layer, mut store) = open_faulty(dir.path()).await;
        for from in (0..400).step_by(10) {
            store.blocking_append((from..from + 10).map(|index| entry(1, index))).await.unwrap();
        }
        let mut reader = store.get_log_reader().await;
        let gate = Arc::new(Gate::default());
        let _open = gate.opened_at_last();
        // With some entries of the first file read, and more of it to come.
        layer.inject(Call::Read, ".wal", 9, 1, Fault::Gate(Arc::clone(&gate)));
        let reading = tokio::spawn(async move { reader.try_get_log_entries(..).await.unwrap() });
        reached(&gate).await;
        store.purge(log_id(1, 1, 300)).await.unwrap();
        gate.open();
        let entries = reading.await.unwrap();
        let found: Vec<_> = entries.iter().map(|entry| entry.log_id.index).collect();
        assert!(found[0] > 0, "nothing was freed");
        assert!(found.iter().copied().eq(found[0]..400), "{found:?}");
    });
}

/// A reader that is overtaken by a purge finds fewer entries, and no others.
#[test]
fn reading_goes_on_while_files_are_freed() {
    let dir = tempfile::tempdir().unwrap();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(
        async {
            let mut store = open_files(dir.path()).await;
            let mut reader = store.get_log_reader().await;
            let reading = tokio::spawn(async move {
                let (mut first, mut reads) = (0, 0);
                while first < 380 {
                    let entries = reader.try_get_log_entries(..).await.unwrap();
                    let begin = entries.first().map_or(first, |entry| entry.log_id.index);
                    assert!(begin >= first, "entry {begin} is back");
                    for (index, found) in (begin..).zip(&entries) {
                        assert_eq!(content(found), content(&entry(1, index)));
                    }
                    (first, reads) = (begin, reads + 1);
                }
                reads
            });
            for from in (0..400).step_by(10) {
                store
                    .blocking_append((from..from + 10).map(|index| entry(1, index)))
                    .await
                    .unwrap();
                if from >= 10 {
                    store.purge(log_id(1, 1, from - 5)).await.unwrap();
                }
            }
            assert!(reading.await.unwrap() > 5);
            assert!(names(dir.path()).len() < 10);
        },
    );
}

//! Short rounds of many writers in a tiny ring, each verified record by record.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use wal_core::format::record::stored_len;
use wal_core::{Durability, Error, Lsn, Options, SegmentSink, Stats, Wal};

use crate::backend::{Opened, Work};
use crate::measure::Random;

/// The smallest ring there is: a record in ten or so ends a segment.
const SEGMENT: usize = Options::MIN_SEGMENT_SIZE;
/// Sixteen segments or so: files end, too.
const FILE: u64 = 64 << 10;
/// The most bytes of a payload that fits a segment, and of one that does not.
const SMALL: u64 = 700;
const LARGE: u64 = 9000;

/// How patience is counted.
const STEP: Duration = Duration::from_millis(50);

/// One round.
#[derive(Clone, Copy, Debug)]
pub struct Round<'a> {
    /// Where the log is made, if it has files.
    pub dir: &'a Path,
    /// Decides what is appended.
    pub seed: u64,
    /// Threads that append.
    pub threads: usize,
    /// Records of all of them, about.
    pub records: u64,
    /// Segments of the ring.
    pub segments: usize,
    /// For how long nobody may finish before that is called a hang.
    pub patience: Duration,
}

/// What rounds have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records appended, and found again.
    pub records: u64,
    /// Appends that were batches, and records too large for a segment.
    pub batches: u64,
    /// See `batches`.
    pub large: u64,
    /// Appends that waited for the operating system, or for the medium.
    pub waits: u64,
    /// Frames written.
    pub frames: u64,
    /// Syncs.
    pub syncs: u64,
    /// Times that somebody slept until a segment was free.
    pub stalls: u64,
}

impl Counts {
    /// Adds what another round has come to.
    pub const fn add(&mut self, more: &Self) {
        self.records += more.records;
        self.batches += more.batches;
        self.large += more.large;
        self.waits += more.waits;
        self.frames += more.frames;
        self.syncs += more.syncs;
        self.stalls += more.stalls;
    }
}

/// A record as its writer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    lsn: Lsn,
    thread: u32,
    number: u32,
    len: u32,
}

impl Written {
    /// Tells whose it is, and is unlike all others beyond that.
    fn payload(&self, seed: u64) -> Vec<u8> {
        let whose = u64::from(self.thread) << 32 | u64::from(self.number);
        let mut bytes = whose.to_le_bytes().to_vec();
        let mut filler = Random(seed ^ whose);
        while bytes.len() < self.len as usize {
            bytes.extend(filler.next().to_le_bytes());
        }
        bytes.truncate(self.len as usize);
        bytes
    }
}

/// What a writer is at, for whoever finds that it does not go on.
#[derive(Default)]
struct Doing {
    what: AtomicU8,
    at: AtomicU64,
}

const APPENDS: u8 = 0;
const WAITS_WRITTEN: u8 = 1;
const WAITS_DURABLE: u8 = 2;
const DONE: u8 = 3;

impl Doing {
    // Relaxed: nobody acts upon it while it changes.
    fn set(&self, what: u8, at: u64) {
        self.at.store(at, Ordering::Relaxed);
        self.what.store(what, Ordering::Relaxed);
    }

    fn tell(&self) -> String {
        let at = self.at.load(Ordering::Relaxed);
        match self.what.load(Ordering::Relaxed) {
            APPENDS => format!("appends its record {at}"),
            WAITS_WRITTEN => format!("waits until LSN {at} is written"),
            WAITS_DURABLE => format!("waits until LSN {at} is durable"),
            _ => "is done".to_owned(),
        }
    }
}

impl Work for Round<'_> {
    /// What went wrong; after a hang, its threads are still there.
    type Output = Result<Counts, String>;

    fn with<S: SegmentSink>(
        self,
        open: impl Fn(&Path, Options) -> Opened<S> + Sync,
    ) -> Self::Output {
        let told = |error: Error| error.to_string();
        let options =
            || Options::default().segment_size(SEGMENT).segments(self.segments).file_size(FILE);
        let (wal, _) = open(self.dir, options()).map_err(told)?;
        let (mut written, mut counts) = self.write(&wal)?;
        wal.sync().map_err(told)?;
        let stats = wal.stats();
        (counts.frames, counts.syncs, counts.stalls) = (stats.frames, stats.syncs, stats.stalls);
        written.sort_by_key(|record| record.lsn);
        verify(self.seed, &written, &found(&wal).map_err(told)?)?;
        wal.close().map_err(told)?;
        let (wal, _) = open(self.dir, options()).map_err(told)?;
        let again = found(&wal).map_err(told)?;
        verify(self.seed, &written, &again).map_err(|wrong| format!("reopened: {wrong}"))?;
        wal.close().map_err(told)?;
        counts.records = written.len() as u64;
        Ok(counts)
    }
}

impl Round<'_> {
    /// Lets the writers write, and returns their records in no order.
    fn write<S: SegmentSink>(&self, wal: &Wal<S>) -> Result<(Vec<Written>, Counts), String> {
        let desk: Arc<[Doing]> = (0..self.threads).map(|_| Doing::default()).collect();
        let (done, finished) = channel();
        for thread in 0..self.threads {
            let (wal, desk, done) = (wal.clone(), Arc::clone(&desk), done.clone());
            let (seed, records) = (self.seed, self.records.div_ceil(self.threads as u64));
            // Not scoped: who hangs is left behind.
            thread::spawn(move || {
                let wrote = shift(&wal, seed, thread as u32, records as u32, &desk[thread]);
                desk[thread].set(DONE, 0);
                drop(wal);
                // Nobody listens any more after a hang.
                let _ = done.send(wrote);
            });
        }
        drop(done);
        let (mut written, mut counts) = (Vec::new(), Counts::default());
        for _ in 0..self.threads {
            // In steps: who is stopped meanwhile, as by a signal, loses one of them and not all.
            let steps = (self.patience.as_millis() / STEP.as_millis()).max(1);
            let mut waits = (0..steps).map(|_| finished.recv_timeout(STEP));
            let told = waits.find(|told| !matches!(told, Err(RecvTimeoutError::Timeout)));
            match told.unwrap_or(Err(RecvTimeoutError::Timeout)) {
                Ok(Ok((records, more))) => {
                    written.extend(records);
                    counts.add(&more);
                }
                Ok(Err(error)) => return Err(format!("a writer failed: {error}")),
                Err(RecvTimeoutError::Disconnected) => return Err("a writer panicked".to_owned()),
                Err(RecvTimeoutError::Timeout) => {
                    let stats = wal.clone();
                    return Err(hang(self.patience, &desk, move || stats.stats()));
                }
            }
        }
        Ok((written, counts))
    }
}

/// What there is to say about writers that do not go on.
fn hang(
    patience: Duration,
    desk: &[Doing],
    stats: impl FnOnce() -> Stats + Send + 'static,
) -> String {
    let mut text = format!("a hang: for {patience:?} no writer has finished");
    for (thread, doing) in desk.iter().enumerate() {
        text += &format!("\n  thread {thread} {}", doing.tell());
    }
    // They may wait for the very thread that hangs.
    let (tell, told) = channel();
    thread::spawn(move || {
        // Too late, perhaps.
        let _ = tell.send(stats());
    });
    match told.recv_timeout(Duration::from_secs(2)) {
        Ok(stats) => text += &format!("\n  {stats}"),
        Err(_) => text += "\n  the log does not tell how it stands, either",
    }
    text
}

/// What one writer does.
fn shift<S: SegmentSink>(
    wal: &Wal<S>,
    seed: u64,
    thread: u32,
    records: u32,
    doing: &Doing,
) -> Result<(Vec<Written>, Counts), Error> {
    let mut random = Random(seed ^ u64::from(thread) << 32);
    let (mut written, mut counts) = (Vec::<Written>::new(), Counts::default());
    while (written.len() as u32) < records {
        let number = written.len() as u32;
        doing.set(APPENDS, number.into());
        let dice = random.below(40);
        let mut next = |number, bound| {
            let len = random.below(bound) as u32;
            Written { lsn: Lsn::new(0), thread, number, len }
        };
        let appended = if dice < 4 {
            counts.batches += 1;
            let mut batch = [0, 1, 2].map(|more| next(number + more, SMALL));
            let appended = wal.append_batch(&batch.map(|record| record.payload(seed)))?;
            let mut lsn = appended.lsn;
            for record in &mut batch {
                record.lsn = lsn;
                lsn = lsn.advance(stored_len(record.len as usize) as u64);
            }
            written.extend(batch);
            appended
        } else {
            let large = dice == 4;
            counts.large += u64::from(large);
            let mut record = next(number, if large { LARGE } else { SMALL });
            let appended = wal.append(&record.payload(seed))?;
            record.lsn = appended.lsn;
            written.push(record);
            appended
        };
        let lsn = appended.lsn;
        match random.below(4) {
            0 => {
                doing.set(WAITS_WRITTEN, lsn.get());
                wal.wait(lsn, Durability::ProcessCrash)?;
                counts.waits += 1;
            }
            1 => {
                doing.set(WAITS_DURABLE, lsn.get());
                wal.wait_durable(lsn)?;
                counts.waits += 1;
            }
            _ => {}
        }
    }
    Ok((written, counts))
}

fn found<S: SegmentSink>(wal: &Wal<S>) -> Result<Vec<(Lsn, Vec<u8>)>, Error> {
    let records = wal.iter_from(wal.start_lsn())?;
    records.map(|record| record.map(|record| (record.lsn, record.payload))).collect()
}

/// Holds what was found against what was written, both in order.
fn verify(seed: u64, written: &[Written], found: &[(Lsn, Vec<u8>)]) -> Result<(), String> {
    for pair in written.windows(2) {
        let end = pair[0].lsn.advance(stored_len(pair[0].len as usize) as u64);
        if pair[1].lsn < end {
            return Err(format!("two records share LSN {}: {pair:?}", pair[1].lsn));
        }
    }
    let mut last = BTreeMap::new();
    for record in written {
        let before = last.insert(record.thread, record.number);
        if before.is_some_and(|before| before >= record.number) {
            return Err(format!("a thread's records are not in its order: {record:?}"));
        }
    }
    for (record, (lsn, payload)) in written.iter().zip(found) {
        if record.lsn != *lsn {
            return Err(format!("where {record:?} is due, there is a record at LSN {lsn}"));
        }
        if record.payload(seed) != *payload {
            return Err(format!("not what was appended: {record:?}"));
        }
    }
    if written.len() != found.len() {
        return Err(format!("{} records appended, {} found", written.len(), found.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;

    fn round(threads: usize) -> Round<'static> {
        let patience = Duration::from_secs(60);
        Round { dir: Path::new(""), seed: 1, threads, records: 400, segments: 2, patience }
    }

    #[test]
    fn a_round_rotates_waits_and_finds_every_record() {
        let counts = Place::Memory.with(round(8)).unwrap().unwrap();
        // Batches may go beyond what was asked for.
        assert!((400..450).contains(&counts.records), "{counts:?}");
        assert!(counts.frames > 30 && counts.syncs > 0, "{counts:?}");
        assert!(counts.waits > 100 && counts.batches > 10 && counts.large > 0, "{counts:?}");
    }

    #[test]
    fn what_is_lost_altered_doubled_or_out_of_order_is_seen() {
        let record = |lsn, number| Written { lsn: Lsn::new(lsn), thread: 3, number, len: 40 };
        let written = [record(64, 0), record(112, 1), record(160, 2)];
        let found: Vec<_> = written.iter().map(|r| (r.lsn, r.payload(7))).collect();
        assert_eq!(verify(7, &written, &found), Ok(()));
        let wrong = |written: &[Written], found: &[(Lsn, Vec<u8>)], what: &str| {
            let told = verify(7, written, found).unwrap_err();
            assert!(told.contains(what), "{told}");
        };
        wrong(&written, &found[..2], "3 records appended, 2 found");
        wrong(&written, &found[1..], "is due");
        let mut altered = found.clone();
        altered[1].1[39] ^= 1;
        wrong(&written, &altered, "not what was appended");
        wrong(&[record(64, 0), record(64, 1)], &found, "share LSN 64");
        wrong(&[record(64, 1), record(112, 0)], &found, "not in its order");
    }

    #[test]
    fn a_hang_is_told_with_what_each_thread_waits_for() {
        let desk = [Doing::default(), Doing::default()];
        desk[0].set(WAITS_DURABLE, 4711);
        let text = hang(Duration::from_secs(1), &desk, Stats::default);
        assert!(text.contains("thread 0 waits until LSN 4711 is durable"), "{text}");
        assert!(text.contains("thread 1 appends its record 0"), "{text}");
        assert!(text.contains("0 records in 0 frames"), "{text}");
    }

    /// The writers are held up by a record that nobody commits.
    #[test]
    fn a_round_that_does_not_end_is_given_up() {
        let patience = Duration::from_millis(200);
        let open = |_: &Path, options: Options| {
            let disk = wal_core::sink::mem::MemDisk::new();
            let opened = Wal::open(wal_core::sink::mem::MemSink::open(&disk)?, options)?;
            std::mem::forget(opened.0.reserve(8)?);
            Ok(opened)
        };
        let told = Round { patience, ..round(2) }.with(open).unwrap_err();
        assert!(told.starts_with("a hang") && told.contains("thread 1 "), "{told}");
    }
}

//! Writers that append on, and wait for what they appended a while later.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wal_core::{Lsn, SegmentSink, Wal};

use crate::group::GroupCommit;
use crate::log::fail;
use crate::measure::{Shift, Span, histogram, sum};
use crate::threads::{run_delay, team};

/// Records between two whose way to the medium is timed.
const MARK: u64 = 16;

/// What went wrong with a log, whosever it is.
pub type Failure = Box<dyn Error + Send + Sync>;

/// A log that many threads append to now, and make durable later.
pub trait Lagging: Sync {
    /// Appends a record and says where it is: a number that the record's thread sees grow.
    ///
    /// # Errors
    ///
    /// The log's.
    fn append(&self, thread: usize, payload: &[u8]) -> Result<u64, Failure>;

    /// Waits until everything up to this record is durable.
    ///
    /// # Errors
    ///
    /// The log's.
    fn wait(&self, record: u64) -> Result<(), Failure>;

    /// All records before this number are durable.
    fn durable(&self) -> u64;

    /// Syncs so far, for logs that count them.
    fn syncs(&self) -> Option<u64> {
        None
    }
}

impl<S: SegmentSink> Lagging for Wal<S> {
    fn append(&self, _: usize, payload: &[u8]) -> Result<u64, Failure> {
        Ok(Self::append(self, payload)?.lsn.get())
    }

    fn wait(&self, record: u64) -> Result<(), Failure> {
        Ok(self.wait_durable(Lsn::new(record))?)
    }

    fn durable(&self) -> u64 {
        self.durable_lsn().get()
    }

    fn syncs(&self) -> Option<u64> {
        Some(self.stats().syncs)
    }
}

impl Lagging for GroupCommit {
    fn append(&self, _: usize, payload: &[u8]) -> Result<u64, Failure> {
        Ok(self.push(payload))
    }

    fn wait(&self, record: u64) -> Result<(), Failure> {
        Ok(self.settle(record)?)
    }

    fn durable(&self) -> u64 {
        Self::durable(self)
    }

    fn syncs(&self) -> Option<u64> {
        crate::Log::syncs(self)
    }
}

/// Appends records of `len` bytes from `threads` threads for about `time`. A thread that is `ahead`
/// bytes ahead of what it knows to be durable waits until half of them are. The times are those from
/// a record's append until its thread knew it durable; at the end all are.
pub fn lags<L: Lagging>(log: &L, threads: usize, len: usize, time: Duration, ahead: usize) -> Span {
    let stop = AtomicBool::new(false);
    let payload = vec![0x5a; len];
    let syncs = log.syncs();
    let before = crate::usage::cpu();
    let most = (ahead / len.max(1)).max(MARK as usize * 2) / MARK as usize;
    let shifts = team(
        threads,
        |thread, line| {
            let (mut marks, mut times) = (VecDeque::new(), histogram());
            let mut records = 0;
            let delay = run_delay();
            line.wait();
            let start = Instant::now();
            // Relaxed: only a signal to stop.
            while !stop.load(Ordering::Relaxed) {
                let mut last = 0;
                for _ in 0..MARK {
                    last = sure(log.append(thread, &payload));
                }
                records += MARK;
                marks.push_back((last, Instant::now()));
                if marks.len() >= most {
                    settle(log, &mut marks, most / 2, &mut |lag| times.saturating_record(lag));
                }
            }
            let all = marks.len();
            settle(log, &mut marks, all, &mut |lag| times.saturating_record(lag));
            let waited = run_delay().zip(delay).map(|(after, before)| after - before);
            Shift { records, start, end: Instant::now(), delay: waited, times: Some(times) }
        },
        || {
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
        },
    );
    let syncs = log.syncs().zip(syncs).map(|(after, before)| after - before);
    let cpu = crate::usage::cpu().saturating_sub(before);
    Span { syncs, cpu, ..sum(shifts, threads) }
}

/// Waits for the `count`th mark, and takes all out that are durable then.
fn settle<L: Lagging>(
    log: &L,
    marks: &mut VecDeque<(u64, Instant)>,
    count: usize,
    lag: &mut dyn FnMut(u64),
) {
    let Some(&(awaited, _)) = count.checked_sub(1).and_then(|last| marks.get(last)) else { return };
    sure(log.wait(awaited));
    let (durable, now) = (log.durable(), Instant::now());
    while let Some(&(record, appended)) = marks.front() {
        if record > awaited && record >= durable {
            break;
        }
        lag((now - appended).as_nanos() as u64);
        marks.pop_front();
    }
}

fn sure<T>(result: Result<T, Failure>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => fail(&*error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_core::Options;
    use wal_core::sink::mem::{MemDisk, MemSink};

    #[test]
    fn everything_is_durable_at_the_end_and_many_records_share_a_sync() {
        let disk = MemDisk::new();
        let (wal, _) = Wal::open(MemSink::open(&disk).unwrap(), Options::default()).unwrap();
        let span = lags(&wal, 2, 100, Duration::from_millis(20), 64 << 10);
        assert_eq!(wal.durable_lsn(), wal.next_lsn());
        assert_eq!(span.times.len() * MARK, span.records);
        let syncs = span.syncs.unwrap();
        assert!(span.records > 0 && syncs > 0 && syncs * MARK <= span.records, "{span:?}");
    }

    #[test]
    fn a_mark_is_not_taken_out_before_it_is_durable() {
        struct Slow;
        impl Lagging for Slow {
            fn append(&self, _: usize, _: &[u8]) -> Result<u64, Failure> {
                Ok(0)
            }
            fn wait(&self, _: u64) -> Result<(), Failure> {
                Ok(())
            }
            fn durable(&self) -> u64 {
                3
            }
        }
        let now = Instant::now();
        let mut marks: VecDeque<_> = [1, 2, 3, 4].map(|record| (record, now)).into();
        let mut lags = 0;
        settle(&Slow, &mut marks, 1, &mut |_| lags += 1);
        assert_eq!((lags, marks.len()), (2, 2));
    }
}

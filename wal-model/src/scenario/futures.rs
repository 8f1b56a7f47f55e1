//! Scenarios of futures: with an executor that runs jobs, with one that drops them, and with none
//! over a sink that does not block. Any wait may be given up between any two polls.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{self, JoinHandle};
use wal_core::testing::Store;
use wal_core::{Durability, Error, Executor};

use super::appending::write;
use super::explore::{Scenario, Tally};
use super::faulty::Faults;
use super::journal::payload;
use super::log::{Log, join, join_ok, tiny};

/// A waker that remembers that it was called.
struct Called(AtomicBool, Waker);

impl Wake for Called {
    fn wake(self: Arc<Self>) {
        // Relaxed: read by the thread that polls, for a count.
        self.0.store(true, Ordering::Relaxed);
        self.1.wake_by_ref();
    }
}

/// Polls `future` until it is ready, or gives it up after so many polls (`None`). A poll may come
/// without a wake-up, as it does when several futures are awaited at once; and one that is given up
/// may be dropped only when it was woken and has not been polled since.
fn poll_up_to<St: Store, F: Future>(log: &Log<St>, future: F, polls: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    let mut last = None;
    let called = &mut last;
    let output = block_on(poll_fn(move |cx| {
        let told = Arc::new(Called(AtomicBool::new(false), cx.waker().clone()));
        *called = Some(Arc::clone(&told));
        let waker = log.waker(&Waker::from(told));
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Poll::Ready(Some(output));
        }
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        if thread_rng().gen_range(0..4) == 0 {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }));
    if output.is_none() {
        (0..thread_rng().gen_range(0..6)).for_each(|_| thread::yield_now());
        let woken = last.is_some_and(|told| told.0.load(Ordering::Relaxed));
        log.tally.add("futures dropped after a wake-up", u64::from(woken));
    }
    output
}

/// How often a future is polled before it is given up: mostly until it is ready.
fn patience() -> u32 {
    if thread_rng().r#gen() { u32::MAX } else { thread_rng().gen_range(0..3) }
}

/// Appends and waits by futures, some of which are given up.
fn write_async<St: Store>(log: &Log<St>, writer: u8) -> Result<(), Error> {
    for index in 0..3 {
        let payload = payload(writer, index, [1300, 2100, 60][usize::from(index)]);
        let appended = poll_up_to(log, log.wal.append_async(&payload), patience());
        let lsn = match appended {
            Some(Ok(appended)) => {
                log.journal.appended(appended.lsn, payload);
                appended.lsn
            }
            Some(Err(Error::NoExecutor)) => {
                log.tally.add("waits ended by a dropped job", 1);
                log.append(writer, index, payload.len())?
            }
            Some(Err(error)) => {
                log.journal.failed(payload);
                return Err(error);
            }
            // Nothing has been appended.
            None => {
                log.tally.add("appends given up", 1);
                continue;
            }
        };
        let level =
            if thread_rng().r#gen() { Durability::PowerLoss } else { Durability::ProcessCrash };
        match poll_up_to(log, log.wal.reached(lsn, level), patience()) {
            Some(Ok(())) => log.reached(lsn, level),
            Some(Err(Error::NoExecutor)) => {
                log.tally.add("waits ended by a dropped job", 1);
                log.wait(lsn, level)?;
            }
            Some(Err(error)) => return Err(error),
            None => log.tally.add("waits given up", 1),
        }
    }
    Ok(())
}

/// Runs each job on a thread of its own, or drops one in `drops` (0: none).
#[derive(Clone, Default)]
struct Jobs {
    drops: u32,
    running: Arc<Mutex<Vec<JoinHandle<()>>>>,
    tally: Tally,
}

impl Executor for Jobs {
    fn execute(&self, job: Box<dyn FnOnce() + Send + 'static>) {
        if self.drops > 0 && thread_rng().gen_range(0..self.drops) == 0 {
            self.tally.add("dropped jobs", 1);
            return;
        }
        self.tally.add("jobs", 1);
        let thread = thread::spawn(job);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
}

impl Jobs {
    /// Waits until no job is left.
    fn join(&self) {
        loop {
            let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match running {
                Some(thread) => join(vec![thread]),
                None => return,
            };
        }
    }
}

/// Gives up a wait that cannot end, being behind an open reservation: nothing is left of it.
fn give_up_for_good<St: Store>(log: &Log<St>, settle: impl Fn()) {
    let reservation = match log.wal.reserve(8) {
        Ok(reservation) => reservation,
        Err(error) => panic!("{error}"),
    };
    if let Some(lsn) = reservation.lsn() {
        let ended = poll_up_to(log, log.wal.durable(lsn), 0);
        // Unless a job was dropped, which ends it.
        assert!(matches!(ended, None | Some(Err(Error::NoExecutor))), "{ended:?}");
        settle();
        log.check_wakers();
    }
}

fn with_executor<St: Store>(tally: &Tally, drops: u32) {
    let jobs = Jobs { drops, tally: tally.clone(), ..Jobs::default() };
    let log = Log::<St>::open(tally, 2, tiny(2).executor(jobs.clone()));
    let futures = (0..2).map(|writer| log.spawn(move |log| write_async(&log, writer)));
    let threads = (2..3).map(|writer| log.spawn(move |log| write(&log, writer, 3, &[1200, 2600])));
    join_ok(futures.chain(threads).collect());
    jobs.join();
    give_up_for_good(&log, || jobs.join());
    jobs.join();
    log.finish();
}

/// Futures and threads on one log, with an executor that runs its jobs.
pub fn executor_futures<St: Store>() {
    let body = |tally: &Tally| with_executor::<St>(tally, 0);
    let happens = &[
        "jobs",
        "waits given up",
        "appends given up",
        "futures dropped after a wake-up",
        "changes of the leader",
    ];
    Scenario { name: "executor_futures", schedules: 2_000, happens, stalls: &[], body }.explore();
}

/// The same with an executor that drops jobs: futures end with an error, threads lead.
pub fn dropped_jobs<St: Store>() {
    let body = |tally: &Tally| with_executor::<St>(tally, 3);
    let happens = &["jobs", "dropped jobs", "waits ended by a dropped job", "waits given up"];
    Scenario { name: "dropped_jobs", schedules: 2_000, happens, stalls: &[], body }.explore();
}

/// A sink that never blocks needs no executor: whoever polls leads.
pub fn unblocking_sink<St: Store>() {
    let body = |tally: &Tally| {
        let log = Log::<St>::open(tally, 2, tiny(2));
        log.control.set(Faults { never_blocks: true, ..Faults::default() });
        let futures = (0..2).map(|writer| log.spawn(move |log| write_async(&log, writer)));
        let threads = (2..3).map(|w| log.spawn(move |log| write(&log, w, 3, &[1200, 2600])));
        join_ok(futures.chain(threads).collect());
        give_up_for_good(&log, || ());
        log.finish();
    };
    let happens = &[
        "waits given up",
        "futures dropped after a wake-up",
        "changes of the leader",
        "rotations",
    ];
    Scenario { name: "unblocking_sink", schedules: 2_000, happens, stalls: &[], body }.explore();
}

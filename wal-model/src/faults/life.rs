//! One life of a log: opened, told what to do, and ended by fate.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use wal_core::sink::SinkOp;
use wal_core::testing::sim::SimDisk;
use wal_core::{Durability, Error, Lsn, Options, RecoveryReport, Reservation, Wal};

use super::medium::Medium;
use super::oracle::{Found, Oracle};

/// What a life is told to do. Whatever would wait for the life itself is left out by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Append a record of so many bytes.
    Append(usize),
    /// Append a batch of so many records of so many bytes.
    Batch(usize, usize),
    /// Reserve room for a record of so many bytes, and keep it: another writer at work.
    Hold(usize),
    /// Fill and commit the reservation held longest.
    Commit,
    /// Drop the newest reservation held.
    Abandon,
    /// Begin to wait for the newest record, without blocking: one more waiter.
    Wait,
    /// Look whether a wait is over.
    Poll,
    /// Drop the wait that began last.
    Cancel,
    /// Hand everything to the system.
    Flush,
    /// Make everything durable.
    Sync,
    /// Write the watermark.
    Mark,
    /// Free what lies before the record that is so many before the newest.
    Truncate(usize),
    /// Cut the log back: the record that is so many before the newest goes, with all behind it.
    Cut(usize),
    /// Close.
    Close,
}

/// An oracle that a life and an observer of the disk share.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Oracle>>);

impl Shared {
    /// The oracle, which nobody else has at this time.
    pub fn get(&self) -> MutexGuard<'_, Oracle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Work that futures have given away, done when the life gets to it.
#[derive(Clone, Default)]
struct Jobs(Arc<Mutex<VecDeque<Job>>>);

impl Jobs {
    fn push(&self, job: Job) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
    }

    fn run(&self) {
        loop {
            // Not held while the job runs: it may give away more.
            let job = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match job {
                Some(job) => job(),
                None => return,
            }
        }
    }
}

/// A log that was opened, and its work that others would do.
pub struct Opened<M: Medium> {
    /// The log.
    pub wal: Wal<M::Sink>,
    /// What recovery said.
    pub report: RecoveryReport,
    jobs: Jobs,
}

/// Opens the log on `disk`.
///
/// # Errors
///
/// As [`Wal::open`].
pub fn open<M: Medium>(disk: &SimDisk, options: &Options) -> Result<Opened<M>, Error> {
    let jobs = Jobs::default();
    let queue = jobs.clone();
    let options = options.clone().executor(move |job: Job| queue.push(job));
    let (wal, report) = Wal::open(M::open(disk)?, options)?;
    Ok(Opened { wal, report, jobs })
}

/// All records of an open log.
///
/// # Errors
///
/// The first error of reading.
pub fn records<M: Medium>(opened: &Opened<M>) -> Result<Vec<Found>, Error> {
    let wal = &opened.wal;
    let all = wal.iter_from(wal.start_lsn())?;
    all.map(|record| record.map(|record| (record.lsn, record.payload))).collect()
}

type Wait = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// What goes on in a life: reservations held and waits begun.
pub struct Life<'a, M: Medium> {
    opened: &'a Opened<M>,
    oracle: Shared,
    held: VecDeque<(Reservation<'a, M::Sink>, Vec<u8>)>,
    waits: VecDeque<(Lsn, Wait)>,
    /// Why nothing more goes.
    pub ended: Option<Error>,
}

impl<'a, M: Medium> Life<'a, M> {
    /// A life of an open log.
    #[must_use]
    pub fn new(opened: &'a Opened<M>, oracle: Shared) -> Self {
        Self { opened, oracle, held: VecDeque::new(), waits: VecDeque::new(), ended: None }
    }

    /// Does one thing, and tells the oracle what came of it.
    pub fn step(&mut self, op: Op) {
        let wal = &self.opened.wal;
        match op {
            Op::Append(len) => {
                let payload = self.oracle.get().payload(len);
                self.append(vec![payload]);
            }
            Op::Batch(count, len) => {
                let payloads = (0..count).map(|_| self.oracle.get().payload(len)).collect();
                self.append(payloads);
            }
            Op::Hold(len) => match wal.try_reserve(len) {
                Ok(reservation) => {
                    let payload = self.oracle.get().payload(len);
                    self.held.push_back((reservation, payload));
                }
                Err(error) => self.end_if_fatal(error),
            },
            Op::Commit => self.commit(),
            Op::Abandon => drop(self.held.pop_back()),
            Op::Wait => {
                let Some(lsn) = self.oracle.get().last() else { return };
                self.waits.push_back((lsn, Box::pin(wal.durable(lsn))));
                self.poll();
            }
            Op::Poll => self.poll(),
            Op::Cancel => drop(self.waits.pop_back()),
            Op::Flush => self.settle(Durability::ProcessCrash, Wal::flush),
            Op::Sync => self.settle(Durability::PowerLoss, Wal::sync),
            Op::Mark => self.settle(Durability::PowerLoss, Wal::mark_durable),
            Op::Truncate(back) => self.truncate(back),
            Op::Cut(back) => self.cut(back),
            Op::Close => {
                self.commit_all();
                self.settle(Durability::PowerLoss, |wal| wal.clone().close().map(drop));
            }
        }
    }

    fn append(&mut self, payloads: Vec<Vec<u8>>) {
        let wal = &self.opened.wal;
        self.oracle.get().begin(&payloads);
        // What it would wait for may be a reservation held here.
        let once = |wait: bool| match (&payloads[..], wait) {
            ([payload], true) => wal.append(payload),
            ([payload], false) => wal.try_append(payload),
            (batch, true) => wal.append_batch(batch),
            (batch, false) => wal.try_append_batch(batch),
        };
        let mut result = once(self.held.is_empty());
        if matches!(result, Err(Error::WouldBlock | Error::NeedsToWait { .. })) {
            self.oracle.get().refused();
            self.commit_all();
            self.oracle.get().begin(&payloads);
            result = once(true);
        }
        match result {
            Ok(appended) => self.oracle.get().appended(appended),
            Err(error) => {
                if matches!(error, Error::TooLarge { .. } | Error::Closed) {
                    self.oracle.get().refused();
                }
                self.end_if_fatal(error);
            }
        }
    }

    fn commit(&mut self) {
        let Some((mut reservation, payload)) = self.held.pop_front() else { return };
        reservation.copy_from_slice(&payload);
        self.oracle.get().begin(&[payload]);
        match reservation.commit() {
            Ok(appended) => self.oracle.get().appended(appended),
            Err(error) => self.end_if_fatal(error),
        }
    }

    fn commit_all(&mut self) {
        while !self.held.is_empty() {
            self.commit();
        }
    }

    /// Calls what acknowledges everything appended before.
    fn settle(
        &mut self,
        durability: Durability,
        call: impl FnOnce(&Wal<M::Sink>) -> Result<(), Error>,
    ) {
        // It would wait for them.
        self.commit_all();
        let next = self.opened.wal.next_lsn();
        match call(&self.opened.wal) {
            Ok(()) => self.oracle.get().acknowledge(next, durability),
            Err(error) => self.end_if_fatal(error),
        }
    }

    fn poll(&mut self) {
        self.opened.jobs.run();
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = VecDeque::new();
        while let Some((lsn, mut wait)) = self.waits.pop_front() {
            match wait.as_mut().poll(&mut context) {
                std::task::Poll::Ready(Ok(())) => {
                    self.oracle.get().acknowledge(lsn.advance(1), Durability::PowerLoss);
                }
                std::task::Poll::Ready(Err(error)) => self.end_if_fatal(error),
                std::task::Poll::Pending => waiting.push_back((lsn, wait)),
            }
        }
        self.waits = waiting;
        self.opened.jobs.run();
    }

    fn truncate(&mut self, back: usize) {
        let Some(lsn) = self.oracle.get().nth_last(back) else { return };
        self.oracle.get().truncate(lsn);
        match self.opened.wal.truncate_before(lsn) {
            Ok(done) => self.oracle.get().truncated(done.start),
            Err(error) => self.end_if_fatal(error),
        }
    }

    fn cut(&mut self, back: usize) {
        // It would wait for them.
        self.commit_all();
        let Some(lsn) = self.oracle.get().call_before(back) else { return };
        let end = self.opened.wal.next_lsn();
        self.oracle.get().cut(lsn);
        match self.opened.wal.truncate_after(lsn) {
            Ok(next) => {
                assert!(next >= end, "{next} is given out again");
                self.oracle.get().was_cut(next);
            }
            Err(Error::Sink(cause)) if cause.op == SinkOp::Remove => {
                let next = self.opened.wal.next_lsn();
                self.oracle.get().was_cut(next);
            }
            // The header may have got through.
            Err(error @ Error::Poisoned { .. }) => self.end_if_fatal(error),
            Err(error) => {
                self.oracle.get().was_not_cut();
                self.end_if_fatal(error);
            }
        }
    }

    /// After these, nothing more can come of this life. A full disk and a sink that refuses a file
    /// are none of them: what failed can be tried again.
    fn end_if_fatal(&mut self, error: Error) {
        if matches!(error, Error::Poisoned { .. } | Error::Closed) && self.ended.is_none() {
            self.ended = Some(error);
        }
    }
}

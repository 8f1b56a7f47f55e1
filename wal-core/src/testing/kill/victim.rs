//! The victim's side: writers that append, wait, truncate, and tell.

use std::io::{self, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::op::{Kind, Op, Shape, Wait};
use crate::error::Error;
use crate::format::record::stored_len;
use crate::lsn::Lsn;
use crate::recover::RecoveryReport;
use crate::sink::SegmentSink;
use crate::wal::Wal;

/// Whether this process was started to be killed.
#[must_use]
pub fn is_victim() -> bool {
    Shape::passed().is_some()
}

/// Opens the log, telling before and after, and appends until killed; with no writers, waits for
/// the end of standard input instead. Returns what ended it.
///
/// # Errors
///
/// The error of opening, or the first of a writer: nothing but the kill should end this.
pub fn victim<S: SegmentSink>(
    open: impl FnOnce(&Shape) -> Result<(Wal<S>, RecoveryReport), Error>,
) -> Result<(), Error> {
    let Some(shape) = Shape::passed() else { return Ok(()) };
    tell("opening");
    let (wal, report) = open(&shape)?;
    tell(&format!("ready {}", report.records));
    if shape.writers == 0 {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        return Ok(());
    }
    Writers::new(shape).run(&wal, &|_| {}).into_iter().next().map_or(Ok(()), Err)
}

/// Writes one line to standard output in one call, so that the lines of threads do not mix, and
/// past whatever a test harness captures. A parent that is gone is none of the victim's business.
fn tell(line: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(format!("{line}\n").as_bytes());
    let _ = out.flush();
}

/// The writers of a [`Shape`], for a process that does more than being killed.
#[derive(Debug)]
pub struct Writers {
    shape: Shape,
    acknowledgements: AtomicU64,
}

impl Writers {
    /// Writers that do what `shape` says.
    #[must_use]
    pub const fn new(shape: Shape) -> Self {
        Self { shape, acknowledgements: AtomicU64::new(0) }
    }

    /// Appends from all threads at once until each of them has failed, telling the parent on
    /// standard output, and returns their errors. `acknowledged` is called after each
    /// acknowledgement, with their number.
    ///
    /// # Panics
    ///
    /// If a writer does.
    pub fn run<S: SegmentSink>(
        &self,
        wal: &Wal<S>,
        acknowledged: &(dyn Fn(u64) + Sync),
    ) -> Vec<Error> {
        thread::scope(|scope| {
            let Shape { first_writer, writers, .. } = self.shape;
            let writer = |index| Writer { index, of: self, wal, acknowledged, records: Vec::new() };
            let threads: Vec<_> = (first_writer..first_writer + writers)
                .map(|index| scope.spawn(move || writer(index).run()))
                .collect();
            let ends = threads.into_iter().map(|thread| match thread.join() {
                Ok(error) => error,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ends.collect()
        })
    }
}

struct Writer<'a, S: SegmentSink> {
    index: u32,
    of: &'a Writers,
    wal: &'a Wal<S>,
    acknowledged: &'a (dyn Fn(u64) + Sync),
    /// Its records; of a batch, the last.
    records: Vec<Lsn>,
}

impl<S: SegmentSink> Writer<'_, S> {
    fn run(mut self) -> Error {
        let mut number = 0;
        loop {
            if let Err(error) = self.step(number) {
                return error;
            }
            number += 1;
        }
    }

    fn step(&mut self, number: u64) -> Result<(), Error> {
        let op = Op::of(&self.of.shape, self.index, number);
        tell(&format!("begin {} {number}", self.index));
        match op.kind {
            Kind::One => self.at(self.wal.append(&op.payloads[0])?.lsn, 0, &[]),
            Kind::Reserved => {
                let mut room = self.wal.reserve(op.payloads[0].len())?;
                room.copy_from_slice(&op.payloads[0]);
                self.at(room.commit()?.lsn, 0, &[]);
            }
            Kind::Group => {
                for payload in &op.payloads {
                    self.at(self.wal.append(payload)?.lsn, 0, &[]);
                }
            }
            Kind::Batch => {
                let lsn = self.wal.append_batch(&op.payloads)?.lsn;
                self.at(lsn, op.payloads.len() - 1, &op.payloads);
            }
            Kind::GivenUp => drop(self.wal.reserve(op.payloads[0].len())?),
        }
        self.wait(op.wait)?;
        op.truncate.map_or(Ok(()), |back| self.truncate(back))
    }

    /// Tells where the record is, or the batch whose `last` record is none of the first.
    fn at(&mut self, lsn: Lsn, last: usize, batch: &[Vec<u8>]) {
        tell(&format!("at {} {lsn}", self.index));
        let before: usize = batch.iter().take(last).map(|payload| stored_len(payload.len())).sum();
        self.records.push(lsn.advance(before as u64));
    }

    fn wait(&self, wait: Wait) -> Result<(), Error> {
        let Some(&last) = self.records.last() else { return Ok(()) };
        match wait {
            Wait::Durable => self.wal.wait_durable(last)?,
            Wait::Future => block_on(self.wal.durable(last))?,
            Wait::Sync => self.wal.sync()?,
            Wait::Mark => self.wal.mark_durable()?,
            Wait::Not => return Ok(()),
        }
        tell(&format!("durable {last}"));
        // Relaxed: only a count.
        (self.acknowledged)(self.of.acknowledgements.fetch_add(1, Ordering::Relaxed) + 1);
        Ok(())
    }

    /// Truncates the log before the record that came `back` before the last one, or the first one.
    fn truncate(&self, back: usize) -> Result<(), Error> {
        let index = self.records.len().saturating_sub(1 + back);
        let Some(&lsn) = self.records.get(index) else { return Ok(()) };
        tell(&format!("truncate {} {lsn}", self.index));
        let start = self.wal.truncate_before(lsn)?.start;
        tell(&format!("truncated {} {start}", self.index));
        Ok(())
    }
}

/// Runs a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

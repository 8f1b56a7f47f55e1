//! The log of one run: the real one, over the sink under test, with everything noted down.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Wake, Waker};

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{self, JoinHandle};
use wal_core::testing::Store;
use wal_core::{Appended, Durability, Error, Lsn, Options, Wal};

use super::explore::Tally;
use super::faulty::{Control, Faulty};
use super::journal::{Journal, payload};
use super::schedule::Mark;
use super::watch::Watch;

/// Options that make everything happen often: segments of one block, files of four.
pub(super) fn tiny(segments: usize) -> Options {
    let options = Options::default().segment_size(4096).segments(segments);
    options.file_size(5 * 4096).max_record_len(1 << 16).seed(1)
}

/// A disk as a crash would leave it, and what it must then hold.
struct Image<St> {
    store: St,
    acked: Option<Lsn>,
    what: &'static str,
}

/// A handle of the log under test and of what is noted about it. Clones share all of it.
pub(super) struct Log<St: Store> {
    pub(super) wal: Wal<Faulty<St::Sink>, Arc<Watch>>,
    pub(super) journal: Arc<Journal>,
    pub(super) control: Arc<Control>,
    pub(super) tally: Tally,
    watch: Arc<Watch>,
    store: Arc<St>,
    images: Arc<Mutex<Vec<Image<St>>>>,
    wakers: Arc<Mutex<Vec<Weak<Told>>>>,
}

/// A waker that is seen to be let go of.
struct Told(Waker);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

impl<St: Store> Clone for Log<St> {
    fn clone(&self) -> Self {
        Self {
            wal: self.wal.clone(),
            journal: Arc::clone(&self.journal),
            control: Arc::clone(&self.control),
            tally: self.tally.clone(),
            watch: Arc::clone(&self.watch),
            store: Arc::clone(&self.store),
            images: Arc::clone(&self.images),
            wakers: Arc::clone(&self.wakers),
        }
    }
}

/// Images of `store` now, if it gives any: power loss, and if asked the death of the process.
fn take_images<St: Store>(store: &St, journal: &Journal, process: bool) -> Vec<Image<St>> {
    // The marks first: what is acknowledged while the image is taken need not be in it.
    let marks = journal.marks();
    let power = store.power_loss().map(|store| Image {
        store,
        acked: marks.durable,
        what: "after a power loss",
    });
    let process = process.then(|| store.process_crash()).flatten().map(|store| Image {
        store,
        acked: marks.written.max(marks.durable),
        what: "after the death of the process",
    });
    power.into_iter().chain(process).collect()
}

impl<St: Store> Image<St> {
    fn check(&self, journal: &Journal) {
        check_store(&self.store, journal, self.acked, self.what);
    }
}

fn check_store<St: Store>(store: &St, journal: &Journal, acked: Option<Lsn>, what: &str) {
    let opened = store.open().and_then(|sink| Wal::open(sink, tiny(2).seed(2)));
    match opened {
        Ok((wal, _)) => journal.check(&wal, acked, what),
        Err(error) => panic!("{what}: it does not open: {error}"),
    }
}

impl<St: Store> Log<St> {
    /// Opens a new log on a new store, with a crash at a random moment of its life.
    pub(super) fn open(tally: &Tally, segments: usize, options: Options) -> Self {
        let store = Arc::new(St::new());
        let journal = Arc::new(Journal::default());
        let images = Arc::new(Mutex::new(Vec::new()));
        let steps = AtomicU32::new(thread_rng().gen_range(0..32));
        let process = thread_rng().r#gen();
        let before = {
            let (store, journal, images) =
                (Arc::clone(&store), Arc::clone(&journal), Arc::clone(&images));
            move || {
                if steps.fetch_sub(1, Ordering::Relaxed) == 0 {
                    let taken = take_images(&*store, &journal, process);
                    images.lock().unwrap_or_else(PoisonError::into_inner).extend(taken);
                }
            }
        };
        let control = Arc::new(Control::new(Box::new(before)));
        let watch = Arc::new(Watch::new(segments));
        let opened = store.open().and_then(|sink| {
            let sink = Faulty::new(sink, Arc::clone(&control));
            Wal::open_with_probe(sink, options, Arc::clone(&watch))
        });
        let wal = match opened {
            Ok((wal, _)) => wal,
            Err(error) => panic!("a new log does not open: {error}"),
        };
        Self {
            wal,
            journal,
            control,
            tally: tally.clone(),
            watch,
            store,
            images,
            wakers: Arc::default(),
        }
    }

    /// Runs `body` in a thread of its own, with a handle of its own.
    pub(super) fn spawn<R: Send + 'static>(
        &self,
        body: impl FnOnce(Self) -> R + Send + 'static,
    ) -> JoinHandle<R> {
        let log = self.clone();
        thread::spawn(move || body(log))
    }

    pub(super) fn append(&self, writer: u8, index: u8, len: usize) -> Result<Lsn, Error> {
        let payload = payload(writer, index, len);
        Mark::Attempt.set();
        let appended = self.wal.append(&payload);
        self.note(payload, appended)
    }

    /// Notes what has become of a record.
    fn note(&self, payload: Vec<u8>, appended: Result<Appended, Error>) -> Result<Lsn, Error> {
        match appended {
            Ok(appended) => {
                self.journal.appended(appended.lsn, payload);
                Ok(appended.lsn)
            }
            Err(error) => {
                self.journal.failed(payload);
                Err(error)
            }
        }
    }

    /// The same through a reservation that is filled in two parts.
    pub(super) fn reserve(&self, writer: u8, index: u8, len: usize) -> Result<Lsn, Error> {
        let payload = payload(writer, index, len);
        let appended = self.wal.reserve(payload.len()).and_then(|mut reservation| {
            let half = payload.len() / 2;
            reservation[..half].copy_from_slice(&payload[..half]);
            thread::yield_now();
            reservation[half..].copy_from_slice(&payload[half..]);
            reservation.commit()
        });
        self.note(payload, appended)
    }

    /// Several records as one; returns the last one's position.
    pub(super) fn batch(&self, writer: u8, index: u8, lens: &[usize]) -> Result<Lsn, Error> {
        let payloads: Vec<_> =
            lens.iter().zip(index..).map(|(&len, index)| payload(writer, index, len)).collect();
        match self.wal.append_batch(&payloads) {
            Ok(appended) => {
                let mut lsn = appended.lsn;
                let mut records = Vec::new();
                for payload in payloads {
                    let next = wal_core::format::record::stored_len(payload.len()) as u64;
                    records.push((lsn, payload));
                    lsn = lsn.advance(next);
                }
                assert_eq!(lsn, appended.end);
                let last = records[records.len() - 1].0;
                self.journal.appended_batch(records);
                Ok(last)
            }
            Err(error) => {
                payloads.into_iter().for_each(|payload| self.journal.failed(payload));
                Err(error)
            }
        }
    }

    /// Waits for the record at `lsn`, and notes what that promises.
    pub(super) fn wait(&self, lsn: Lsn, level: Durability) -> Result<(), Error> {
        self.wal.wait(lsn, level)?;
        self.reached(lsn, level);
        Ok(())
    }

    /// A wait for the record at `lsn` is over.
    pub(super) fn reached(&self, lsn: Lsn, level: Durability) {
        match level {
            Durability::PowerLoss => {
                assert!(self.wal.durable_lsn() > lsn, "acknowledged before it was durable");
                self.journal.durable(lsn);
            }
            Durability::ProcessCrash => {
                assert!(self.wal.written_lsn() > lsn, "acknowledged before it was written");
                self.journal.written(lsn);
            }
            _ => {}
        }
    }

    /// Makes everything durable that anybody has appended, and notes it.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let last = self.journal.last();
        self.wal.sync()?;
        last.into_iter().for_each(|last| self.reached(last, Durability::PowerLoss));
        Ok(())
    }

    /// Has everything written that anybody has appended, and notes it.
    pub(super) fn flush(&self) -> Result<(), Error> {
        let last = self.journal.last();
        self.wal.flush()?;
        last.into_iter().for_each(|last| self.reached(last, Durability::ProcessCrash));
        Ok(())
    }

    /// Truncates the log before `lsn`, and notes it.
    pub(super) fn truncate(&self, lsn: Lsn) -> Result<Lsn, Error> {
        self.journal.truncated(lsn);
        self.wal.truncate_before(lsn).map(|done| done.start)
    }

    /// A waker that wakes `waker`, and of which nothing may be left at the end.
    pub(super) fn waker(&self, waker: &Waker) -> Waker {
        let told = Arc::new(Told(waker.clone()));
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.push(Arc::downgrade(&told));
        Waker::from(told)
    }

    /// When nobody waits: no waker is kept.
    pub(super) fn check_wakers(&self) {
        let wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = wakers.iter().filter(|waker| waker.strong_count() > 0).count();
        assert!(kept == 0, "{kept} of {} wakers are kept though nobody waits", wakers.len());
    }

    /// The end of a run, when all threads have ended: takes the last images and checks them all.
    pub(super) fn finish(self) {
        self.watch.check();
        self.check_wakers();
        self.watch.report(&self.tally);
        let counts = self.control.counts();
        self.tally.add("injected failures", counts.failures);
        self.tally.add("writes ended out of order", counts.out_of_order);
        self.tally.add("runs with 3 writes in flight", u64::from(counts.most_in_flight >= 3));
        self.tally.add("syncs beside a write", counts.synced_beside_a_write);
        self.tally.add("writes started and left", counts.started_and_left);
        self.tally.add("retired files", counts.retired);
        self.tally.add("files retired beside a call", counts.retired_beside_a_call);
        let process = self.journal.marks().written.is_some();
        let last = take_images(&*self.store, &self.journal, process);
        let Self { wal, journal, store, images, tally, .. } = self;
        drop(wal);
        if last.is_empty() {
            check_store(&*store, &journal, journal.marks().durable, "opened again");
        }
        let images = std::mem::take(&mut *images.lock().unwrap_or_else(PoisonError::into_inner));
        tally.add("crashes in between", u64::from(!images.is_empty()));
        images.iter().chain(&last).for_each(|image| image.check(&journal));
    }
}

/// Unwinds without the panic hook, which would report a schedule that fails; to be caught with
/// [`as_told`].
pub(super) fn panic_as_told() -> ! {
    std::panic::resume_unwind(Box::new(AsTold))
}

struct AsTold;

/// What `run` returns, or `None` if it panicked as told. Any other panic goes on.
pub(super) fn as_told<R>(run: impl FnOnce() -> R) -> Option<R> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
        Ok(ended) => Some(ended),
        Err(panic) if panic.is::<AsTold>() => None,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Waits for all threads; a panic in one has ended the run.
pub(super) fn join<R>(threads: Vec<JoinHandle<R>>) -> Vec<R> {
    let ended = threads.into_iter().map(JoinHandle::join);
    ended.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
}

/// The same, for threads that must succeed.
pub(super) fn join_ok(threads: Vec<JoinHandle<Result<(), Error>>>) {
    for ended in join(threads) {
        if let Err(error) = ended {
            panic!("a call failed on a sink that is well: {error}");
        }
    }
}

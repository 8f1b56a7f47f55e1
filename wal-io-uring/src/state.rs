//! What whoever drives the sink has: the ring, the memory lent to it, and what is in flight.
//!
//! # Who may touch what
//!
//! 1. From [`Queue::push`] to the completion, the bytes of a piece belong to the ring. They are the
//!    caller's, who keeps them until the end of the write was reported; or a buffer of [`Bounce`],
//!    which stays taken; both lie in memory that is given back behind the ring.
//! 2. The file of a piece stays open that long, and its number in the ring its own: the
//!    [`Flight`] holds it.
//! 3. A write is reported when none of its pieces is in the ring any more, well or badly.
//! 4. Nothing here is dropped before no piece is in the ring: [`State::drain`].
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use wal_core::sink::{Completion, SinkOp, Submitted, Write};
use wal_core::{SegmentMemory, SinkError};
use wal_io_std::direct;
use wal_io_std::files::{LogFiles, OpenFile};
use wal_io_std::sys::FileLayer;

use crate::features::{Counters, Features};
use crate::flight::{Flight, Piece, Pieces, Verdict, stray};
use crate::kernel::{FILES, MEMORIES};
use crate::lock;
use crate::memory::{Bounce, Region};
use crate::queue::{Op, Queue};

/// The longest piece: well inside of what the kernel writes with one call (2 GiB).
const LONGEST: usize = 1 << 30;
/// The registered number of the memory of [`Bounce`].
const BOUNCE: u16 = 0;

/// What the sink keeps with an open file.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    slot: Option<Slot>,
}

/// A number of a registered file. Dropped, it waits for [`State::release_slots`].
#[derive(Debug)]
struct Slot {
    number: u32,
    released: Arc<Mutex<Vec<u32>>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.released).push(self.number);
    }
}

/// What the state works with and does not own.
pub(crate) struct Context<'a, L: FileLayer> {
    pub(crate) files: &'a LogFiles<L, Attached>,
    pub(crate) features: &'a Mutex<Features>,
    pub(crate) counters: &'a Counters,
}

type File<L> = OpenFile<<L as FileLayer>::File, Attached>;

/// See the [module documentation](self).
pub(crate) struct State<Q, L: FileLayer> {
    /// First: it lets go of everything below.
    queue: Q,
    bounce: Bounce,
    /// Registered segments by address: their ends and numbers, and the memory itself.
    regions: BTreeMap<usize, (usize, u16, Arc<Region>)>,
    pieces: Pieces,
    flights: BTreeMap<u64, Flight<L::File, Attached>>,
    next_flight: u64,
    /// Ends that were not reported yet.
    done: Vec<Completion>,
    /// The end of a write that is waited for.
    ended: Option<(u64, Result<(), SinkError>)>,
    /// Why the ring takes nothing more.
    broken: Option<String>,
    free_slots: Vec<u32>,
    released: Arc<Mutex<Vec<u32>>>,
    /// Whether segments and files are registered.
    register: bool,
    bounce_registered: bool,
    /// What pieces are aligned to.
    align: usize,
    direct: bool,
    durable: bool,
    /// Whether a file has taken a direct write.
    tried: bool,
}

impl<Q: Queue<L::File>, L: FileLayer> State<Q, L> {
    pub(crate) fn new(
        mut queue: Q,
        align: Option<usize>,
        durable: bool,
        register: bool,
        features: &mut Features,
    ) -> io::Result<Self> {
        let bounce = Bounce::new()?;
        let mut bounce_registered = false;
        if register {
            let region = bounce.region();
            // SAFETY: the region goes behind the queue, being a later field.
            match unsafe { queue.register_memory(BOUNCE, region.as_ptr().as_ptr(), region.len()) } {
                Ok(()) => bounce_registered = true,
                Err(error) => features.missing.push(not_registered(&error)),
            }
        }
        let capacity = queue.capacity();
        Ok(Self {
            queue,
            bounce,
            regions: BTreeMap::new(),
            pieces: Pieces::new(capacity),
            flights: BTreeMap::new(),
            next_flight: 0,
            done: Vec::new(),
            ended: None,
            broken: None,
            free_slots: (0..FILES).rev().collect(),
            released: Arc::default(),
            register: register && bounce_registered,
            bounce_registered,
            align: align.unwrap_or(1),
            direct: align.is_some(),
            durable: align.is_some() && durable,
            tried: false,
        })
    }

    /// Whether each write is durable when it ends.
    pub(crate) const fn writes_durably(&self) -> bool {
        self.durable
    }

    /// Memory for a segment, registered if it can be.
    pub(crate) fn memory(
        &mut self,
        len: usize,
        cx: &Context<'_, L>,
    ) -> Result<SegmentMemory, SinkError> {
        let failed = |source| SinkError::of(SinkOp::Memory, source);
        let region = Arc::new(Region::new(len).map_err(failed)?);
        let number = u16::try_from(self.regions.len() + 1).unwrap_or(u16::MAX);
        if self.register && u32::from(number) < MEMORIES {
            let from = region.as_ptr();
            // SAFETY: `regions` keeps the region until the queue is gone.
            match unsafe { self.queue.register_memory(number, from.as_ptr(), len) } {
                Ok(()) => {
                    let at = from.addr().get();
                    self.regions.insert(at, (at + len, number, Arc::clone(&region)));
                    lock(cx.features).registered_segments += 1;
                }
                Err(error) => {
                    // The next ones will not fit either.
                    self.register = false;
                    lock(cx.features).missing.push(not_registered(&error));
                }
            }
        }
        // SAFETY: a region of `len` initialised bytes (pages are zeros), aligned to a page, which
        // the owner keeps mapped. Only the ring reads them, for a write in flight.
        Ok(unsafe { SegmentMemory::from_raw(region.as_ptr(), len, Box::new(region)) })
    }

    /// Makes an open file ready for writes.
    pub(crate) fn attach(&mut self, file: &File<L>, cx: &Context<'_, L>) -> io::Result<()> {
        if file.attached.get().is_some() {
            return Ok(());
        }
        if self.direct {
            match self.bypass(file, cx) {
                Ok(()) => {}
                // Found out before anything was written: the other way is open.
                Err(error) if !self.tried => {
                    self.direct = false;
                    self.durable = false;
                    let mut features = lock(cx.features);
                    (features.direct, features.durable_writes) = (false, false);
                    features.missing.push(format!("direct durable writes are refused: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        self.release_slots();
        let mut slot = None;
        if lock(cx.features).registered_files
            && let Some(number) = self.free_slots.pop()
        {
            match self.queue.register_file(number, Some(&file.file)) {
                Ok(()) => slot = Some(Slot { number, released: Arc::clone(&self.released) }),
                Err(error) => {
                    let mut features = lock(cx.features);
                    features.registered_files = false;
                    features.missing.push(format!("files cannot be registered: {error}"));
                }
            }
        }
        let _ = file.attached.set(Attached { slot });
        Ok(())
    }

    /// Has a file written past the page cache; the first one is tried out.
    fn bypass(&mut self, file: &File<L>, cx: &Context<'_, L>) -> io::Result<()> {
        cx.files.bypass_cache(file)?;
        if !self.tried {
            cx.files.try_write_through(file, self.align)?;
            self.tried = true;
        }
        Ok(())
    }

    /// Unregisters the files that were closed.
    pub(crate) fn release_slots(&mut self) {
        let released = std::mem::take(&mut *lock(&self.released));
        for number in released {
            // One that stays registered is not given to another file.
            if self.queue.register_file(number, None).is_ok() {
                self.free_slots.push(number);
            }
        }
    }

    /// Starts a write; if `wait`, goes on until it has ended. Does not unwind before the ring has
    /// let go of everything: the bytes may be on the stack.
    ///
    /// # Safety
    ///
    /// Unless `wait` is true: as for [`SegmentSink::submit`](wal_core::SegmentSink::submit).
    pub(crate) unsafe fn start(
        &mut self,
        write: &Write<'_>,
        wait: bool,
        cx: &Context<'_, L>,
    ) -> Submitted {
        let id = self.next_flight;
        self.next_flight += 1;
        let started = catch_unwind(AssertUnwindSafe(|| self.try_start(id, write, wait, cx)));
        match started {
            Ok(Ok(None)) => Submitted::Pending,
            Ok(Ok(Some(result))) => Submitted::Done(result),
            Ok(Err(error)) => Submitted::Done(Err(cx.files.fail(error))),
            Err(panic) => {
                let guard = AbortOnUnwind;
                self.drain(cx);
                if let Some(flight) = self.flights.remove(&id) {
                    cx.files.end(&flight.file, false);
                }
                let source = io::Error::other("a panic while writing");
                cx.files.fail(SinkError::of(SinkOp::Panic, source));
                std::mem::forget(guard);
                resume_unwind(panic)
            }
        }
    }

    /// Puts a write into the ring, and waits for it if told to: `None` if it is in flight. An error
    /// means that nothing was put there.
    fn try_start(
        &mut self,
        id: u64,
        write: &Write<'_>,
        wait: bool,
        cx: &Context<'_, L>,
    ) -> Result<Option<Result<(), SinkError>>, SinkError> {
        self.put(id, write, wait, cx)?;
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.open = false;
        }
        self.finish(id, cx);
        if !wait {
            return Ok(None);
        }
        loop {
            match self.ended.take() {
                Some((ended, result)) if ended == id => return Ok(Some(result)),
                _ => self.turn(self.soonest(), cx),
            }
        }
    }

    /// Puts the pieces of a write into the ring. An error means that none is there.
    fn put(
        &mut self,
        id: u64,
        write: &Write<'_>,
        wait: bool,
        cx: &Context<'_, L>,
    ) -> Result<(), SinkError> {
        cx.files.check(SinkOp::Write, Some(write.file))?;
        let to = write.offset.saturating_add(write.len() as u64);
        let file = cx.files.begin(write.file, to)?;
        let failed = cx.files.failed(SinkOp::Write, write.file, Some(write.offset));
        // One that was closed is open anew.
        let pieces = match self.attach(&file, cx) {
            Ok(()) => direct::Pieces::new(write, self.align),
            Err(error) => Err(error),
        };
        let mut pieces = pieces.map_err(|error| {
            cx.files.end(&file, false);
            failed(error)
        })?;
        let ticket = (!wait).then_some(write.ticket);
        self.flights.insert(id, Flight { ticket, file, pieces: 0, open: true, error: None });
        let mut offset = write.offset;
        while self.flights.get(&id).is_some_and(|flight| flight.error.is_none()) {
            if self.pieces.is_full() {
                self.turn(1, cx);
                continue;
            }
            let (from, len, bounce) = if let Some(own) = pieces.own(LONGEST) {
                (own.as_ptr(), own.len(), None)
            } else {
                let copied = self.bounce.take(|buffer| pieces.copy(buffer));
                let Some((number, len)) = copied else {
                    self.turn(1, cx);
                    continue;
                };
                if len == 0 {
                    self.bounce.give_back(number);
                    break;
                }
                Counters::add(&cx.counters.copied, len as u64);
                (self.bounce.at(number), len, Some(number))
            };
            let memory = match bounce {
                Some(_) => self.bounce_registered.then_some(BOUNCE),
                None => self.registered(from.addr(), len),
            };
            self.push(Piece { flight: id, from, len, offset, memory, bounce, attempts: 0 }, cx);
            offset += len as u64;
        }
        Ok(())
    }

    /// The number of the registered memory that these bytes are in.
    fn registered(&self, from: usize, len: usize) -> Option<u16> {
        let (_, (end, number, _)) = self.regions.range(..=from).next_back()?;
        (from + len <= *end).then_some(*number)
    }

    /// Pushes a piece; the caller has seen that there is room.
    fn push(&mut self, piece: Piece, cx: &Context<'_, L>) {
        let Some(flight) = self.flights.get_mut(&piece.flight) else { return };
        flight.pieces += 1;
        if let Some(why) = &self.broken {
            let error = io::Error::other(format!("the ring takes nothing more: {why}"));
            return self.settle(piece, Err(error), cx);
        }
        let Some(id) = self.pieces.insert(piece) else {
            let error = io::Error::other("there is no room in the ring");
            return self.settle(piece, Err(error), cx);
        };
        let op = Op {
            id: id as u64,
            from: piece.from,
            len: piece.len as u32,
            offset: piece.offset,
            memory: piece.memory,
            slot: flight.file.attached.get().and_then(|with| with.slot.as_ref()).map(|s| s.number),
            durable: self.durable,
            patient: piece.attempts > 0,
        };
        Counters::add(&cx.counters.pushed, 1);
        // SAFETY: rules 1 and 2.
        unsafe { self.queue.push(&op, &flight.file.file) };
    }

    /// Completions that a write can be over with, at the least.
    fn soonest(&self) -> usize {
        let pieces = self.flights.values().map(|flight| flight.pieces).filter(|&count| count > 0);
        pieces.min().unwrap_or(1)
    }

    /// One call of the system: hands over what was pushed, and blocks for so many completions; then
    /// takes all there are.
    fn turn(&mut self, wanted: usize, cx: &Context<'_, L>) {
        if self.broken.is_some() {
            // What the kernel has, it completes; it can only not be waited for asleep.
            std::thread::yield_now();
        } else {
            Counters::add(&cx.counters.enters, 1);
            match self.queue.enter(if self.pieces.is_empty() { 0 } else { wanted }) {
                Ok(count) => self.pieces.handed_over(count),
                Err(error) if is_passing(&error) => {}
                Err(error) => self.give_up(&error, cx),
            }
        }
        self.take_completions(cx);
    }

    fn take_completions(&mut self, cx: &Context<'_, L>) {
        while let Some((id, result)) = self.queue.pop() {
            let Some(piece) = self.pieces.remove(id) else {
                cx.files.fail(SinkError::of(SinkOp::Write, stray(id)));
                continue;
            };
            match piece.judge(result, if self.direct { self.align } else { 1 }) {
                Verdict::Written => self.settle(piece, Ok(()), cx),
                Verdict::Failed(error) => self.settle(piece, Err(error), cx),
                Verdict::Again(rest) => {
                    Counters::add(&cx.counters.resumed, 1);
                    if let Some(flight) = self.flights.get_mut(&rest.flight) {
                        flight.pieces -= 1;
                    }
                    self.push(rest, cx);
                }
            }
        }
    }

    /// The ring cannot be used any more: what it was not given yet has failed. What it was given
    /// comes back.
    fn give_up(&mut self, error: &io::Error, cx: &Context<'_, L>) {
        self.broken = Some(error.to_string());
        while let Some(piece) = self.pieces.take_back() {
            let again = error.raw_os_error().map_or_else(
                || io::Error::new(error.kind(), error.to_string()),
                io::Error::from_raw_os_error,
            );
            self.settle(piece, Err(again), cx);
        }
    }

    /// A piece is out of the ring.
    fn settle(&mut self, piece: Piece, result: io::Result<()>, cx: &Context<'_, L>) {
        if let Some(number) = piece.bounce {
            self.bounce.give_back(number);
        }
        let Some(flight) = self.flights.get_mut(&piece.flight) else { return };
        flight.pieces -= 1;
        if let Err(error) = result
            && flight.error.is_none()
        {
            let failed =
                cx.files.failed(SinkOp::Write, flight.file.sequence, Some(piece.offset))(error);
            // At once, whatever else of the write is still in the ring.
            flight.error = Some(cx.files.fail(failed));
        }
        self.finish(piece.flight, cx);
    }

    /// Reports a write if it is over: rule 3.
    fn finish(&mut self, id: u64, cx: &Context<'_, L>) {
        let over = self.flights.get(&id).is_some_and(|flight| !flight.open && flight.pieces == 0);
        if !over {
            return;
        }
        let Some(flight) = self.flights.remove(&id) else { return };
        cx.files.end(&flight.file, flight.error.is_none());
        let result = flight.error.map_or(Ok(()), Err);
        match flight.ticket {
            Some(ticket) => self.done.push(Completion { ticket, result }),
            None => self.ended = Some((id, result)),
        }
    }

    /// Collects the ends of writes; with `wait`, blocks until there is one, if anything is in
    /// flight.
    pub(crate) fn reap(&mut self, wait: bool, done: &mut Vec<Completion>, cx: &Context<'_, L>) {
        if self.pieces.has_pushed() {
            let wanted = if wait && self.done.is_empty() { self.soonest() } else { 0 };
            self.turn(wanted, cx);
        } else {
            self.take_completions(cx);
        }
        while wait && self.done.is_empty() && !self.flights.is_empty() {
            self.turn(self.soonest(), cx);
        }
        done.append(&mut self.done);
    }

    /// Waits until nothing is in the ring: rule 4.
    pub(crate) fn drain(&mut self, cx: &Context<'_, L>) {
        while !self.pieces.is_empty() {
            self.turn(1, cx);
        }
    }
}

/// Ends the process if it is dropped, and is forgotten where all is well: the ring may read bytes of
/// a stack that is about to unwind.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Whether a call that failed is to be made again: it was interrupted, or what was pushed has to
/// wait for memory, or for completions to be taken.
fn is_passing(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Interrupted
        || matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY))
}

fn not_registered(error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        Some(libc::ENOMEM) => "; more may be pinned with a higher RLIMIT_MEMLOCK (`ulimit -l`)",
        _ => "",
    };
    format!("segments cannot all be registered: {error}{advice}")
}

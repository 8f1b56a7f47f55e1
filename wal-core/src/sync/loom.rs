//! A model checker for memory orderings: it tries interleavings and, for every load, each value
//! that the memory model allows (unsafe file: its cells are not `Sync`).
#![allow(unsafe_code)]

use std::ops::{Deref, Range};

use loom::cell::UnsafeCell;
pub(crate) use loom::hint::spin_loop;
use loom::sync::Condvar;
use loom::sync::atomic;
pub(crate) use loom::sync::atomic::{Ordering, fence};
pub(crate) use loom::sync::{Mutex, MutexGuard};
pub(crate) use loom::thread::yield_now;
pub(crate) use loom::thread_local;

use super::{Arc, PoisonError, lock};

/// An atomic whose stores come behind every read-modify-write made before them. The checker's own
/// may come to lie between the two halves of one that its thread has not seen, which no memory
/// model allows. Price: stores of two threads are never reordered against the schedule.
macro_rules! atomic {
    ($name:ident, $value:ty, $touch:ident, $neutral:expr) => {
        #[derive(Default)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                // Changes and orders nothing, but is last; nobody runs until the store is made.
                self.0.$touch($neutral, Ordering::Relaxed);
                loom::stop_exploring();
                self.0.store(value, order);
                loom::explore();
            }
        }

        impl Deref for $name {
            type Target = atomic::$name;

            fn deref(&self) -> &atomic::$name {
                &self.0
            }
        }
    };
}

atomic!(AtomicBool, bool, fetch_or, false);
atomic!(AtomicU8, u8, fetch_or, 0);
atomic!(AtomicU64, u64, fetch_or, 0);

/// All threads are alike: numbering them would order them. Tests of the ring choose lanes themselves.
pub(crate) fn lane() -> usize {
    0
}

/// Fails the model when two accesses to a byte, one of them a write, are not ordered: a reader
/// that is too early, writers that overlap. The bytes themselves stay where they are; a cell
/// stands for 8 of them.
#[derive(Clone)]
pub(crate) struct Tracker {
    cells: Arc<[UnsafeCell<()>]>,
    at: usize,
}

impl Tracker {
    const UNIT: usize = 8;

    pub(crate) fn new(len: usize) -> Self {
        let cells = (0..len.div_ceil(Self::UNIT)).map(|_| UnsafeCell::new(())).collect();
        Self { cells, at: 0 }
    }

    /// The tracker of the bytes from `at` on.
    pub(crate) fn from(&self, at: usize) -> Self {
        Self { cells: Arc::clone(&self.cells), at: self.at + at }
    }

    pub(crate) fn read(&self, range: Range<usize>) {
        self.cells(range).iter().for_each(|cell| cell.with(|_| ()));
    }

    pub(crate) fn write(&self, range: Range<usize>) {
        self.cells(range).iter().for_each(|cell| cell.with_mut(|_| ()));
    }

    fn cells(&self, range: Range<usize>) -> &[UnsafeCell<()>] {
        let (start, end) = (self.at + range.start, self.at + range.end);
        &self.cells[start / Self::UNIT..end.div_ceil(Self::UNIT)]
    }
}

// SAFETY: nothing is in the cells, and the checker notes accesses for whichever thread makes them.
unsafe impl Send for Tracker {}
// SAFETY: as above.
unsafe impl Sync for Tracker {}

/// A thread that can be woken. The checker's own `unpark` passes everything on at once; this one
/// promises what the standard library's does: who consumes a token sees what came before it.
#[derive(Clone)]
pub(crate) struct Thread(Arc<Token>);

struct Token {
    there: Mutex<bool>,
    arrived: Condvar,
}

thread_local! {
    static CURRENT: Thread =
        Thread(Arc::new(Token { there: Mutex::new(false), arrived: Condvar::new() }));
}

pub(crate) fn current() -> Thread {
    CURRENT.with(Thread::clone)
}

pub(crate) fn park() {
    let Thread(token) = current();
    let mut there = lock(&token.there);
    while !*there {
        there = token.arrived.wait(there).unwrap_or_else(PoisonError::into_inner);
    }
    *there = false;
}

impl Thread {
    pub(crate) fn unpark(&self) {
        *lock(&self.0.there) = true;
        self.0.arrived.notify_one();
    }
}

/// Set once. The value sits in a standard cell, where the checker does not look; whether it is
/// there is told by a flag that it does look at, with the orderings of the standard library.
pub(crate) struct OnceLock<T> {
    set: Mutex<()>,
    full: AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        let value = std::sync::OnceLock::new();
        Self { set: Mutex::new(()), full: AtomicBool::new(false), value }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.full.load(Ordering::Acquire) { self.value.get() } else { None }
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _setting = lock(&self.set);
        self.value.set(value)?;
        self.full.store(true, Ordering::Release);
        Ok(())
    }
}

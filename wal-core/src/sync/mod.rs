//! The primitives of the concurrent core, in one place so that a model checker can replace them.

#[cfg_attr(wal_loom, path = "loom.rs")]
#[cfg_attr(wal_shuttle, path = "shuttle.rs")]
#[cfg_attr(not(any(wal_loom, wal_shuttle)), path = "native.rs")]
mod primitive;

use std::task::{Wake, Waker};

pub(crate) use primitive::{
    AtomicBool, AtomicU8, AtomicU64, Mutex, MutexGuard, OnceLock, Ordering, Tracker, fence, lane,
    spin_loop, yield_now,
};
use primitive::{Thread, current, park, thread_local};
pub(crate) use std::sync::{Arc, PoisonError, Weak};

/// How often to look again before going to sleep. About a microsecond: as long as another thread
/// takes to rotate. A model checker sees no more in many times than in one.
pub(crate) const SPINS: u32 = if cfg!(any(wal_loom, wal_shuttle)) { 1 } else { 64 };

/// How often to let other threads run before going to sleep over something that is soon over: some
/// 10 us where nobody else wants the processor.
const TURNS: u32 = if cfg!(any(wal_loom, wal_shuttle)) { 1 } else { 32 };

/// Locks without regard to poisoning: every critical section of this crate leaves its data whole
/// at each step, so a panic elsewhere in a holder's thread does no harm.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the calling thread to sleep until its waker is called. One per thread, reused, so that a
/// wait allocates nothing; a wake-up left over from an earlier wait shows as a spurious one.
#[derive(Clone)]
pub(crate) struct Parker {
    unpark: Arc<Unpark>,
    waker: Waker,
}

struct Unpark {
    thread: Thread,
    notified: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: pairs with the Acquire in `take_word`, so that what the waker did is visible.
        self.notified.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Parker {
    /// The calling thread's parker.
    pub(crate) fn current() -> Self {
        thread_local! {
            static PARKER: Parker = Parker::new();
        }
        // A thread in the last stage of its exit has no locals left; it gets a parker of its own.
        PARKER.try_with(Self::clone).unwrap_or_else(|_| Self::new())
    }

    fn new() -> Self {
        let unpark = Arc::new(Unpark { thread: current(), notified: AtomicBool::new(false) });
        Self { waker: Waker::from(Arc::clone(&unpark)), unpark }
    }

    /// The waker that ends [`park`](Self::park).
    pub(crate) const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Blocks until the waker is called, or for so long; may return before.
    #[cfg(not(any(wal_loom, wal_shuttle)))]
    pub(crate) fn park_timeout(&self, timeout: std::time::Duration) {
        if !self.take_word() {
            std::thread::park_timeout(timeout);
        }
    }

    /// Blocks until the waker has been called since the last `park` returned.
    pub(crate) fn park(&self) {
        while !self.take_word() {
            park();
        }
    }

    /// The same, but lets other threads run a few times before it goes to sleep: to sleep and be woken
    /// takes longer than what is soon over.
    pub(crate) fn park_late(&self) {
        for _ in 0..TURNS {
            if self.take_word() {
                return;
            }
            yield_now();
        }
        self.park();
    }

    /// Whether the waker has been called since it was asked last.
    fn take_word(&self) -> bool {
        // Acquire: pairs with the Release in `wake_by_ref`.
        self.unpark.notified.swap(false, Ordering::Acquire)
    }
}

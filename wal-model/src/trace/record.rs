//! The probe that writes down what happens.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use wal_core::probe::{Event, Probe};

use super::{Entry, Trace};

/// How many threads can tell at once without getting into each other's way.
const LANES: usize = 64;

/// Records events, from [`start`](Self::start) to [`stop`](Self::stop). To be shared by `Arc`.
pub struct Recorder {
    on: AtomicBool,
    clock: AtomicU64,
    lanes: [Mutex<Vec<(u64, usize, Event)>>; LANES],
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            on: AtomicBool::new(false),
            clock: AtomicU64::new(0),
            lanes: [const { Mutex::new(Vec::new()) }; LANES],
        }
    }
}

impl Recorder {
    /// Begins to record. Threads already at work may miss an event or two, so begin before them.
    pub fn start(&self) {
        // Relaxed: threads that are started later see it.
        self.on.store(true, Ordering::Relaxed);
    }

    /// Ends it, and returns the events by their stamps. Threads are counted in the order in which
    /// they first told something. Call it when nobody is at work.
    #[must_use]
    pub fn stop(&self) -> Trace {
        self.on.store(false, Ordering::Relaxed);
        let mut all: Vec<_> = self
            .lanes
            .iter()
            .flat_map(|lane| {
                std::mem::take(&mut *lane.lock().unwrap_or_else(PoisonError::into_inner))
            })
            .collect();
        all.sort_unstable_by_key(|&(stamp, ..)| stamp);
        let mut names = Vec::new();
        let entries = all
            .into_iter()
            .map(|(_, name, event)| {
                let thread = names.iter().position(|&known| known == name).unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                });
                Entry { thread, event }
            })
            .collect();
        Trace { entries }
    }
}

/// A number for each thread of the process.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            // Relaxed: only has to differ.
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

impl Probe for Recorder {
    fn event(&self, event: Event) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let number = thread_number();
        let mut lane = self.lanes[number % LANES].lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: one counter's own order agrees with what happened before what, whatever orders
        // the rest.
        let stamp = self.clock.fetch_add(1, Ordering::Relaxed);
        lane.push((stamp, number, event));
    }
}

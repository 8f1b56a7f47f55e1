//! Threads that start together, each on its core.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Hardware threads that this process may use.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Pins the calling thread to the core of its number, round robin. Returns whether that worked;
/// it does nothing but on Linux.
pub fn pin(thread: usize) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let Ok(allowed) = sched_getaffinity(None) else { return false };
        let count = allowed.count() as usize;
        let nth =
            (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).nth(thread % count.max(1));
        let Some(cpu) = nth else { return false };
        let mut one = CpuSet::new();
        one.set(cpu);
        sched_setaffinity(None, &one).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = thread;
        false
    }
}

/// Nanoseconds for which the calling thread was runnable and did not run, since it started; `None`
/// where the system does not tell.
#[must_use]
pub fn run_delay() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split_whitespace().nth(1)?.parse().ok()
}

/// Where threads wait until all of them run.
pub struct StartLine {
    gather: Barrier,
    running: AtomicUsize,
    threads: usize,
}

impl StartLine {
    /// Called by each thread of the team, once.
    pub fn wait(&self) {
        self.gather.wait();
        // A barrier wakes its threads one by one, microseconds apart: spin for the rest. Relaxed:
        // nothing is passed on.
        self.running.fetch_add(1, Ordering::Relaxed);
        let mut spins = 0u32;
        while self.running.load(Ordering::Relaxed) < self.threads {
            spins += 1;
            if spins.is_multiple_of(256) {
                thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

/// Runs `body` on `threads` pinned threads; `meanwhile` runs on the calling thread once they are
/// all running. Returns what they returned, in order.
///
/// # Panics
///
/// If a thread panics.
pub fn team<T: Send>(
    threads: usize,
    body: impl Fn(usize, &StartLine) -> T + Sync,
    meanwhile: impl FnOnce(),
) -> Vec<T> {
    let line =
        StartLine { gather: Barrier::new(threads + 1), running: AtomicUsize::new(0), threads };
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let (body, line) = (&body, &line);
                scope.spawn(move || {
                    pin(thread);
                    body(thread, line)
                })
            })
            .collect();
        line.gather.wait();
        while line.running.load(Ordering::Relaxed) < threads {
            thread::yield_now();
        }
        meanwhile();
        handles.into_iter().map(join).collect()
    })
}

fn join<T>(handle: thread::ScopedJoinHandle<'_, T>) -> T {
    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_runs_every_thread_once_and_in_the_company_of_all_others() {
        let running = AtomicUsize::new(0);
        let seen = team(
            5,
            |thread, line| {
                running.fetch_add(1, Ordering::SeqCst);
                line.wait();
                (thread, running.load(Ordering::SeqCst))
            },
            || (),
        );
        assert_eq!(seen, [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]);
    }
}

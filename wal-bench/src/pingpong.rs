//! What a cache line costs on this machine: kept, and handed to and fro.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::rounds::median;
use crate::threads::{cores, pin, team};

/// Nanoseconds of an addition to a line that nobody else touches: the least of a few tries.
#[must_use]
pub fn kept() -> f64 {
    const TIMES: u64 = 1 << 20;
    let line = CachePadded::new(AtomicU64::new(0));
    let tries = (0..7).map(|_| {
        let start = Instant::now();
        for _ in 0..TIMES {
            line.fetch_add(1, Ordering::AcqRel);
        }
        start.elapsed().as_nanos() as f64 / TIMES as f64
    });
    tries.fold(f64::INFINITY, f64::min)
}

/// Nanoseconds for a line to come from one core to the other: half of what it takes to see what the
/// other has written and to write an answer, since the line is fetched for the one and claimed for
/// the other. The median of a few tries; `None` with one core.
#[must_use]
pub fn handed_over() -> Option<f64> {
    const TIMES: u64 = 1 << 16;
    if cores() < 2 {
        return None;
    }
    let tries = (0..9).map(|_| {
        let line = CachePadded::new(AtomicU64::new(0));
        let walls = team(
            2,
            |thread, start| {
                pin(thread);
                start.wait();
                let began = Instant::now();
                for turn in 0..TIMES {
                    let mine = turn * 2 + thread as u64;
                    let mut spins = 0u32;
                    // Acquire and Release: what a hand-over takes, for all that it matters here.
                    while line.load(Ordering::Acquire) != mine {
                        spins += 1;
                        // Not for ever, if the other has lost its core.
                        if spins.is_multiple_of(1 << 14) {
                            std::thread::yield_now();
                        }
                    }
                    line.store(mine + 1, Ordering::Release);
                }
                began.elapsed().as_nanos() as f64
            },
            || (),
        );
        let hops = (TIMES * 2) as f64;
        walls.into_iter().fold(0.0, f64::max) / hops / 2.0
    });
    Some(median(tries.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_comes_from_elsewhere_takes_longer_than_one_at_hand() {
        let kept = kept();
        assert!(kept > 0.1 && kept < 1000.0, "{kept}");
        if let Some(handed_over) = handed_over() {
            assert!(handed_over > kept, "{handed_over} {kept}");
        }
    }
}

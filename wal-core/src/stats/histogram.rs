//! Durations, counted by their order of magnitude.

use std::fmt;
use std::time::Duration;

use crate::sync::{AtomicU64, Ordering};

/// How many buckets there are.
const BUCKETS: usize = 40;

/// How often durations of each order of magnitude have come up.
///
/// Bucket `i` counts durations from 2^`i` nanoseconds up to, and without, 2^(`i` + 1). Bucket 0
/// counts those below as well, and the last one (39, from 2^39 ns, nine minutes) all beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    nanos: u64,
}

impl Histogram {
    /// The number of buckets.
    pub const BUCKETS: usize = BUCKETS;

    /// How many durations each bucket has counted.
    #[must_use]
    pub const fn counts(&self) -> &[u64; BUCKETS] {
        &self.counts
    }

    /// The bound of a bucket: nothing in it is as long as this, but in the last one, which has none
    /// ([`Duration::MAX`], as for any number beyond).
    #[must_use]
    pub const fn bound(bucket: usize) -> Duration {
        if bucket < BUCKETS - 1 { Duration::from_nanos(2 << bucket) } else { Duration::MAX }
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All durations together, exact to the nanosecond each.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// The mean, exact; `None` if nothing was counted.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        self.nanos.checked_div(self.count()).map(Duration::from_nanos)
    }

    /// The [bound](Self::bound) of the bucket in which the share `quantile` (from 0 to 1) of all
    /// durations is reached: no more than twice the true value. `None` if nothing was counted.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let count = self.count();
        // The rank of the one asked for, from 1 on; out of range means the first, or the last.
        let rank = ((quantile * count as f64).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        let reached = self.counts.iter().position(|&here| {
            seen += here;
            seen >= rank
        });
        reached.map(Self::bound)
    }
}

impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(mean), Some(p50), Some(p99), Some(most)) =
            (self.mean(), self.quantile(0.5), self.quantile(0.99), self.quantile(1.0))
        else {
            return f.write_str("none");
        };
        write!(f, "mean {mean:.1?}, p50 < {p50:.1?}, p99 < {p99:.1?}, all < {most:.1?}")
    }
}

/// The same, being counted.
pub(crate) struct Latencies {
    counts: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), nanos: AtomicU64::new(0) }
    }
}

impl Latencies {
    /// Counts one. Where there are several in all, only the leader of the flush comes here, so
    /// these additions meet no others.
    pub(crate) fn record(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = (nanos.max(1).ilog2() as usize).min(BUCKETS - 1);
        // Relaxed: counters order nothing.
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Histogram {
        // Relaxed: as above.
        Histogram {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
            nanos: self.nanos.load(Ordering::Relaxed),
        }
    }
}

#[cfg(all(test, not(any(wal_loom, wal_shuttle))))]
mod tests {
    use super::*;

    fn of(nanos: &[u64]) -> Histogram {
        let latencies = Latencies::default();
        nanos.iter().for_each(|&nanos| latencies.record(Duration::from_nanos(nanos)));
        latencies.snapshot()
    }

    #[test]
    fn every_duration_is_below_the_bound_of_its_bucket_and_not_of_the_one_before() {
        for nanos in [0, 1, 2, 3, 4, 1023, 1024, 1_000_000, (1 << 39) - 1] {
            let counted = of(&[nanos]);
            let bucket = counted.counts().iter().position(|&count| count == 1).unwrap();
            assert!(Duration::from_nanos(nanos) < Histogram::bound(bucket), "{nanos}");
            if bucket > 0 {
                assert!(Duration::from_nanos(nanos) >= Histogram::bound(bucket - 1), "{nanos}");
            }
        }
        assert_eq!(of(&[1 << 39]).counts()[39], 1);
        assert_eq!(of(&[u64::MAX]).counts()[39], 1);
        assert_eq!(Histogram::bound(39), Duration::MAX);
        assert_eq!(Histogram::bound(usize::MAX), Duration::MAX);
    }

    #[test]
    fn quantiles_are_bounds_and_the_mean_is_exact() {
        let counted = of(&[100, 100, 100, 5000]);
        assert_eq!(counted.count(), 4);
        assert_eq!(counted.sum(), Duration::from_nanos(5300));
        assert_eq!(counted.mean(), Some(Duration::from_nanos(1325)));
        let bound = |quantile| counted.quantile(quantile).unwrap().as_nanos();
        assert_eq!((bound(0.0), bound(0.5), bound(0.75)), (128, 128, 128));
        assert_eq!((bound(0.76), bound(1.0), bound(7.0)), (8192, 8192, 8192));
        assert_eq!(of(&[]).quantile(0.5), None);
        assert_eq!(of(&[]).mean(), None);
        assert_eq!(of(&[]).to_string(), "none");
        assert_eq!(counted.to_string(), "mean 1.3µs, p50 < 128.0ns, p99 < 8.2µs, all < 8.2µs");
    }
}

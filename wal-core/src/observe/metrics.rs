//! Numbers for the crate `metrics`; the table is in the crate's README.

use metrics::{Counter, Gauge, Histogram, Label, Unit};

use super::Outcome;
use crate::stats::{Stats, Totals};
use crate::sync::Arc;

/// Handles, registered with the recorder that was there when the log was opened.
pub(super) struct Meters {
    records: Counter,
    frames: Counter,
    bytes: Counter,
    syncs: Counter,
    stalled_appends: Counter,
    stalls: Counter,
    rotations: Counter,
    truncated_files: Counter,
    cuts: Counter,
    sync_seconds: Histogram,
    lag: Gauge,
    segments: Gauge,
    free_segments: Gauge,
    files: Gauge,
    file_bytes: Gauge,
    spare_files: Gauge,
    holds: Gauge,
    held_bytes: Gauge,
    poisoned: Gauge,
}

impl Meters {
    pub(super) fn new(name: &Arc<str>) -> Self {
        let labels = [Label::new("log", Arc::clone(name))];
        let counter = |name, unit, what| {
            metrics::describe_counter!(name, unit, what);
            metrics::counter!(name, labels.iter())
        };
        let gauge = |name, unit, what| {
            metrics::describe_gauge!(name, unit, what);
            metrics::gauge!(name, labels.iter())
        };
        let (count, bytes) = (Unit::Count, Unit::Bytes);
        let sync = "How long group commits wait for the sink to sync";
        metrics::describe_histogram!("wal_sync_seconds", Unit::Seconds, sync);
        let poisoned = gauge("wal_poisoned", count, "1 from the first failed write or sync on");
        poisoned.set(0.0);
        Self {
            records: counter("wal_records_total", count, "Records handed to the sink"),
            frames: counter("wal_frames_total", count, "Frames handed to the sink"),
            bytes: counter("wal_bytes_total", bytes, "Bytes handed to the sink"),
            syncs: counter("wal_syncs_total", count, "Syncs that succeeded"),
            stalled_appends: counter(
                "wal_stalled_appends_total",
                count,
                "Appends that waited for a free segment",
            ),
            stalls: counter("wal_stalls_total", count, "Waits for a free segment"),
            rotations: counter("wal_rotations_total", count, "Files begun since opening"),
            truncated_files: counter("wal_truncated_files_total", count, "Oldest files freed"),
            cuts: counter("wal_cuts_total", count, "Times the log was cut back"),
            sync_seconds: metrics::histogram!("wal_sync_seconds", labels.iter()),
            lag: gauge("wal_lag_bytes", bytes, "Reserved and not durable"),
            segments: gauge("wal_ring_segments", count, "Segments of the ring"),
            free_segments: gauge("wal_ring_free_segments", count, "Segments that are free"),
            files: gauge("wal_files", count, "Files that hold the log"),
            file_bytes: gauge("wal_file_bytes", bytes, "What they take on disk"),
            spare_files: gauge("wal_spare_files", count, "Files ready for the next one"),
            holds: gauge("wal_holds", count, "Holds and archives"),
            held_bytes: gauge("wal_held_bytes", bytes, "Stream behind the lowest hold"),
            poisoned,
        }
    }

    pub(super) fn end(&self, outcome: Outcome<'_>) {
        match outcome {
            Outcome::Synced { counters, took } => {
                self.count(&counters.totals());
                if let Some(took) = took {
                    self.sync_seconds.record(took);
                }
            }
            Outcome::Rotated => self.rotations.increment(1),
            Outcome::Truncated { files, .. } => self.truncated_files.increment(files),
            Outcome::Cut { .. } => self.cuts.increment(1),
            Outcome::Opened { .. } | Outcome::Recovered(_) | Outcome::Failed(_) => {}
        }
    }

    pub(super) fn poisoned(&self) {
        self.poisoned.set(1.0);
    }

    pub(super) fn stats(&self, stats: &Stats) {
        self.lag.set(stats.lag() as f64);
        self.segments.set(stats.ring.segments as f64);
        self.free_segments.set(stats.ring.free as f64);
        self.files.set(stats.files.count as f64);
        self.file_bytes.set(stats.files.bytes as f64);
        self.spare_files.set((stats.files.spares.prepared + stats.files.spares.retired) as f64);
        self.holds.set(stats.holds as f64);
        let held = stats.held_from.and_then(|from| stats.next.distance_from(from));
        self.held_bytes.set(held.unwrap_or(0) as f64);
        self.count(&Totals {
            records: stats.records,
            frames: stats.frames,
            bytes: stats.bytes,
            syncs: stats.syncs,
            stalled_appends: stats.stalled_appends,
            stalls: stats.stalls,
        });
    }

    /// What only grows. Never set back, whoever comes last.
    fn count(&self, totals: &Totals) {
        self.records.absolute(totals.records);
        self.frames.absolute(totals.frames);
        self.bytes.absolute(totals.bytes);
        self.syncs.absolute(totals.syncs);
        self.stalled_appends.absolute(totals.stalled_appends);
        self.stalls.absolute(totals.stalls);
    }
}

//! What a log tells of its work to whoever runs it: the one seam for `tracing` and `metrics`.
//!
//! Told is what takes I/O, never an append: opening and recovery, each new file, each sync,
//! truncation at either end, and the end of it all by poison. Without the features all of this
//! compiles to nothing. Who wants every step of the protocol takes a [`Probe`](crate::probe::Probe).

#![cfg_attr(
    not(all(feature = "metrics", feature = "tracing")),
    allow(dead_code, reason = "each feature reads its own part of what is told")
)]

#[cfg_attr(feature = "metrics", path = "metrics.rs")]
#[cfg_attr(not(feature = "metrics"), path = "unmetered.rs")]
mod meters;
#[cfg_attr(feature = "tracing", path = "tracing.rs")]
#[cfg_attr(not(feature = "tracing"), path = "untraced.rs")]
mod spans;

use std::fmt;
use std::time::Duration;

use crate::lsn::Lsn;
use crate::recover::RecoveryReport;
use crate::sink::SinkError;
use crate::stats::{Counters, Stats};
use crate::sync::Arc;

/// What a log begins to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Open,
    Recover,
    /// A new file, number and first position.
    Rotate {
        file: u64,
        lsn: Lsn,
    },
    /// What is not durable yet.
    Sync {
        from: Lsn,
        to: Lsn,
    },
    Truncate {
        lsn: Lsn,
    },
    Cut {
        lsn: Lsn,
    },
}

/// What has come of it.
#[derive(Clone, Copy)]
pub(crate) enum Outcome<'a> {
    Opened {
        file: u64,
        lsn: Lsn,
    },
    Recovered(&'a RecoveryReport),
    Rotated,
    /// Counted so far, and how long this one took, if there is a clock.
    Synced {
        counters: &'a Counters,
        took: Option<Duration>,
    },
    /// Where the log starts now, how many files are gone, and who has kept others.
    Truncated {
        start: Lsn,
        files: u64,
        held_by: Option<&'a str>,
    },
    /// Where the log goes on.
    Cut {
        next: Lsn,
    },
    Failed(&'a dyn fmt::Display),
}

/// The observer of one log.
pub(crate) struct Observer {
    spans: spans::Spans,
    meters: meters::Meters,
}

/// Operation under way, until this is dropped. Belongs to the thread that does it.
#[must_use]
pub(crate) struct Span(spans::Span);

impl Observer {
    /// The observer of the log called `name`.
    pub(crate) fn new(name: &Arc<str>) -> Self {
        Self { spans: spans::Spans::new(name), meters: meters::Meters::new(name) }
    }

    #[inline]
    pub(crate) fn begin(&self, work: Operation) -> Span {
        Span(self.spans.begin(work))
    }

    #[inline]
    pub(crate) fn end(&self, span: Span, outcome: Outcome<'_>) {
        self.meters.end(outcome);
        span.0.end(outcome);
    }

    /// Ends `span` by what `result` says, a success by what `outcome` makes of it.
    #[inline]
    pub(crate) fn settle<'a, R, E: fmt::Display>(
        &self,
        span: Span,
        result: &'a Result<R, E>,
        outcome: impl FnOnce(&'a R) -> Outcome<'a>,
    ) {
        match result {
            Ok(done) => self.end(span, outcome(done)),
            Err(error) => self.end(span, Outcome::Failed(error)),
        }
    }

    /// The log is poisoned.
    pub(crate) fn poisoned(&self, cause: &SinkError) {
        self.meters.poisoned();
        self.spans.poisoned(cause);
    }

    /// The log was looked at.
    #[inline]
    pub(crate) fn stats(&self, stats: &Stats) {
        self.meters.stats(stats);
    }
}

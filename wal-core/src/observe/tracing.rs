//! Spans and events of the crate `tracing`; the table is in the crate's README.

use tracing::field::{Empty, display};
use tracing::span::EnteredSpan;
use tracing::{debug_span, error, info_span};

use super::{Operation, Outcome};
use crate::sink::SinkError;
use crate::sync::Arc;

pub(super) struct Spans {
    log: Arc<str>,
}

/// A span that this thread is in.
pub(super) struct Span(EnteredSpan);

impl Spans {
    pub(super) fn new(name: &Arc<str>) -> Self {
        Self { log: Arc::clone(name) }
    }

    pub(super) fn begin(&self, work: Operation) -> Span {
        let log = &*self.log;
        let span = match work {
            Operation::Open => {
                info_span!("wal.open", log, file = Empty, lsn = Empty, error = Empty)
            }
            Operation::Recover => info_span!(
                "wal.recover",
                log,
                verdict = Empty,
                start = Empty,
                end = Empty,
                records = Empty,
                frames = Empty,
                files = Empty,
                error = Empty
            ),
            Operation::Rotate { file, lsn } => {
                debug_span!("wal.rotate", log, file, lsn = lsn.get(), error = Empty)
            }
            Operation::Sync { from, to } => debug_span!(
                "wal.sync",
                log,
                from = from.get(),
                to = to.get(),
                bytes = to.distance_from(from).unwrap_or(0),
                error = Empty
            ),
            Operation::Truncate { lsn } => info_span!(
                "wal.truncate",
                log,
                lsn = lsn.get(),
                start = Empty,
                files = Empty,
                held_by = Empty,
                error = Empty
            ),
            Operation::Cut { lsn } => {
                info_span!("wal.cut", log, lsn = lsn.get(), next = Empty, error = Empty)
            }
        };
        Span(span.entered())
    }

    pub(super) fn poisoned(&self, cause: &SinkError) {
        error!(
            name: "wal.poisoned",
            log = &*self.log,
            cause = %cause,
            op = %cause.op,
            file = cause.file,
            "the log is poisoned: it accepts and acknowledges nothing more until it is opened again"
        );
    }
}

impl Span {
    pub(super) fn end(self, outcome: Outcome<'_>) {
        let span = &self.0;
        match outcome {
            Outcome::Opened { file, lsn } => {
                span.record("file", file).record("lsn", lsn.get());
            }
            Outcome::Recovered(report) => {
                span.record("verdict", format_args!("{:?}", report.verdict))
                    .record("start", report.start.get())
                    .record("end", report.end.get())
                    .record("records", report.records)
                    .record("frames", report.frames)
                    .record("files", report.files);
            }
            Outcome::Truncated { start, files, held_by } => {
                span.record("start", start.get()).record("files", files).record("held_by", held_by);
            }
            Outcome::Cut { next } => {
                span.record("next", next.get());
            }
            Outcome::Failed(error) => {
                span.record("error", display(error));
            }
            Outcome::Rotated | Outcome::Synced { .. } => {}
        }
    }
}

//! A log that was scanned and is only read: what tools use.

use std::ops::Range;
use std::sync::Arc;

use super::{Cursor, Follow, Records, RecordsBack, read_at};
use crate::error::Error;
use crate::format::record;
use crate::lsn::Lsn;
use crate::recover::{self, RecoveryReport, ScanOptions};
use crate::shared::ReadFile;
use crate::sink::LogSource;

/// A log as a scan found it, read-only: nothing is cut, fenced or written.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Scanned>,
}

struct Scanned {
    source: Box<dyn LogSource + Send + Sync>,
    files: Vec<ReadFile>,
    holes: Vec<Range<Lsn>>,
    end: Lsn,
    report: RecoveryReport,
}

impl Log {
    /// Scans the log in `source`, calling `visit` with each record in order. Blocks for I/O.
    ///
    /// # Errors
    ///
    /// As for [`Wal::open`](crate::Wal::open), as far as reading goes.
    pub fn scan(
        source: impl LogSource + Send + Sync + 'static,
        options: ScanOptions,
        visit: &mut dyn FnMut(record::Record<'_>),
    ) -> Result<Self, Error> {
        let scan = recover::scan(&source, options, visit)?;
        let inner = Scanned {
            files: ReadFile::all(&scan, None),
            holes: scan.report.holes.iter().map(|h| h.lsn..h.lsn.advance(h.len)).collect(),
            end: scan.end,
            report: scan.report,
            source: Box::new(source),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the scan found.
    #[must_use]
    pub fn report(&self) -> &RecoveryReport {
        &self.inner.report
    }

    /// As [`Wal::read_at`](crate::Wal::read_at).
    ///
    /// # Errors
    ///
    /// As for [`Wal::read_at`](crate::Wal::read_at).
    pub fn read_at(&self, lsn: Lsn) -> Result<Vec<u8>, Error> {
        read_at(&self.follow(), lsn)
    }

    /// As [`Wal::iter_from`](crate::Wal::iter_from).
    ///
    /// # Errors
    ///
    /// As for [`Wal::iter_from`](crate::Wal::iter_from).
    pub fn iter_from(&self, lsn: Lsn) -> Result<Records, Error> {
        self.cursor_from(lsn).map(Records::new)
    }

    /// As [`Wal::cursor_from`](crate::Wal::cursor_from).
    ///
    /// # Errors
    ///
    /// As for [`Wal::cursor_from`](crate::Wal::cursor_from).
    pub fn cursor_from(&self, lsn: Lsn) -> Result<Cursor, Error> {
        Cursor::new(self.follow(), lsn)
    }

    /// As [`Wal::iter_back_from`](crate::Wal::iter_back_from).
    ///
    /// # Errors
    ///
    /// As for [`Wal::iter_back_from`](crate::Wal::iter_back_from).
    pub fn iter_back_from(&self, lsn: Lsn) -> Result<RecordsBack, Error> {
        RecordsBack::new(self.follow(), lsn)
    }

    fn follow(&self) -> Arc<dyn Follow> {
        Arc::<Scanned>::clone(&self.inner)
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("report", &self.inner.report).finish_non_exhaustive()
    }
}

impl Follow for Scanned {
    fn source(&self) -> &dyn LogSource {
        &*self.source
    }

    fn limit(&self) -> Lsn {
        self.end
    }

    fn with_files(&self, f: &mut dyn FnMut(&[ReadFile])) {
        f(&self.files);
    }

    fn holes(&self) -> &[Range<Lsn>] {
        &self.holes
    }

    fn cuts(&self) -> u64 {
        0
    }
}

//! Reading a log that may be in use, without touching it: what the commands that read share.

use std::io;
use std::path::{Path, PathBuf};

use wal_core::format::file_header::{self, FileHeader};
use wal_core::read::Log;
use wal_core::recover::ScanOptions;
use wal_core::sink::LogSource;
use wal_core::{AmbiguousTail, Corruption, Error, Lsn, RecoveryMode, RecoveryReport};
use wal_io_std::DirSource;

use crate::failure::{Failure, Outcome};
use crate::newest::{self, Newest};
use crate::output::verdict_word;
use crate::place;
use crate::progress::Progress;
use crate::steady::steady;

/// Bytes of the stream between two updates of the progress bar.
const PROGRESS_STEP: u64 = 1 << 20;

/// A log file as it lies in the directory.
pub(crate) struct File {
    pub(crate) sequence: u64,
    pub(crate) path: PathBuf,
    /// Bytes on disk.
    pub(crate) len: u64,
    pub(crate) header: Result<FileHeader, file_header::Fault>,
    /// Records in it that belong to the log.
    pub(crate) records: u64,
    /// Payload bytes of these records.
    pub(crate) payload_bytes: u64,
}

/// What there is to say about a log.
pub(crate) struct Findings {
    pub(crate) files: Vec<File>,
    /// The log as far as it reads well; `None` if not even salvage makes sense of it.
    pub(crate) log: Option<Log>,
    /// The corruption that a strict scan stops at.
    pub(crate) corruption: Option<Corruption>,
    /// Whether the end is damaged, undecidable, and was to be refused for it.
    pub(crate) refused: bool,
}

impl Findings {
    pub(crate) fn report(&self) -> Option<&RecoveryReport> {
        self.log.as_ref().map(Log::report)
    }

    /// The verdict in one word.
    pub(crate) fn verdict(&self) -> &'static str {
        match (&self.corruption, self.report()) {
            (None, Some(report)) => verdict_word(report.verdict),
            _ => "corrupt",
        }
    }

    /// Every corruption found, the first one first.
    pub(crate) fn corruptions(&self) -> Vec<&Corruption> {
        let first = self.corruption.iter();
        let holes = self.report().into_iter().flat_map(|report| &report.holes);
        let rest = holes.filter(|hole| self.corruption.as_ref().is_none_or(|c| c.lsn != hole.lsn));
        first.chain(rest).collect()
    }
}

/// How a scan treats damage.
#[derive(Clone, Copy)]
pub(crate) struct Strictness {
    pub(crate) mode: RecoveryMode,
    pub(crate) ambiguous_tail: AmbiguousTail,
}

impl Strictness {
    pub(crate) const STRICT: Self =
        Self { mode: RecoveryMode::Strict, ambiguous_tail: AmbiguousTail::Cut };
    pub(crate) const SALVAGE: Self =
        Self { mode: RecoveryMode::Salvage, ambiguous_tail: AmbiguousTail::Cut };
}

/// Reads all of the log in `dir` strictly, and if that finds corruption, once more around it.
pub(crate) fn examine(dir: &Path, strictness: Strictness) -> Outcome<Findings> {
    let mut files = list(dir)?;
    let failed = |error: &Error| Failure::log(dir, error);
    match scan_files(dir, &mut files, strictness) {
        Ok(log) => Ok(Findings { files, log: Some(log), corruption: None, refused: false }),
        Err(Error::Corrupt(first)) => {
            let log = match scan_files(dir, &mut files, Strictness::SALVAGE) {
                Ok(log) => Some(log),
                Err(Error::Corrupt(_)) => None,
                Err(error) => return Err(failed(&error)),
            };
            Ok(Findings { files, log, corruption: Some(*first), refused: false })
        }
        Err(Error::AmbiguousTail(_)) => {
            let lenient = Strictness { ambiguous_tail: AmbiguousTail::Cut, ..strictness };
            let log = scan_files(dir, &mut files, lenient).map_err(|error| failed(&error))?;
            Ok(Findings { files, log: Some(log), corruption: None, refused: true })
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Reads the log in `dir` from the file on that holds `from`, or all of it, to read from it
/// afterwards.
pub(crate) fn open(dir: &Path, from: Option<Lsn>, strictness: Strictness) -> Outcome<Log> {
    let mut files = list(dir)?;
    let first = from.map_or(0, |from| newest::holding(&files, from));
    files.retain(|file| file.sequence >= first);
    let failed = |error: &Error| Failure::log(dir, error);
    if strictness.mode == RecoveryMode::Salvage {
        // Around what is not there yet there is nothing to salvage.
        match scan_files(dir, &mut files, Strictness { mode: RecoveryMode::Strict, ..strictness }) {
            Err(Error::Corrupt(_)) => {}
            done => return done.map_err(|error| failed(&error)),
        }
    }
    scan_files(dir, &mut files, strictness).map_err(|error| failed(&error))
}

/// The log files in `dir` with their headers; it is an error if there are none.
pub(crate) fn list(dir: &Path) -> Outcome<Vec<File>> {
    let listing = place::log_files(dir)?;
    let read = || -> Result<Vec<File>, Error> {
        let source = DirSource::open(dir)?;
        let mut files = Vec::with_capacity(listing.files.len());
        for entry in listing.files {
            let mut block = vec![0; file_header::BLOCK_LEN];
            let read = match source.read_at(entry.sequence, 0, &mut block) {
                // Removed since it was listed.
                Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
                read => read?,
            };
            let header = file_header::decode(&block[..read]);
            let (sequence, path, len) = (entry.sequence, entry.path, entry.len);
            files.push(File { sequence, path, len, header, records: 0, payload_bytes: 0 });
        }
        Ok(files)
    };
    read().map_err(|error| Failure::log(dir, &error))
}

/// [`scan_once`], again while what it finds is only that the log grows.
fn scan_files(dir: &Path, files: &mut [File], strictness: Strictness) -> Result<Log, Error> {
    steady(|| scan_once(dir, files, strictness))
}

/// Scans and counts the records of each file, under a progress bar.
fn scan_once(dir: &Path, files: &mut [File], strictness: Strictness) -> Result<Log, Error> {
    let total: u64 = files.iter().map(|file| file.len).sum();
    let progress = Progress::bytes("reading", Some(total), false);
    let mut order: Vec<(Lsn, usize)> = Vec::new();
    for (index, file) in files.iter_mut().enumerate() {
        (file.records, file.payload_bytes) = (0, 0);
        if let Ok(header) = &file.header {
            order.push((header.base, index));
        }
    }
    order.sort_by_key(|(base, _)| *base);
    let start = order.first().map_or(Lsn::ZERO, |(base, _)| *base);
    let mut shown = 0;
    let Strictness { mode, ambiguous_tail } = strictness;
    let first = files.first().map_or(0, |file| file.sequence);
    let source = Newest::of(DirSource::open(dir)?, first);
    Log::scan(source, ScanOptions { mode, ambiguous_tail }, &mut |record| {
        let holder = order.partition_point(|(base, _)| *base <= record.lsn).checked_sub(1);
        if let Some((_, index)) = holder.and_then(|at| order.get(at)) {
            files[*index].records += 1;
            files[*index].payload_bytes += record.payload.len() as u64;
        }
        let done = record.lsn.distance_from(start).unwrap_or(0);
        if done >= shown + PROGRESS_STEP {
            shown = done;
            progress.at(done);
        }
    })
}

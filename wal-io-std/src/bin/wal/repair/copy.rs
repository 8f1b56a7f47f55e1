//! Copying what is intact.

use std::path::Path;

use wal_core::format::record::Kind;
use wal_core::recover::{ScanOptions, scan};
use wal_core::{Error, Lsn};
use wal_io_std::DirSource;
use wal_io_std::restore::{Origin, Restore, Restored};

use crate::examine::{Findings, Strictness};
use crate::failure::{Failure, Outcome};
use crate::steady::steady;

/// Makes a log in `to` of the intact records of the one in `from`.
pub(super) fn copy(from: &Path, findings: &Findings, to: &Path) -> Outcome<Restored> {
    let made = steady(|| match try_copy(from, findings, to) {
        Ok(made) => Ok(Ok(made)),
        Err(Stop::From(error)) => Err(error),
        Err(Stop::To(failure)) => Ok(Err(failure)),
    });
    made.map_err(|error| Failure::log(from, &error))?
}

/// Why a copy is not made.
enum Stop {
    /// The log cannot be read.
    From(Error),
    To(Failure),
}

fn try_copy(from: &Path, findings: &Findings, to: &Path) -> Result<Restored, Stop> {
    let headers = || findings.files.iter().filter_map(|file| file.header.as_ref().ok());
    let none = || Failure::damage(format!("{}: no file header is intact", from.display()));
    let origin = Origin::of(headers().next().ok_or_else(none).map_err(Stop::To)?);
    let to_failed = |error: Error| Stop::To(Failure::log(to, &error));
    let mut restore = Restore::create(to, &origin).map_err(to_failed)?;

    // Where readers are to learn that something is not there: holes, and what was cut off.
    let holes = || findings.corruptions().into_iter();
    let cuts = headers().filter(|header| header.recovered).filter_map(|header| {
        let end = header.prev?.end.get().next_multiple_of(u64::from(header.align));
        (end < header.base.get()).then_some(header.base)
    });
    let mut gaps: Vec<Lsn> = holes().map(|hole| hole.lsn).chain(cuts).collect();
    gaps.sort_unstable();
    let mut gaps = gaps.into_iter().peekable();

    // Around what is not there yet there is nothing to salvage.
    let damaged = findings.corruption.is_some();
    let strictness = if damaged { Strictness::SALVAGE } else { Strictness::STRICT };
    let Strictness { mode, ambiguous_tail } = strictness;
    let source = DirSource::open(from).map_err(Stop::From)?;
    let mut written = Ok(());
    let found = scan(&source, ScanOptions { mode, ambiguous_tail }, &mut |record| {
        if written.is_err() {
            return;
        }
        while gaps.next_if(|gap| *gap <= record.lsn).is_some() {
            restore.lost();
        }
        let more = record.kind == Kind::DataMore;
        written = restore.record(record.lsn, more, record.payload);
    });
    let found = found.map_err(Stop::From)?;
    written.map_err(to_failed)?;
    if gaps.next().is_some() {
        restore.lost();
    }
    // Behind everything that is known to have been durable.
    let ends = holes().map(|hole| hole.lsn.advance(hole.len).max(hole.proof));
    let next = ends.fold(found.next, Lsn::max);
    restore.finish(next).map_err(to_failed)
}

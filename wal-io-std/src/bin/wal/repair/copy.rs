//! Copying what is intact.

use std::path::Path;

use wal_core::format::record::Kind;
use wal_core::recover::{ScanOptions, scan};
use wal_core::{Error, Lsn};
use wal_io_std::DirSource;
use wal_io_std::restore::{Origin, Restore, Restored};

use crate::examine::{Findings, Strictness};
use crate::failure::{Failure, Outcome};

/// Makes a log in `to` of the intact records of the one in `from`.
pub(super) fn copy(from: &Path, findings: &Findings, to: &Path) -> Outcome<Restored> {
    let headers = || findings.files.iter().filter_map(|file| file.header.as_ref().ok());
    let none = || Failure::damage(format!("{}: no file header is intact", from.display()));
    let origin = Origin::of(headers().next().ok_or_else(none)?);
    let to_failed = |error: &Error| Failure::log(to, error);
    let mut restore = Restore::create(to, &origin).map_err(|error| to_failed(&error))?;

    // Where readers are to learn that something is not there: holes, and what was cut off.
    let holes = || findings.corruptions().into_iter();
    let cuts = headers().filter(|header| header.recovered).filter_map(|header| {
        let end = header.prev?.end.get().next_multiple_of(u64::from(header.align));
        (end < header.base.get()).then_some(header.base)
    });
    let mut gaps: Vec<Lsn> = holes().map(|hole| hole.lsn).chain(cuts).collect();
    gaps.sort_unstable();
    let mut gaps = gaps.into_iter().peekable();

    let Strictness { mode, ambiguous_tail } = Strictness::SALVAGE;
    let source = DirSource::open(from).map_err(|error| Failure::log(from, &error))?;
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
    let found = found.map_err(|error| Failure::log(from, &error))?;
    written.map_err(|error| to_failed(&error))?;
    if gaps.next().is_some() {
        restore.lost();
    }
    // Behind everything that is known to have been durable.
    let ends = holes().map(|hole| hole.lsn.advance(hole.len).max(hole.proof));
    let next = ends.fold(found.next, Lsn::max);
    restore.finish(next).map_err(|error| to_failed(&error))
}

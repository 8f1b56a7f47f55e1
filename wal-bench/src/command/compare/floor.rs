//! The floor of those who collect records into larger writes: the same pieces without a log.

use std::io::ErrorKind;
use std::path::Path;

use wal_bench::measure::Sampling;
use wal_bench::raw::Way;
use wal_bench::{Disk, RawFiles, Span, Variant, on_disk, window};

use super::Shape;
use crate::command::Outcome;

/// Files for so many threads, written by `past`, which bypasses the page cache; synced where there is
/// no such way, or the file system has none. Returns whether they bypass it.
pub(super) fn files(
    dir: &Path,
    past: Option<Way>,
    threads: usize,
    len: u64,
) -> Outcome<(RawFiles, bool)> {
    if let Some(way) = past {
        match RawFiles::create(dir, way, threads, len) {
            Ok(raw) => return Ok((raw, true)),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((RawFiles::create(dir, Way::Synced, threads, len)?, false))
}

/// So many threads, each of which writes `piece` bytes at a time. Counts as many records as would fit.
pub(super) fn pieces(
    name: &str,
    (raw, disk): (RawFiles, Disk),
    threads: usize,
    piece: usize,
    shape: Shape,
) -> Variant<'static> {
    Variant::new(name, move || {
        let span = on_disk(&disk, || window(&raw, threads, piece, shape.turn, Sampling::Every(1)));
        Span { records: span.records * piece as u64 / shape.bytes.max(1) as u64, ..span }
    })
}

//! A scan within bounds: it ends, and takes no more memory or reads than the files explain.

use wal_core::recover::{self, Scan, ScanOptions};
use wal_core::sink::LogSource;
use wal_core::testing::agree;
use wal_core::testing::logs::Written;
use wal_core::testing::meter::{Heap, Reads};
use wal_core::{AmbiguousTail, Error, RecoveryMode};

/// What one read brings in, at least, but for the end of a file: `recover`'s window.
const READ: u64 = 1 << 20;

/// Scans in every mode, and holds the default one against the naive reader.
///
/// # Panics
///
/// If a bound is passed, the two differ, or a mode contradicts another.
pub(super) fn scan(source: &dyn LogSource) -> (Result<Scan, Error>, Vec<Written>) {
    let (found, visited) = match agree::check(source) {
        Ok(found) => found,
        Err(difference) => panic!("recovery says {difference}"),
    };
    let strict = ScanOptions::default();
    assert_eq!(told(&within(source, strict)), told(&found), "a second scan differs");

    let refused = within(source, ScanOptions { ambiguous_tail: AmbiguousTail::Refuse, ..strict });
    match (&refused, &found) {
        (Err(Error::AmbiguousTail(cut)), Ok(scan)) => {
            assert_eq!(Some(&**cut), scan.report.cut.as_ref());
            assert_eq!(scan.report.verdict, wal_core::Verdict::Ambiguous);
        }
        _ => assert_eq!(told(&refused), told(&found)),
    }

    let salvaged = within(source, ScanOptions { mode: RecoveryMode::Salvage, ..strict });
    match (&salvaged, &found) {
        (Ok(scan), Err(Error::Corrupt(first))) => {
            assert_eq!(scan.report.holes.first(), Some(&**first), "the first hole is the damage");
            assert!(scan.report.records >= visited.len() as u64);
        }
        (Ok(_), Ok(_)) | (Err(Error::Corrupt(_) | Error::UnsupportedFormat { .. }), _) => {
            assert_eq!(told(&salvaged), told(&found));
        }
        (other, _) => panic!("salvage says {other:?}, after {found:?}"),
    }
    (found, visited)
}

fn told(found: &Result<Scan, Error>) -> String {
    match found {
        Ok(scan) => format!("{scan:?}, {}", scan.report),
        Err(error) => format!("{error:?}, {error}"),
    }
}

fn within(source: &dyn LogSource, options: ScanOptions) -> Result<Scan, Error> {
    let reads = Reads::of(source);
    let (result, peak) = Heap::peak(|| recover::scan(&reads, options, &mut |_| {}));
    let lens: Vec<u64> = match source.list() {
        Ok(listing) => listing.files.iter().map(|entry| entry.len).collect(),
        Err(error) => panic!("{error}"),
    };
    let holes = result.as_ref().map_or(0, |scan| scan.report.holes.len() as u64);
    let (files, largest) = (lens.len() as u64, lens.iter().max().copied().unwrap_or(0));
    // The window, and what is noted of each file and hole.
    let memory = largest + (16 << 10) + 2048 * (files + holes);
    assert!(peak as u64 <= memory, "{peak} bytes of memory, not {memory}");
    // Each place that is judged may have every file read, once for evidence and once for its end.
    let most = 4 * (files + holes + 2) * (files + 1) * (1 + largest / READ);
    assert!(reads.count() <= most, "{} reads, not {most}", reads.count());
    result
}

//! A scan within bounds: it ends, and takes no more memory or reads than the files explain.

use wal_core::recover::{Scan, ScanOptions};
use wal_core::sink::LogSource;
use wal_core::testing::agree;
use wal_core::testing::logs::Written;
use wal_core::testing::meter::scan_within_bounds;
use wal_core::{AmbiguousTail, Error, RecoveryMode};

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
    scan_within_bounds(source, options, &mut |_| {})
}

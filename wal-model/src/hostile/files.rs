//! Files nobody should trust, in memory and in a real directory.

use std::fs;

use arbitrary::Unstructured;
use tempfile::TempDir;
use wal_core::sink::mem::MemDisk;
use wal_core::testing::logs::{Written, reseal};
use wal_core::{Error, Options, Wal};
use wal_io_std::{DirSource, FileOptions, FileSink, Preparation};

use super::{bounds, plan};

/// Recovers from one file, or from the files of one log. With an even first byte, the rest is the
/// file as it is; with an odd one, a [plan](super::plan).
///
/// # Panics
///
/// If recovery differs from the naive reader, passes a bound, or contradicts itself.
pub fn scan(data: &[u8]) {
    let [mode, data @ ..] = data else { return };
    let disk = match mode % 4 {
        0 | 2 => {
            let (disk, mut bytes) = (MemDisk::new(), data.to_vec());
            if mode % 4 == 2 {
                reseal(&mut bytes);
            }
            disk.put_file(1, bytes);
            disk
        }
        _ => plan::files(&mut Unstructured::new(data)).disk(),
    };
    let _ = bounds::scan(&disk);
}

/// Puts the files of a [plan](super::plan) into a directory, beside others, reads them there, opens
/// the log, appends to it, and opens it again.
///
/// # Panics
///
/// If the directory is read otherwise than memory, opening does not go by what was read, what was
/// recovered is not there later, or the file system fails.
pub fn directory(data: &[u8]) {
    let files = plan::files(&mut Unstructured::new(data));
    let dir = done(TempDir::new());
    for (file, bytes) in &files.bytes {
        done(fs::write(dir.path().join(format!("{file:020}.wal")), bytes));
    }
    for name in ["1.wal", "notes", "00000000000000000009.wal.bak"] {
        done(fs::write(dir.path().join(name), b"foreign"));
    }
    let (found, visited) = bounds::scan(&done(DirSource::open(dir.path())));
    let (in_memory, same) = bounds::scan(&files.disk());
    assert_eq!(same, visited);
    assert_eq!(in_memory.is_ok(), found.is_ok());

    let open = || {
        let preparation = Preparation::Inline;
        let sink =
            done(FileSink::open(dir.path(), &FileOptions::default().preparation(preparation)));
        Wal::open(sink, Options::default().segment_size(4096).segments(2).file_size(8 << 10))
    };
    let (wal, report) = match (open(), &found) {
        (Ok(opened), Ok(_)) => opened,
        (Err(opened), Err(found)) => {
            let same = std::mem::discriminant(&opened) == std::mem::discriminant(found);
            return assert!(same, "{opened}, after {found}");
        }
        // Read, and not gone on with.
        (Err(Error::Exhausted { .. }), Ok(_)) => return,
        (Err(refused), Ok(scan)) => panic!("{refused}, after {}", scan.report),
        (Ok((_, report)), Err(error)) => panic!("opened ({report}) in spite of {error}"),
    };
    if let Ok(scan) = &found {
        assert_eq!((report.verdict, report.end), (scan.report.verdict, scan.end));
        assert_eq!(report.foreign.len(), 3);
    }
    assert_eq!(records(&wal), visited);
    let appended = done(wal.append_and_sync(b"appended")).lsn;
    assert_eq!(done(wal.read_at(appended)), b"appended");
    done(wal.close());
    let (wal, report) = done(open());
    assert_eq!(report.verdict, wal_core::Verdict::Closed, "{report}");
    let mut expected = visited;
    expected.push((appended, b"appended".to_vec()));
    assert_eq!(records(&wal), expected);
}

fn records(wal: &Wal<FileSink>) -> Vec<Written> {
    let records = done(wal.iter_from(wal.start_lsn()));
    records.map(|record| done(record.map(|record| (record.lsn, record.payload)))).collect()
}

fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

//! A golden file of this backend, beside those of the core (`wal-core/tests/golden/README.md`): what a
//! process that is killed leaves of a log that it builds in place.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::fs;
use std::path::{Path, PathBuf};

use wal_core::Options;
use wal_core::format::file_header::VERSION;
use wal_mmap::{FileOptions, Preparation, open_with};

/// The log files of a directory by their numbers.
fn files(dir: &Path) -> Vec<(u64, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|suffix| suffix == "wal"));
    let number = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let mut files: Vec<_> = files.map(|path| (number(&path), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_log_that_is_built_in_place_is_reproduced_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::default().segment_size(4096).segments(2).file_size(5 * 4096);
    let options = options.max_record_len(1 << 20).seed(3);
    let inline = FileOptions::default().preparation(Preparation::Inline);
    let (wal, _) = open_with(dir.path(), options, &inline).unwrap();
    wal.append(b"durable").unwrap();
    drop(wal.reserve(100).unwrap());
    wal.append_batch(&[b"of a".as_slice(), b"batch"]).unwrap();
    wal.sync().unwrap();
    wal.append(&[0x5a; 5000]).unwrap();
    wal.append(b"written").unwrap();
    wal.flush().unwrap();
    // In the file, but in no frame when the process dies: now.
    wal.append(b"stored").unwrap();
    let found = files(dir.path());

    let golden =
        format!("{}/../wal-core/tests/golden/v{VERSION}/mapped", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("WAL_GOLDEN_WRITE").is_some() {
        fs::create_dir_all(&golden).unwrap();
        for (number, bytes) in &found {
            fs::write(format!("{golden}/{number}.wal"), bytes).unwrap();
        }
    }
    assert!(files(Path::new(&golden)) == found, "the files differ from those in {golden}");
}

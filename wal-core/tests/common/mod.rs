//! Scans what tests have built with `wal_core::testing::logs`.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(unused_imports, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

use wal_core::Error;
use wal_core::recover::{Aside, Scan, ScanOptions, scan};
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::sink::{LogSource, SegmentSink};
use wal_core::testing::agree::{agree, naively};

pub use wal_core::testing::logs::{
    FrameAt, Item, LOG_ID, Writer, Written, encode_record, forge_file, forge_frame, overwrite,
    reseal, zero,
};

/// Does to the disk what a scan asks for before a log is written to.
pub fn apply(disk: &MemDisk, scan: &Scan) {
    let sink = MemSink::open(disk).unwrap();
    for aside in &scan.aside {
        match *aside {
            Aside::Range { sequence, offset, len } => sink.set_aside(sequence, offset, len),
            Aside::File { sequence } => sink.set_aside_file(sequence),
        }
        .unwrap();
    }
    for &sequence in &scan.unused {
        sink.remove_unused(sequence).unwrap();
    }
}

/// The next life of the log that `scan` has found on `disk`.
pub fn reopen(disk: &MemDisk, scan: &Scan, capacity: u64, align: u32) -> Writer {
    apply(disk, scan);
    Writer::reopen(disk, scan, capacity, align)
}

/// Scans, and returns the records visited as well.
pub fn recover_with(
    source: &dyn LogSource,
    options: ScanOptions,
) -> (Result<Scan, Error>, Vec<Written>) {
    let mut records = Vec::new();
    let result = scan(source, options, &mut |record| {
        records.push((record.lsn, record.payload.to_vec()));
    });
    (result, records)
}

/// Scans by the defaults. If the source can be read at all, the naive reader must agree.
pub fn recover(source: &dyn LogSource) -> (Result<Scan, Error>, Vec<Written>) {
    let found = recover_with(source, ScanOptions::default());
    match naively(source) {
        Ok(log) => agree(&found.0, &found.1, &log).unwrap(),
        Err(_) => assert!(matches!(found.0, Err(Error::Sink(_)))),
    }
    found
}

//! The [targets](wal_model::hostile) of the fuzzers as ordinary tests: on random bytes, and on every
//! input that was ever found to fail.
#![cfg(not(any(wal_shuttle, wal_loom)))]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use wal_core::testing::meter::Heap;
use wal_model::hostile::TARGETS;

/// The targets watch what they hold.
#[global_allocator]
static HEAP: Heap = Heap;

/// Runs `body` on as many inputs of up to `len` random bytes; on more by `PROPTEST_CASES`. A failure
/// prints its smallest input, to be put into `fuzz/regressions`.
fn random(target: &str, cases: u32, len: usize) {
    let target = TARGETS.iter().find(|known| known.name == target).unwrap();
    let standard = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let config = ProptestConfig { cases: cases.max(standard.cases), ..standard };
    let count = config.cases;
    proptest!(config, |(data in proptest::collection::vec(any::<u8>(), 0..len))| {
        (target.body)(&data);
    });
    println!("count: hostile inputs to `{}` {count}", target.name);
}

#[test]
fn headers_stand_any_bytes() {
    random("header", 5000, 160);
}

#[test]
fn records_stand_any_bytes() {
    random("record", 5000, 600);
}

#[test]
fn exports_stand_any_bytes() {
    random("export", 5000, 200);
}

#[test]
fn scans_stand_any_bytes() {
    random("scan", 8000, 300);
}

#[test]
fn directories_stand_any_bytes() {
    random("directory", 150, 300);
}

#[test]
fn crashes_lose_nothing_acknowledged() {
    random("crashes", 400, 250);
}

/// Runs each target on the inputs kept for it in `fuzz/KIND`; returns how many there were.
fn kept(kind: &str) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind);
    let mut count = 0;
    for target in TARGETS {
        // A target without a directory has never failed.
        let Ok(inputs) = fs::read_dir(root.join(target.name)) else { continue };
        for input in inputs {
            let path = input.unwrap().path();
            println!("{}", path.display());
            (target.body)(&fs::read(path).unwrap());
            count += 1;
        }
    }
    count
}

#[test]
fn what_once_failed_passes() {
    let count = kept("regressions");
    println!("count: regression inputs {count}");
    assert!(count >= 5, "the inputs are not where they were");
}

/// What fuzzers begin with: inputs that take different paths.
#[test]
fn the_seeds_of_the_fuzzers_pass() {
    let count = kept("seeds");
    println!("count: seed inputs {count}");
    assert!(count >= 100, "the inputs are not where they were");
}

//! Small lives of the log, crashed after every call that changes the disk, in every state that the
//! crash can leave.
#![cfg(not(any(wal_shuttle, wal_loom)))]

use wal_model::faults::exhaustive::{Bounds, Only, all};
#[cfg(target_os = "linux")]
use wal_model::faults::medium::Ring;
use wal_model::faults::medium::{Aligned, Direct, Files, Mapped, Medium, Overlapped};

fn check<M: Medium>() {
    let counts =
        all::<M>(&Only::default(), Bounds::QUICK).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{}: {counts:?}", M::NAME);
    for verdict in ["New", "Closed", "Clean", "Torn", "Ambiguous"] {
        let torn_needs_overlap = verdict == "Torn" && M::DEPTH == 1;
        let met = counts.verdicts.contains_key(verdict);
        assert!(met || torn_needs_overlap, "never met: {verdict}");
    }
}

#[test]
fn writes_in_flight() {
    check::<Overlapped>();
}

#[test]
fn one_write_at_a_time() {
    check::<Aligned>();
}

#[test]
fn the_memory_mapped_backend() {
    check::<Mapped>();
}

#[test]
fn the_file_backend() {
    check::<Files>();
}

#[test]
fn the_file_backend_with_direct_writes() {
    check::<Direct>();
}

#[test]
#[cfg(target_os = "linux")]
fn the_ring_backend() {
    check::<Ring>();
}

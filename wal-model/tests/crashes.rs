//! Small lives of the log, crashed after every call that changes the disk, in every state that the
//! crash can leave.
#![cfg(not(any(wal_shuttle, wal_loom)))]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use wal_core::Padding;
use wal_model::faults::exhaustive::{Bounds, Counts, WORKLOADS, run};
use wal_model::faults::medium::{Aligned, Files, Medium, Overlapped};

fn all<M: Medium>(paddings: &[Padding]) {
    let mut counts = Counts::default();
    for workload in WORKLOADS {
        for &padding in paddings {
            match run::<M>(workload, padding, Bounds::QUICK) {
                Ok(found) => counts.add(&found),
                Err(wrong) => panic!("{wrong}"),
            }
        }
    }
    println!("{}: {counts:?}", M::NAME);
    for verdict in ["New", "Closed", "Clean", "Torn", "Ambiguous"] {
        let torn_needs_overlap = verdict == "Torn" && M::DEPTH == 1;
        let met = counts.verdicts.contains_key(verdict);
        assert!(met || torn_needs_overlap, "never met: {verdict}");
    }
}

#[test]
fn writes_in_flight() {
    all::<Overlapped>(&[Padding::Block, Padding::Packed]);
}

#[test]
fn one_write_at_a_time() {
    all::<Aligned>(&[Padding::Block]);
}

#[test]
fn the_file_backend() {
    all::<Files>(&[Padding::Block, Padding::Packed]);
}

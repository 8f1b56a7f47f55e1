//! Long runs of lives with everything at once: many writers, crashes, failing and lying disks.
#![cfg(not(any(wal_shuttle, wal_loom)))]

use wal_model::faults::random::{Counts, run};

#[test]
fn nothing_acknowledged_is_lost() {
    let seeds = std::env::var("WAL_FAULTS_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let mut counts = Counts::default();
    for seed in 0..seeds.unwrap_or(3000) {
        match run(seed) {
            Ok(found) => counts.add(&found),
            Err(wrong) => panic!("{wrong}"),
        }
    }
    println!("{counts:#?}");
}

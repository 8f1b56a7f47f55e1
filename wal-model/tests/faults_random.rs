//! Long runs of lives with everything at once: many writers, crashes, failing and lying disks.
#![cfg(not(any(wal_shuttle, wal_loom)))]

use wal_model::faults::random::{Counts, run};

#[test]
fn nothing_acknowledged_is_lost() {
    let seeds = std::env::var("WAL_FAULTS_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let (mut counts, mut failures) = (Counts::default(), Vec::new());
    if let Some(seed) = std::env::var("WAL_FAULTS_SEED").ok().and_then(|seed| seed.parse().ok()) {
        run(seed, true).unwrap();
        return;
    }
    for seed in 0..seeds.unwrap_or(3000) {
        match run(seed, false) {
            Ok(found) => counts.add(&found),
            Err(wrong) => failures.push(wrong),
        }
    }
    assert!(failures.is_empty(), "{} seeds failed:\n{}", failures.len(), failures.join("\n"));
    println!("{counts:#?}");
    for verdict in ["New", "Closed", "Clean", "Torn", "Ambiguous", "Corrupt", "Gap"] {
        assert!(counts.verdicts.contains_key(verdict), "never met: {verdict}");
    }
    for fault in ["Io", "Full", "Interrupted", "Short", "Lost", "Misdirected"] {
        assert!(counts.faults.contains_key(fault), "never met: {fault}");
    }
    assert!(counts.poisoned > 0 && counts.refused > 0 && counts.corrupt > 0);
}

//! The list of bugs does not rot: every edit still applies, every layer named exists, everything
//! that can be switched on is named, and some bugs are tried for real. `cargo bugs` tries all.
#![cfg(not(any(wal_shuttle, wal_loom)))]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use wal_model::bugs::run::{Outcome, Run, Runner};
use wal_model::bugs::{Layer, all, tree};
use wal_model::machine;

fn source(path: &str) -> String {
    fs::read_to_string(tree::root().join(path)).unwrap()
}

#[test]
fn every_edit_applies_and_every_name_is_unique() {
    let mut names = BTreeSet::new();
    let mut rotten = Vec::new();
    for bug in all() {
        assert!(names.insert(bug.name), "{} is there twice", bug.name);
        assert!(!bug.edits.is_empty() && !bug.caught_by.is_empty(), "{}", bug.name);
        for edit in bug.edits {
            let text = source(edit.file);
            match tree::apply(edit, &text) {
                Ok(edited) => assert_ne!(text, edited, "{}", bug.name),
                Err(error) => rotten.push(format!("{}: {error}", bug.name)),
            }
        }
    }
    assert!(rotten.is_empty(), "{}", rotten.join("\n"));
    assert!(names.len() >= 25, "{}", names.len());
}

#[test]
fn every_layer_that_is_named_exists() {
    // The scenarios are listed in the macro that makes tests of them.
    let shuttle = source("wal-model/src/scenario/mod.rs");
    let check = source("spec/check");
    for bug in all() {
        for layer in bug.caught_by {
            let there = match layer {
                Layer::Core("lib") | Layer::Uring("lib") => true,
                Layer::Core(target) => {
                    tree::root().join(format!("wal-core/tests/{target}.rs")).exists()
                }
                Layer::Files(target) => {
                    let tests = tree::root().join("wal-io-std/tests");
                    let ways = [format!("{target}.rs"), format!("{target}/main.rs")];
                    ways.iter().any(|way| tests.join(way).exists())
                }
                Layer::Mapped(target) => {
                    tree::root().join(format!("wal-mmap/tests/{target}.rs")).exists()
                }
                Layer::Uring(target) => {
                    tree::root().join(format!("wal-io-uring/tests/{target}.rs")).exists()
                }
                Layer::Loom(target) => {
                    tree::root().join(format!("wal-core/tests/{target}.rs")).exists()
                }
                Layer::Reference => tree::root().join("wal-model/tests/reference.rs").exists(),
                Layer::Hostile => tree::root().join("wal-model/tests/hostile.rs").exists(),
                Layer::Crashes => tree::root().join("wal-model/tests/crashes.rs").exists(),
                Layer::Lives => tree::root().join("wal-model/tests/faults_random.rs").exists(),
                Layer::Trace => tree::root().join("wal-model/tests/trace.rs").exists(),
                Layer::Shuttle(scenario) => {
                    shuttle.split_whitespace().any(|word| word == *scenario)
                }
                Layer::Machine(bug) => machine::Bug::ALL.contains(bug),
                Layer::Spec(fault) => check.contains(&format!("(\"{fault}\", ")),
            };
            assert!(there, "{}: there is no {layer}", bug.name);
        }
    }
}

/// What runs for an hour in `cargo bugs`, for two: the sound code passes, and a bug of the ring and
/// one of the disk format do not. By one layer, since each builds anew.
#[test]
fn some_bugs_are_caught_for_real() {
    let mut runner = Runner::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("bugs")).unwrap();
    let core = |layer| matches!(layer, Layer::Core("lib"));
    for run in runner.baseline(&[Layer::Core("lib")]) {
        assert_eq!(run.outcome, Outcome::Passed, "{}", run.layer);
    }
    for name in ["one-past-the-end", "salt-dropped"] {
        let bug = all().into_iter().find(|bug| bug.name == name).unwrap();
        let caught = runner.bug(&bug, core).unwrap();
        assert!(!caught.is_empty());
        for Run { layer, outcome, time } in caught {
            println!("{name}: {layer} {:.1} s {outcome}", time.as_secs_f64());
            assert!(outcome.is_caught(), "{name} is missed by {layer}: {outcome}");
        }
    }
}

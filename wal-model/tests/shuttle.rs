//! The scenarios over the in-memory sink: `cargo shuttle`.
#![cfg(wal_shuttle)]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::process::Command;

use wal_core::sink::mem::MemDisk;

wal_model::shuttle_scenarios!(MemDisk);

#[test]
#[ignore = "fails on purpose"]
fn fails_on_purpose() {
    wal_model::scenario::fails_on_purpose::<MemDisk>();
}

/// Runs the test above in a process of its own, and returns what it printed, if it failed.
fn failure(variables: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "fails_on_purpose", "--ignored", "--nocapture"]);
    for variable in ["WAL_SHUTTLE_REPLAY", "WAL_SHUTTLE_SEED", "WAL_SHUTTLE_ITERATIONS"] {
        command.env_remove(variable);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    (!output.status.success()).then_some(printed)
}

fn line<'a>(printed: &'a str, with: &str) -> &'a str {
    match printed.lines().find(|line| line.contains(with)) {
        Some(line) => line,
        None => panic!("no line with {with:?} in:\n{printed}"),
    }
}

#[test]
fn a_failing_schedule_is_printed_and_fails_again_in_the_same_way() {
    let first = failure(&[]).unwrap();
    let command = line(&first, "WAL_SHUTTLE_REPLAY=");
    assert!(command.ends_with(" cargo shuttle fails_on_purpose"), "{command}");
    let schedule = command.split([' ', '=']).nth(1).unwrap();

    let again = failure(&[("WAL_SHUTTLE_REPLAY", schedule)]).unwrap();
    assert_eq!(line(&again, "fails on purpose:"), line(&first, "fails on purpose:"));

    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("fails_on_purpose.schedule");
    std::fs::write(&file, schedule).unwrap();
    let from_file = failure(&[("WAL_SHUTTLE_REPLAY", file.to_str().unwrap())]).unwrap();
    assert_eq!(line(&from_file, "fails on purpose:"), line(&first, "fails on purpose:"));

    // Another seed takes other schedules, and the same seed the same.
    let other = failure(&[("WAL_SHUTTLE_SEED", "7")]).unwrap();
    assert_ne!(line(&other, "WAL_SHUTTLE_REPLAY="), command);
    assert_eq!(line(&failure(&[]).unwrap(), "WAL_SHUTTLE_REPLAY="), command);
    // One of another scenario runs nothing here.
    let foreign = schedule.replace("fails_on_purpose@", "writers@");
    assert_eq!(failure(&[("WAL_SHUTTLE_REPLAY", &foreign)]), None);
}

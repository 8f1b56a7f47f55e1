//! The examples that are there to be copied, put to the test: a queue, a key-value store whose process
//! is killed, and an archive in an object store that fails.
//!
//! A few seconds by default; `WAL_FAULTS_ROUNDS` says how often to kill instead.

mod archive;
mod kv;
mod object;
#[path = "../process/mod.rs"]
mod process;
mod queue;
#[cfg(target_os = "linux")]
#[path = "../process/seccomp.rs"]
mod seccomp;

use std::process::ExitCode;

use libtest_mimic::{Failed, Trial};

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    if let Some(victim) = kv::Victim::of_env() {
        return victim.live();
    }
    #[cfg(target_os = "linux")]
    if let Some(dir) = kv::failing::of_env() {
        return kv::failing::live(&dir);
    }
    let tests: [(&str, Test); 8] = [
        ("queue::what_was_not_acknowledged_comes_again_and_nothing_else", queue::comes_again),
        ("queue::a_delivery_that_is_dropped_comes_again", queue::dropped),
        ("queue::many_consumers_get_each_message_once", queue::many),
        ("queue::space_is_freed_up_to_the_oldest_unacknowledged", queue::freed),
        ("kv::every_state_after_a_kill_is_one_that_was", kv::killed),
        ("kv::a_checkpoint_that_does_not_fit_its_log_is_refused", kv::refused),
        ("archive::nothing_is_freed_before_it_was_shipped", archive::interrupted),
        ("archive::a_damaged_copy_is_told_and_a_cut_one_left_out", archive::damaged),
    ];
    let trials = tests.map(|(name, test)| Trial::test(name, test));
    #[cfg(target_os = "linux")]
    let trials = trials.into_iter().chain([Trial::ignorable_test(
        "kv::a_checkpoint_that_cannot_be_synced_takes_no_place",
        kv::failing::unsynced,
    )]);
    process::run(trials.into_iter().collect())
}

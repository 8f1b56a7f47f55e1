//! Kills processes over a log, whatever backend opens it: what the targets `kill` share.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::Failed;
use wal_core::testing::kill::{self, Plan, Shape};
use wal_core::{Error, Options, RecoveryReport, SegmentSink, Wal};

use crate::process;

/// The directory of the log, and how it is opened, for the process to be killed.
pub(crate) const DIR: &str = "WAL_KILL_DIR";
const VARIANT: &str = "WAL_KILL_VARIANT";

/// What opens a log.
pub(crate) type Opened<S> = Result<(Wal<S>, RecoveryReport), Error>;

/// Of all logs that are tortured.
pub(crate) fn options() -> Options {
    shape(0).options()
}

const fn shape(seed: u64) -> Shape {
    Shape::small(seed, 8)
}

/// Kills processes that open the log as `variant`, `quick` times or as often as asked for, and
/// recovers it by `open`. What was done is counted for the `backend`.
pub(crate) fn torture<S: SegmentSink>(
    backend: &str,
    variant: &str,
    quick: u32,
    open: impl Fn(&Path) -> Opened<S>,
) -> Result<(), Failed> {
    let longest = Duration::from_millis(120);
    let plan = Plan { shape: shape(process::seed()), rounds: process::rounds(quick), longest };
    plan.logs().try_for_each(|plan| torture_one(backend, variant, plan, &open))
}

fn torture_one<S: SegmentSink>(
    backend: &str,
    variant: &str,
    plan: Plan,
    open: &impl Fn(&Path) -> Opened<S>,
) -> Result<(), Failed> {
    let home = tempfile::Builder::new().prefix("wal-kill-").tempdir()?;
    let dir = home.path().join("log");
    let command = || {
        let mut command = process::itself();
        command.env(DIR, &dir).env(VARIANT, variant);
        command
    };
    match kill::torture(&plan, &command, &|| open(&dir)) {
        Ok(tally) => {
            for (what, count) in tally.counts() {
                process::count(&format!("{what}, {backend}"), count);
            }
            let idle = tally.killed_at_work < u64::from(plan.rounds)
                || tally.acknowledgements == 0
                || tally.freeing_truncations == 0
                || tally.locked_out == 0;
            if idle { Err("too little happened to show anything".into()) } else { Ok(()) }
        }
        Err(wrong) => Err(format!("{wrong}; the log is in {}", home.keep().display()).into()),
    }
}

/// What the process to be killed does: it opens the log as the variant it is told.
pub(crate) fn die<S: SegmentSink>(open: impl Fn(&str, &Path) -> Opened<S>) -> ExitCode {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap_or_default());
    let variant = std::env::var(VARIANT).unwrap_or_default();
    match kill::victim(|_| open(&variant, &dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the process to be killed has failed by itself: {error}");
            ExitCode::FAILURE
        }
    }
}

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

const SEGMENT: usize = 8 << 10;
const FILE: u64 = 64 << 10;

/// Every recovery reads all of a log: so none grows for ever.
const ROUNDS_OF_A_LOG: u32 = 12;

/// What opens a log.
pub(crate) type Opened<S> = Result<(Wal<S>, RecoveryReport), Error>;

/// Small segments and files: it goes on to new ones all the time. Futures are waited for, too.
pub(crate) fn options() -> Options {
    let options = Options::default().segment_size(SEGMENT).segments(4).file_size(FILE);
    options.max_record_len(1 << 20).executor(|job| drop(std::thread::spawn(job)))
}

/// Kills processes that open the log as `variant`, `quick` times or as often as asked for, and
/// recovers it by `open`.
pub(crate) fn torture<S: SegmentSink>(
    variant: &str,
    quick: u32,
    open: impl Fn(&Path) -> Opened<S>,
) -> Result<(), Failed> {
    let (rounds, seed) = (process::rounds(quick), process::seed());
    for done in (0..rounds).step_by(ROUNDS_OF_A_LOG as usize) {
        let rounds = ROUNDS_OF_A_LOG.min(rounds - done);
        torture_one(variant, seed.wrapping_add(done.into()), rounds, &open)?;
    }
    Ok(())
}

fn torture_one<S: SegmentSink>(
    variant: &str,
    seed: u64,
    rounds: u32,
    open: &impl Fn(&Path) -> Opened<S>,
) -> Result<(), Failed> {
    let shape =
        Shape { seed, first_writer: 0, writers: 8, segment_size: SEGMENT as u64, file_size: FILE };
    let plan = Plan { shape, rounds, longest: Duration::from_millis(120) };
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
                process::count(what, count);
            }
            let idle = tally.killed_at_work < u64::from(plan.rounds)
                || tally.acknowledgements == 0
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
    match kill::victim(|| open(&variant, &dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the process to be killed has failed by itself: {error}");
            ExitCode::FAILURE
        }
    }
}

//! Kills processes that write to a log through io_uring, and refuses io_uring to others.
//!
//! A few seconds by default; `WAL_FAULTS_ROUNDS` says how often to kill instead.

#[path = "../../wal-io-std/tests/process/mod.rs"]
mod process;
#[path = "../../wal-io-std/tests/process/seccomp.rs"]
mod seccomp;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use wal_core::testing::kill::{self, Plan, Shape};
use wal_core::{Error, Options, RecoveryReport, Wal};
use wal_io_uring::{AnySink, Durable, Unavailable, UringOptions, open, open_or_std};

/// The directory of the log, and how it is opened, for the process to be killed.
const DIR: &str = "WAL_KILL_DIR";
const VARIANT: &str = "WAL_KILL_VARIANT";
/// What is refused to a process, instead.
const REFUSED: &str = "WAL_REFUSED";

const SEGMENT: usize = 8 << 10;
const FILE: u64 = 64 << 10;

/// Every recovery reads all of a log: so none grows for ever.
const ROUNDS_OF_A_LOG: u32 = 12;

/// Ways to open the log: all of them have to survive.
const VARIANTS: [&str; 3] = ["direct", "per_sync", "buffered"];

/// Small segments and files: it goes on to new ones all the time, with several writes in flight.
fn open_as(variant: &str, dir: &Path) -> Result<(Wal<AnySink>, RecoveryReport), Error> {
    let options = Options::default().segment_size(SEGMENT).segments(4).depth(3).file_size(FILE);
    // Futures are waited for, too.
    let options = options.max_record_len(1 << 20).executor(|job| drop(std::thread::spawn(job)));
    let uring = match variant {
        "per_sync" => UringOptions::default().durable(Durable::PerSync).register(false),
        "buffered" => UringOptions::default().bypass_cache(false),
        _ => UringOptions::default(),
    };
    open_or_std(dir, options, &uring)
}

fn torture(variant: &'static str) -> Result<(), Failed> {
    if let Err(why) = wal_io_uring::probe() {
        process::skipped(variant, &format!("shown for wal-io-std instead: {why}"));
    }
    let (rounds, seed) = (process::rounds(4), process::seed());
    for done in (0..rounds).step_by(ROUNDS_OF_A_LOG as usize) {
        let rounds = ROUNDS_OF_A_LOG.min(rounds - done);
        torture_one(variant, seed.wrapping_add(done.into()), rounds)?;
    }
    Ok(())
}

fn torture_one(variant: &str, seed: u64, rounds: u32) -> Result<(), Failed> {
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
    match kill::torture(&plan, &command, &|| open_as(variant, &dir)) {
        Ok(tally) => {
            for (what, count) in tally.counts() {
                process::count(what, count);
            }
            let idle = tally.killed_at_work < u64::from(plan.rounds) || tally.acknowledgements == 0;
            if idle { Err("too little happened to show anything".into()) } else { Ok(()) }
        }
        Err(wrong) => Err(format!("{wrong}; the log is in {}", home.keep().display()).into()),
    }
}

/// What the process to be killed does.
fn die() -> ExitCode {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap_or_default());
    let variant = std::env::var(VARIANT).unwrap_or_default();
    match kill::victim(|| open_as(&variant, &dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the process to be killed has failed by itself: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Calls that containers refuse: what is refused, how, and what the error must say.
const REFUSALS: [(&str, i64, i32, &str); 3] = [
    ("setup", libc::SYS_io_uring_setup, libc::EPERM, "allow io_uring_setup"),
    ("missing", libc::SYS_io_uring_setup, libc::ENOSYS, "older than 5.6"),
    ("enter", libc::SYS_io_uring_enter, libc::EPERM, "io_uring_enter is refused"),
];

/// Opens a log in a process of its own that may not use io_uring.
fn refused(name: &'static str) -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let mut command = process::itself();
    command.env(REFUSED, name).env(DIR, home.path().join("log"));
    let output = process::watch(&mut command, |_| Ok(()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}

/// What that process does.
fn be_refused(name: &str) -> Result<(), String> {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap_or_default());
    let refusal = REFUSALS.iter().find(|refusal| refusal.0 == name);
    let &(_, call, errno, expected) = refusal.ok_or("nothing to be refused")?;
    if let Err(why) = seccomp::fail(&[seccomp::call(call)], errno) {
        eprintln!("skipped: {why}");
        return Ok(());
    }
    let error = match open(&dir, Options::default()) {
        Ok(_) => return Err("opened all the same".to_owned()),
        Err(error) => error,
    };
    let said = error.to_string();
    if Unavailable::of(&error).is_none() || !said.contains(expected) || !said.contains("log") {
        return Err(format!("instead of `{expected}`: {said}"));
    }
    let sunk = |error: Error| error.to_string();
    let uring = UringOptions::default();
    let (wal, _) = open_or_std(&dir, Options::default(), &uring).map_err(sunk)?;
    wal.append_and_sync(b"without io_uring").map_err(sunk)?;
    match wal.sink() {
        AnySink::Std { why, .. } if why.contains(expected) => Ok(()),
        sink => Err(format!("{sink:?}")),
    }
}

fn main() -> ExitCode {
    if kill::is_victim() {
        return die();
    }
    if let Ok(name) = std::env::var(REFUSED) {
        return match be_refused(&name) {
            Ok(()) => ExitCode::SUCCESS,
            Err(wrong) => {
                eprintln!("{wrong}");
                ExitCode::FAILURE
            }
        };
    }
    let survive = VARIANTS.map(|variant| {
        let name = format!("every_acknowledged_record_survives_the_kill::{variant}");
        Trial::test(name, move || torture(variant))
    });
    let refuse = REFUSALS.map(|(refusal, ..)| {
        let name = format!("a_process_without_io_uring_is_told_why::{refusal}");
        Trial::test(name, move || refused(refusal))
    });
    process::run(survive.into_iter().chain(refuse).collect())
}

//! Kills processes that write to a log through io_uring, and refuses io_uring to others.
//!
//! A few seconds by default; `WAL_FAULTS_ROUNDS` says how often to kill instead.

#[path = "../../wal-io-std/tests/process/mod.rs"]
mod process;
#[path = "../../wal-io-std/tests/process/seccomp.rs"]
mod seccomp;
#[path = "../../wal-io-std/tests/process/torture.rs"]
mod torture;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Failed, Trial};
use wal_core::testing::kill;
use wal_core::{Error, Options};
use wal_io_uring::{AnySink, Durable, Unavailable, UringOptions, open, open_or_std};

use torture::{DIR, Opened};

/// What is refused to a process, instead.
const REFUSED: &str = "WAL_REFUSED";

/// That it may pin next to no memory.
const LIMITED: &str = "memory";

/// Ways to open the log: all of them have to survive.
const VARIANTS: [&str; 3] = ["direct", "per_sync", "buffered"];

/// With several writes in flight.
fn open_as(variant: &str, dir: &Path) -> Opened<AnySink> {
    let uring = match variant {
        "per_sync" => UringOptions::default().durable(Durable::PerSync).register(false),
        "buffered" => UringOptions::default().bypass_cache(false),
        _ => UringOptions::default(),
    };
    open_or_std(dir, torture::options().depth(3), &uring)
}

fn survive(variant: &str) -> Result<(), Failed> {
    if let Err(why) = wal_io_uring::probe() {
        process::skipped(variant, &format!("shown for wal-io-std instead: {why}"));
    }
    torture::torture(variant, 6, |dir| open_as(variant, dir))
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

/// Opens a log in a process of its own that may pin less memory than a log has.
fn limited() -> Result<(), Failed> {
    /// "nobody". Whoever is root may pin as much as there is.
    const UNPRIVILEGED: u32 = 65534;
    let home = tempfile::tempdir()?;
    let mut command = process::itself();
    command.env(REFUSED, LIMITED).env(DIR, home.path().join("log"));
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(home.path(), Some(UNPRIVILEGED), None)?;
        command.uid(UNPRIVILEGED);
    }
    match process::watch(&mut command, |_| Ok(())) {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
        // The program itself lies where only root can read.
        Err(error) => {
            process::skipped(LIMITED, error.message().unwrap_or("it cannot be started"));
            Ok(())
        }
    }
}

/// What that process does: it goes on without registered memory, and says what would help.
fn be_limited(dir: &Path) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(why) = wal_io_uring::probe() {
        eprintln!("skipped: {why}");
        return Ok(());
    }
    let limit = Rlimit { current: Some(256 << 10), maximum: Some(256 << 10) };
    setrlimit(Resource::Memlock, limit).map_err(|error| error.to_string())?;
    let sunk = |error: Error| error.to_string();
    let (wal, _) = open(dir, Options::default()).map_err(sunk)?;
    let features = wal.sink().features();
    let told = features.missing.iter().any(|missing| missing.contains("RLIMIT_MEMLOCK"));
    if !told || features.registered_segments > 0 {
        return Err(format!("the limit goes unmentioned: {features}"));
    }
    let lsn = wal.append_and_sync(b"unregistered").map_err(sunk)?.lsn;
    let read = wal.read_at(lsn).map_err(sunk)?;
    if read == b"unregistered" { Ok(()) } else { Err(format!("{read:?} at {lsn}")) }
}

/// What that process does.
fn be_refused(name: &str, dir: &Path) -> Result<(), String> {
    let refusal = REFUSALS.iter().find(|refusal| refusal.0 == name);
    let &(_, call, errno, expected) = refusal.ok_or("nothing to be refused")?;
    if let Err(why) = seccomp::fail(&[seccomp::call(call)], errno) {
        eprintln!("skipped: {why}");
        return Ok(());
    }
    let error = match open(dir, Options::default()) {
        Ok(_) => return Err("opened all the same".to_owned()),
        Err(error) => error,
    };
    let said = error.to_string();
    if Unavailable::of(&error).is_none() || !said.contains(expected) || !said.contains("log") {
        return Err(format!("instead of `{expected}`: {said}"));
    }
    let sunk = |error: Error| error.to_string();
    let uring = UringOptions::default();
    let (wal, _) = open_or_std(dir, Options::default(), &uring).map_err(sunk)?;
    wal.append_and_sync(b"without io_uring").map_err(sunk)?;
    match wal.sink() {
        AnySink::Std { why, .. } if why.contains(expected) => Ok(()),
        sink => Err(format!("{sink:?}")),
    }
}

fn main() -> ExitCode {
    if kill::is_victim() {
        return torture::die(open_as);
    }
    if let Ok(name) = std::env::var(REFUSED) {
        let dir = PathBuf::from(std::env::var_os(DIR).unwrap_or_default());
        let done = if name == LIMITED { be_limited(&dir) } else { be_refused(&name, &dir) };
        return match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(wrong) => {
                eprintln!("{wrong}");
                ExitCode::FAILURE
            }
        };
    }
    let survive = VARIANTS.map(|variant| {
        let name = format!("every_acknowledged_record_survives_the_kill::{variant}");
        Trial::test(name, move || survive(variant))
    });
    let refuse = REFUSALS.map(|(refusal, ..)| {
        let name = format!("a_process_without_io_uring_is_told_why::{refusal}");
        Trial::test(name, move || refused(refusal))
    });
    let limit = Trial::test("a_process_that_may_pin_no_memory_is_told_how_to", limited);
    process::run(survive.into_iter().chain(refuse).chain([limit]).collect())
}

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
use std::process::{ExitCode, Output};

use libtest_mimic::{Completion, Failed, Trial};
use wal_core::testing::kill;
use wal_core::{Error, Options};
use wal_io_uring::{
    AnySink, Durable, Unavailable, UringOptions, UringSink, open, open_or_std, open_with,
};

use torture::{DIR, Opened};

/// What is refused to a process, instead.
const REFUSED: &str = "WAL_REFUSED";

/// That it may pin next to no memory.
const LIMITED: &str = "memory";

/// That it is to kill processes all the same.
const KILLING: &str = "kills";

/// A child's way to say that what it was to show cannot be shown here.
const SKIPPED: u8 = 77;

/// Ways to open the log: all of them have to survive.
const VARIANTS: [&str; 3] = ["direct", "per_sync", "buffered"];

/// With several writes in flight, and through io_uring or not at all.
fn open_as(variant: &str, dir: &Path) -> Opened<UringSink> {
    let uring = match variant {
        "per_sync" => UringOptions::default().durable(Durable::PerSync).register(false),
        "buffered" => UringOptions::default().bypass_cache(false),
        _ => UringOptions::default(),
    };
    open_with(dir, torture::options().depth(3), &uring)
}

fn survive(variant: &str) -> Result<Completion, Failed> {
    if let Err(why) = wal_io_uring::probe() {
        return Ok(process::skipped(&format!("kills, io_uring, {variant}"), &why.to_string()));
    }
    torture::torture("io_uring", variant, 6, |dir| open_as(variant, dir))
        .map(|()| Completion::Completed)
}

/// Trials of [`survive`].
fn survivals() -> impl Iterator<Item = Trial> {
    VARIANTS.into_iter().map(|variant| {
        let name = format!("every_acknowledged_record_survives_the_kill::{variant}");
        Trial::ignorable_test(name, move || survive(variant))
    })
}

/// Calls that containers refuse: what is refused, how, and what the error must say.
const REFUSALS: [(&str, i64, i32, &str); 3] = [
    ("setup", libc::SYS_io_uring_setup, libc::EPERM, "allow io_uring_setup"),
    ("missing", libc::SYS_io_uring_setup, libc::ENOSYS, "older than 5.6"),
    ("enter", libc::SYS_io_uring_enter, libc::EPERM, "io_uring_enter is refused"),
];

/// Opens a log in a process of its own that may not use io_uring.
fn refused(name: &'static str) -> Result<Completion, Failed> {
    let home = tempfile::tempdir()?;
    let mut command = process::itself();
    command.env(REFUSED, name).env(DIR, home.path().join("log"));
    over(name, &process::watch(&mut command, |_| Ok(()))?)
}

/// What has come of a child: an error, unless it is well or has shown nothing.
fn over(name: &str, output: &Output) -> Result<Completion, Failed> {
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(i32::from(SKIPPED)) {
        return Ok(process::skipped(name, said.trim()));
    }
    if output.status.success() { Ok(Completion::Completed) } else { Err(said.as_ref().into()) }
}

/// Kills processes from one that may not use io_uring: it has to say that it does not, and to count
/// nothing but that.
fn counted() -> Result<Completion, Failed> {
    let mut command = process::itself();
    let mut counts = Vec::new();
    let output = process::watch(command.env(REFUSED, KILLING), |line| {
        counts.extend(line.strip_prefix("count: ").map(str::to_owned));
        Ok(())
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    let skips = said.lines().filter(|line| line.starts_with("skipped: kills, io_uring, ")).count();
    let expected = format!("skipped {}", VARIANTS.len());
    if output.status.success() && (skips != VARIANTS.len() || counts != [expected]) {
        return Err(format!("counted without io_uring: {counts:?}; said: {said}").into());
    }
    over(KILLING, &output)
}

/// Opens a log in a process of its own that may pin less memory than a log has.
fn limited() -> Result<Completion, Failed> {
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
        Ok(output) => over(LIMITED, &output),
        // The program itself lies where only root can read.
        Err(error) => {
            Ok(process::skipped(LIMITED, error.message().unwrap_or("it cannot be started")))
        }
    }
}

/// What that process does: it goes on without registered memory, and says what would help.
fn be_limited(dir: &Path) -> Result<ExitCode, String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(why) = wal_io_uring::probe() {
        eprintln!("{why}");
        return Ok(SKIPPED.into());
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
    if read == b"unregistered" { Ok(ExitCode::SUCCESS) } else { Err(format!("{read:?} at {lsn}")) }
}

/// What that process does.
fn be_refused(name: &str, dir: &Path) -> Result<ExitCode, String> {
    let kills = name == KILLING;
    let refusal = REFUSALS.iter().find(|refusal| refusal.0 == name || kills);
    let &(_, call, errno, expected) = refusal.ok_or("nothing to be refused")?;
    if let Err(why) = seccomp::fail(&[seccomp::call(call)], errno) {
        eprintln!("the kernel refuses a filter: {why}");
        return Ok(SKIPPED.into());
    }
    if kills {
        return Ok(process::run(survivals().collect()));
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
        AnySink::Std { why, .. } if why.contains(expected) => Ok(ExitCode::SUCCESS),
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
        return done.unwrap_or_else(|wrong| {
            eprintln!("{wrong}");
            ExitCode::FAILURE
        });
    }
    let refuse = REFUSALS.map(|(refusal, ..)| {
        let name = format!("a_process_without_io_uring_is_told_why::{refusal}");
        Trial::ignorable_test(name, move || refused(refusal))
    });
    let count = Trial::ignorable_test("a_process_without_io_uring_counts_no_kills", counted);
    let limit = Trial::ignorable_test("a_process_that_may_pin_no_memory_is_told_how_to", limited);
    process::run(survivals().chain(refuse).chain([count, limit]).collect())
}

//! What the targets share that start themselves again: counts, skips, and children with a limit.
#![allow(dead_code, reason = "each test target uses a part of this")]
#![allow(unreachable_pub, reason = "each test target is a crate of its own")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// A child that says nothing for so long hangs, as does one that has not ended by twice that.
const PATIENCE: Duration = Duration::from_secs(30);

static COUNTS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// How long a test goes on: what `WAL_FAULTS_ROUNDS` says, or else `quick`.
pub fn rounds(quick: u32) -> u32 {
    number("WAL_FAULTS_ROUNDS").and_then(|rounds| rounds.try_into().ok()).unwrap_or(quick)
}

/// The seed: what `WAL_FAULTS_SEED` says, or else another one each time.
pub fn seed() -> u64 {
    number("WAL_FAULTS_SEED").unwrap_or_else(|| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        now.as_nanos() as u64 ^ u64::from(std::process::id()) << 32
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Adds to a count that is printed in the end.
pub fn count(what: &str, more: u64) {
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.entry(what.to_owned()).or_default() += more;
}

/// Tells what was not tried and why, where no harness hides it.
pub fn skipped(what: &str, why: &str) -> Completion {
    eprintln!("skipped: {what}: {why}");
    count("skipped", 1);
    Completion::ignored_with(why)
}

/// Runs the trials as a test harness does, then prints the counts.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They compete for nothing but time, and their children's lines stay in order.
    arguments.test_threads.get_or_insert(1);
    let conclusion = libtest_mimic::run(&arguments, trials);
    for (what, count) in COUNTS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("count: {what} {count}");
    }
    conclusion.exit_code()
}

/// The command that runs this program again.
pub fn itself() -> Command {
    Command::new(std::env::current_exe().unwrap_or_default())
}

/// Runs a child to its end, calling `line` with each line it prints; the last of them are in the
/// output.
///
/// # Errors
///
/// If it cannot be started, or does not end.
pub fn watch(
    command: &mut Command,
    mut line: impl FnMut(&str) -> Result<(), String>,
) -> Result<Output, Failed> {
    let (send, receive) = mpsc::channel();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that what it starts goes with it.
    let mut child = Guard(child.process_group(0).spawn()?);
    let began = Instant::now();
    let (stdout, stderr) = (child.0.stdout.take(), child.0.stderr.take());
    let errors = thread::spawn(move || {
        let mut text = Vec::new();
        stderr.map(|mut stderr| stderr.read_to_end(&mut text));
        text
    });
    thread::spawn(move || {
        let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
        lines.map_while(Result::ok).all(|line| send.send(line).is_ok())
    });
    let mut last = VecDeque::new();
    loop {
        match receive.recv_timeout(PATIENCE) {
            Ok(text) if began.elapsed() < 2 * PATIENCE => {
                line(&text)?;
                last.push_back(text);
                if last.len() > 20 {
                    last.pop_front();
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {
                return Err(format!("HANGS: no end within {:?}: {last:?}", began.elapsed()).into());
            }
        }
    }
    let status = child.0.wait()?;
    let stderr = errors.join().unwrap_or_default();
    let stdout = Vec::from(last).join("\n").into_bytes();
    Ok(Output { status, stdout, stderr })
}

/// A child that does not outlive this.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let group = rustix::process::Pid::from_child(&self.0);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

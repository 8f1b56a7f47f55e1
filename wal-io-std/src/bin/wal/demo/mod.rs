//! `wal demo`: kills a process that appends, and checks that nothing acknowledged is lost.

mod check;
pub(crate) mod child;
mod corpus;
mod random;
mod round;
mod stamp;
mod tamper;
mod victim;
mod wire;

use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wal_core::sink::LogSource;
use wal_io_std::DirSource;

use crate::failure::{Code, Failure, Outcome};
use crate::output::{Output, grouped};
use crate::progress::Progress;
use check::Faults;
use random::Random;
use round::{Demo, Round, Survey};

pub(crate) const ABOUT: &str = "\
Kills a process that appends to a log, and checks that every record it was told to be durable is \
there.

A child process appends the lines of real files from several threads: single records, batches, \
records larger than a segment, reservations given up. It tells its parent of each record before \
it is appended, and again, with its LSN and checksum, once it is durable. The parent kills the \
child with SIGKILL at a random moment, recovers the log, and checks against its own books that \
every acknowledged record of all rounds is there, unaltered, at its LSN; that each writer's \
records are in order and without gaps; that batches are whole; and that nothing is there that was \
not sent. The next round goes on with the same log.

SIGKILL ends a process, not the machine: what the operating system holds survives. So this shows \
recovery from crashes of the process at any moment, not from power loss.";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Threads that append.
    #[arg(long, value_name = "N", default_value = "16")]
    writers: NonZeroU16,
    /// About how long all of it takes.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// How often to kill.
    #[arg(long, value_name = "R", default_value = "5")]
    rounds: NonZeroU32,
    /// Directory for the log, which must not hold one yet, and keeps it. Default: a temporary
    /// one, removed in the end unless something is wrong.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Damage a durable record before the last check, which must then fail.
    #[arg(long, hide = true)]
    tamper: bool,
    /// Text files to take lines from, or directories with some. Default: README.md, spec/ and the
    /// Rust sources of the repository around the current directory.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let range = || "give a number of seconds from 0.1 to 86400".to_owned();
    let seconds: f64 = text.parse().map_err(|_| range())?;
    let in_range = (0.1..=86400.0).contains(&seconds);
    if in_range { Ok(Duration::from_secs_f64(seconds)) } else { Err(range()) }
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let (corpus, files) = corpus::gather(&args.paths)?;
    let home = Home::make(args.dir.as_deref())?;
    let dir = home.path();
    say(&format!(
        "{} threads append {} lines of {files} files, over and over, to the log in {}",
        args.writers,
        grouped(corpus.lines() as u64),
        dir.display()
    ))?;
    say(&Round::heading())?;
    let mut demo = Demo::new(dir, &corpus, usize::from(args.writers.get()));
    let mut random = Random::new(Random::seed());
    let progress = Progress::millis(args.seconds.as_millis() as u64);
    let (started, rounds) = (Instant::now(), args.rounds.get());
    let (mut acknowledged, mut failed) = (0, None);
    for number in 1..=rounds {
        let now = started.elapsed();
        let left = args.seconds.saturating_sub(now) / (rounds - number + 1);
        let tamper = args.tamper && number == rounds;
        let (round, survey) = demo.round(number, left, rounds, tamper, &mut random, &progress)?;
        acknowledged += round.acknowledged;
        progress.above(|| say(&round.line()))?;
        if let Survey::Failed(faults) = survey {
            failed = Some((number, faults));
            break;
        }
    }
    drop(progress);
    if let Some((number, faults)) = failed {
        complain(number, &faults, &home.keep())?;
        return Ok(Code::Damage);
    }
    if acknowledged == 0 {
        let text = "no record was acknowledged, so nothing is shown; give more --seconds";
        return Err(Failure::trouble(text));
    }
    say(&format!(
        "{} acknowledged records, {rounds} kills: none is missing, altered or out of place; each \
         writer's records are in order and without gaps; nothing is there that was not sent",
        grouped(acknowledged)
    ))?;
    Ok(Code::Success)
}

/// What is wrong, and where to look.
fn complain(number: u32, faults: &Faults, dir: &Path) -> Outcome<()> {
    for fault in &faults.kept {
        say(&fault.to_string())?;
    }
    if faults.total > faults.kept.len() as u64 {
        say(&format!("...and {} more", faults.total - faults.kept.len() as u64))?;
    }
    let dir = dir.display();
    say(&format!(
        "FAILED in round {number}: {} faults; the log is kept in {dir}: look at it with `wal \
         verify` and `wal cat`",
        grouped(faults.total)
    ))
}

/// Prints a line at once.
fn say(line: &str) -> Outcome<()> {
    let mut output = Output::new();
    output.line(line)?;
    output.finish()
}

/// Where the log lives.
enum Home {
    Temporary(TempDir),
    Given(PathBuf),
}

impl Home {
    fn make(given: Option<&Path>) -> Outcome<Self> {
        let Some(dir) = given else {
            let made = tempfile::Builder::new().prefix("wal-demo-").tempdir();
            let failed =
                |error| Failure::system("make a directory in", &std::env::temp_dir(), &error);
            return made.map(Self::Temporary).map_err(failed);
        };
        if dir.exists() {
            let files = DirSource::open(dir).and_then(|source| Ok(source.list()?.files));
            if !files.map_err(|error| Failure::log(dir, &error))?.is_empty() {
                // Its records are not in our books.
                let advice = "name an empty directory";
                let text = format!("{} holds a log already; {advice}", dir.display());
                return Err(Failure::trouble(text));
            }
        }
        Ok(Self::Given(dir.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Given(dir) => dir,
        }
    }

    /// The directory, which stays.
    fn keep(self) -> PathBuf {
        match self {
            Self::Temporary(dir) => dir.keep(),
            Self::Given(dir) => dir,
        }
    }
}

//! `wal-bench torture`: kills processes of any backend.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use wal_bench::Backend;
use wal_bench::backend::{Opened, Work, name};
use wal_core::testing::kill::{self, Plan, Shape, Tally};
use wal_core::{Options, SegmentSink};

use super::{Failure, Outcome, home, progress, say};

pub(crate) const ABOUT: &str = "\
Kills a process that appends, recovers its log, checks every record, and so on.

Each round, a process appends from many threads: single records, batches, records larger than a \
segment or a file, reservations given up; and truncates the log now and then. It says what it \
appends and what it was told to be durable, where it truncates and where the log is said to start. \
It is killed with SIGKILL at a random moment; then its recovery is, too, now and then. \
What the log holds in the end is checked against what the process said: everything acknowledged \
and not truncated is there, unaltered and in order, batches are whole, and nothing else is there.

SIGKILL ends a process, not the machine: what the operating system holds survives.";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Backends to torture, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Backend::value_variants().to_vec())]
    backend: Vec<Backend>,
    /// Processes to kill at work, for each backend.
    #[arg(long, value_name = "N", default_value = "24", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Threads that append.
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=1024))]
    writers: u32,
    /// Decides what is appended, and when processes are killed [default: a random one].
    #[arg(long)]
    seed: Option<u64>,
    /// Where to make the logs, which are removed unless something is wrong with one
    /// [default: the directory for temporary files].
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(clap::Args)]
pub(crate) struct Victim {
    backend: Backend,
    dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    let seed = args.seed.unwrap_or_else(random);
    let bar = progress(u64::from(args.rounds) * args.backend.len() as u64);
    say(&format!("seed {seed}"))?;
    let mut refused = Vec::new();
    for &backend in &args.backend {
        bar.set_message(name(backend));
        let mut counts = Tally::default().counts();
        let shape = Shape::small(seed, args.writers);
        let plan = Plan { shape, rounds: args.rounds, longest: Duration::from_millis(120) };
        for plan in plan.logs() {
            let home = home(args.dir.as_deref())?;
            let dir = &home.path().join("log");
            match backend.with(Torture { plan, backend, dir }) {
                Err(why) => {
                    refused.push(format!("{backend}: {why}"));
                    break;
                }
                Ok(Err(wrong)) => {
                    let kept = home.keep().join("log");
                    let kept = kept.display();
                    let text = format!("{backend}: {wrong}; the log is kept in {kept}");
                    return Err(Failure::Damage(text));
                }
                Ok(Ok(tally)) => {
                    for ((_, sum), (_, more)) in counts.iter_mut().zip(tally.counts()) {
                        *sum += more;
                    }
                }
            }
            bar.inc(plan.rounds.into());
        }
        if counts[0].1 > 0 {
            let counts = counts.map(|(what, count)| format!("{count} {what}")).join(", ");
            bar.suspend(|| say(&format!("{backend}: nothing lost: {counts}")))?;
        }
    }
    bar.finish_and_clear();
    if refused.is_empty() { Ok(()) } else { Err(Failure::Trouble(refused.join("\n"))) }
}

/// A number that differs from run to run.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

struct Torture<'a> {
    plan: Plan,
    backend: Backend,
    dir: &'a Path,
}

impl Work for Torture<'_> {
    type Output = Result<Tally, String>;

    fn with<S: SegmentSink>(
        self,
        open: impl Fn(&Path, Options) -> Opened<S> + Sync,
    ) -> Self::Output {
        let Self { plan, backend, dir } = self;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let command = || {
            let mut command = Command::new(&program);
            command.arg("victim").arg(name(backend)).arg(dir);
            command
        };
        kill::torture(&plan, &command, &|| open(dir, plan.shape.options()))
    }
}

/// What the process to be killed does.
pub(crate) fn die(args: &Victim) -> Outcome<()> {
    struct Die<'a>(&'a Path);
    impl Work for Die<'_> {
        type Output = Result<(), wal_core::Error>;

        fn with<S: SegmentSink>(
            self,
            open: impl Fn(&Path, Options) -> Opened<S> + Sync,
        ) -> Self::Output {
            kill::victim(|shape| open(self.0, shape.options()))
        }
    }
    Ok(args.backend.with(Die(&args.dir)).map_err(Failure::Trouble)??)
}

//! `cargo faults`: everything that tries to lose what was acknowledged, and how much of it there was.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZero;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::exhaustive::{self, Bounds};
use super::medium::{Aligned, Files, Mapped, Medium, Overlapped};
use super::random;

/// What to run; without a subcommand, everything.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Everything, for hours.
    #[arg(long)]
    deep: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// Small lives, crashed after every call that changes the disk.
    Exhaustive {
        /// Only this medium, or this workload of it: `files`, `files/rotation`.
        #[arg(long, default_value = "")]
        only: String,
        /// Only the crash of this number.
        #[arg(long)]
        point: Option<usize>,
        /// Far more states of each crash.
        #[arg(long)]
        deep: bool,
    },
    /// Long lives with everything at once.
    Random {
        /// Only this seed, of which everything done is told.
        #[arg(long)]
        seed: Option<u64>,
        /// How many seeds, from 0 on.
        #[arg(long, default_value_t = QUICK_SEEDS)]
        seeds: u64,
    },
}

const QUICK_SEEDS: u64 = 3000;
const DEEP_SEEDS: u64 = 3_000_000;

/// A test target that counts what it did, and what makes it go on for long.
struct Target {
    package: &'static str,
    test: &'static str,
    deep: (&'static str, &'static str),
}

const TARGETS: &[Target] = &[
    Target { package: "wal-core", test: "recovery_sweeps", deep: ("WAL_FAULTS_DEEP", "1") },
    Target { package: "wal-core", test: "recovery_forged", deep: ("WAL_FAULTS_DEEP", "1") },
    Target { package: "wal-model", test: "hostile", deep: ("PROPTEST_CASES", "300000") },
    Target { package: "wal-io-std", test: "kill", deep: ("WAL_FAULTS_ROUNDS", "500") },
    Target { package: "wal-io-std", test: "failing", deep: ("WAL_FAULTS_ROUNDS", "500") },
    Target { package: "wal-io-std", test: "disk", deep: ("WAL_FAULTS_ROUNDS", "500") },
    Target { package: "wal-io-std", test: "underneath", deep: ("WAL_FAULTS_ROUNDS", "500") },
    Target { package: "wal-io-uring", test: "kill", deep: ("WAL_FAULTS_ROUNDS", "500") },
    Target { package: "wal-mmap", test: "kill", deep: ("WAL_FAULTS_ROUNDS", "500") },
];

/// What was done, by name, in the order in which it was.
type Table = Vec<(String, u64)>;

impl Args {
    /// Runs the command and prints what was done; returns whether all went well. Blocks for a
    /// minute, or hours if deep.
    ///
    /// # Errors
    ///
    /// If a test cannot be run at all.
    pub fn run(&self) -> io::Result<bool> {
        let begun = Instant::now();
        let mut table = Table::new();
        let result = match &self.part {
            Some(Part::Exhaustive { only, point, deep }) => {
                let bounds = if *deep { Bounds::DEEP } else { Bounds::QUICK };
                crashes(only, Bounds { point: *point, ..bounds }, &mut table)
            }
            Some(Part::Random { seed: Some(seed), .. }) => random::run(*seed, true).map(drop),
            Some(Part::Random { seed: None, seeds }) => seeds_from_zero(*seeds, &mut table),
            None => self.everything(&mut table)?,
        };
        for (what, count) in &table {
            println!("{what:<58} {count:>12}");
        }
        println!("{:.0} s", begun.elapsed().as_secs_f64());
        if let Err(wrong) = &result {
            println!("FAILED: {wrong}");
        }
        Ok(result.is_ok())
    }

    fn everything(&self, table: &mut Table) -> io::Result<Result<(), String>> {
        let (bounds, seeds) = match self.deep {
            true => (Bounds::DEEP, DEEP_SEEDS),
            false => (Bounds::QUICK, QUICK_SEEDS),
        };
        let mut result = crashes("", bounds, table).and_then(|()| seeds_from_zero(seeds, table));
        for target in TARGETS {
            if result.is_ok() {
                result = target.run(self.deep, table)?;
            }
        }
        Ok(result)
    }
}

impl Target {
    fn run(&self, deep: bool, table: &mut Table) -> io::Result<Result<(), String>> {
        let Self { package, test, deep: (name, value) } = self;
        let mut command = Command::new("cargo");
        command.args(["test", "--package", package, "--test", test, "--", "--nocapture"]);
        if deep {
            command.env(name, value);
        }
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            io::stdout().write_all(&output.stdout)?;
            io::stderr().write_all(&output.stderr)?;
            return Ok(Err(format!("again: cargo test -p {package} --test {test}")));
        }
        let mut counted = BTreeMap::new();
        for line in said.lines() {
            // Tests that run beside it may have left their own half of the line before it.
            let Some((_, counts)) = line.split_once("count: ") else { continue };
            if let Some((what, count)) = counts.rsplit_once(' ')
                && let Ok(count) = count.parse::<u64>()
            {
                *counted.entry(what.to_owned()).or_default() += count;
            }
        }
        // Named on standard error by those who left something out.
        for line in
            String::from_utf8_lossy(&output.stderr).lines().filter(|l| l.contains("skipped"))
        {
            println!("{line}");
        }
        table.extend(counted);
        Ok(Ok(()))
    }
}

fn crashes(only: &str, bounds: Bounds, table: &mut Table) -> Result<(), String> {
    let (medium, workload) = only.split_once('/').unwrap_or((only, ""));
    let met = [
        one::<Overlapped>(medium, workload, bounds, table)?,
        one::<Aligned>(medium, workload, bounds, table)?,
        one::<Files>(medium, workload, bounds, table)?,
        one::<Mapped>(medium, workload, bounds, table)?,
    ];
    if met.contains(&true) { Ok(()) } else { Err(format!("there is no `{only}`")) }
}

/// Runs one medium if it is meant, and says whether there was anything to run.
fn one<M: Medium>(
    medium: &str,
    workload: &str,
    bounds: Bounds,
    table: &mut Table,
) -> Result<bool, String> {
    if !M::NAME.contains(medium) {
        return Ok(false);
    }
    let counts = exhaustive::all::<M>(workload, bounds)?;
    table.push((format!("crash states, exhaustive, {}", M::NAME), counts.states));
    table.push((format!("crash states within their recovery, {}", M::NAME), counts.again));
    Ok(counts.points > 0)
}

fn seeds_from_zero(seeds: u64, table: &mut Table) -> Result<(), String> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut counts = random::Counts::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return Ok(counts);
            }
            // The first failure ends the run: nobody takes a seed any more.
            let found =
                random::run(seed, false).inspect_err(|_| next.store(seeds, Ordering::Relaxed));
            counts.add(&found?);
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let results: Vec<Result<random::Counts, String>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = workers.into_iter().map(|worker| match worker.join() {
            Ok(result) => result,
            Err(_) => Err("a run panicked".to_owned()),
        });
        joined.collect()
    });
    let mut counts = random::Counts::default();
    for found in results {
        counts.add(&found?);
    }
    table.push(("lives, random".to_owned(), counts.lives));
    table.push(("crash states, random".to_owned(), counts.states));
    table.push(("faults that struck, random".to_owned(), counts.faults.values().sum()));
    table.push(("verdicts known beforehand, random".to_owned(), counts.verdicts.values().sum()));
    Ok(())
}

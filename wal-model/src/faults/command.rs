//! `cargo faults`: everything that tries to lose what was acknowledged, and how much of it there was.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::num::NonZero;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use wal_core::Padding;

use super::exhaustive::{self, Bounds, Only};
#[cfg(target_os = "linux")]
use super::medium::Ring;
use super::medium::{Aligned, Direct, Files, Mapped, Medium, Overlapped};
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
        /// Which states of each crash: quick (seconds), usual (minutes) or deep (hours).
        #[arg(long, default_value = "usual", value_parser = bounds)]
        bounds: Bounds,
        /// Only this medium.
        #[arg(long)]
        medium: Option<String>,
        /// Only this workload.
        #[arg(long)]
        workload: Option<String>,
        /// Only this padding: block or packed.
        #[arg(long, value_parser = padding)]
        padding: Option<Padding>,
        /// Only the crash of this number.
        #[arg(long)]
        point: Option<usize>,
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

fn bounds(name: &str) -> Result<Bounds, String> {
    Bounds::EACH.into_iter().find(|bounds| bounds.name == name).ok_or("no such bounds".to_owned())
}

fn padding(name: &str) -> Result<Padding, String> {
    match name {
        "block" => Ok(Padding::Block),
        "packed" => Ok(Padding::Packed),
        _ => Err("no such padding".to_owned()),
    }
}

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
            Some(Part::Exhaustive { bounds, medium, workload, padding, point }) => {
                let (medium, workload) = (medium.clone(), workload.clone());
                let only = Only { medium, workload, padding: *padding, point: *point };
                crashes(&only, *bounds, &mut table)
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
            false => (Bounds::USUAL, QUICK_SEEDS),
        };
        let mut result =
            crashes(&Only::default(), bounds, table).and_then(|()| seeds_from_zero(seeds, table));
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
        let complaints = String::from_utf8_lossy(&output.stderr);
        let skipped: Vec<_> = complaints.lines().filter(|l| l.contains("skipped")).collect();
        skipped.iter().for_each(|line| println!("{line}"));
        if counted.is_empty() {
            // Its tests are what there is to count.
            let passed = said.lines().filter(|line| line.ends_with(" ... ok")).count() as u64;
            if passed == 0 && skipped.is_empty() {
                return Ok(Err(format!(
                    "{test} of {package} says neither what it did nor why not"
                )));
            }
            counted.insert(format!("things done by `{test}`"), passed);
        }
        table.extend(counted);
        Ok(Ok(()))
    }
}

/// Runs one medium.
type OnMedium = fn(&Only, Bounds) -> Result<Vec<(String, u64)>, String>;

fn crashes(only: &Only, bounds: Bounds, table: &mut Table) -> Result<(), String> {
    let media: &[OnMedium] = &[
        one::<Overlapped>,
        one::<Aligned>,
        one::<Files>,
        one::<Direct>,
        #[cfg(target_os = "linux")]
        one::<Ring>,
        one::<Mapped>,
    ];
    let next = AtomicUsize::new(0);
    let work = || {
        let mine = || media.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(mine).map(|one| one(only, bounds)).collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    for result in on_every_core(work)?.into_iter().flatten() {
        found.extend(result?);
    }
    if found.is_empty() {
        return Err(format!("there is nothing of this: {only:?}"));
    }
    found.sort();
    table.extend(found);
    Ok(())
}

/// What was looked at on one medium, if it is meant.
fn one<M: Medium>(only: &Only, bounds: Bounds) -> Result<Vec<(String, u64)>, String> {
    let counts = exhaustive::all::<M>(only, bounds)?;
    if counts.points == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![
        (format!("crash states, exhaustive, {}", M::NAME), counts.states),
        (format!("crash states within their recovery, {}", M::NAME), counts.again),
    ])
}

/// Runs `work` on as many threads as there are cores.
fn on_every_core<T: Send>(work: impl Fn() -> T + Sync) -> Result<Vec<T>, String> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.map(|result| result.map_err(|_| "a run panicked".to_owned())).collect()
    })
}

fn seeds_from_zero(seeds: u64, table: &mut Table) -> Result<(), String> {
    let next = AtomicU64::new(0);
    let work = || -> Result<random::Counts, String> {
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
    let mut counts = random::Counts::default();
    for found in on_every_core(work)? {
        counts.add(&found?);
    }
    table.push(("lives, random".to_owned(), counts.lives));
    table.push(("crash states, random".to_owned(), counts.states));
    table.push(("faults that struck, random".to_owned(), counts.faults.values().sum()));
    table.push(("verdicts known beforehand, random".to_owned(), counts.verdicts.values().sum()));
    Ok(())
}

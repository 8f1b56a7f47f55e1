//! `wal-bench stress`: many writers in a tiny ring, round after round.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use wal_bench::Place;
use wal_bench::stress::{Counts, Round};

use super::{Failure, Outcome, home, progress, say};

pub(crate) const ABOUT: &str = "\
Runs short rounds of many writers in a tiny ring, and verifies each.

Segments are as small as can be, so that they rotate all the time, and files end. The writers append \
single records, batches and records larger than a segment, and wait now and then until what they \
appended is written, or durable. Then the log is read, closed, opened and read again: no LSN is given \
out twice, each thread's records are in its order, and every record is there, whole and unaltered. A \
round in which nobody gets on is given up, and what each thread waits for is told.";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds, which take turns at all numbers of threads and all places.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Numbers of threads that append.
    #[arg(long, value_delimiter = ',', default_values = ["2", "8", "32"], value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Where the logs go: memory, or the name of a backend.
    #[arg(long = "on", value_name = "PLACE", value_delimiter = ',', default_values = ["memory", "std"], value_parser = place)]
    places: Vec<Place>,
    /// Records of a round, of all its threads.
    #[arg(long, value_name = "N", default_value = "600", value_parser = clap::value_parser!(u32).range(1..))]
    records: u32,
    /// Seconds without progress that are called a hang.
    #[arg(long, value_name = "S", default_value = "60", value_parser = super::seconds)]
    patience: Duration,
    /// Decides what is appended [default: a random one].
    #[arg(long)]
    seed: Option<u64>,
    /// Where to make the logs, which are removed unless something is wrong with one
    /// [default: the directory for temporary files].
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// A place where records stay.
fn place(name: &str) -> Result<Place, String> {
    let mut places = Place::all().into_iter().filter(|&place| place != Place::Null);
    let names = || Place::all()[1..].iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    places.find(|place| place.to_string() == name).ok_or_else(|| format!("one of {}", names()))
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    let seed = args.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    say(&format!("seed {seed}"))?;
    let shapes: Vec<_> =
        args.places.iter().flat_map(|&at| args.threads.iter().map(move |&n| (at, n))).collect();
    let mut counts = vec![(0, Counts::default()); shapes.len()];
    let bar = progress(args.rounds.into());
    for (number, index) in (0..args.rounds).zip((0..shapes.len()).cycle()) {
        let (place, threads) = shapes[index];
        bar.set_message(format!("{place}, {threads} threads"));
        let home = home(args.dir.as_deref())?;
        let dir = &home.path().join("log");
        let round = Round {
            dir,
            seed: seed.wrapping_add(number.into()),
            threads: threads.into(),
            records: args.records.into(),
            // Two to four, whatever the shape.
            segments: 2 + (number as usize / shapes.len()) % 3,
            patience: args.patience,
        };
        match place.with(round).map_err(Failure::Trouble)? {
            Ok(more) => {
                counts[index].0 += 1;
                counts[index].1.add(&more);
            }
            Err(wrong) => {
                let kept = home.path().join("log");
                let text = format!(
                    "round {number}, seed {}, on {place}, {threads} threads: {wrong}\n\
                     files, if any, are kept in {}",
                    round.seed,
                    kept.display()
                );
                // Whoever hangs still uses them.
                std::mem::forget(home);
                return Err(Failure::Damage(text));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    say("on      threads  rounds   records  batches  large    waits   frames    syncs   stalls")?;
    for ((place, threads), (rounds, counts)) in shapes.iter().zip(counts) {
        let Counts { records, batches, large, waits, frames, syncs, stalls } = counts;
        say(&format!(
            "{place:<7} {threads:>7} {rounds:>7} {records:>9} {batches:>8} {large:>6} {waits:>8} \
             {frames:>8} {syncs:>8} {stalls:>8}"
        ))?;
    }
    say("nothing lost, altered, doubled or out of order; nobody hung")
}

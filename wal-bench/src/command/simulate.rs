//! `wal-bench simulate`: how the front of the log would do on machines with more cores than this one.

use std::time::Duration;

use wal_bench::coherence::{BATCH, Costs, Design, MAX_CORES, pays_from, simulate};
use wal_bench::measure::Sampling;
use wal_bench::rounds::median;
use wal_bench::{NullSink, machine, pingpong, threads, window};

use super::{Outcome, say};

pub(crate) const ABOUT: &str = "\
Simulates how cache lines move between cores that append.

Each atomic addition or store to a line that another core owns costs a transfer, within a cluster of \
cores or between clusters; who has a line keeps it for next to nothing. What a transfer costs is \
measured here between two cores unless it is given; between clusters it is assumed to be three times \
as much. Copies, caches that overflow and the flush are left out: the table compares designs, and \
predicts no figures.";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Numbers of cores, ascending.
    #[arg(long, value_delimiter = ',', default_values = ["1", "2", "4", "8", "16", "32", "64", "128"], value_parser = clap::value_parser!(u16).range(1..=MAX_CORES as i64))]
    cores: Vec<u16>,
    /// Cores of a cluster.
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=MAX_CORES as i64))]
    cluster: u16,
    /// Nanoseconds of an addition to a line at hand [default: measured].
    #[arg(long, value_name = "NS")]
    local: Option<f64>,
    /// Nanoseconds of a transfer within a cluster [default: measured].
    #[arg(long, value_name = "NS")]
    near: Option<f64>,
    /// Nanoseconds of a transfer between clusters [default: three times as much].
    #[arg(long, value_name = "NS")]
    far: Option<f64>,
    /// Nanoseconds of copy and checksum [default: measured, for 100 bytes].
    #[arg(long, value_name = "NS")]
    work: Option<f64>,
    /// How many times as fast a sharded front must be to be worth it.
    #[arg(long, value_name = "X", default_value = "1.5")]
    times: f64,
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    for (name, value) in machine::describe(None) {
        say(&format!("{name:>11}: {value}"))?;
    }
    let local = args.local.unwrap_or_else(pingpong::kept);
    // On one core, a common figure.
    let near = args.near.or_else(pingpong::handed_over).unwrap_or(50.0);
    let far = args.far.unwrap_or(near * 3.0);
    let alone = measured(1);
    // An append alone is its two additions and the rest.
    let work = args.work.unwrap_or_else(|| (alone - 2.0 * local).max(0.0));
    say(&format!(
        "\nns: addition to a line at hand {local:.1}, transfer {near:.1} within a cluster of {}, \
         {far:.1} between clusters; work {work:.1}",
        args.cluster
    ))?;
    let ps = |ns: f64| (ns * 1000.0) as u64;
    let costs = Costs {
        local: ps(local),
        near: ps(near),
        far: ps(far),
        cluster: args.cluster.into(),
        work: ps(work),
    };
    if threads::cores() >= 2 {
        let (found, real) = (simulate(Design::Present, 2, costs), measured(2));
        say(&format!(
            "2 threads, 100 bytes: {:.1} ns per append simulated, {real:.1} measured: {:.2} times",
            found.ns,
            found.ns / real
        ))?;
    }
    say(
        "\ncores  design        transfers/append  ns/append  M appends/s  hottest line, ns/append",
    )?;
    let cores: Vec<usize> = args.cores.iter().map(|&cores| cores.into()).collect();
    for &cores in &cores {
        for design in Design::ALL {
            let found = simulate(design, cores, costs);
            say(&format!(
                "{cores:>5}  {:<13} {:>16.2} {:>10.1} {:>12.1} {:>24.1}",
                design.name(),
                found.transfers,
                found.ns,
                1000.0 / found.ns,
                found.hottest,
            ))?;
        }
    }
    for design in [Design::Combining, Design::Sharded] {
        let from = pays_from(design, &cores, costs, args.times);
        let from =
            from.map_or_else(|| "never".to_owned(), |cores| format!("from {cores} cores on"));
        say(&format!("{}: {} times as fast as the present {from}", design.name(), args.times))?;
    }
    say(&format!("A sharded front takes one shared addition for each {BATCH} records of a shard."))
}

/// Wall nanoseconds of an append of 100 bytes, of all threads together: the median of a few windows.
fn measured(threads: usize) -> f64 {
    let wal = NullSink::wal(512 << 10, 8);
    let window = || window(&wal, threads, 100, Duration::from_millis(10), Sampling::Off);
    median((0..15).map(|_| window().ns_per_record()).collect())
}

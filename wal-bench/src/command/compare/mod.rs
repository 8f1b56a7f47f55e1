//! `wal-bench compare`: contenders that take turns.

mod durable;
mod floor;
mod recovery;
mod sustained;
mod table;
mod watermark;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use wal_bench::backend::name;
#[cfg(feature = "peers")]
use wal_bench::peers::Peer;
use wal_bench::{
    Backend, Cell, Disk, Figures, Report, Span, Variant, Workload, interleave, machine,
};
use wal_core::Options;

use super::{Failure, Outcome, home, progress, say};

/// Bytes of all segments together, the default's.
const RING: usize = 4 << 20;

/// Enough for what is written between two turns of a raw file.
const RAW_LEN: u64 = 8 << 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the contenders do, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Workload::Durable])]
    workload: Vec<Workload>,
    /// Backends to compare, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Backend::value_variants().to_vec())]
    backend: Vec<Backend>,
    /// Numbers of threads that append [default: 1,2,8,32 for durable, 1,2,8 for sustained, 1,2 for
    /// watermark; recovery has one].
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: Vec<u16>,
    /// Bytes of a record [default: 100,4096 for durable, 100 for watermark, 100,1024,4096 otherwise].
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    bytes: Vec<u32>,
    /// Logs of others to compare with, separated by commas: those that can do it.
    #[cfg(feature = "peers")]
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Peer::value_variants().to_vec())]
    peers: Vec<Peer>,
    /// Writes that a log may have in flight.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    depth: u16,
    /// KiB of a segment; there are as many as make 4 MiB.
    #[arg(long, value_name = "N", default_value = "512", value_parser = clap::value_parser!(u32).range(4..=2048))]
    segment: u32,
    /// Of watermark: bytes that a thread may be ahead of what it knows to be durable.
    #[arg(long, value_name = "N", default_value = "524288", value_parser = clap::value_parser!(u32).range(4096..=1 << 30))]
    ahead: u32,
    /// Of recovery: MiB of the log.
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=65536))]
    size: u32,
    /// Rounds in which each contender has one turn.
    #[arg(long, value_name = "N", default_value = "9", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds of a turn.
    #[arg(long, value_name = "S", default_value = "0.25", value_parser = super::seconds)]
    turn: Duration,
    /// 3 rounds of 0.1 seconds.
    #[arg(long, conflicts_with_all = ["rounds", "turn"])]
    quick: bool,
    /// Where to make the files: the disk to measure.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Where to write the figures as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Args {
    fn rounds(&self) -> (u16, Duration) {
        if self.quick { (3, Duration::from_millis(100)) } else { (self.rounds, self.turn) }
    }

    /// Numbers of threads, and bytes of a record, of a workload.
    fn shapes(&self, workload: Workload) -> Vec<Shape> {
        let (threads, bytes): (&[u16], &[u32]) = match workload {
            Workload::Durable => (&[1, 2, 8, 32], &[100, 4096]),
            Workload::Sustained => (&[1, 2, 8], &[100, 1024, 4096]),
            Workload::Watermark => (&[1, 2], &[100]),
            Workload::Recovery => (&[1], &[100, 1024, 4096]),
        };
        let given = !self.threads.is_empty() && workload != Workload::Recovery;
        let threads = if given { &self.threads } else { threads };
        let bytes = if self.bytes.is_empty() { bytes } else { &self.bytes };
        let (_, turn) = self.rounds();
        let of = |&bytes: &u32| {
            threads.iter().map(move |&threads| Shape {
                threads: threads.into(),
                bytes: bytes as usize,
                turn,
                depth: self.depth.into(),
                segment: (self.segment as usize) << 10,
            })
        };
        bytes.iter().flat_map(of).collect()
    }
}

/// What all contenders of a cell have in common.
#[derive(Clone, Copy)]
struct Shape {
    threads: usize,
    bytes: usize,
    turn: Duration,
    depth: usize,
    segment: usize,
}

impl Shape {
    /// Options of a log of ours.
    fn options(self) -> Options {
        let segments = (RING / self.segment).min(Options::MAX_SEGMENTS);
        Options::default().depth(self.depth).segment_size(self.segment).segments(segments)
    }
}

/// Contenders, the floor first, and what their promise is called.
struct Contest<'a> {
    guarantee: &'a str,
    variants: Vec<Variant<'a>>,
}

impl<'a> Contest<'a> {
    fn add(&mut self, name: impl Into<String>, run: impl FnMut() -> Span + 'a) {
        self.variants.push(Variant::new(name, run));
    }
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    // A contender may leave the current directory.
    let absolute = |path: &Path| std::path::absolute(path);
    let dir = absolute(&args.dir)?;
    let json = args.json.as_deref().map(absolute).transpose()?;
    let (rounds, turn) = args.rounds();
    let machine = machine::describe(Some(&dir));
    for (name, value) in &machine {
        say(&format!("{name:>11}: {value}"))?;
    }
    say(&format!("\nMedians of {rounds} rounds of {turn:?} in which all take turns."))?;
    let steps = args.workload.iter().map(|&workload| args.shapes(workload).len() as u64).sum();
    let bar = progress(steps);
    let mut report = Report { version: super::report::VERSION, machine, cells: Vec::new() };
    for &workload in &args.workload {
        bar.suspend(|| say(&table::heading(workload)))?;
        for shape in args.shapes(workload) {
            let Shape { threads, bytes, .. } = shape;
            let name = name(workload);
            bar.set_message(format!("{name}, {threads} threads, {bytes} bytes"));
            let mut tell = |contest: Contest<'_>| {
                let cell = decide(workload, shape, contest, rounds.into())?;
                bar.suspend(|| say(&table::rows(&cell)))?;
                report.cells.push(cell);
                Ok(())
            };
            // Removed with all that is in it, whatever comes.
            let (home, here) = (home(Some(&dir))?, std::env::current_dir()?);
            let done = match workload {
                Workload::Durable => durable::contest(args, home.path(), shape, &mut tell),
                Workload::Sustained => sustained::contests(args, home.path(), shape, &mut tell),
                Workload::Watermark => watermark::contest(args, home.path(), shape, &mut tell),
                Workload::Recovery => recovery::contests(args, home.path(), shape, &mut tell),
            };
            // A contender may have left it for a directory that goes now.
            std::env::set_current_dir(here)?;
            done?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    if let Some(path) = &json {
        let failed = |error: &dyn std::error::Error| {
            Failure::Trouble(format!("cannot write {}: {error}", path.display()))
        };
        let mut file = BufWriter::new(File::create(path).map_err(|error| failed(&error))?);
        serde_json::to_writer_pretty(&mut file, &report).map_err(|error| failed(&error))?;
        file.flush().map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Lets the contenders take their turns.
fn decide(
    workload: Workload,
    shape: Shape,
    mut contest: Contest<'_>,
    rounds: usize,
) -> Outcome<Cell> {
    let outcomes = interleave(&mut contest.variants, rounds);
    let figures = outcomes.iter().map(|outcome| Figures::of(outcome, &outcomes[0]));
    let figures = figures.collect::<Result<_, _>>()?;
    let Shape { threads, bytes, .. } = shape;
    let (guarantee, floor) = (contest.guarantee.to_owned(), outcomes[0].name.clone());
    Ok(Cell { workload, guarantee, threads, bytes, floor, figures })
}

/// What a cell's contenders are handed to.
type Tell<'a> = dyn FnMut(Contest<'_>) -> Outcome<()> + 'a;

/// A new directory for a contender, and its disk.
fn place(home: &Path, name: &str) -> Outcome<(PathBuf, Disk)> {
    let dir = home.join(name);
    std::fs::create_dir_all(&dir)?;
    // They may go elsewhere.
    let dir = dir.canonicalize()?;
    let disk = Disk::of(&dir);
    Ok((dir, disk))
}

/// Says once why something is missing from the table.
fn left_out(name: &str, why: &str) -> Outcome<()> {
    say(&format!("left out: {name}: {why}"))
}

/// A rival's log, if it can promise that.
#[cfg(feature = "peers")]
fn opened(
    peer: Peer,
    dir: &Path,
    promise: wal_bench::peers::Promise,
) -> Outcome<Option<wal_bench::peers::PeerLog>> {
    if peer == Peer::Walrus && std::env::var_os("WALRUS_QUIET").is_none() {
        left_out("walrus", "it prints each call, unless WALRUS_QUIET=1 is set before it starts")?;
        return Ok(None);
    }
    let failed = |error| Failure::Trouble(format!("{} cannot be opened: {error}", name(peer)));
    peer.open(dir, promise).map_err(failed)
}

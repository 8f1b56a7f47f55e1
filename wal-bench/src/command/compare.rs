//! `wal-bench compare`: contenders that take turns at durable commits.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use wal_bench::backend::{Opened, Work, name};
#[cfg(feature = "peers")]
use wal_bench::peers::Peer;
use wal_bench::raw::Way;
use wal_bench::{
    Backend, Cell, Disk, Durable, Figures, GroupCommit, RawFiles, Report, Span, Variant, commits,
    interleave, machine,
};
use wal_core::{Options, SegmentSink};

use super::{Failure, Outcome, home, progress, say};

/// Enough for what is written between two turns of a raw file.
const RAW_LEN: u64 = 8 << 20;

const GUARANTEE: &str = "power loss";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Backends to compare, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Backend::value_variants().to_vec())]
    backend: Vec<Backend>,
    /// Numbers of threads that append.
    #[arg(long, value_delimiter = ',', default_values = ["1", "2", "8", "32"], value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: Vec<u16>,
    /// Bytes of a record.
    #[arg(long, value_delimiter = ',', default_values = ["100", "4096"], value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    bytes: Vec<u32>,
    /// Logs of others to compare with, separated by commas.
    #[cfg(feature = "peers")]
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Peer::value_variants().to_vec())]
    peers: Vec<Peer>,
    /// Writes that a log may have in flight.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    depth: u16,
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

pub(crate) fn run(args: &Args) -> Outcome<()> {
    // A contender may leave the current directory.
    let absolute = |path: &Path| std::path::absolute(path);
    let dir = absolute(&args.dir)?;
    let json = args.json.as_deref().map(absolute).transpose()?;
    let (rounds, turn) =
        if args.quick { (3, Duration::from_millis(100)) } else { (args.rounds, args.turn) };
    let machine = machine::describe(Some(&dir));
    for (name, value) in &machine {
        say(&format!("{name:>11}: {value}"))?;
    }
    say(&format!(
        "\nEach append survives power loss when it returns. Medians of {rounds} rounds of {turn:?} \
         in which all take turns;\n`of raw`: relative to as many threads that write whole blocks \
         to a file of their own; times in microseconds."
    ))?;
    say(&heading())?;
    let cells = args.bytes.iter().flat_map(|&bytes| args.threads.iter().map(move |&n| (n, bytes)));
    let bar = progress((args.bytes.len() * args.threads.len()) as u64);
    let mut report = Report { version: super::report::VERSION, machine, cells: Vec::new() };
    for (threads, bytes) in cells {
        let (threads, bytes) = (usize::from(threads), bytes as usize);
        bar.set_message(format!("{threads} threads, {bytes} bytes"));
        let shape = Shape { threads, bytes, turn, depth: args.depth.into() };
        let cell = compare(args, &dir, shape, rounds.into())?;
        let lines = cell.figures.iter().map(|figures| line(&cell, figures));
        let text = lines.collect::<Vec<_>>().join("\n");
        bar.suspend(|| say(&text))?;
        report.cells.push(cell);
        bar.inc(1);
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

#[derive(Clone, Copy)]
struct Shape {
    threads: usize,
    bytes: usize,
    turn: Duration,
    depth: usize,
}

fn compare(args: &Args, dir: &Path, shape: Shape, rounds: usize) -> Outcome<Cell> {
    let (home, here) = (home(Some(dir))?, std::env::current_dir()?);
    let mut variants = raw(home.path(), shape)?;
    for &backend in &args.backend {
        let name = name(backend);
        let dir = home.path().join(&name);
        let turns = backend.with(Commits { dir: &dir, shape }).map_err(Failure::Trouble)??;
        variants.push(Variant { name, run: turns });
    }
    let Shape { threads, bytes, turn, .. } = shape;
    let group = GroupCommit::create(home.path(), RAW_LEN)?;
    let disk = Disk::of(home.path());
    variants.push(Variant::new("by hand", move || commits(&group, &disk, threads, bytes, turn)));
    #[cfg(feature = "peers")]
    for &peer in &args.peers {
        let name = name(peer);
        let dir = home.path().join(format!("peer-{name}"));
        std::fs::create_dir(&dir)?;
        // They may go elsewhere.
        let dir = dir.canonicalize()?;
        let log = peer
            .open(&dir)
            .map_err(|error| Failure::Trouble(format!("{name} cannot be opened: {error}")))?;
        let disk = Disk::of(&dir);
        variants.push(Variant::new(name, move || commits(&log, &disk, threads, bytes, turn)));
    }
    let outcomes = interleave(&mut variants, rounds);
    drop(variants);
    // A contender may have left it for a directory that goes now.
    std::env::set_current_dir(here)?;
    let figures = outcomes.iter().map(|outcome| Figures::of(outcome, &outcomes[0]));
    let figures = figures.collect::<Result<_, _>>()?;
    let floor = outcomes[0].name.clone();
    Ok(Cell { guarantee: GUARANTEE.to_owned(), threads, bytes, floor, figures })
}

/// The disk by itself: first what all others are relative to.
fn raw(dir: &Path, shape: Shape) -> Outcome<Vec<Variant<'static>>> {
    let files = |name: &str, way, threads| -> std::io::Result<_> {
        let dir = dir.join(name);
        std::fs::create_dir(&dir)?;
        let raw = RawFiles::create(&dir, way, threads, RAW_LEN)?;
        let (Shape { bytes, turn, .. }, disk) = (shape, Disk::of(&dir));
        Ok(Variant::new(name, move || commits(&raw, &disk, threads, bytes, turn)))
    };
    let mut variants = Vec::new();
    #[cfg(target_os = "linux")]
    match files("raw O_DSYNC", Way::Direct, shape.threads) {
        Ok(variant) => variants.push(variant),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            say("this file system cannot bypass its page cache: `raw` syncs instead")?;
        }
        Err(error) => return Err(error.into()),
    }
    variants.push(files("raw fdatasync", Way::Synced, shape.threads)?);
    if shape.threads > 1 {
        #[cfg(target_os = "linux")]
        if variants.len() == 2 {
            variants.push(files("raw, 1 thread", Way::Direct, 1)?);
            return Ok(variants);
        }
        variants.push(files("raw, 1 thread", Way::Synced, 1)?);
    }
    Ok(variants)
}

/// Durable commits to a new log.
struct Commits<'a> {
    dir: &'a Path,
    shape: Shape,
}

impl Work for Commits<'_> {
    type Output = Result<Box<dyn FnMut() -> Span>, wal_core::Error>;

    fn with<S: SegmentSink>(
        self,
        open: impl Fn(&Path, Options) -> Opened<S> + Sync,
    ) -> Self::Output {
        let Shape { threads, bytes, turn, depth } = self.shape;
        let wal = Durable(open(self.dir, Options::default().depth(depth))?.0);
        let disk = Disk::of(self.dir);
        Ok(Box::new(move || commits(&wal, &disk, threads, bytes, turn)))
    }
}

fn heading() -> String {
    "\nthreads  bytes  contender       records/s  of raw    p50     p99   p99.9      max  \
     records/sync  written/record  cpu us/record  quiet"
        .to_owned()
}

fn line(cell: &Cell, figures: &Figures) -> String {
    let Figures { latency_us: times, .. } = figures;
    let written = figures.written_per_record.map_or_else(|| "-".to_owned(), |n| format!("{n:.0}"));
    let syncs = figures.records_per_sync.map_or_else(|| "-".to_owned(), |n| format!("{n:.1}"));
    format!(
        "{:>7} {:>6}  {:14} {:>10.0} {:>7.2} {:>6.0} {:>7.0} {:>7.0} {:>8.0}  {syncs:>12} {written:>15} \
         {:>14.1}  {}/{}",
        cell.threads,
        cell.bytes,
        figures.name,
        figures.records_per_second,
        figures.of_floor,
        times.p50,
        times.p99,
        times.p999,
        times.max,
        figures.cpu_us_per_record,
        figures.quiet,
        figures.rounds,
    )
}

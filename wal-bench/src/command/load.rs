//! `wal-bench load`: appends to one log for a while.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde_json::json;
use wal_bench::backend::{Opened, Work, name};
use wal_bench::measure::histogram;
use wal_bench::threads::team;
use wal_bench::usage::cpu;
use wal_bench::{Backend, Disk, machine};
use wal_core::{Durability, Error, Options, SegmentSink, Stats, Wal};

use super::{Failure, Outcome, home, progress, say};

#[derive(Clone, Copy, ValueEnum)]
enum Survives {
    /// Nothing: in memory when the append returns
    Memory,
    /// The process: handed to the operating system
    ProcessCrash,
    /// Power loss: synced
    PowerLoss,
}

impl Survives {
    const fn durability(self) -> Durability {
        match self {
            Self::Memory => Durability::Memory,
            Self::ProcessCrash => Durability::ProcessCrash,
            Self::PowerLoss => Durability::PowerLoss,
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the log is kept, and how it gets there.
    #[arg(long, default_value = "std")]
    backend: Backend,
    /// Threads that append.
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=4096))]
    writers: u16,
    /// Bytes of a record.
    #[arg(long, value_name = "N", default_value = "100", conflicts_with = "input")]
    bytes: usize,
    /// Append the lines of this file, over and over, instead of records of one size.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// What a record has survived when its append returns.
    #[arg(long, value_name = "WHAT", default_value = "power-loss")]
    survives: Survives,
    /// How long.
    #[arg(long, value_name = "S", default_value = "5", value_parser = super::seconds)]
    seconds: Duration,
    /// Stop after so many records, if that comes first.
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// Writes in flight.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=64))]
    depth: u16,
    /// Bytes of a segment.
    #[arg(long, value_name = "N")]
    segment_size: Option<usize>,
    /// Segments of the ring.
    #[arg(long, value_name = "N")]
    segments: Option<usize>,
    /// Bytes of a log file.
    #[arg(long, value_name = "N")]
    file_size: Option<u64>,
    /// The log, which is made if there is none, and stays [default: one in the directory for
    /// temporary files, removed in the end].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Print `LSN LENGTH` on standard output for each record as soon as it has survived, and the
    /// figures on standard error.
    #[arg(long, conflicts_with = "json")]
    ack: bool,
    /// Print the figures as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    let records = Records::of(args)?;
    let home = args.dir.is_none().then(|| home(None)).transpose()?;
    let dir = match (&args.dir, &home) {
        (Some(dir), _) => dir.clone(),
        (None, Some(home)) => home.path().join("log"),
        (None, None) => unreachable!("one of the two is made"),
    };
    let done = args.backend.with(Load { args, records: &records, dir: &dir });
    let Done { wall, records, bytes, stats, cpu, written, times } =
        done.map_err(Failure::Trouble)??;
    let per_record = |total: f64| total / records.max(1) as f64;
    let us = |ns: u64| ns as f64 / 1000.0;
    let at = |quantile| us(times.value_at_quantile(quantile));
    let survives = name(args.survives);
    let machine: serde_json::Map<_, _> =
        machine::describe(Some(&dir)).into_iter().map(|(k, v)| (k, v.into())).collect();
    let figures = json!({
        "backend": name(args.backend),
        "writers": args.writers,
        "survives": survives,
        "machine": machine,
        "seconds": wall.as_secs_f64(),
        "records": records,
        "bytes": bytes,
        "records_per_second": records as f64 / wall.as_secs_f64(),
        "latency_us": {
            "mean": times.mean() / 1000.0,
            "p50": at(0.5),
            "p99": at(0.99),
            "p999": at(0.999),
            "max": us(times.max()),
        },
        "syncs": stats.syncs,
        "records_per_sync": (stats.syncs > 0).then(|| records as f64 / stats.syncs as f64),
        "frames": stats.frames,
        "written_per_record": written.map(|bytes| per_record(bytes as f64)),
        "cpu_us_per_record": per_record(cpu.as_nanos() as f64 / 1000.0),
    });
    if args.json {
        return say(&figures.to_string());
    }
    let text = format!(
        "{} backend, {} writers, each record survives: {survives}\n\
         {records} records, {bytes} bytes in {:.2} s: {:.0} records/s, {:.1} MB/s\n\
         us of an append: mean {:.2}, p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}\n\
         {} frames, {} syncs; {} bytes to the disk and {:.2} us of processor time a record",
        args.backend,
        args.writers,
        wall.as_secs_f64(),
        records as f64 / wall.as_secs_f64(),
        bytes as f64 / wall.as_secs_f64() / 1e6,
        times.mean() / 1000.0,
        at(0.5),
        at(0.99),
        at(0.999),
        us(times.max()),
        stats.frames,
        stats.syncs,
        written.map_or_else(
            || "uncounted".to_owned(),
            |bytes| format!("{:.0}", per_record(bytes as f64))
        ),
        per_record(cpu.as_nanos() as f64 / 1000.0),
    );
    if args.ack {
        eprintln!("{text}");
        return Ok(());
    }
    say(&text)
}

/// What is appended, over and over.
struct Records {
    bytes: Vec<u8>,
    /// Where records end.
    ends: Vec<usize>,
}

impl Records {
    fn of(args: &Args) -> Outcome<Self> {
        let Some(path) = &args.input else {
            return Ok(Self { bytes: vec![0x5a; args.bytes], ends: vec![args.bytes] });
        };
        let bytes = std::fs::read(path).map_err(|error| {
            Failure::Trouble(format!("cannot read {}: {error}", path.display()))
        })?;
        let mut end = 0;
        let lines = bytes.split_inclusive(|&byte| byte == b'\n').map(|line| {
            end += line.len();
            end
        });
        let ends: Vec<_> = lines.collect();
        if ends.is_empty() {
            let text = format!("{} is empty: there is nothing to append", path.display());
            return Err(Failure::Trouble(text));
        }
        Ok(Self { bytes, ends })
    }

    /// The record of this number.
    fn get(&self, number: usize) -> &[u8] {
        let number = number % self.ends.len();
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        let record = &self.bytes[start..self.ends[number]];
        record.strip_suffix(b"\n").unwrap_or(record)
    }
}

struct Done {
    wall: Duration,
    records: u64,
    bytes: u64,
    stats: Stats,
    cpu: Duration,
    /// Given to the disk meanwhile, by everybody.
    written: Option<u64>,
    times: Histogram<u64>,
}

struct Load<'a> {
    args: &'a Args,
    records: &'a Records,
    dir: &'a Path,
}

impl Work for Load<'_> {
    type Output = Result<Done, Failure>;

    fn with<S: SegmentSink>(
        self,
        open: impl Fn(&Path, Options) -> Opened<S> + Sync,
    ) -> Self::Output {
        let args = self.args;
        let mut options = Options::default().depth(args.depth.into());
        if let Some(bytes) = args.segment_size {
            options = options.segment_size(bytes);
        }
        if let Some(count) = args.segments {
            options = options.segments(count);
        }
        if let Some(bytes) = args.file_size {
            options = options.file_size(bytes);
        }
        let (wal, report) = open(self.dir, options)?;
        if report.cut.is_some() {
            eprintln!("{report}");
        }
        let done = self.append(&wal);
        // Not an acknowledgement of what failed: the first failure is told.
        let closed = wal.close();
        let done = done?;
        closed?;
        Ok(done)
    }
}

impl Load<'_> {
    fn append<S: SegmentSink>(&self, wal: &Wal<S>) -> Result<Done, Error> {
        let writers = usize::from(self.args.writers);
        let (stop, left) = (AtomicBool::new(false), self.args.records.map(AtomicU64::new));
        let disk = Disk::of(self.dir);
        let (before, written, began) = (cpu(), disk.written(), Instant::now());
        let shifts = team(
            writers,
            |writer, line| {
                line.wait();
                let shift = self.shift(wal, writer, &stop, left.as_ref());
                // One that fails ends it for all.
                if shift.is_err() || left.is_some() {
                    stop.store(true, Ordering::Relaxed);
                }
                shift
            },
            || self.watch(&stop),
        );
        let wall = began.elapsed();
        let cpu = cpu().saturating_sub(before);
        let written = disk.written().zip(written).map(|(now, then)| now.saturating_sub(then));
        let (stats, times) = (wal.stats(), histogram());
        let mut done = Done { wall, records: 0, bytes: 0, stats, cpu, written, times };
        for shift in shifts {
            let (records, bytes, times) = shift?;
            done.records += records;
            done.bytes += bytes;
            // Never fails: both have the same bounds.
            let _ = done.times.add(times);
        }
        Ok(done)
    }

    /// What one writer does: records, their bytes, and how long each took.
    fn shift<S: SegmentSink>(
        &self,
        wal: &Wal<S>,
        writer: usize,
        stop: &AtomicBool,
        left: Option<&AtomicU64>,
    ) -> Result<(u64, u64, Histogram<u64>), Error> {
        let durability = self.args.survives.durability();
        let (mut records, mut bytes, mut times) = (0, 0, histogram());
        // Relaxed, here and below: only a signal to stop, and a count.
        while !stop.load(Ordering::Relaxed) {
            let one_less = |left: u64| left.checked_sub(1);
            let order = Ordering::Relaxed;
            if left.is_some_and(|left| left.fetch_update(order, order, one_less).is_err()) {
                break;
            }
            let number = writer * self.records.ends.len() / usize::from(self.args.writers);
            let record = self.records.get(number.wrapping_add(records as usize));
            let began = Instant::now();
            let appended = wal.append_with(record, durability)?;
            times.saturating_record(began.elapsed().as_nanos() as u64);
            records += 1;
            bytes += record.len() as u64;
            if self.args.ack {
                let line = format!("{} {}\n", appended.lsn, record.len());
                // One call, so that the lines of threads do not mix. A reader that is gone wants
                // no more.
                let mut out = std::io::stdout().lock();
                if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
        }
        Ok((records, bytes, times))
    }

    /// Shows how time passes until it is over, or nothing is left to append.
    fn watch(&self, stop: &AtomicBool) {
        const STEP: Duration = Duration::from_millis(20);
        let began = Instant::now();
        let bar = progress(self.args.seconds.as_millis() as u64);
        while began.elapsed() < self.args.seconds && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(STEP.min(self.args.seconds.saturating_sub(began.elapsed())));
            bar.set_position(began.elapsed().as_millis() as u64);
        }
        stop.store(true, Ordering::Relaxed);
        bar.finish_and_clear();
    }
}

//! Appends that are handed to the operating system, as fast as it goes: each by itself, or all at the
//! end of a turn.

use std::path::Path;

use wal_bench::backend::{Opened, Work, name};
use wal_bench::measure::Sampling;
#[cfg(feature = "peers")]
use wal_bench::peers::Promise;
#[cfg(target_os = "linux")]
use wal_bench::raw::Way;
use wal_bench::{Buffered, Disk, GroupCommit, HandedOver, Log, Span, Variant, on_disk, window};
use wal_core::{Error, Options, SegmentSink};

use super::{Args, Contest, Shape, Tell, floor, place};
use crate::command::{Failure, Outcome};

/// Of files that are written over and over: more than the caches of a disk hold.
const LEN: u64 = 256 << 20;
/// One write of the stream, and how many at once.
const PIECE: usize = 1 << 20;
const AT_ONCE: usize = 4;

pub(super) fn contests(args: &Args, home: &Path, shape: Shape, tell: &mut Tell<'_>) -> Outcome<()> {
    contest(args, &home.join("turn"), shape, false, tell)?;
    contest(args, &home.join("each"), shape, true, tell)
}

/// Those whose records are all handed over at the end of a turn, or `each` by itself.
fn contest(args: &Args, home: &Path, shape: Shape, each: bool, tell: &mut Tell<'_>) -> Outcome<()> {
    std::fs::create_dir(home)?;
    let guarantee = if each { "process crash" } else { "process crash, at the end of a turn" };
    let mut contest = Contest { guarantee, variants: vec![stream(home, shape)?] };
    for &backend in &args.backend {
        let name = name(backend);
        let turns = backend.with(Appends { dir: &home.join(&name), shape, each });
        contest.add(name, turns.map_err(Failure::Trouble)??);
    }
    if each {
        let group = GroupCommit::create(home, LEN)?.without_sync();
        contest.add("by hand", turns(group, home, shape));
    } else {
        contest.add("BufWriter", turns(Buffered::create(home, LEN)?, home, shape));
    }
    #[cfg(feature = "peers")]
    for &peer in &args.peers {
        let promise = if each { Promise::ProcessCrash } else { Promise::Flushed };
        let (dir, _) = place(home, &format!("peer-{}", name(peer)))?;
        if let Some(log) = super::opened(peer, &dir, promise)? {
            contest.add(name(peer), turns(log, &dir, shape));
        }
    }
    tell(contest)
}

/// Turns of a log that need nothing between them.
fn turns<L: Log + 'static>(log: L, dir: &Path, shape: Shape) -> impl FnMut() -> Span + use<L> {
    let disk = Disk::of(dir);
    move || appends(&log, &disk, shape)
}

fn appends<L: Log>(log: &L, disk: &Disk, shape: Shape) -> Span {
    let Shape { threads, bytes, turn, .. } = shape;
    on_disk(disk, || window(log, threads, bytes, turn, Sampling::Every(64)))
}

/// The fastest way to write bytes one behind the other to files that are there: the floor. Counts as
/// many records as would fit.
fn stream(home: &Path, shape: Shape) -> Outcome<Variant<'static>> {
    let (dir, disk) = place(home, "stream")?;
    #[cfg(target_os = "linux")]
    let past = Some(Way::Stream);
    #[cfg(not(target_os = "linux"))]
    let past = None;
    let (raw, streams) = floor::files(&dir, past, AT_ONCE, LEN / AT_ONCE as u64)?;
    if !streams {
        super::left_out("disk stream", "this file system cannot bypass its page cache: it syncs")?;
    }
    let name = if streams { "disk stream" } else { "synced stream" };
    Ok(floor::pieces(name, (raw, disk), AT_ONCE, PIECE, shape))
}

/// Appends to a new log.
struct Appends<'a> {
    dir: &'a Path,
    shape: Shape,
    each: bool,
}

impl Work for Appends<'_> {
    type Output = Result<Box<dyn FnMut() -> Span>, Error>;

    fn with<S: SegmentSink>(
        self,
        open: impl Fn(&Path, Options) -> Opened<S> + Sync,
    ) -> Self::Output {
        let Self { dir, shape, each } = self;
        let (wal, _) = open(dir, shape.options().file_size(LEN))?;
        let (log, disk) = (HandedOver { wal, each }, Disk::of(dir));
        Ok(Box::new(move || {
            let span = appends(&log, &disk, shape);
            // Outside of the clock: what is over is freed, and used again.
            if let Err(error) = log.free() {
                panic!("the bench cannot go on: {error}");
            }
            span
        }))
    }
}

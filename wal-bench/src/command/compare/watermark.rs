//! Appends that are waited for later, while others go on.

use std::path::Path;

use wal_bench::backend::{Opened, Work, name};
#[cfg(feature = "peers")]
use wal_bench::peers::Promise;
#[cfg(target_os = "linux")]
use wal_bench::raw::Way;
use wal_bench::{Disk, GroupCommit, Lagging, Span, Variant, lags, on_disk};
use wal_core::{Error, Options, SegmentSink};

use super::{Args, Contest, Shape, Tell, floor, place};
use crate::command::{Failure, Outcome};

/// Of files that are written over and over.
const LEN: u64 = 256 << 20;

pub(super) fn contest(args: &Args, home: &Path, shape: Shape, tell: &mut Tell<'_>) -> Outcome<()> {
    let ahead = args.ahead as usize;
    let mut contest = Contest {
        guarantee: "power loss, once waited for",
        variants: vec![raw(home, shape, ahead)?],
    };
    for &backend in &args.backend {
        let name = name(backend);
        let turns = backend.with(Lags { dir: &home.join(&name), shape, ahead });
        contest.add(name, turns.map_err(Failure::Trouble)??);
    }
    contest.add("by hand", turns(GroupCommit::create(home, LEN)?, home, shape, ahead));
    #[cfg(feature = "peers")]
    for &peer in &args.peers {
        let (dir, _) = place(home, &format!("peer-{}", name(peer)))?;
        if let Some(log) = super::opened(peer, &dir, Promise::Later)? {
            contest.add(name(peer), turns(log, &dir, shape, ahead));
        }
    }
    tell(contest)
}

fn turns<L: Lagging + 'static>(
    log: L,
    dir: &Path,
    shape: Shape,
    ahead: usize,
) -> impl FnMut() -> Span + use<L> {
    let disk = Disk::of(dir);
    move || once(&log, &disk, shape, ahead)
}

fn once<L: Lagging>(log: &L, disk: &Disk, shape: Shape, ahead: usize) -> Span {
    let Shape { threads, bytes, turn, .. } = shape;
    on_disk(disk, || lags(log, threads, bytes, turn, ahead))
}

/// As many threads, each of which durably writes pieces as large as a writer may be ahead: the floor.
fn raw(home: &Path, shape: Shape, ahead: usize) -> Outcome<Variant<'static>> {
    let (dir, disk) = place(home, "raw")?;
    let threads = shape.threads;
    #[cfg(target_os = "linux")]
    let past = Some(Way::Direct);
    #[cfg(not(target_os = "linux"))]
    let past = None;
    let (raw, direct) = floor::files(&dir, past, threads, LEN / threads as u64)?;
    let name = if direct { "raw O_DSYNC" } else { "raw fdatasync" };
    Ok(floor::pieces(name, (raw, disk), threads, ahead, shape))
}

/// Appends to a new log.
struct Lags<'a> {
    dir: &'a Path,
    shape: Shape,
    ahead: usize,
}

impl Work for Lags<'_> {
    type Output = Result<Box<dyn FnMut() -> Span>, Error>;

    fn with<S: SegmentSink>(
        self,
        open: impl Fn(&Path, Options) -> Opened<S> + Sync,
    ) -> Self::Output {
        let Self { dir, shape, ahead } = self;
        let (wal, _) = open(dir, shape.options().file_size(LEN))?;
        let disk = Disk::of(dir);
        Ok(Box::new(move || {
            let span = once(&wal, &disk, shape, ahead);
            // Outside of the clock: what is over is freed, and used again.
            if let Err(error) = wal.truncate_before(wal.durable_lsn()) {
                panic!("the bench cannot go on: {error}");
            }
            span
        }))
    }
}

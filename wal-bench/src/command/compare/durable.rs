//! Appends that are durable when they return.

use std::path::Path;

use wal_bench::backend::{Opened, Work, name};
#[cfg(feature = "peers")]
use wal_bench::peers::Promise;
use wal_bench::raw::Way;
use wal_bench::{Checkpointed, Disk, GroupCommit, RawFiles, Span, Variant, commits};
use wal_core::{Options, SegmentSink};

#[cfg(feature = "peers")]
use super::place;
use super::{Args, Contest, RAW_LEN, Shape, Tell};
use crate::command::{Failure, Outcome, say};

pub(super) fn contest(args: &Args, home: &Path, shape: Shape, tell: &mut Tell<'_>) -> Outcome<()> {
    let Shape { threads, bytes, turn, .. } = shape;
    let mut contest = Contest { guarantee: "power loss", variants: raw(home, shape)? };
    for &backend in &args.backend {
        let name = name(backend);
        let turns = backend.with(Commits { dir: &home.join(&name), shape });
        contest.add(name, turns.map_err(Failure::Trouble)??);
    }
    let (group, disk) = (GroupCommit::create(home, RAW_LEN)?, Disk::of(home));
    contest.add("by hand", move || commits(&group, &disk, threads, bytes, turn));
    #[cfg(feature = "peers")]
    for &peer in &args.peers {
        let (dir, disk) = place(home, &format!("peer-{}", name(peer)))?;
        if let Some(log) = super::opened(peer, &dir, Promise::PowerLoss)? {
            contest.add(name(peer), move || commits(&log, &disk, threads, bytes, turn));
        }
    }
    tell(contest)
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

/// Bytes of a log file, and between two checkpoints.
const FILE: u64 = 16 << 20;

/// Durable commits to a log whose files are used over and over, as those of okaywal are: without
/// checkpoints every byte of it would be written twice, for files are filled with zeros first.
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
        let Shape { threads, bytes, turn, .. } = self.shape;
        let (wal, _) = open(self.dir, self.shape.options().file_size(FILE))?;
        let wal = Checkpointed::new(wal, FILE)?;
        let disk = Disk::of(self.dir);
        Ok(Box::new(move || commits(&wal, &disk, threads, bytes, turn)))
    }
}

//! Opening, verifying and reading a log that is there.

use std::cell::RefCell;
use std::path::Path;

use wal_bench::backend::{Opened, Work, name};
use wal_bench::replay::{self, cool, copy, files, timed};
use wal_bench::{Backend, Span, Variant};
use wal_core::recover::{ScanOptions, scan};
use wal_core::{AmbiguousTail, Error, Options, RecoveryMode, SegmentSink};
use wal_io_std::DirSource;

use super::{Args, Contest, Shape, Tell, place};
use crate::command::{Failure, Outcome};

/// A log's own copy of the records, made anew before each turn that may change it.
type Replay = Box<dyn FnMut(&Path) -> Result<u64, String>>;

pub(super) fn contests(args: &Args, home: &Path, shape: Shape, tell: &mut Tell<'_>) -> Outcome<()> {
    let bytes = shape.bytes.max(1);
    let records = (u64::from(args.size) << 20) / bytes as u64;
    let log = home.join("log");
    let fill = Fill { dir: &log, records, bytes };
    Backend::Std.with(fill).map_err(Failure::Trouble)??;
    let mut replays: Vec<(String, std::path::PathBuf, Replay)> = Vec::new();
    for &backend in &args.backend {
        let read: Replay = Box::new(move |dir| match backend.with(OpenAndRead(dir)) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(error.to_string()),
            Err(why) => Err(why),
        });
        replays.push((format!("{}, open and read", name(backend)), log.clone(), read));
    }
    #[cfg(feature = "peers")]
    for &peer in &args.peers {
        let (dir, _) = place(home, &format!("peer-{}", name(peer)))?;
        let filled = wal_bench::peers::fill(peer, &dir, records, bytes).map_err(|error| {
            Failure::Trouble(format!("{} cannot be filled: {error}", name(peer)))
        })?;
        if filled {
            let read: Replay =
                Box::new(move |dir| wal_bench::peers::replay(peer, dir).map_err(|e| e.to_string()));
            replays.push((name(peer), dir, read));
        }
    }
    let mut all = Vec::new();
    for file in files(&log)? {
        all.extend(std::fs::read(file)?);
    }
    for cold in [false, true] {
        let (scratch, _) = place(home, if cold { "cold" } else { "warm" })?;
        if cold && !cool(&scratch)? {
            super::left_out("cold", "this system does not drop what it has read")?;
            break;
        }
        let guarantee = if cold {
            "from the disk, dropped from the page cache (a host may keep it)"
        } else {
            "from the page cache"
        };
        let chill = |dir: &Path| if cold { cool(dir).map(drop) } else { Ok(()) };
        // One floor reads; the other has the bytes at hand.
        let mut contest = Contest { guarantee, variants: Vec::new() };
        let (path, size) = (&log, all.len() as u64);
        contest.add("read", move || {
            sure(chill(path));
            sure(timed(records, || {
                let read = replay::read(path).map_err(|error| error.to_string())?;
                if read == size { Ok(records) } else { Err(format!("{read} bytes of {size}")) }
            }))
        });
        let bytes = &all;
        contest.add("copy and checksum", move || {
            sure(timed(records, || {
                replay::copy_and_checksum(bytes);
                Ok::<_, String>(records)
            }))
        });
        contest.add("scan", move || {
            sure(chill(path));
            sure(timed(records, || scanned(path)))
        });
        for (name, from, read) in &mut replays {
            let (to, read) = (scratch.join("copy"), RefCell::new(read));
            let label = name.clone();
            contest.variants.push(Variant::new(name.clone(), move || -> Span {
                sure(copy(from, &to));
                sure(chill(&to));
                let span = timed(records, || read.borrow_mut()(&to));
                let span = sure(span.map_err(|wrong| format!("{label}: {wrong}")));
                sure(std::fs::remove_dir_all(&to));
                span
            }));
        }
        tell(contest)?;
    }
    Ok(())
}

#[track_caller]
fn sure<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the bench cannot go on: {error}"),
    }
}

/// What recovery does before it changes anything: reads and verifies everything, once.
fn scanned(dir: &Path) -> Result<u64, Error> {
    let options =
        ScanOptions { mode: RecoveryMode::Strict, ambiguous_tail: AmbiguousTail::default() };
    let mut found = 0;
    scan(&DirSource::open(dir)?, options, &mut |_| found += 1)?;
    Ok(found)
}

struct Fill<'a> {
    dir: &'a Path,
    records: u64,
    bytes: usize,
}

impl Work for Fill<'_> {
    type Output = Result<(), Error>;

    fn with<S: SegmentSink>(
        self,
        open: impl Fn(&Path, Options) -> Opened<S> + Sync,
    ) -> Self::Output {
        let (wal, _) = open(self.dir, Options::default())?;
        let payload = vec![0x5a; self.bytes];
        for _ in 0..self.records {
            wal.append(&payload)?;
        }
        wal.close().map(drop)
    }
}

/// Opens a log, which verifies it all, and reads every record: twice over everything.
struct OpenAndRead<'a>(&'a Path);

impl Work for OpenAndRead<'_> {
    type Output = Result<u64, Error>;

    fn with<S: SegmentSink>(
        self,
        open: impl Fn(&Path, Options) -> Opened<S> + Sync,
    ) -> Self::Output {
        // A small one: the next file is begun.
        let (wal, _) = open(self.0, Options::default().file_size(1 << 20))?;
        let (mut cursor, mut found) = (wal.cursor_from(wal.start_lsn())?, 0);
        while let Some(entry) = cursor.next()? {
            std::hint::black_box(entry.payload);
            found += 1;
        }
        Ok(found)
    }
}

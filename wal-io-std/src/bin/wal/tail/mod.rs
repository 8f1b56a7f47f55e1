//! `wal tail`: the last records of a log, and those that come.

mod follow;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use wal_core::Lsn;
use wal_core::recover::{Scan, ScanOptions, scan};
use wal_io_std::DirSource;

use crate::examine::{self, File, Strictness};
use crate::failure::{Code, Failure, Outcome};
use crate::newest::{self, Newest};
use crate::output::Output;
use crate::paint::note;
use crate::place::Place;
use crate::shape::Shape;
use crate::steady::steady;
use follow::{Follower, News, Stop};

/// How long to wait before looking again. A process that writes in place tells nobody, so there is
/// nothing else to wait for.
const INTERVAL: Duration = Duration::from_millis(50);

/// Prints the last records of a log. Takes no lock and writes nothing in DIR.
///
/// What a process that has the log open has appended is seen once it is written to the files; whether
/// it is durable by then, only that process knows. A record that is shown and was not durable can be
/// gone after a crash of the machine.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// How many of the last records to print.
    #[arg(short = 'n', long, value_name = "N", default_value = "10", conflicts_with = "from")]
    records: usize,
    /// Print all from the first record whose LSN is this or more.
    #[arg(long, value_name = "LSN")]
    from: Option<u64>,
    /// Go on printing records as they are written, until interrupted, or until nobody reads the
    /// output any more. Says on standard error if the log was cut back or truncated meanwhile.
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let dir = &args.place.dir;
    let files = examine::list(dir)?;
    let mut output = Output::new();
    let (found, from) = match args.from {
        Some(from) => {
            let from = Lsn::new(from);
            (read(dir, newest::holding(&files, from), &mut |_| {})?, Some(from))
        }
        None => last(dir, &files, args.records)?,
    };
    let mut follower = Follower::new(&found);
    if let Some(from) = from.filter(|from| *from < found.end) {
        print(args, from, found.end, &mut output)?;
    }
    if let Some(cut) = found.report.cut.as_ref().filter(|_| !args.follow) {
        note(&format!(
            "{} bytes at the end do not read well (LSN {}: {}): a write under way, or what a crash \
             has left; `wal verify` tells",
            cut.bytes, cut.lsn, cut.reason
        ));
    }
    if !args.follow {
        output.finish()?;
        return Ok(Code::Success);
    }
    loop {
        let source = DirSource::open(dir).map_err(|error| Failure::log(dir, &error))?;
        let news = follower.poll(&source, &mut |lsn, end, payload| {
            args.shape.print(&mut output, lsn, end, payload)
        });
        let news = news.map_err(|stop| match stop {
            Stop::Log(error) => Failure::log(dir, &error),
            Stop::Output(failure) => failure,
        })?;
        output.flush()?;
        match news {
            News::Nothing if !wait()? => return Ok(Code::Success),
            News::Nothing => {}
            News::Told(text) => note(&text),
        }
    }
}

/// Reads the log from file `first` on.
fn read(dir: &Path, first: u64, visit: &mut dyn FnMut(Lsn)) -> Outcome<Scan> {
    let Strictness { mode, ambiguous_tail } = Strictness::STRICT;
    let found = steady(|| {
        let source = Newest::of(DirSource::open(dir)?, first);
        scan(&source, ScanOptions { mode, ambiguous_tail }, &mut |record| visit(record.lsn))
    });
    found.map_err(|error| Failure::log(dir, &error))
}

/// Reads as many of the newest files as hold the last `count` records, and says where those begin.
fn last(dir: &Path, files: &[File], count: usize) -> Outcome<(Scan, Option<Lsn>)> {
    let starts: Vec<u64> = files
        .iter()
        .filter(|file| {
            let header = file.header.as_ref().ok();
            header.is_some_and(|header| newest::holding(files, header.base) == file.sequence)
        })
        .map(|file| file.sequence)
        .collect();
    let mut taken = 1;
    loop {
        // The whole log is read as it is, whatever the oldest file is.
        let all = taken >= starts.len();
        let first = if all { 0 } else { starts[starts.len() - taken] };
        let mut lsns = VecDeque::with_capacity(count.min(1 << 16));
        let found = read(dir, first, &mut |lsn| {
            if lsns.len() == count {
                lsns.pop_front();
            }
            lsns.push_back(lsn);
        })?;
        lsns.truncate(count);
        if lsns.len() == count || all {
            return Ok((found, lsns.front().copied()));
        }
        taken *= 2;
    }
}

/// Prints what the log has from `from` to `to`.
fn print(args: &Args, from: Lsn, to: Lsn, output: &mut Output) -> Outcome<()> {
    let dir = &args.place.dir;
    let failed = |error| Failure::log(dir, &error);
    let log = examine::open(dir, Some(from), Strictness::STRICT)?;
    let mut cursor = log.cursor_from(from).map_err(failed)?;
    while let Some(entry) = cursor.next().map_err(failed)? {
        // What has come since is the follower's.
        if entry.lsn >= to {
            break;
        }
        args.shape.print(output, entry.lsn, entry.end, entry.payload)?;
    }
    Ok(())
}

/// Waits a moment; `false` if nobody reads the output any more.
fn wait() -> Outcome<bool> {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let timeout = Timespec::try_from(INTERVAL).unwrap_or_default();
    match poll(&mut watched, Some(&timeout)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(true),
        Ok(_) => {
            Ok(!watched[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL))
        }
        Err(error) => Err(Failure::stdout(&error.into())),
    }
}

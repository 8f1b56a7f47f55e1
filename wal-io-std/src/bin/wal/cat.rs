//! `wal cat`: prints the records of a log.

use wal_core::Lsn;

use crate::examine::{self, Strictness};
use crate::failure::{Code, Failure, Outcome};
use crate::output::Output;
use crate::paint::note;
use crate::place::Place;
use crate::shape::Shape;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Start at the first record whose LSN is this or more. Files before are not read. Default: the
    /// start of the log.
    #[arg(long, value_name = "LSN")]
    from: Option<u64>,
    /// Stop before the first record whose LSN is this or more. Default: the end of the log.
    #[arg(long, value_name = "LSN")]
    to: Option<u64>,
    #[command(flatten)]
    shape: Shape,
    /// If the log is corrupt, print what still reads well, name what is missing on standard
    /// error, and exit with code 1. Without this, nothing of a corrupt log is printed.
    #[arg(long)]
    salvage: bool,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let dir = &args.place.dir;
    let to = args.to.map_or(Lsn::MAX, Lsn::new);
    let from = args.from.map(Lsn::new);
    if let Some(from) = from.filter(|from| *from > to) {
        let text = format!("nothing lies from LSN {from} to LSN {to}; give --from before --to");
        return Err(Failure::trouble(text));
    }
    let strictness = if args.salvage { Strictness::SALVAGE } else { Strictness::STRICT };
    let log = examine::open(dir, from, strictness)?;
    let report = log.report();
    let failed = |error| Failure::log(dir, &error);
    let mut output = Output::new();
    let start = from.unwrap_or(report.start);
    // An empty log has no file to start in.
    if start < report.end || start < report.start {
        let mut cursor = log.cursor_from(start).map_err(failed)?;
        while let Some(entry) = cursor.next().map_err(failed)? {
            if entry.lsn >= to {
                break;
            }
            args.shape.print(&mut output, entry.lsn, entry.end, entry.payload)?;
        }
    }
    output.finish()?;
    if start > report.end {
        note(&format!("nothing lies from LSN {start} on: the log ends at LSN {}", report.end));
    }
    for hole in &report.holes {
        note(&format!("missing: {hole}"));
    }
    Ok(if report.holes.is_empty() { Code::Success } else { Code::Damage })
}

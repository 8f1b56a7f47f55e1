//! `wal cat`: prints the records of a log.

use serde_json::json;
use wal_core::{Entry, Lsn};

use crate::Place;
use crate::failure::{Code, Failure, Outcome};
use crate::inspect::{self, Strictness};
use crate::output::{Output, hex};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Start at the first record whose LSN is this or more. Default: the start of the log.
    #[arg(long, value_name = "LSN")]
    from: Option<u64>,
    /// Stop before the first record whose LSN is this or more. Default: the end of the log.
    #[arg(long, value_name = "LSN")]
    to: Option<u64>,
    /// Print each record as its length (4 bytes, little-endian) and its bytes, instead of as a
    /// line.
    #[arg(long, conflicts_with = "json")]
    framed: bool,
    /// Print each record as a JSON object in a line: `lsn`, `end` (the position behind the
    /// record), and the payload as `text`, or as `hex` if it is not UTF-8.
    #[arg(long)]
    json: bool,
    /// If the log is corrupt, print what still reads well, name what is missing on standard
    /// error, and exit with code 1. Without this, nothing of a corrupt log is printed.
    #[arg(long)]
    salvage: bool,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let dir = &args.place.dir;
    let strictness = if args.salvage { Strictness::SALVAGE } else { Strictness::STRICT };
    let log = inspect::open(dir, strictness)?;
    let from = args.from.map_or(log.report().start, Lsn::new);
    let to = args.to.map_or(Lsn::MAX, Lsn::new);
    if from > to {
        let text = format!("nothing lies from LSN {from} to LSN {to}; give --from before --to");
        return Err(Failure::trouble(text));
    }
    let failed = |error| Failure::log(dir, &error);
    let mut output = Output::new();
    // An empty log has no file to start in.
    if from < log.report().end || args.from.is_some_and(|from| from < log.report().start.get()) {
        let mut cursor = log.cursor_from(from).map_err(failed)?;
        while let Some(entry) = cursor.next().map_err(failed)? {
            if entry.lsn >= to {
                break;
            }
            print(&mut output, &entry, args)?;
        }
    }
    output.finish()?;
    for hole in &log.report().holes {
        eprintln!("wal: missing: {hole}");
    }
    Ok(if log.report().holes.is_empty() { Code::Success } else { Code::Damage })
}

fn print(output: &mut Output, entry: &Entry<'_>, args: &Args) -> Outcome<()> {
    if args.framed {
        // A record has less than 2^30 bytes.
        output.write(&(entry.payload.len() as u32).to_le_bytes())?;
        return output.write(entry.payload);
    }
    if args.json {
        let (lsn, end) = (entry.lsn.get(), entry.end.get());
        let object = match std::str::from_utf8(entry.payload) {
            Ok(text) => json!({ "lsn": lsn, "end": end, "text": text }),
            Err(_) => json!({ "lsn": lsn, "end": end, "hex": hex(entry.payload) }),
        };
        return output.line(&object.to_string());
    }
    output.write(entry.payload)?;
    output.write(b"\n")
}

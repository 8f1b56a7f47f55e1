//! `wal import`: what `wal export` has written, as a new log or behind an existing one.

mod append;
mod fresh;
mod input;

use std::path::PathBuf;

use crate::failure::{Code, Failure, Outcome};
use crate::place::{self, Found};

/// Makes a log of what `wal export` has written, or appends it to a log.
///
/// In a new log, the records have the LSNs that they had, and batches are batches. Several exports are
/// one log if each begins where the one before it ends. The log is there whole or not at all.
///
/// With --append, the records get new LSNs, in the same order, behind what the log has; batches stay
/// batches.
///
/// Refused: what is no export, is damaged or not whole, or of a newer version; exports of different
/// logs, or with something missing in between; a directory that holds a log already, without --append.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory for the log.
    dir: PathBuf,
    /// The exports, in order; `-` is standard input. Default: standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Append to the log in DIR, which is made if there is none. Exports in files are verified
    /// before anything is appended; from standard input, records are appended as they come.
    #[arg(long)]
    append: bool,
    /// Print one JSON object: `records`, `payload_bytes`, `start`, `end`. With --append, before it,
    /// one for each record: `was` (its LSN in the export) and `lsn`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    match place::look(&args.dir)? {
        Found::Log if !args.append => Err(Failure::trouble(format!(
            "{} holds a log already; give a new directory, or --append to append the records with \
             new LSNs",
            args.dir.display()
        ))),
        _ if args.append => append::run(args),
        _ => fresh::run(args),
    }
}

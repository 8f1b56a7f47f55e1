//! `wal repair`: a log of what is left of a damaged one.

mod copy;
mod swap;

use std::path::{Path, PathBuf};

use serde_json::json;
use wal_core::Corruption;
use wal_io_std::restore::Restored;
use wal_io_std::{FileOptions, FileSink};

use crate::examine::{self, Findings, Strictness};
use crate::failure::{Code, Failure, Outcome};
use crate::output::{Output, corruption_json, grouped, path_text};
use crate::place::Place;

/// Makes a log of what is intact in a damaged one.
///
/// Every record that `wal cat --salvage` prints is there, with the LSN that it has, and batches are
/// batches. What is lost is said; the exit code is 0 if there is a sound log in the end.
///
/// With --to, the log in DIR is only read. With --in-place, the repaired copy takes the place of DIR,
/// and what was there is kept, whole, under another name beside it; nothing is done unless the log is
/// corrupt. Either needs room for a copy.
///
/// The copy is closed, and new records get LSNs behind all that were ever known to be durable. Readers
/// that ask for a position among what is lost are told so.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true))]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Directory for the repaired copy, which must be empty or not exist.
    #[arg(long, value_name = "DIR", group = "where")]
    to: Option<PathBuf>,
    /// Put the repaired copy in the place of DIR, which must not be in use, and keep what was there as
    /// `DIR.before-repair`.
    #[arg(long, group = "where")]
    in_place: bool,
    /// Print one JSON object: `dir` (of the repaired log), `records`, `payload_bytes`, `end`, `lost`
    /// (as `corruptions` of `wal verify`), `cut` (bytes of a torn end), `kept` (where the damaged log
    /// is).
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let dir = &args.place.dir;
    let findings = examine::examine(dir, Strictness::STRICT)?;
    let Some(report) = findings.report() else {
        let text = findings.corruption.as_ref().map(ToString::to_string).unwrap_or_default();
        let advice = "nothing tells which of the files are the log: take away those that are not, or \
                      restore a copy";
        return Err(Failure::damage(format!("{}: beyond repair: {text}; {advice}", dir.display())));
    };
    let cut = report.cut.as_ref().map_or(0, |cut| cut.bytes);
    let lost = findings.corruptions().into_iter().cloned().collect::<Vec<_>>();
    if args.in_place && findings.corruption.is_none() {
        let mut output = Output::new();
        if args.json {
            output.line(&object(args, dir, None, &lost, cut, None).to_string())?;
        } else {
            output.line(&format!(
                "{}: nothing to repair: the log is not corrupt, and opening it takes care of a torn \
                 end; `wal verify` tells more",
                dir.display()
            ))?;
        }
        output.finish()?;
        return Ok(Code::Success);
    }
    let (made, at, kept) = match &args.to {
        Some(to) => (copy::copy(dir, &findings, to)?, to.clone(), None),
        None => {
            let dir = dir.canonicalize().map_err(|error| Failure::system("find", dir, &error))?;
            let lock = FileSink::open(&dir, &FileOptions::default().create(false))
                .map_err(|error| Failure::log(&dir, &error))?;
            // Nobody changes it any more.
            let findings = examine::examine(&dir, Strictness::STRICT)?;
            let fresh = swap::beside(&dir, "repaired");
            let made = copy::copy(&dir, &findings, &fresh)?;
            swap::take_after(&fresh, &dir)?;
            let kept = swap::swap(&dir, &fresh)?;
            drop(lock);
            (made, dir, Some(kept))
        }
    };
    verified(&at, &made)?;
    let mut output = Output::new();
    if args.json {
        let kept = kept.as_deref();
        output.line(&object(args, &at, Some(made), &lost, cut, kept).to_string())?;
    } else {
        for line in lines(&at, &made, &lost, cut, kept.as_deref()) {
            output.line(&line)?;
        }
    }
    output.finish()?;
    Ok(Code::Success)
}

/// Reads what was made once more, from the files.
fn verified(dir: &Path, made: &Restored) -> Outcome<()> {
    let findings: Findings = examine::examine(dir, Strictness::STRICT)?;
    let records = findings.report().map(|report| report.records);
    if findings.corruption.is_none() && records == Some(made.records) {
        return Ok(());
    }
    Err(Failure::damage(format!(
        "{}: the repaired log does not read back as it was written; check the device, and keep the \
         damaged log",
        dir.display()
    )))
}

fn object(
    args: &Args,
    dir: &Path,
    made: Option<Restored>,
    lost: &[Corruption],
    cut: u64,
    kept: Option<&Path>,
) -> serde_json::Value {
    json!({
        "dir": path_text(dir),
        "repaired": made.is_some(),
        "records": made.map(|made| made.records),
        "payload_bytes": made.map(|made| made.payload_bytes),
        "end": made.map(|made| made.end.get()),
        "lost": lost.iter().map(corruption_json).collect::<Vec<_>>(),
        "cut": cut,
        "kept": path_text(kept.unwrap_or(&args.place.dir)),
    })
}

fn lines(
    dir: &Path,
    made: &Restored,
    lost: &[Corruption],
    cut: u64,
    kept: Option<&Path>,
) -> Vec<String> {
    let mut lines: Vec<String> = lost.iter().map(|lost| format!("lost: {lost}")).collect();
    if cut > 0 && lost.is_empty() {
        lines.push(format!("left out: {} bytes of a torn end", grouped(cut)));
    }
    lines.push(format!(
        "{}: {} records ({} bytes), each at the LSN that it had; verified; the log ends at LSN {}",
        dir.display(),
        grouped(made.records),
        grouped(made.payload_bytes),
        made.end
    ));
    if let Some(kept) = kept {
        lines.push(format!(
            "the damaged log is kept in {}: remove it when you need it no more",
            kept.display()
        ));
    }
    lines
}

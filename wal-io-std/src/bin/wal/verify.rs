//! `wal verify`: checks every byte of a log.

use serde_json::{Value, json};
use wal_core::AmbiguousTail;

use crate::examine::{self, Findings, Strictness};
use crate::failure::{Code, Outcome};
use crate::output::{Output, corruption_json, path_text, report_json, sentence};
use crate::paint::{Paint, Tone};
use crate::place::Place;

/// Reads the whole log and checks every frame and record. Writes nothing in DIR and takes no
/// lock: if the log is in use, a torn tail may just be a write under way.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object: `dir`, `ok`, `verdict` (as for `wal stat`), `corruptions` (`reason`,
    /// `lsn`, `file`, `path`, `offset`, `bytes`, `durable_up_to`), and in `report` what was read.
    #[arg(long)]
    json: bool,
    /// Fail also if the last frame is damaged and nothing tells whether it had been durable. By
    /// default that is taken for a torn write, as opening the log takes it.
    #[arg(long)]
    refuse_ambiguous: bool,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let mut strictness = Strictness::STRICT;
    if args.refuse_ambiguous {
        strictness.ambiguous_tail = AmbiguousTail::Refuse;
    }
    let findings = examine::examine(&args.place.dir, strictness)?;
    let bad = findings.corruption.is_some() || findings.refused;
    let code = if bad { Code::Damage } else { Code::Success };
    let mut output = Output::new();
    if args.json {
        output.line(&object(args, &findings, code).to_string())?;
    } else {
        print(args, &findings, &mut output)?;
    }
    output.finish()?;
    Ok(code)
}

fn object(args: &Args, findings: &Findings, code: Code) -> Value {
    let corruptions: Vec<_> = findings.corruptions().into_iter().map(corruption_json).collect();
    json!({
        "dir": path_text(&args.place.dir),
        "ok": code == Code::Success,
        "verdict": findings.verdict(),
        "corruptions": corruptions,
        "report": findings.report().map(report_json),
    })
}

fn print(args: &Args, findings: &Findings, output: &mut Output) -> Outcome<()> {
    let (dir, paint) = (args.place.dir.display(), Paint::stdout());
    let corruptions = findings.corruptions();
    for corruption in &corruptions {
        output.line(&format!("{dir}: {corruption}"))?;
    }
    let corrupt = paint.text(Tone::Bad, "CORRUPT");
    let Some(report) = findings.report() else {
        return output.line(&format!("{dir}: {corrupt}, and beyond salvage; restore a copy of it"));
    };
    if let Some(first) = corruptions.first() {
        output.line(&format!(
            "{dir}: {corrupt} in {} places; {} records still read well",
            corruptions.len(),
            report.records
        ))?;
        output.line(&format!(
            "to see the bytes: `wal inspect {dir} --at {}`; to print what reads well: `wal cat \
             --salvage {dir}`; to make a log of that: `wal repair {dir} --to NEW`; restoring a copy of \
             the files gets all of it back",
            first.lsn
        ))?;
        return Ok(());
    }
    let (tone, word) =
        if findings.refused { (Tone::Doubtful, "REFUSED") } else { (Tone::Good, "ok") };
    output.line(&format!("{dir}: {}: {}", paint.text(tone, word), sentence(report)))
}

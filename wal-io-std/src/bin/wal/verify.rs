//! `wal verify`: checks every byte of a log.

use serde_json::{Value, json};
use wal_core::AmbiguousTail;

use crate::Place;
use crate::failure::{Code, Outcome};
use crate::inspect::{self, Findings, Strictness};
use crate::output::{Output, corruption_json, path_text, report_json, sentence};

/// Reads the whole log and checks every frame and record. Writes nothing in DIR and takes no
/// lock: if the log is in use, a torn tail may just be a write under way.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object: `ok`, `verdict`, `corruptions`, and what was read.
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
    let findings = inspect::examine(&args.place.dir, strictness)?;
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
    let dir = args.place.dir.display();
    let corruptions = findings.corruptions();
    for corruption in &corruptions {
        output.line(&format!("{dir}: {corruption}"))?;
    }
    let Some(report) = findings.report() else {
        return output.line(&format!("{dir}: CORRUPT, and beyond salvage; restore a copy of it"));
    };
    if !corruptions.is_empty() {
        return output.line(&format!(
            "{dir}: CORRUPT in {} places; {} records still read well: `wal cat --salvage` prints \
             them, restoring a copy of the files gets all of them back",
            corruptions.len(),
            report.records
        ));
    }
    let word = if findings.refused { "REFUSED" } else { "ok" };
    output.line(&format!("{dir}: {word}: {}", sentence(report)))
}

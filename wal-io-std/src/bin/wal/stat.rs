//! `wal stat`: what a log holds.

use serde_json::{Value, json};
use wal_core::format::file_header::Fault;

use crate::examine::{self, File, Findings, Strictness};
use crate::failure::{Code, Outcome};
use crate::output::{Output, corruption_json, ending, grouped, path_text, report_json};
use crate::paint::{Paint, Tone};
use crate::place::Place;
use crate::table::Table;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object: `dir`, `verdict` (`new`, `closed`, `clean`, `torn`, `ambiguous`,
    /// `corrupt`), `corruption`, `start`, `end`, `records`, `payload_bytes`, `voids`, `frames`,
    /// `files_read`, `cut`, `foreign`, `bytes_on_disk`, and `files`: `sequence`, `path`, `bytes`,
    /// `base`, `records`, `payload_bytes`, `state`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let findings = examine::examine(&args.place.dir, Strictness::STRICT)?;
    let mut output = Output::new();
    if args.json {
        output.line(&object(args, &findings).to_string())?;
    } else {
        print(args, &findings, &mut output)?;
    }
    output.finish()?;
    Ok(if findings.corruption.is_some() { Code::Damage } else { Code::Success })
}

fn object(args: &Args, findings: &Findings) -> Value {
    let mut object = json!({
        "dir": path_text(&args.place.dir),
        "verdict": findings.verdict(),
        "corruption": findings.corruption.as_ref().map(corruption_json),
        "bytes_on_disk": bytes_on_disk(findings),
        "files": findings.files.iter().map(file_object).collect::<Vec<_>>(),
    });
    if let (Some(object), Some(report)) = (object.as_object_mut(), findings.report())
        && let Value::Object(fields) = report_json(report)
    {
        object.extend(fields);
    }
    object
}

fn file_object(file: &File) -> Value {
    let header = file.header.as_ref().ok();
    json!({
        "sequence": file.sequence,
        "path": path_text(&file.path),
        "bytes": file.len,
        "base": header.map(|header| header.base.get()),
        "records": file.records,
        "payload_bytes": file.payload_bytes,
        "state": state(file),
    })
}

fn print(args: &Args, findings: &Findings, output: &mut Output) -> Outcome<()> {
    output.line(&format!("log       {}", args.place.dir.display()))?;
    let paint = Paint::stdout();
    match (&findings.corruption, findings.report()) {
        (Some(corruption), _) => {
            let text = paint.text(Tone::Bad, &corruption.to_string());
            output.line(&format!("verdict   {text}"))?;
            output.line("          `wal verify` tells all that is damaged, and what to do")?;
        }
        (None, Some(report)) => output.line(&format!("verdict   {}", ending(report)))?,
        (None, None) => {}
    }
    if let Some(report) = findings.report() {
        output.line(&format!("LSNs      {} to {}", report.start, report.end))?;
        output.line(&format!(
            "records   {} ({} bytes), {} void, in {} frames",
            grouped(report.records),
            grouped(report.payload_bytes),
            grouped(report.voids),
            grouped(report.frames)
        ))?;
    }
    let (files, bytes) = (findings.files.len() as u64, bytes_on_disk(findings));
    output.line(&format!("files     {} ({} bytes)", grouped(files), grouped(bytes)))?;
    output.line("")?;
    let heading = ["file", "bytes", "first LSN", "records", "payload bytes", "state"];
    let mut table = Table::new(&heading);
    for file in &findings.files {
        let base = file.header.as_ref().map_or("-".into(), |header| header.base.to_string());
        table.row(vec![
            file.sequence.to_string(),
            grouped(file.len),
            base,
            grouped(file.records),
            grouped(file.payload_bytes),
            state(file),
        ]);
    }
    for line in table.lines() {
        output.line(&line)?;
    }
    Ok(())
}

fn bytes_on_disk(findings: &Findings) -> u64 {
    findings.files.iter().map(|file| file.len).sum()
}

/// What a file's header says about it, in words.
fn state(file: &File) -> String {
    match &file.header {
        Ok(header) if header.recovered => "started by a recovery".into(),
        Ok(header) if header.recycled => "continues, in a recycled file".into(),
        Ok(header) if header.prev.is_none() => "started the log".into(),
        Ok(_) => "continues".into(),
        Err(Fault::Unused) => "prepared, not used yet".into(),
        Err(fault) => format!("damaged header ({fault:?})"),
    }
}

//! `wal truncate`: frees the oldest files of a log, or cuts its newest records off.

use std::path::PathBuf;

use serde_json::{Value, json};
use wal_core::recover::{ScanOptions, scan};
use wal_core::{Error, Lsn, Options, RecoveryReport, format};
use wal_io_std::{DirSource, FileOptions, Preparation, Wal};

use crate::examine::{self, File, Findings, Strictness};
use crate::failure::{Code, Failure, Outcome};
use crate::output::{Output, grouped, path_text, told_of_recovery};
use crate::steady::steady;

/// Bytes of the file that this run makes: the next one to append makes its own.
const FILE_SIZE: u64 = 1 << 20;

/// Frees the oldest files of a log, or cuts its newest records off. Opens the log, so it must not be
/// in use.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("end").required(true))]
pub(crate) struct Args {
    /// Directory of the log.
    dir: PathBuf,
    /// Remove the files that hold nothing at or behind this position. Only whole files go, so some of
    /// what lies before may stay.
    #[arg(long, value_name = "LSN", group = "end")]
    before: Option<u64>,
    /// Cut off everything at and behind this position, for good: a record's LSN, or a record's end.
    #[arg(long, value_name = "LSN", group = "end")]
    after: Option<u64>,
    /// Only say what would be done. Takes no lock and writes nothing in DIR.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object: `start`, `end`, `next` (no record that is appended has an LSN before),
    /// `records`, `files` and `bytes` (what is there now), and what is gone: `records_cut`,
    /// `files_removed`, `bytes_freed`.
    #[arg(long)]
    json: bool,
}

/// What a log takes.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    start: Lsn,
    end: Lsn,
    records: u64,
    files: u64,
    bytes: u64,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let findings = examine::examine(&args.dir, Strictness::STRICT)?;
    if let Some(corruption) = &findings.corruption {
        let error = Error::Corrupt(Box::new(corruption.clone()));
        return Err(Failure::log(&args.dir, &error));
    }
    let Some(report) = findings.report() else { return Ok(Code::Damage) };
    let before = extent(&findings, report);
    let done = match (args.before, args.after) {
        (Some(lsn), _) => free(args, Lsn::new(lsn), &findings, before)?,
        (_, Some(lsn)) => cut(args, Lsn::new(lsn), &findings, before)?,
        _ => return Ok(Code::Trouble),
    };
    let mut output = Output::new();
    if args.json {
        output.line(&object(args, before, done).to_string())?;
    } else {
        for line in lines(args, before, done) {
            output.line(&line)?;
        }
    }
    output.finish()?;
    Ok(Code::Success)
}

/// What has become of a log.
#[derive(Clone, Copy, Debug)]
struct Done {
    after: Extent,
    /// Where the log goes on.
    next: Lsn,
    files_removed: u64,
    bytes_freed: u64,
}

fn extent(findings: &Findings, report: &RecoveryReport) -> Extent {
    Extent {
        start: report.start,
        end: report.end,
        records: report.records,
        files: findings.files.len() as u64,
        bytes: findings.files.iter().map(|file| file.len).sum(),
    }
}

/// Frees the files before `lsn`, and tells what is left and where the log goes on.
fn free(args: &Args, lsn: Lsn, findings: &Findings, before: Extent) -> Outcome<Done> {
    if lsn > before.end {
        return Err(Failure::trouble(format!(
            "LSN {lsn} is past the end of the log, which has LSN {} to {}; to free all that can be \
             freed give --before {}",
            before.start, before.end, before.end
        )));
    }
    // A file goes if all of it lies before; the newest, too, since opening begins another.
    let used: Vec<_> = findings.files.iter().filter(|file| file.header.is_ok()).collect();
    let end_of = |at: usize| match used.get(at + 1).map(|next| &next.header) {
        Some(Ok(next)) => next.prev.map_or(Lsn::MAX, |prev| prev.end),
        _ => before.end,
    };
    let gone = (0..used.len()).take_while(|at| end_of(*at) <= lsn).count();
    // Not for nothing: that would leave a file behind.
    if args.dry_run || gone == 0 {
        let bytes_freed: u64 = used[..gone].iter().map(|file| file.len).sum();
        let records: u64 = used[..gone].iter().map(|file| file.records).sum();
        let start = used.get(gone).and_then(|file| file.header.as_ref().ok());
        let files_removed = gone as u64;
        let after = Extent {
            start: start.map_or(before.end, |header| header.base),
            records: before.records - records,
            files: before.files - files_removed,
            bytes: before.bytes - bytes_freed,
            ..before
        };
        return Ok(Done { after, next: before.end, files_removed, bytes_freed });
    }
    let wal = open(args)?;
    let failed = |error: &Error| Failure::log(&args.dir, error);
    wal.truncate_before(lsn).map_err(|error| failed(&error))?;
    closed(args, wal, findings)
}

/// Cuts off what lies at and behind `lsn`, and tells what is left and where the log goes on.
fn cut(args: &Args, lsn: Lsn, findings: &Findings, before: Extent) -> Outcome<Done> {
    if lsn > before.end {
        return Err(Failure::trouble(format!(
            "LSN {lsn} is past the end of the log, which has LSN {} to {}: there is nothing to cut \
             off; `wal tail` shows the last records",
            before.start, before.end
        )));
    }
    if lsn < before.start {
        return Err(Failure::trouble(format!(
            "LSN {lsn} lies before the start of the log, which has LSN {} to {}; to cut off \
             everything give --after {}",
            before.start, before.end, before.start
        )));
    }
    let around = around(args, lsn)?;
    if let Some((start, end)) = around.within {
        return Err(Failure::trouble(format!(
            "LSN {lsn} lies within a record or batch, from LSN {start} to {end}, which goes as a \
             whole or not at all; give --after {start} to cut it off, or --after {end} to keep it"
        )));
    }
    if args.dry_run || around.behind == 0 {
        let records = before.records - around.behind;
        let after = Extent { records, end: lsn.min(before.end), ..before };
        return Ok(Done { after, next: before.end, files_removed: 0, bytes_freed: 0 });
    }
    let wal = open(args)?;
    wal.truncate_after(lsn).map_err(|error| Failure::log(&args.dir, &error))?;
    closed(args, wal, findings)
}

/// What lies around a position.
#[derive(Default)]
struct Around {
    /// The record or batch that it lies within.
    within: Option<(Lsn, Lsn)>,
    /// Records behind it.
    behind: u64,
}

fn around(args: &Args, lsn: Lsn) -> Outcome<Around> {
    let found = steady(|| {
        let (mut around, mut batch) = (Around::default(), None);
        let source = DirSource::open(&args.dir)?;
        scan(&source, ScanOptions::default(), &mut |record| {
            let start = *batch.get_or_insert(record.lsn);
            if record.kind != format::record::Kind::DataMore {
                batch = None;
                if start < lsn && lsn < record.end() {
                    around.within = Some((start, record.end()));
                }
            }
            around.behind += u64::from(record.lsn >= lsn);
        })?;
        Ok(around)
    });
    found.map_err(|error| Failure::log(&args.dir, &error))
}

fn open(args: &Args) -> Outcome<Wal> {
    let options = Options::default().segment_size(64 << 10).file_size(FILE_SIZE);
    let files =
        FileOptions::default().create(false).preparation(Preparation::Inline).recycle(false);
    let (wal, report) = wal_io_std::open_with(&args.dir, options, &files)
        .map_err(|error| Failure::log(&args.dir, &error))?;
    told_of_recovery(&args.dir, &report);
    Ok(wal)
}

/// Closes the log, and tells what is left of what `before` had.
fn closed(args: &Args, wal: Wal, before: &Findings) -> Outcome<Done> {
    let next = wal.close().map_err(|error| Failure::log(&args.dir, &error))?;
    let findings = examine::examine(&args.dir, Strictness::STRICT)?;
    let after = findings.report().map_or(Extent::default(), |report| extent(&findings, report));
    let stays = |file: &&File| findings.files.iter().any(|now| now.sequence == file.sequence);
    let gone: Vec<_> = before.files.iter().filter(|file| !stays(file)).collect();
    let (files_removed, bytes_freed) = (gone.len() as u64, gone.iter().map(|file| file.len).sum());
    Ok(Done { after, next, files_removed, bytes_freed })
}

fn object(args: &Args, before: Extent, done: Done) -> Value {
    let after = done.after;
    json!({
        "dir": path_text(&args.dir),
        "dry_run": args.dry_run,
        "start": after.start.get(),
        "end": after.end.get(),
        "next": done.next.get(),
        "records": after.records,
        "files": after.files,
        "bytes": after.bytes,
        "records_cut": before.records.saturating_sub(after.records),
        "files_removed": done.files_removed,
        "bytes_freed": done.bytes_freed,
    })
}

fn lines(args: &Args, before: Extent, done: Done) -> Vec<String> {
    let Done { after, next, .. } = done;
    let (dir, would) = (args.dir.display(), if args.dry_run { "would be " } else { "" });
    let records = before.records.saturating_sub(after.records);
    let mut lines = Vec::new();
    if args.after.is_some() {
        lines.push(format!(
            "{dir}: {} records {would}cut off; the log {would}kept up to LSN {}, {} records; the \
             next one is appended at LSN {next} or behind",
            grouped(records),
            after.end,
            grouped(after.records)
        ));
        return lines;
    }
    lines.push(format!(
        "{dir}: {} files with {} records ({} bytes) {would}removed; the log starts at LSN {}",
        grouped(done.files_removed),
        grouped(records),
        grouped(done.bytes_freed),
        after.start
    ));
    if done.files_removed == 0 {
        lines.push(format!(
            "{dir}: only whole files go, and the oldest holds records at or behind LSN {}: `wal \
             stat` shows what each file holds",
            args.before.unwrap_or(0)
        ));
    }
    lines
}

//! `wal export`: a range of a log as one file, or on standard output.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use wal_core::Lsn;
use wal_core::export::{ExportError, Summary, export};
use wal_io_std::DirSource;

use crate::examine::{self, Strictness};
use crate::failure::{Code, Failure, Outcome};
use crate::newest::{self, Newest};
use crate::output::{Output, grouped, path_text};
use crate::paint::note;
use crate::place::Place;

/// Writes a range of a log as one file that verifies on its own. Takes no lock and writes nothing in
/// DIR.
///
/// `wal import` reads it; `spec/EXPORT.md` in the sources of wal describes it, for other programs.
///
/// Records keep their LSNs and batches stay batches; one that lies in the range in part is there in
/// part. A corrupt log is refused: `wal repair` makes a copy of it that is not.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Start at the first record whose LSN is this or more. Default: the start of the log.
    #[arg(long, value_name = "LSN")]
    from: Option<u64>,
    /// Stop before the first record whose LSN is this or more. Give it to --from to export what
    /// comes later. Default: the end of the log.
    #[arg(long, value_name = "LSN")]
    to: Option<u64>,
    /// The file to write, which must not exist. It gets its name when it is whole and durable.
    /// Default: standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object: `from`, `to`, `records`, `payload_bytes`, `file`.
    #[arg(long, requires = "output")]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let dir = &args.place.dir;
    if let Some(output) = args.output.as_deref().filter(|path| path.symlink_metadata().is_ok()) {
        let error = io::ErrorKind::AlreadyExists.into();
        return Err(Failure::system("write", output, &error));
    }
    if args.output.is_none() && io::stdout().is_terminal() {
        let text = "an export is no text to look at; give a file with --output, or a pipe";
        return Err(Failure::trouble(text));
    }
    let log = examine::open(dir, args.from.map(Lsn::new), Strictness::STRICT)?;
    let report = log.report();
    let from = args.from.map_or(report.start, Lsn::new);
    let to = args.to.map_or(report.end.max(from), Lsn::new);
    if let Some(past) = [from, to].into_iter().find(|lsn| *lsn > report.end) {
        return Err(Failure::trouble(format!(
            "LSN {past} is past the end of the log, LSN {}; give a position up to that",
            report.end
        )));
    }
    if from > to {
        let text = format!("nothing lies from LSN {from} to LSN {to}; give --from before --to");
        return Err(Failure::trouble(text));
    }
    let files = examine::list(dir)?;
    let run = |out: Box<dyn Write>| -> Result<(Box<dyn Write>, Summary), ExportError> {
        let source = DirSource::open(dir).map_err(ExportError::Log)?;
        let source = Newest::of(source, newest::holding(&files, from));
        export(&source, from..to, out)
    };
    let summary = match &args.output {
        None => run(Box::new(BufWriter::new(io::stdout().lock()))).map(|(_, summary)| summary),
        Some(path) => to_file(path, run),
    };
    let summary = summary.map_err(|error| match (&error, &args.output) {
        (ExportError::Log(error), _) => Failure::log(dir, error),
        (ExportError::Io(error), None) => Failure::stdout(error),
        (ExportError::Io(error), Some(path)) => Failure::system("write", path, error),
        (error, _) => Failure::export("the export", error),
    })?;
    if let (true, Some(path)) = (args.json, &args.output) {
        let mut output = Output::new();
        let object = json!({
            "from": from.get(),
            "to": to.get(),
            "records": summary.records,
            "payload_bytes": summary.payload_bytes,
            "file": path_text(path),
        });
        output.line(&object.to_string())?;
        output.finish()?;
    } else {
        note(&format!(
            "exported {} records ({} bytes) from LSN {from} to LSN {to}; give --from {to} for what \
             comes later",
            grouped(summary.records),
            grouped(summary.payload_bytes)
        ));
    }
    Ok(Code::Success)
}

/// Writes a file beside `path`, and renames it when it is whole and durable.
fn to_file(
    path: &Path,
    run: impl FnOnce(Box<dyn Write>) -> Result<(Box<dyn Write>, Summary), ExportError>,
) -> Result<Summary, ExportError> {
    let mut part = path.to_owned().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = File::options().write(true).create_new(true).open(&part).map_err(|error| {
        // Perhaps of an export that was interrupted, perhaps not.
        if error.kind() == io::ErrorKind::AlreadyExists {
            let text = format!("{} is in the way", part.display());
            return ExportError::Io(io::Error::new(error.kind(), text));
        }
        ExportError::Io(error)
    })?;
    let done = file.try_clone().map_err(ExportError::Io).and_then(|out| {
        let (_, summary) = run(Box::new(BufWriter::with_capacity(1 << 20, out)))?;
        let publish = || -> io::Result<()> {
            file.sync_all()?;
            fs::rename(&part, path)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        };
        publish().map_err(ExportError::Io)?;
        Ok(summary)
    });
    if done.is_err() {
        let _ = fs::remove_file(&part);
    }
    done
}

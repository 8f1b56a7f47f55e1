//! `wal inspect`: the bytes at a place, decoded as far as they can be. Never writes: files are opened
//! for reading only.

mod fields;
mod find;
mod json;
mod text;

use std::path::Path;

use wal_core::format::{file_header, frame, record};
use wal_core::{AmbiguousTail, Corruption, Error, Lsn};
use wal_io_std::DirSource;

use crate::examine::{self, File, Findings, Strictness};
use crate::failure::{Code, Failure, Outcome};
use crate::output::Output;
use crate::place::Place;
use find::{Bytes, Map};

/// Shows the bytes of a log at a place, decoded. Takes no lock and never writes.
///
/// The header of the file, the header of the frame, the records around, field by field, with checksums
/// stored and computed, and a hex dump. Whatever can be decoded is, also in damaged files. Exits with
/// code 1 if what is shown is damaged.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// The position to look at. Default: the first place that is damaged, or the start of the log.
    #[arg(long, value_name = "LSN")]
    at: Option<u64>,
    /// How many bytes to dump.
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = clap::value_parser!(u32).range(0..=1 << 20))]
    bytes: u32,
    /// Print one JSON object: `lsn`, `damage` (if there is any at that place), `file`, `header` and
    /// `frame` (each with its `fields`: `name`, `offset`, `value`; and its `fault`), `records` (those
    /// around), `dump` (`offset` and `hex`).
    #[arg(long)]
    json: bool,
}

/// Everything there is to show.
struct Sight<'a> {
    lsn: Lsn,
    file: &'a File,
    /// What the header block says.
    block: Vec<u8>,
    fault: Option<file_header::Fault>,
    /// Where the file begins in the stream, if its header does not tell: by its frames.
    map: Map,
    frame: Option<Frame>,
    records: Vec<Seen>,
    dump_at: u64,
    dump: Vec<u8>,
    /// Corruption that was found at the place.
    corruption: Option<Corruption>,
}

/// The frame at a place.
struct Frame {
    lsn: Lsn,
    offset: u64,
    bytes: Vec<u8>,
    fault: Option<frame::Fault>,
    /// Where it ends, or the next frame begins if it does not say itself.
    end: Lsn,
}

/// A record, or what should be one.
struct Seen {
    lsn: Lsn,
    offset: u64,
    /// Bytes of its payload, by its word.
    len: usize,
    kind: Option<record::Kind>,
    stored: u32,
    /// `None` if the bytes that the length names are not there.
    computed: Option<u32>,
    fault: Option<record::Fault>,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let dir = &args.place.dir;
    let files = examine::list(dir)?;
    let source = DirSource::open(dir).map_err(|error| Failure::log(dir, &error))?;
    let damage = damage(dir);
    let lsn = args.at.map(Lsn::new).or(damage.as_ref().map(|damage| damage.lsn));
    let lsn = lsn.unwrap_or_else(|| start(&files));
    let bytes = Bytes::new(&source);
    let failed = |error: Error| Failure::log(dir, &error);
    let found = find::file_of(&bytes, &files, lsn).map_err(failed)?;
    let Some((file, map)) = found else {
        let ranges = files.iter().filter_map(|file| {
            file.header.as_ref().ok().map(|header| {
                format!("file {} has LSN {} to {}", file.sequence, header.base, header.limit())
            })
        });
        let ranges = ranges.collect::<Vec<_>>().join(", ");
        return Err(Failure::trouble(format!(
            "LSN {lsn} lies in none of the files of {}: {ranges}; give a position in one of them",
            dir.display()
        )));
    };
    let sight = look(&bytes, file, map, lsn, args.bytes as usize, damage).map_err(failed)?;
    let mut output = Output::new();
    if args.json {
        output.line(&json::object(dir, &sight).to_string())?;
    } else {
        text::print(&mut output, &sight)?;
    }
    output.finish()?;
    Ok(if sight.is_damaged() { Code::Damage } else { Code::Success })
}

impl Sight<'_> {
    /// Whether something is wrong with what is shown.
    fn is_damaged(&self) -> bool {
        let record =
            self.records.iter().any(|record| record.fault.is_some() && record.holds(self.lsn));
        self.corruption.is_some() || self.fault.is_some() || record
    }
}

impl Seen {
    fn holds(&self, lsn: Lsn) -> bool {
        self.lsn <= lsn && lsn < self.end()
    }

    fn end(&self) -> Lsn {
        self.lsn.advance(record::stored_len(self.len) as u64)
    }
}

/// The first damage in the log, if there is any: corruption, or a torn end.
fn damage(dir: &Path) -> Option<Corruption> {
    let strictness = Strictness { ambiguous_tail: AmbiguousTail::Cut, ..Strictness::STRICT };
    let findings: Findings = examine::examine(dir, strictness).ok()?;
    let cut = || {
        let cut = findings.report()?.cut.clone()?;
        let (reason, lsn, file) = (cut.reason, cut.lsn, cut.file);
        let (path, offset, len, proof) = (cut.path, cut.offset, cut.bytes, cut.lsn);
        Some(Corruption { reason, lsn, file, path, offset, len, proof })
    };
    findings.corruption.clone().or_else(cut)
}

fn start(files: &[File]) -> Lsn {
    let first = files.iter().find_map(|file| file.header.as_ref().ok());
    first.map_or(Lsn::ZERO, |header| header.base)
}

fn look<'a>(
    bytes: &Bytes<'_>,
    file: &'a File,
    map: Map,
    lsn: Lsn,
    dumped: usize,
    damage: Option<Corruption>,
) -> Result<Sight<'a>, Error> {
    let block = bytes.get(file.sequence, 0, file_header::BLOCK_LEN)?;
    let frame = find::frame_of(bytes, file, &map, lsn)?;
    let records = match &frame {
        Some(frame) => find::records_of(bytes, file, &map, frame, lsn)?,
        None => Vec::new(),
    };
    // From the record that the position lies in, or else from the position itself.
    let from = records.iter().find(|record| record.holds(lsn)).map_or(lsn, |record| record.lsn);
    let dump_at = map.offset_of(from) & !15;
    let dump = bytes.get(file.sequence, dump_at, dumped)?;
    let corruption = damage.filter(|damage| {
        let end = damage.lsn.advance(damage.len.max(1));
        damage.lsn <= lsn && lsn < end && damage.file == file.sequence
    });
    let fault = file.header.as_ref().err().copied();
    Ok(Sight { lsn, file, block, fault, map, frame, records, dump_at, dump, corruption })
}

//! A new log, with the LSNs that the records had.

use serde_json::json;
use wal_core::export::{Header, Record};
use wal_core::{Error, Lsn};
use wal_io_std::restore::{Origin, Restore};

use super::Args;
use super::input::{Inputs, Receiver};
use crate::failure::{Code, Failure, Outcome};
use crate::output::{Output, grouped, path_text};
use crate::paint::note;

/// The log that is made, from the header of the first export on.
struct Fresh<'a> {
    args: &'a Args,
    made: Option<(Restore, Lsn)>,
}

impl Fresh<'_> {
    fn failed(&self, error: &Error) -> Failure {
        Failure::log(&self.args.dir, error)
    }
}

impl Receiver for Fresh<'_> {
    fn begin(&mut self, header: &Header) -> Outcome<()> {
        if self.made.is_none() {
            let origin = Origin::at(header.log_id, header.from);
            let restore = Restore::create(&self.args.dir, &origin);
            self.made = Some((restore.map_err(|error| self.failed(&error))?, header.from));
        }
        Ok(())
    }

    fn record(&mut self, record: &Record<'_>) -> Outcome<()> {
        let Some((restore, _)) = &mut self.made else { return Ok(()) };
        let made = restore.record(record.lsn, record.more, record.payload);
        made.map_err(|error| self.failed(&error))
    }
}

pub(super) fn run(args: &Args) -> Outcome<Code> {
    let mut fresh = Fresh { args, made: None };
    let end = Inputs::new(&args.files, "importing").read(&mut fresh)?;
    let (Some((restore, start)), Some(end)) = (fresh.made, end) else { return Ok(Code::Success) };
    let done = restore.finish(end).map_err(|error| Failure::log(&args.dir, &error))?;
    if args.json {
        let mut output = Output::new();
        let object = json!({
            "dir": path_text(&args.dir),
            "records": done.records,
            "payload_bytes": done.payload_bytes,
            "start": start.get(),
            "end": done.end.get(),
        });
        output.line(&object.to_string())?;
        output.finish()?;
    } else {
        note(&format!(
            "{} records ({} bytes) imported into {}, each at the LSN that it had; the log has LSN \
             {start} to {}",
            grouped(done.records),
            grouped(done.payload_bytes),
            args.dir.display(),
            done.end
        ));
    }
    Ok(Code::Success)
}

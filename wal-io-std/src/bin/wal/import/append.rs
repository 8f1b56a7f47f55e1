//! Appending to a log, with new LSNs.

use serde_json::json;
use wal_core::export::Record;
use wal_core::format::record::{MAX_LEN, stored_len};
use wal_core::{Error, Lsn, Options};
use wal_io_std::Wal;

use super::Args;
use super::input::{Inputs, Receiver, Verify};
use crate::failure::{Code, Failure, Outcome};
use crate::output::{Output, grouped, path_text, told_of_recovery};
use crate::paint::note;

pub(super) fn run(args: &Args) -> Outcome<Code> {
    let inputs = Inputs::new(&args.files, "verifying");
    if inputs.are_files() {
        inputs.read(&mut Verify)?;
    }
    let failed = |error: &Error| Failure::log(&args.dir, error);
    let options = Options::default().max_record_len(MAX_LEN);
    let (wal, report) = wal_io_std::open(&args.dir, options).map_err(|error| failed(&error))?;
    told_of_recovery(&args.dir, &report);
    let start = wal.next_lsn();
    let output = Output::new();
    let mut appender =
        Appender { wal: &wal, args, output, batch: Vec::new(), records: 0, bytes: 0 };
    let read = Inputs::new(&args.files, "importing").read(&mut appender);
    let Appender { records, bytes, mut output, .. } = appender;
    // Closed even after a failure: what was appended before it is then durable, if it can be.
    let closed = wal.close().map_err(|error| failed(&error));
    let context = |failure: Failure| failure.context(&format!("{records} records appended; "));
    read.map_err(context)?;
    let end = closed.map_err(context)?;
    if args.json {
        let object = json!({
            "dir": path_text(&args.dir),
            "records": records,
            "payload_bytes": bytes,
            "start": start.get(),
            "end": end.get(),
        });
        output.line(&object.to_string())?;
    } else {
        note(&format!(
            "{} records ({} bytes) appended to {}, with new LSNs from {start} to {end}",
            grouped(records),
            grouped(bytes),
            args.dir.display()
        ));
    }
    output.finish()?;
    Ok(Code::Success)
}

struct Appender<'a> {
    wal: &'a Wal,
    args: &'a Args,
    output: Output,
    /// The records so far of a batch that goes on, with the LSNs that they had.
    batch: Vec<(Lsn, Vec<u8>)>,
    records: u64,
    bytes: u64,
}

impl Receiver for Appender<'_> {
    fn record(&mut self, record: &Record<'_>) -> Outcome<()> {
        if record.more || !self.batch.is_empty() {
            self.batch.push((record.lsn, record.payload.to_vec()));
            return if record.more { Ok(()) } else { self.end_batch() };
        }
        let appended = self.wal.append(record.payload).map_err(|error| self.failed(&error))?;
        self.tell(record.lsn, appended.lsn, record.payload)
    }
}

impl Appender<'_> {
    fn end_batch(&mut self) -> Outcome<()> {
        let batch = std::mem::take(&mut self.batch);
        let payloads: Vec<&[u8]> = batch.iter().map(|(_, payload)| &payload[..]).collect();
        let appended = self.wal.append_batch(&payloads).map_err(|error| self.failed(&error))?;
        let mut lsn = appended.lsn;
        for (was, payload) in &batch {
            self.tell(*was, lsn, payload)?;
            lsn = lsn.advance(stored_len(payload.len()) as u64);
        }
        Ok(())
    }

    fn tell(&mut self, was: Lsn, lsn: Lsn, payload: &[u8]) -> Outcome<()> {
        self.records += 1;
        self.bytes += payload.len() as u64;
        if self.args.json {
            self.output.line(&json!({ "was": was.get(), "lsn": lsn.get() }).to_string())?;
        }
        Ok(())
    }

    fn failed(&self, error: &Error) -> Failure {
        Failure::log(&self.args.dir, error)
    }
}

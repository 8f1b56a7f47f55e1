//! `wal append`: records from files or standard input, by one writer or many.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use serde_json::json;
use wal_core::format::record::stored_len;
use wal_core::{Error, Lsn, Options, Wal};
use wal_io_std::FileSink;

use crate::failure::{Code, Failure, Outcome};
use crate::input::{Cutting, Group, Grouping, Reader, Trouble};
use crate::output::{Output, grouped, told_of_recovery};
use crate::paint::note;
use crate::place;
use crate::progress::Progress;

/// The largest record that the tool appends, in bytes.
const MAX_RECORD: usize = 64 << 20;
/// Groups that wait for each writer; bounds memory however fast the input is.
const QUEUE: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the log; made if it is missing.
    dir: PathBuf,
    /// Threads that append. They share the input, so with more than one the order of the records
    /// is not that of the input.
    #[arg(long, value_name = "N", default_value = "1")]
    writers: NonZeroUsize,
    /// Append N records at a time as one batch: after a crash all of them are there or none. The
    /// last batch may be smaller.
    #[arg(long, value_name = "N")]
    batch: Option<NonZeroUsize>,
    /// Print the LSN of each record, in a line, once the record is durable. Without this,
    /// everything is made durable at the end.
    #[arg(long)]
    ack: bool,
    /// Print one JSON object at the end: `records`, `payload_bytes`, `syncs`, `seconds`, `end`. With
    /// --ack, before it, one in a line for each record: `lsn`.
    #[arg(long)]
    json: bool,
    /// The input is framed: each record is its length (4 bytes, little-endian) and its bytes.
    #[arg(long)]
    framed: bool,
    /// Length of the log files that this run makes, in bytes: a multiple of 4096.
    #[arg(long, value_name = "BYTES", default_value = "67108864")]
    file_size: u64,
    /// Files to read, one after the other; `-` is standard input. Default: standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// An input that was opened before the log was touched.
struct Input {
    name: String,
    read: Box<dyn Read>,
}

pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let started = Instant::now();
    let (inputs, total) = open_inputs(&args.files)?;
    place::look(&args.dir)?;
    let options = Options::default().max_record_len(MAX_RECORD).file_size(args.file_size);
    let failed = |error: &Error| Failure::log(&args.dir, error);
    let (wal, report) = wal_io_std::open(&args.dir, options).map_err(|error| failed(&error))?;
    told_of_recovery(&args.dir, &report);
    let progress = Progress::bytes("appending", total, args.ack && io::stdout().is_terminal());
    let job = Job { wal: &wal, args, tally: Tally::default(), failure: Mutex::new(None) };
    let read = job.run(inputs, &progress);
    let failure = job.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    let tally = job.tally;
    drop(progress);

    // Closed even after a failure: what was appended before it is then durable, if it can be.
    let handle = wal.clone();
    let closed = wal.close();
    let (durable, syncs) = (handle.durable_lsn(), handle.stats().syncs);
    drop(handle);
    let records = tally.records.into_inner();
    match (failure, read, &closed) {
        (Some(Failure::BrokenPipe), ..) => return Ok(Code::Success),
        (Some(failure), _, Err(_)) => {
            let state = format!("{records} records appended, durable before LSN {durable}; ");
            return Err(failure.context(&state));
        }
        (Some(failure), _, Ok(_)) | (None, Err(failure), Ok(_)) => {
            return Err(failure.context(&format!("{records} records appended and durable; ")));
        }
        (None, _, Err(error)) => {
            let state = format!("{records} records appended, durable before LSN {durable}; ");
            return Err(failed(error).context(&state));
        }
        (None, Ok(()), Ok(_)) => {}
    }
    let (bytes, seconds) = (tally.bytes.into_inner(), started.elapsed().as_secs_f64());
    if args.json {
        let mut output = Output::new();
        let object = json!({
            "records": records,
            "payload_bytes": bytes,
            "syncs": syncs,
            "seconds": seconds,
            "end": durable.get(),
        });
        output.line(&object.to_string())?;
        output.finish()?;
        return Ok(Code::Success);
    }
    note(&format!(
        "{} records ({} bytes) appended and durable in {seconds:.3} s, {} syncs, {:.1} records per \
         sync; the log ends at LSN {}",
        grouped(records),
        grouped(bytes),
        grouped(syncs),
        records as f64 / syncs.max(1) as f64,
        durable
    ));
    Ok(Code::Success)
}

/// Opens every input, and adds up their lengths if all of them are plain files.
fn open_inputs(files: &[PathBuf]) -> Outcome<(Vec<Input>, Option<u64>)> {
    let standard = [PathBuf::from("-")];
    let files = if files.is_empty() { &standard } else { files };
    let mut total = Some(0);
    let mut inputs = Vec::with_capacity(files.len());
    for path in files {
        if path == Path::new("-") {
            total = None;
            inputs.push(Input { name: "standard input".into(), read: Box::new(io::stdin()) });
            continue;
        }
        let open = || -> io::Result<(File, Option<u64>)> {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok((file, metadata.is_file().then_some(metadata.len())))
        };
        let (file, len) = open().map_err(|error| Failure::system("read", path, &error))?;
        total = total.zip(len).map(|(total, len): (u64, u64)| total.saturating_add(len));
        inputs.push(Input { name: path.display().to_string(), read: Box::new(file) });
    }
    Ok((inputs, total))
}

/// What was appended.
#[derive(Default)]
struct Tally {
    records: AtomicU64,
    bytes: AtomicU64,
}

/// One run: the reader and the writers.
struct Job<'a> {
    wal: &'a Wal<FileSink>,
    args: &'a Args,
    tally: Tally,
    /// The first failure of a writer.
    failure: Mutex<Option<Failure>>,
}

impl Job<'_> {
    /// Appends all input; fails if reading it does.
    fn run(&self, inputs: Vec<Input>, progress: &Progress) -> Outcome<()> {
        let writers = self.args.writers.get();
        let (send, receive) = crossbeam_channel::bounded(writers.saturating_mul(QUEUE));
        std::thread::scope(|scope| {
            for _ in 0..writers {
                let receive = receive.clone();
                scope.spawn(move || self.write(&receive));
            }
            // Only the writers' own ends keep the channel open: when all have stopped, so do we.
            drop(receive);
            // Takes our end of the channel with it, so that the writers see the end of the input.
            self.read(inputs, send, progress)
        })
    }

    fn read(&self, inputs: Vec<Input>, send: Sender<Group>, progress: &Progress) -> Outcome<()> {
        let cutting = if self.args.framed { Cutting::Framed } else { Cutting::Lines };
        let grouping =
            self.args.batch.map_or(Grouping::AsItComes, |batch| Grouping::Exact(batch.get()));
        let (mut group, mut done) = (Group::new(), 0);
        let mut result = Ok(());
        'inputs: for input in inputs {
            let mut reader = Reader::new(input.read, cutting, MAX_RECORD);
            loop {
                match reader.fill(&mut group, grouping) {
                    Ok(true) => {
                        let full = std::mem::take(&mut group);
                        if self.has_failed() || send.send(full).is_err() {
                            return Ok(());
                        }
                        progress.at(done + reader.bytes());
                    }
                    Ok(false) => break,
                    Err(trouble) => {
                        result = Err(unreadable(&input.name, &trouble));
                        break 'inputs;
                    }
                }
            }
            done += reader.bytes();
        }
        if !group.is_empty() {
            let _ = send.send(group);
        }
        result
    }

    fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// One writer: appends groups until there are no more, or something fails.
    fn write(&self, groups: &Receiver<Group>) {
        while let Ok(group) = groups.recv() {
            if self.has_failed() {
                return;
            }
            if let Err(failure) = self.append(&group) {
                let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(failure);
                return;
            }
        }
    }

    fn append(&self, group: &Group) -> Outcome<()> {
        let mut lsns = Vec::with_capacity(if self.args.ack { group.len() } else { 0 });
        let last = self.place(group, &mut lsns);
        let last = last.map_err(|error| Failure::log(&self.args.dir, &error))?;
        if let (true, Some(last)) = (self.args.ack, last) {
            self.wal.wait_durable(last).map_err(|error| Failure::log(&self.args.dir, &error))?;
            let line = |lsn: &Lsn| {
                if self.args.json { format!("{{\"lsn\":{lsn}}}\n") } else { format!("{lsn}\n") }
            };
            let lines: String = lsns.iter().map(line).collect();
            let mut stdout = io::stdout().lock();
            let written = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
            written.map_err(|error| Failure::stdout(&error))?;
        }
        Ok(())
    }

    /// Puts the records into the log and returns the LSN of the last one; gathers all LSNs if
    /// they are wanted.
    fn place(&self, group: &Group, lsns: &mut Vec<Lsn>) -> Result<Option<Lsn>, Error> {
        let mut last = None;
        if self.args.batch.is_some() {
            let mut lsn = self.wal.append_batch(group)?.lsn;
            for record in group {
                self.count(record);
                last = Some(lsn);
                lsns.push(lsn);
                lsn = lsn.advance(stored_len(record.len()) as u64);
            }
        } else {
            for record in group {
                let lsn = self.wal.append(record)?.lsn;
                self.count(record);
                last = Some(lsn);
                lsns.push(lsn);
            }
        }
        Ok(last)
    }

    fn count(&self, record: &[u8]) {
        self.tally.records.fetch_add(1, Ordering::Relaxed);
        self.tally.bytes.fetch_add(record.len() as u64, Ordering::Relaxed);
    }
}

fn unreadable(name: &str, trouble: &Trouble) -> Failure {
    Failure::trouble(match trouble {
        Trouble::Read(error) => format!("cannot read {name}: {error}; check the file"),
        Trouble::TooLong { number, len } => {
            let len = len.map_or("more than that".into(), |len| format!("{len} bytes"));
            format!(
                "record {number} of {name} is too long: the limit is {MAX_RECORD} bytes, it has \
                 {len}; split it, or check how the input is framed"
            )
        }
        Trouble::Short { number } => format!(
            "{name} ends inside record {number}; check that it is framed (4 bytes of length, \
             little-endian, then the record) and whole"
        ),
    })
}

//! The process that the demo kills: writers that append, wait, and tell what is durable.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use wal_core::format::checksum::crc32c;
use wal_core::format::record::stored_len;
use wal_core::{Error, Lsn, Options, Wal};
use wal_io_std::FileSink;

use super::corpus::Corpus;
use super::random::Random;
use super::stamp::Stamp;
use super::wire::{MOST_RECORDS, Message, Place};
use crate::failure::{Code, Failure, Outcome};

/// Bytes of a ring segment of the demo's log.
const SEGMENT: usize = 64 << 10;
/// The longest text of a record, some way beyond a segment.
const LONGEST: usize = 3 * SEGMENT;

/// The options of the demo's log: small enough to go on to new segments and files all the time.
pub(crate) fn options() -> Options {
    Options::default().segment_size(SEGMENT).file_size(4 << 20).max_record_len(1 << 20)
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of the log.
    dir: PathBuf,
    /// Where each writer goes on counting, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    next: Vec<u64>,
    /// Decides what each writer does when.
    #[arg(long)]
    seed: u64,
}

/// Runs until killed, or until something fails. Takes the corpus from standard input.
pub(crate) fn run(args: &Args) -> Outcome<Code> {
    let mut text = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut text);
    read.map_err(|error| Failure::trouble(format!("cannot read standard input: {error}")))?;
    let none = || Failure::trouble("`wal demo` starts this; run that");
    let corpus = Corpus::new(text).ok_or_else(none)?;
    // Not through the buffer of `io::stdout`: each message has to be one write.
    let pipe = io::stdout().as_fd().try_clone_to_owned();
    let pipe = File::from(pipe.map_err(|error| Failure::stdout(&error))?);

    let failed = |error: Error| Failure::log(&args.dir, &error);
    let (wal, _) = wal_io_std::open(&args.dir, options()).map_err(failed)?;
    tell(&pipe, &Message::Ready)?;
    let writers = args.next.iter().enumerate().map(|(index, next)| Writer {
        index: index as u32,
        next: *next,
        random: Random::new(args.seed ^ ((index as u64) << 32)),
        args,
        wal: &wal,
        corpus: &corpus,
        pipe: &pipe,
    });
    std::thread::scope(|scope| {
        let threads: Vec<_> = writers.map(|mut writer| scope.spawn(move || writer.run())).collect();
        let ends = threads.into_iter().map(|thread| match thread.join() {
            Ok(failure) => failure,
            Err(_) => Failure::trouble("a writer panicked"),
        });
        // All of them fail together, since the log or the pipe does. The pipe's end says least.
        let mut ends: Vec<Failure> = ends.collect();
        ends.sort_by_key(|failure| matches!(failure, Failure::BrokenPipe));
        ends.into_iter().next().map_or(Ok(Code::Success), Err)
    })
}

fn tell(mut pipe: &File, message: &Message) -> Outcome<()> {
    pipe.write_all(message.encode().as_bytes()).map_err(|error| Failure::stdout(&error))
}

/// One thread.
struct Writer<'a> {
    index: u32,
    /// The next sequence number.
    next: u64,
    random: Random,
    args: &'a Args,
    wal: &'a Wal<FileSink>,
    corpus: &'a Corpus,
    pipe: &'a File,
}

impl Writer<'_> {
    /// Appends until something fails.
    fn run(&mut self) -> Failure {
        loop {
            if let Err(failure) = self.step() {
                return failure;
            }
        }
    }

    /// One of the ways to append, mostly one record with a wait for it.
    fn step(&mut self) -> Outcome<()> {
        match self.random.below(1000) {
            0..600 => {
                let payloads = self.announce(1, false, None)?;
                self.acknowledge(&payloads, |wal| Ok(vec![wal.append_and_sync(&payloads[0])?.lsn]))
            }
            600..750 => {
                let records = self.several();
                let payloads = self.announce(records, false, None)?;
                self.acknowledge(&payloads, |wal| {
                    let append = |payload: &Vec<u8>| Ok(wal.append(payload)?.lsn);
                    payloads.iter().map(append).collect()
                })
            }
            750..900 => {
                let records = self.several();
                let payloads = self.announce(records, true, None)?;
                self.acknowledge(&payloads, |wal| {
                    let mut at = wal.append_batch(&payloads)?.lsn;
                    Ok(payloads.iter().map(|payload| next_in_batch(&mut at, payload)).collect())
                })
            }
            900..960 => {
                let payloads = self.announce(1, false, None)?;
                self.acknowledge(&payloads, |wal| {
                    let mut room = wal.reserve(payloads[0].len())?;
                    room.copy_from_slice(&payloads[0]);
                    Ok(vec![room.commit()?.lsn])
                })
            }
            960..997 => self.give_up(),
            _ => {
                let text_len = SEGMENT + self.random.below((LONGEST - SEGMENT) as u64) as usize;
                let payloads = self.announce(1, false, Some(text_len))?;
                self.acknowledge(&payloads, |wal| Ok(vec![wal.append(&payloads[0])?.lsn]))
            }
        }
    }

    fn several(&mut self) -> u32 {
        2 + self.random.below(MOST_RECORDS as u64 - 1) as u32
    }

    /// Makes the payloads of the next `records` records and tells the parent that they come.
    fn announce(
        &mut self,
        records: u32,
        batch: bool,
        text_len: Option<usize>,
    ) -> Outcome<Vec<Vec<u8>>> {
        let (writer, first) = (self.index, self.next);
        self.next += u64::from(records);
        tell(self.pipe, &Message::Sent { writer, first, records: u64::from(records) })?;
        let payload = |index: u32| {
            let seq = first + u64::from(index);
            let text_len = text_len.unwrap_or_else(|| self.corpus.line_len(writer, seq));
            let (part, parts) = if batch { (index, records) } else { (0, 1) };
            Stamp { writer, seq, part, parts, text_len }.payload(self.corpus)
        };
        Ok((0..records).map(payload).collect())
    }

    /// Appends by `append`, waits for the last record, and only then tells the parent.
    fn acknowledge(
        &self,
        payloads: &[Vec<u8>],
        append: impl FnOnce(&Wal<FileSink>) -> Result<Vec<Lsn>, Error>,
    ) -> Outcome<()> {
        let appended = append(self.wal).and_then(|lsns| {
            let last = lsns.last().copied().unwrap_or_default();
            self.wal.wait_durable(last)?;
            Ok(lsns)
        });
        let lsns = appended.map_err(|error| Failure::log(&self.args.dir, &error))?;
        let places = lsns.iter().zip(payloads);
        let places = places.map(|(lsn, payload)| Place { lsn: *lsn, crc: crc32c(payload) });
        let first = self.next - payloads.len() as u64;
        let stats = self.wal.stats();
        let (syncs, bytes) = (stats.syncs, stats.bytes);
        let (writer, places) = (self.index, places.collect());
        tell(self.pipe, &Message::Durable { syncs, bytes, writer, first, places })
    }

    /// Reserves, fills half of it, and drops it: nothing of it may ever be seen.
    fn give_up(&mut self) -> Outcome<()> {
        let len = 2 + self.random.below(500) as usize;
        let failed = |error| Failure::log(&self.args.dir, &error);
        let mut room = self.wal.reserve(len).map_err(failed)?;
        room[..len / 2].fill(b'!');
        drop(room);
        Ok(())
    }
}

/// The LSN of a batch's record at `at`, which moves on behind it.
fn next_in_batch(at: &mut Lsn, payload: &[u8]) -> Lsn {
    let lsn = *at;
    *at = at.advance(stored_len(payload.len()) as u64);
    lsn
}

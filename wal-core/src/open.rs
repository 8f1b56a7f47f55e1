//! Opening: recover what is there, fence it off, start a new file behind it.

use crate::error::Error;
use crate::flush::{Desk, Failure, Pipeline};
use crate::format::file_header::FileHeader;
use crate::format::frame::Link;
use crate::format::record;
use crate::observe::{Observer, Operation, Outcome};
use crate::options::Options;
use crate::probe::{NoProbe, Probe};
use crate::recover::{self, Phase, Progress, RecoveryReport, Scan, ScanOptions};
use crate::segment::place::{Layout, Place};
use crate::segment::{Buffer, Ring};
use crate::shared::{Parts, ReadFile, Shared};
use crate::sink::{SegmentMemory, SegmentSink, SinkError, SinkOp};
use crate::start::Start;
use crate::stats::Counters;
use crate::sync::Arc;
use crate::truncate::Front;
use crate::wal::Wal;

impl<S: SegmentSink> Wal<S> {
    /// Recovers the log in `sink` (an empty one starts a new log) and opens it for appending.
    ///
    /// Whatever was durable is there; a torn end is cut off, after a copy of it was set aside. The
    /// recovered files are never appended to: the log goes on in a new one, whose header says
    /// where the old ones end. Blocks for I/O: reads the whole log, writes and syncs one block.
    ///
    /// On a full disk a log that exists opens all the same, and can be read. What is left to be
    /// written then (the copy of a torn end, which the report does not name in this case, and the
    /// new file) is written as soon as somebody waits and there is room; until then waiting fails
    /// with [`Error::NoSpace`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`]; [`Error::Corrupt`] if durable data is damaged or missing (nothing
    /// is changed then; see [`Options::recovery`]); [`Error::UnsupportedFormat`];
    /// [`Error::Exhausted`]; [`Error::NoSpace`] if there is no room for the first file of a new log;
    /// [`Error::Sink`] for any other failure of
    /// the sink, failed reads included.
    pub fn open(sink: S, options: Options) -> Result<(Self, RecoveryReport), Error> {
        Self::open_with_probe(sink, options, NoProbe)
    }
}

impl<S: SegmentSink, P: Probe> Wal<S, P> {
    /// Like [`Wal::open`], with a probe that sees every step.
    ///
    /// # Errors
    ///
    /// As for [`Wal::open`].
    pub fn open_with_probe(
        sink: S,
        options: Options,
        probe: P,
    ) -> Result<(Self, RecoveryReport), Error> {
        let observer = Observer::new(&options.name);
        let span = observer.begin(Operation::Open);
        let opened = Self::recover_and_begin(sink, options, probe, &observer);
        observer.settle(span, &opened, |(parts, _)| {
            let newest = parts.files.last().map_or(0, |file| file.header.sequence);
            Outcome::Opened { file: newest, lsn: parts.start }
        });
        let (parts, report) = opened?;
        Ok((Self { shared: Arc::new(Shared::new(parts, observer)) }, report))
    }

    fn recover_and_begin(
        sink: S,
        options: Options,
        probe: P,
        observer: &Observer,
    ) -> Result<(Parts<S, P>, RecoveryReport), Error> {
        options.validate(sink.alignment())?;
        let layout = Layout {
            segment: options.segment_size as u64,
            file: options.file_size,
            align: options.align(),
        };
        let mut buffers = Vec::with_capacity(options.segments);
        for _ in 0..options.segments {
            let memory = sink.memory(options.segment_size)?;
            check_memory(&memory, options.segment_size, sink.alignment().max(record::ALIGN))?;
            buffers.push(Buffer::new(memory));
        }
        let scan_options =
            ScanOptions { mode: options.recovery, ambiguous_tail: options.ambiguous_tail };
        let mut telling = Telling { progress: options.progress, last: Progress::default() };
        let span = observer.begin(Operation::Recover);
        let scanned = recover::scan_with_progress(&sink, scan_options, &mut |_| {}, &mut |now| {
            telling.tell(now);
        });
        observer.settle(span, &scanned, |scan| Outcome::Recovered(&scan.report));
        let mut scan = scanned?;
        telling.over();

        let sequence = start_sequence(&scan);
        // From here on, neither positions nor file numbers can run out.
        if scan.next.get().max(sequence) >= 1 << 63 {
            return Err(Error::Exhausted { end: scan.next, file: sequence });
        }
        let (salt_seed, log_id) = random(options.seed)?;
        let base = scan.next.align_up(layout.align);
        let first = Place { base, file: sequence, file_base: base, file_capacity: layout.file };
        let ring = Ring::new(buffers, layout, first, salt_seed, probe);
        let header = FileHeader {
            log_id: scan.log_id.unwrap_or(log_id),
            sequence,
            salt: ring.salt(sequence),
            base: first.base,
            capacity: first.file_capacity,
            align: layout.align as u32,
            max_record_len: options.max_record_len as u32,
            prev: scan.last,
            durable: scan.end,
            recovered: scan.log_id.is_some(),
            // Beginning the file will tell; only recovery asks.
            recycled: false,
            in_place: false,
        };
        let mut start = Start::new(&scan, header);
        let started = start.run(&sink);
        scan.report.set_aside.append(&mut start.kept);
        let start = match started {
            Ok(()) => None,
            // What is there can be read, and perhaps makes room.
            Err(Failure::Harmless(cause)) if cause.is_no_space() && scan.log_id.is_some() => {
                Some(start)
            }
            Err(Failure::Harmless(cause) | Failure::Fatal(cause)) => return Err(cause.into()),
        };

        let mut files = ReadFile::all(&scan, Some(header));
        if let Some(newest) = files.last_mut() {
            newest.begun = start.is_none();
        }
        let front = Front {
            gone_below: files.first().map_or(0, |file| file.header.sequence),
            cut_off: Vec::new(),
            put_away: start.as_ref().map_or(Vec::new(), Start::put_away),
        };
        let link = scan.last.map_or(Link::NONE, |last| last.last_frame);
        let parts = Parts {
            ring,
            sink,
            desk: Desk::new(Box::new(Pipeline::new(header, link, scan.end, start))),
            start: first.base,
            files,
            front,
            holes: scan.report.holes.iter().map(|h| h.lsn..h.lsn.advance(h.len)).collect(),
            executor: options.executor,
            depth: options.depth,
            max_record_len: options.max_record_len,
            counters: Counters::new(options.clock),
        };
        Ok((parts, scan.report))
    }
}

/// Who is told how far opening has come.
struct Telling {
    progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
    last: Progress,
}

impl Telling {
    fn tell(&mut self, now: Progress) {
        debug_assert!((self.last.bytes_done..=now.bytes_total).contains(&now.bytes_done));
        self.last = now;
        if let Some(progress) = &self.progress {
            progress(now);
        }
    }

    /// Tells that all is read: what lies behind the end of the log does not count.
    fn over(mut self) {
        let last = self.last;
        self.tell(Progress { bytes_done: last.bytes_total, ..last });
        self.tell(Progress { phase: Phase::Begin, ..self.last });
    }
}

/// Refuses memory that is not what was asked for: the ring writes all of it.
fn check_memory(memory: &SegmentMemory, len: usize, align: usize) -> Result<(), Error> {
    if memory.len() >= len && memory.as_ptr().addr().is_multiple_of(align) {
        return Ok(());
    }
    let message = format!(
        "the sink supplied {} bytes at {:p} for a segment of {len} bytes aligned to {align}",
        memory.len(),
        memory.as_ptr()
    );
    Err(Error::from(SinkError::of(SinkOp::Memory, std::io::Error::other(message))))
}

/// The number of the file to start: of the first that was prepared behind all others, if any was.
fn start_sequence(scan: &Scan) -> u64 {
    let mut sequence = scan.next_sequence;
    while scan.unused.contains(&(sequence - 1)) {
        sequence -= 1;
    }
    sequence
}

/// A salt seed and an identity for a new log: random, or made from a fixed seed.
fn random(seed: Option<u64>) -> Result<(u64, [u8; 16]), Error> {
    let mut bytes = [0; 24];
    match seed {
        Some(seed) => {
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = (seed.rotate_left(index as u32 * 7) as u8) ^ index as u8;
            }
        }
        None => getrandom::fill(&mut bytes).map_err(|source| {
            SinkError::of(SinkOp::Open, std::io::Error::other(source.to_string()))
        })?,
    }
    let (salt, id) = bytes.split_at(8);
    let mut parts = ([0; 8], [0; 16]);
    parts.0.copy_from_slice(salt);
    parts.1.copy_from_slice(id);
    Ok((u64::from_le_bytes(parts.0), parts.1))
}

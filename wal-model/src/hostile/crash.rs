//! Calls of a log, and crashes between them, read from bytes.

use arbitrary::{Result, Unstructured};
use wal_core::format::record::stored_len;
use wal_core::sink::SegmentSink;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Appended, Durability, Error, Lsn, Options, Padding, Verdict, Wal};

use super::bounds;

/// A disk that can lose what was not synced.
trait Disk: Sized {
    type Sink: SegmentSink;

    fn new() -> Self;

    fn open(&self) -> std::result::Result<Self::Sink, Error>;

    /// What a power loss leaves, given for each piece that was written and not synced whether it
    /// reached the disk.
    fn power_loss(&self, survives: &mut dyn FnMut() -> bool) -> Self;

    /// What the death of the process leaves.
    fn kill(&self) -> Self;

    /// The files as they are, to be read by a scan.
    fn image(&self) -> MemDisk;
}

impl Disk for MemDisk {
    type Sink = MemSink;

    fn new() -> Self {
        Self::new()
    }

    fn open(&self) -> std::result::Result<MemSink, Error> {
        MemSink::open(self)
    }

    fn power_loss(&self, survives: &mut dyn FnMut() -> bool) -> Self {
        const SECTOR: usize = 512;
        let after = self.crash();
        for file in self.sequences() {
            let (written, mut bytes) = (self.file(file), after.file(file));
            for (old, new) in bytes.chunks_mut(SECTOR).zip(written.chunks(SECTOR)) {
                if old != new && survives() {
                    old.copy_from_slice(new);
                }
            }
            after.put_file(file, bytes);
        }
        after
    }

    fn kill(&self) -> Self {
        self.snapshot()
    }

    fn image(&self) -> MemDisk {
        self.snapshot()
    }
}

/// A record appended, and the call that did: the records of one call are all there or none.
struct Record {
    lsn: Lsn,
    call: u64,
    payload: Vec<u8>,
}

/// What the log should hold.
#[derive(Default)]
struct Naive {
    records: Vec<Record>,
    /// How many of them are safe from the death of the process, and from power loss.
    written: usize,
    durable: usize,
    calls: u64,
}

impl Naive {
    fn append(&mut self, appended: Appended, payloads: &[Vec<u8>]) {
        let mut lsn = appended.lsn;
        for payload in payloads {
            let payload = payload.clone();
            let next = lsn.advance(stored_len(payload.len()) as u64);
            self.records.push(Record { lsn, call: self.calls, payload });
            lsn = next;
        }
        assert_eq!(lsn, appended.end);
        self.calls += 1;
    }

    fn recover(&mut self, found: &[(Lsn, Vec<u8>)], safe: usize) {
        assert!(found.len() >= safe, "{safe} records were safe, {} are there", found.len());
        assert!(found.len() <= self.records.len(), "more is there than was appended");
        for ((lsn, payload), record) in found.iter().zip(&self.records) {
            assert!(*lsn == record.lsn && *payload == record.payload, "{lsn} has changed");
        }
        if let (Some(lost), Some(kept)) =
            (self.records.get(found.len()), self.records[..found.len()].last())
        {
            assert!(kept.call != lost.call, "half of a batch is there");
        }
        self.records.truncate(found.len());
        (self.written, self.durable) = (found.len(), found.len());
    }
}

/// Runs a log as `data` says: appends, waits, and crashes that lose any sectors not synced.
///
/// # Panics
///
/// If a crash takes what was acknowledged, leaves what was not appended, half a batch or something
/// that recovery takes for corruption, or if any call fails.
pub fn crashes(data: &[u8]) {
    // A plan that ends early has done what it said until then.
    let _ = run::<MemDisk>(&mut Unstructured::new(data));
}

fn run<D: Disk>(u: &mut Unstructured<'_>) -> Result<()> {
    let padding = *u.choose(&[Padding::Packed, Padding::Block])?;
    let options = Options::default().segment_size(4096).segments(u.int_in_range(2..=3)?);
    let options = options.file_size(4 * 4096).max_record_len(1 << 17).padding(padding).seed(1);
    let (mut disk, mut naive) = (D::new(), Naive::default());
    let mut wal = done(Wal::open(done(disk.open()), options.clone())).0;
    while !u.is_empty() {
        match u.int_in_range(0..=12)? {
            0..=3 => {
                let payloads = [payload(u, &naive, 0)?];
                naive.append(done(wal.append(&payloads[0])), &payloads);
            }
            4 => {
                let count = u.int_in_range(2..=4)?;
                let payloads = (0..count).map(|i| payload(u, &naive, i));
                let payloads = payloads.collect::<Result<Vec<_>>>()?;
                naive.append(done(wal.append_batch(&payloads)), &payloads);
            }
            5 => drop(done(wal.reserve(u.int_in_range(0..=2000)?))),
            6 | 7 => {
                done(wal.sync());
                (naive.durable, naive.written) = (naive.records.len(), naive.records.len());
            }
            8 => {
                done(wal.flush());
                naive.written = naive.records.len();
            }
            9 => {
                let Some(last) = naive.records.last() else { continue };
                done(wal.wait(last.lsn, Durability::PowerLoss));
                (naive.durable, naive.written) = (naive.records.len(), naive.records.len());
            }
            10 => {
                done(wal.mark_durable());
                (naive.durable, naive.written) = (naive.records.len(), naive.records.len());
            }
            fate => {
                let safe;
                (disk, safe) = match fate {
                    11 => (disk.power_loss(&mut || u.arbitrary().unwrap_or(false)), naive.durable),
                    _ => (disk.kill(), naive.written),
                };
                // The old log goes on with a disk that nobody reads any more.
                let (found, records) = bounds::scan(&disk.image());
                let end = done(found).end;
                naive.recover(&records, safe);
                let (again, report) = done(Wal::open(done(disk.open()), options.clone()));
                assert_eq!(report.end, end);
                assert_ne!(report.verdict, Verdict::Salvaged);
                wal = again;
            }
        }
    }
    Ok(())
}

/// A payload that tells which it is, small or larger than a segment.
fn payload(u: &mut Unstructured<'_>, naive: &Naive, part: u64) -> Result<Vec<u8>> {
    let len = match u.int_in_range(0..=9)? {
        0..=6 => u.int_in_range(0..=300usize)?,
        7 | 8 => u.int_in_range(0..=4000)?,
        _ => u.int_in_range(4000..=20_000)?,
    };
    let mut x = (naive.calls * 8 + part).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    Ok((0..len).map(byte).collect())
}

fn done<T, E: std::fmt::Display>(result: std::result::Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

//! Builds logs byte by byte from `wal_core::format`, frame by frame as a test wants them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

use wal_core::format::checksum::crc32c;
use wal_core::format::file_header::{BLOCK_LEN, FileHeader, Predecessor};
use wal_core::format::frame::{self, Link};
use wal_core::format::record::{self, Kind, Word};
use wal_core::recover::{Aside, Scan, ScanOptions, scan};
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::sink::{LogSource, SegmentSink};
use wal_core::{Error, Lsn};

pub const LOG_ID: [u8; 16] = *b"an example log!!";

/// What a test puts into a frame.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    Record(&'a [u8]),
    Batch(&'a [&'a [u8]]),
    /// A void record over this many bytes of payload.
    Void(usize),
}

/// Where a frame was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameAt {
    pub file: u64,
    pub offset: u64,
    pub header: frame::Header,
}

/// A record written: position and payload.
pub type Written = (Lsn, Vec<u8>);

/// Writes a log the way the real writer lays it out.
pub struct Writer {
    pub disk: MemDisk,
    pub align: u32,
    pub capacity: u64,
    /// Watermark for the frames to come; `None` means that everything before them is durable.
    pub durable: Option<Lsn>,
    pub frames: Vec<FrameAt>,
    pub records: Vec<Written>,
    pub header: Option<FileHeader>,
    sequence: u64,
    next: Lsn,
    end: Lsn,
    link: Link,
    prev: Option<Predecessor>,
    recovered: bool,
    salts: u64,
}

impl Writer {
    /// A new log in files of `capacity` bytes.
    pub fn new(capacity: u64, align: u32) -> Self {
        Self {
            disk: MemDisk::new(),
            align,
            capacity,
            durable: None,
            frames: Vec::new(),
            records: Vec::new(),
            header: None,
            sequence: 1,
            next: Lsn::ZERO,
            end: Lsn::ZERO,
            link: Link::NONE,
            prev: None,
            recovered: false,
            salts: 0,
        }
    }

    /// Gives the files to come other salts than those of other writers.
    pub fn salted(&mut self, salts: u64) {
        self.salts = salts;
    }

    /// Goes on behind a log that recovery has read, as the next life of it does.
    pub fn reopen(disk: &MemDisk, scan: &Scan, capacity: u64, align: u32) -> Self {
        apply(disk, scan);
        Self {
            disk: disk.clone(),
            sequence: scan.next_sequence,
            next: up(scan.end, align),
            end: scan.end,
            link: scan.last.map_or(Link::NONE, |last| last.last_frame),
            prev: scan.last,
            recovered: true,
            ..Self::new(capacity, align)
        }
    }

    pub fn frame(&mut self, items: &[Item<'_>]) -> FrameAt {
        let len = items.iter().map(|item| match item {
            Item::Record(bytes) => record::stored_len(bytes.len()),
            Item::Batch(parts) => parts.iter().map(|part| record::stored_len(part.len())).sum(),
            Item::Void(len) => record::stored_len(*len),
        });
        let len = frame::HEADER_LEN + len.sum::<usize>();
        let header = self.start(frame::Kind::Data, len as u64);
        let mut bytes = header.encode().to_vec();
        let mut put = |bytes: &mut Vec<u8>, payload: &[u8], kind| {
            let lsn = header.lsn.advance(bytes.len() as u64);
            let word = Word::new(payload.len(), kind);
            let head = record::encode_header(word, crc32c(payload), lsn, header.salt);
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(payload);
            bytes.resize(bytes.len().next_multiple_of(record::ALIGN), 0);
            if kind != Kind::Void {
                self.records.push((lsn, payload.to_vec()));
            }
        };
        for item in items {
            match item {
                Item::Record(payload) => put(&mut bytes, payload, Kind::Data),
                Item::Void(len) => put(&mut bytes, &vec![0; *len], Kind::Void),
                Item::Batch(parts) => {
                    for (i, part) in parts.iter().enumerate() {
                        let last = i + 1 == parts.len();
                        put(&mut bytes, part, if last { Kind::Data } else { Kind::DataMore });
                    }
                }
            }
        }
        self.store(&header, &bytes)
    }

    pub fn mark(&mut self) -> FrameAt {
        let header = self.start(frame::Kind::Mark, frame::HEADER_LEN as u64);
        self.store(&header, &header.encode())
    }

    /// Closes the log, and trims the file behind the mark if `trim`.
    pub fn close(&mut self, trim: bool) -> FrameAt {
        let mut header = self.start(frame::Kind::Close, frame::HEADER_LEN as u64);
        header.durable = header.lsn;
        let at = self.store(&header, &header.encode());
        if trim {
            let file = self.header.unwrap();
            self.disk.truncate_file(file.sequence, file.offset_of(self.next));
        }
        at
    }

    /// Lets the next frame begin a new file.
    pub fn roll(&mut self) {
        if let Some(header) = self.header.take() {
            self.prev = Some(Predecessor {
                sequence: header.sequence,
                salt: header.salt,
                end: self.end,
                last_frame: self.link,
            });
            self.sequence = header.sequence + 1;
        }
    }

    fn start(&mut self, kind: frame::Kind, len: u64) -> frame::Header {
        if self.header.is_some_and(|file| file.limit() < self.next.advance(len)) {
            self.roll();
        }
        let durable = self.durable.unwrap_or(self.next);
        let file = *self.header.get_or_insert_with(|| {
            let file = FileHeader {
                log_id: LOG_ID,
                sequence: self.sequence,
                salt: 0x5a17_0000_0000_0000 | (self.sequence * 0x0101_0101) ^ (self.salts << 40),
                base: self.next,
                capacity: self.capacity.max(BLOCK_LEN as u64 + len),
                align: self.align,
                max_record_len: 1 << 20,
                prev: self.prev,
                durable,
                recovered: std::mem::take(&mut self.recovered),
                recycled: self.disk.sequences().contains(&self.sequence),
            };
            let mut bytes = file.encode().to_vec();
            if file.recycled {
                // A recycled file: whatever lies behind the header block stays.
                bytes.extend_from_slice(&self.disk.file(file.sequence)[BLOCK_LEN..]);
            }
            bytes.resize(file.capacity as usize, 0);
            self.disk.put_file(file.sequence, bytes);
            file
        });
        frame::Header { kind, lsn: self.next, len, durable, prev: self.link, salt: file.salt }
    }

    fn store(&mut self, header: &frame::Header, bytes: &[u8]) -> FrameAt {
        let file = self.header.unwrap();
        let offset = file.offset_of(header.lsn);
        overwrite(&self.disk, file.sequence, offset, bytes);
        self.link = header.link();
        self.end = header.end();
        // To the end of the padding, as a segment is written.
        self.next = up(self.end, self.align);
        let pad = vec![0; (self.next.get() - self.end.get()) as usize];
        overwrite(&self.disk, file.sequence, offset + header.len, &pad);
        let at = FrameAt { file: file.sequence, offset, header: *header };
        self.frames.push(at);
        at
    }

    /// The records before `end`.
    pub fn until(&self, end: Lsn) -> Vec<Written> {
        self.records.iter().filter(|(lsn, _)| *lsn < end).cloned().collect()
    }
}

fn up(lsn: Lsn, align: u32) -> Lsn {
    Lsn::new(lsn.get().next_multiple_of(u64::from(align)))
}

/// Overwrites bytes of a file, as far as the file reaches.
pub fn overwrite(disk: &MemDisk, file: u64, offset: u64, bytes: &[u8]) {
    let mut all = disk.file(file);
    let from = all.len().min(offset as usize);
    let len = bytes.len().min(all.len() - from);
    all[from..from + len].copy_from_slice(&bytes[..len]);
    disk.put_file(file, all);
}

/// Overwrites `len` bytes of a file with zeros.
pub fn zero(disk: &MemDisk, file: u64, offset: u64, len: u64) {
    overwrite(disk, file, offset, &vec![0; len as usize]);
}

/// Rewrites a file's header with `change` made to it.
pub fn forge_file(disk: &MemDisk, file: u64, change: impl FnOnce(&mut FileHeader)) {
    let mut header = wal_core::format::file_header::decode(&disk.file(file)).unwrap();
    change(&mut header);
    overwrite(disk, file, 0, &header.encode()[..]);
}

/// Rewrites a frame's header with `change` made to it.
pub fn forge_frame(disk: &MemDisk, at: &FrameAt, change: impl FnOnce(&mut frame::Header)) {
    let mut header = at.header;
    change(&mut header);
    overwrite(disk, at.file, at.offset, &header.encode());
}

/// Does to the disk what a scan asks for before a log is written to.
pub fn apply(disk: &MemDisk, scan: &Scan) {
    let sink = MemSink::open(disk).unwrap();
    for aside in &scan.aside {
        match *aside {
            Aside::Range { sequence, offset, len } => sink.set_aside(sequence, offset, len),
            Aside::File { sequence } => sink.set_aside_file(sequence),
        }
        .unwrap();
    }
    for &sequence in &scan.unused {
        sink.remove_unused(sequence).unwrap();
    }
}

/// Scans, and returns the records visited as well.
pub fn recover_with(
    source: &dyn LogSource,
    options: ScanOptions,
) -> (Result<Scan, Error>, Vec<Written>) {
    let mut records = Vec::new();
    let result = scan(source, options, &mut |record| {
        records.push((record.lsn, record.payload.to_vec()));
    });
    (result, records)
}

/// Scans by the defaults.
pub fn recover(source: &dyn LogSource) -> (Result<Scan, Error>, Vec<Written>) {
    recover_with(source, ScanOptions::default())
}

//! Builds logs byte by byte from [`format`](crate::format), frame by frame as a test wants them,
//! and damages them.

use crate::format::checksum::crc32c;
use crate::format::file_header::{self, BLOCK_LEN, FileHeader, Predecessor};
use crate::format::frame::{self, Link};
use crate::format::record::{self, Kind, Word};
use crate::lsn::Lsn;
use crate::recover::Scan;
use crate::sink::mem::MemDisk;

/// The identity of every log built here.
pub const LOG_ID: [u8; 16] = *b"an example log!!";

/// What a test puts into a frame.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A record on its own.
    Record(&'a [u8]),
    /// A batch.
    Batch(&'a [&'a [u8]]),
    /// A void record over this many bytes of payload.
    Void(usize),
}

/// Where a frame was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameAt {
    /// Sequence number of the file.
    pub file: u64,
    /// Byte offset in the file.
    pub offset: u64,
    /// What was written there.
    pub header: frame::Header,
}

/// A record written: position and payload.
pub type Written = (Lsn, Vec<u8>);

/// Writes a log the way the real writer lays it out.
#[derive(Debug)]
pub struct Writer {
    /// Where the files are.
    pub disk: MemDisk,
    /// Alignment of frames in bytes.
    pub align: u32,
    /// Length of the files to come, in bytes; more for a frame that needs more.
    pub capacity: u64,
    /// Watermark for the frames to come; `None` means that everything before them is durable.
    pub durable: Option<Lsn>,
    /// The frames written so far.
    pub frames: Vec<FrameAt>,
    /// The records written so far, void ones excepted.
    pub records: Vec<Written>,
    /// The file at hand, if a frame of it has been written.
    pub header: Option<FileHeader>,
    /// The salt of the first file; later ones get others.
    pub salt: u64,
    /// Whether the files that begin from now on are written in place.
    pub in_place: bool,
    sequence: u64,
    next: Lsn,
    end: Lsn,
    link: Link,
    prev: Option<Predecessor>,
    recovered: bool,
}

impl Writer {
    /// A new log in files of `capacity` bytes.
    #[must_use]
    pub fn new(capacity: u64, align: u32) -> Self {
        Self {
            disk: MemDisk::new(),
            align,
            capacity,
            durable: None,
            frames: Vec::new(),
            records: Vec::new(),
            header: None,
            salt: 0x5a17_0000_0000_0000,
            in_place: false,
            sequence: 1,
            next: Lsn::ZERO,
            end: Lsn::ZERO,
            link: Link::NONE,
            prev: None,
            recovered: false,
        }
    }

    /// Goes on behind the log that `scan` has found on `disk`, as the next life of it does. What is
    /// to be set aside has been (see [`Scan::aside`]).
    #[must_use]
    pub fn reopen(disk: &MemDisk, scan: &Scan, capacity: u64, align: u32) -> Self {
        Self {
            disk: disk.clone(),
            sequence: scan.next_sequence,
            next: scan.end.align_up(u64::from(align)),
            end: scan.end,
            link: scan.last.map_or(Link::NONE, |last| last.last_frame),
            prev: scan.last,
            recovered: true,
            ..Self::new(capacity, align)
        }
    }

    /// Writes a data frame.
    pub fn frame(&mut self, items: &[Item<'_>]) -> FrameAt {
        let len = items.iter().map(|item| match item {
            Item::Record(bytes) => record::stored_len(bytes.len()),
            Item::Batch(parts) => parts.iter().map(|part| record::stored_len(part.len())).sum(),
            Item::Void(len) => record::stored_len(*len),
        });
        let len = frame::HEADER_LEN + len.sum::<usize>();
        let (file, header) = self.start(frame::Kind::Data, len as u64);
        let mut bytes = header.encode().to_vec();
        let mut put = |payload: &[u8], kind| {
            let lsn = header.lsn.advance(bytes.len() as u64);
            bytes.extend_from_slice(&encode_record(payload, kind, lsn, header.salt));
            if kind != Kind::Void {
                self.records.push((lsn, payload.to_vec()));
            }
        };
        for item in items {
            match item {
                Item::Record(payload) => put(payload, Kind::Data),
                Item::Void(len) => put(&vec![0; *len], Kind::Void),
                Item::Batch(parts) => {
                    for (i, part) in parts.iter().enumerate() {
                        let last = i + 1 == parts.len();
                        put(part, if last { Kind::Data } else { Kind::DataMore });
                    }
                }
            }
        }
        self.store(&file, &header, &bytes)
    }

    /// Writes a mark.
    pub fn mark(&mut self) -> FrameAt {
        let (file, header) = self.start(frame::Kind::Mark, frame::HEADER_LEN as u64);
        self.store(&file, &header, &header.encode())
    }

    /// Gives up a range of `len` bytes, a multiple of 8 from 64 on: the header of a void frame is
    /// written, and the rest stays as it was.
    pub fn void(&mut self, len: u64) -> FrameAt {
        let (file, header) = self.start(frame::Kind::Void, len);
        self.store(&file, &header, &header.encode())
    }

    /// Stores a record where the next frame's first one goes, but no frame.
    ///
    /// # Panics
    ///
    /// If no file was begun.
    pub fn without_a_frame(&mut self, payload: &[u8]) {
        let Some(file) = &self.header else { panic!("no file was begun") };
        let lsn = self.next.advance(frame::HEADER_LEN as u64);
        let record = encode_record(payload, Kind::Data, lsn, file.salt);
        overwrite(&self.disk, file.sequence, file.offset_of(lsn), &record);
    }

    /// Closes the log, and trims the file behind the mark if `trim`.
    pub fn close(&mut self, trim: bool) -> FrameAt {
        let (file, mut header) = self.start(frame::Kind::Close, frame::HEADER_LEN as u64);
        header.durable = header.lsn;
        let at = self.store(&file, &header, &header.encode());
        if trim {
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

    /// Gives up what lies before `lsn`, so that the next file begins there.
    pub fn skip_to(&mut self, lsn: Lsn) {
        self.roll();
        self.next = lsn;
    }

    /// Lets the next frame begin a new file over the bytes of an old one, of which only the header
    /// block was blanked.
    pub fn roll_over(&mut self, mut old: Vec<u8>) {
        self.roll();
        old.resize(old.len().max(BLOCK_LEN), 0);
        old[..BLOCK_LEN].fill(0);
        self.disk.put_file(self.sequence, old);
    }

    fn start(&mut self, kind: frame::Kind, len: u64) -> (FileHeader, frame::Header) {
        if self.header.is_some_and(|file| file.limit() < self.next.advance(len)) {
            self.roll();
        }
        let durable = self.durable.unwrap_or(self.next);
        let file = *self.header.get_or_insert_with(|| {
            let file = FileHeader {
                log_id: LOG_ID,
                sequence: self.sequence,
                salt: self.salt ^ self.sequence.wrapping_mul(0x0101_0101),
                base: self.next,
                capacity: self.capacity.max(BLOCK_LEN as u64 + len),
                align: self.align,
                max_record_len: 1 << 20,
                prev: self.prev,
                durable,
                recovered: std::mem::take(&mut self.recovered),
                recycled: self.disk.sequences().contains(&self.sequence),
                in_place: self.in_place,
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
        let (lsn, prev, salt) = (self.next, self.link, file.salt);
        (file, frame::Header { kind, lsn, len, durable, prev, salt })
    }

    fn store(&mut self, file: &FileHeader, header: &frame::Header, bytes: &[u8]) -> FrameAt {
        let offset = file.offset_of(header.lsn);
        overwrite(&self.disk, file.sequence, offset, bytes);
        self.link = header.link();
        self.end = header.end();
        // To the end of the padding, as a segment is written.
        self.next = self.end.align_up(u64::from(self.align));
        let pad = vec![0; (self.next.get() - self.end.get()) as usize];
        overwrite(&self.disk, file.sequence, offset + header.len, &pad);
        let at = FrameAt { file: file.sequence, offset, header: *header };
        self.frames.push(at);
        at
    }

    /// The records before `end`.
    #[must_use]
    pub fn until(&self, end: Lsn) -> Vec<Written> {
        self.records.iter().filter(|(lsn, _)| *lsn < end).cloned().collect()
    }
}

/// A record as stored, padding included.
#[must_use]
pub fn encode_record(payload: &[u8], kind: Kind, lsn: Lsn, salt: u64) -> Vec<u8> {
    let word = Word::new(payload.len(), kind);
    let mut bytes = record::encode_header(word, crc32c(payload), lsn, salt).to_vec();
    bytes.extend_from_slice(payload);
    bytes.resize(record::stored_len(payload.len()), 0);
    bytes
}

/// Overwrites bytes of a file, as far as the file reaches.
///
/// # Panics
///
/// If there is no such file.
pub fn overwrite(disk: &MemDisk, file: u64, offset: u64, bytes: &[u8]) {
    let mut all = disk.file(file);
    let from = all.len().min(offset as usize);
    let len = bytes.len().min(all.len() - from);
    all[from..from + len].copy_from_slice(&bytes[..len]);
    disk.put_file(file, all);
}

/// Overwrites `len` bytes of a file with zeros.
///
/// # Panics
///
/// If there is no such file.
pub fn zero(disk: &MemDisk, file: u64, offset: u64, len: u64) {
    overwrite(disk, file, offset, &vec![0; len as usize]);
}

/// Rewrites a file's header with `change` made to it.
///
/// # Panics
///
/// If there is no such file, or its header is not valid.
pub fn forge_file(disk: &MemDisk, file: u64, change: impl FnOnce(&mut FileHeader)) {
    let mut header = match file_header::decode(&disk.file(file)) {
        Ok(header) => header,
        Err(fault) => panic!("file {file} has no header: {fault:?}"),
    };
    change(&mut header);
    overwrite(disk, file, 0, &header.encode()[..]);
}

/// Rewrites a frame's header with `change` made to it.
///
/// # Panics
///
/// If the file is gone.
pub fn forge_frame(disk: &MemDisk, at: &FrameAt, change: impl FnOnce(&mut frame::Header)) {
    let mut header = at.header;
    change(&mut header);
    overwrite(disk, at.file, at.offset, &header.encode());
}

/// Computes the checksums of a file's header block and of everything that looks like a frame
/// header anew, so that what was changed before gets past them.
pub fn reseal(bytes: &mut [u8]) {
    let seal = |bytes: &mut [u8], at: usize, len: usize| {
        let crc = crc32c(&bytes[at..at + len - 4]);
        bytes[at + len - 4..at + len].copy_from_slice(&crc.to_le_bytes());
    };
    if bytes.len() >= BLOCK_LEN && bytes[..BLOCK_LEN].iter().any(|&b| b != 0) {
        seal(bytes, 0, BLOCK_LEN);
    }
    let last = bytes.len().saturating_sub(frame::HEADER_LEN - 1);
    for at in (BLOCK_LEN..last).step_by(record::ALIGN) {
        if bytes[at..at + 4] == *b"WfRm" {
            seal(bytes, at, frame::HEADER_LEN);
        }
    }
}

//! One log file, written from the front, its headers last.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use wal_core::Lsn;
use wal_core::format::checksum::crc32c;
use wal_core::format::file_header::{BLOCK_LEN, FileHeader, Predecessor};
use wal_core::format::frame::{self, Kind, Link};
use wal_core::format::record::{self, Word};

/// Bytes gathered before they are written.
const GATHERED: usize = 1 << 20;

/// What is known of a file when it is begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    pub(super) log_id: [u8; 16],
    pub(super) sequence: u64,
    pub(super) base: Lsn,
    pub(super) prev: Option<Predecessor>,
    pub(super) durable: Lsn,
    pub(super) recovered: bool,
}

#[derive(Debug)]
pub(super) struct NewFile {
    file: File,
    first: First,
    salt: u64,
    /// The last frame that is complete.
    link: Link,
    /// The frame at hand, without its length.
    frame: Option<frame::Header>,
    /// What is not written yet, and where it goes.
    gathered: Vec<u8>,
    at: Lsn,
    max_record_len: usize,
}

impl NewFile {
    pub(super) fn create(path: &Path, first: First) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(path)?;
        let salt = getrandom::u64().map_err(|source| io::Error::other(source.to_string()))?;
        Ok(Self {
            file,
            first,
            salt,
            link: first.prev.map_or(Link::NONE, |prev| prev.last_frame),
            frame: None,
            gathered: Vec::new(),
            at: first.base,
            max_record_len: 1,
        })
    }

    /// Bytes of frames so far.
    pub(super) fn len(&self) -> u64 {
        self.at.get() - self.first.base.get() + self.gathered.len() as u64
    }

    /// Begins a frame at `place`, right behind the one before, or where the file begins. Everything
    /// before `durable` will be durable when anybody reads this.
    pub(super) fn begin_frame(&mut self, kind: Kind, place: Lsn, durable: Lsn) -> io::Result<()> {
        self.end_frame(place)?;
        let (prev, salt) = (self.link, self.salt);
        // The header of a recovered file names what is not there, and vouches for it.
        let first = place == self.first.base;
        let durable = if first && self.first.recovered { place } else { durable };
        self.frame = Some(frame::Header { kind, lsn: place, len: 0, durable, prev, salt });
        self.gathered.extend_from_slice(&[0; frame::HEADER_LEN]);
        Ok(())
    }

    /// Adds a record, which lies right behind what is there.
    pub(super) fn record(
        &mut self,
        lsn: Lsn,
        kind: record::Kind,
        payload: &[u8],
    ) -> io::Result<()> {
        let word = Word::new(payload.len(), kind);
        let header = record::encode_header(word, crc32c(payload), lsn, self.salt);
        self.gathered.extend_from_slice(&header);
        self.gathered.extend_from_slice(payload);
        let padded = self.gathered.len().next_multiple_of(record::ALIGN);
        self.gathered.resize(padded, 0);
        self.max_record_len = self.max_record_len.max(payload.len());
        if self.gathered.len() >= GATHERED { self.write_out() } else { Ok(()) }
    }

    /// Completes the file, which ends at `end`, and makes it durable: how the next one names it, and
    /// its length.
    pub(super) fn finish(mut self, end: Lsn) -> io::Result<(Predecessor, u64)> {
        self.end_frame(end)?;
        self.write_out()?;
        let capacity = self.offset_of(end);
        let First { log_id, sequence, base, prev, durable, recovered } = self.first;
        let header = FileHeader {
            log_id,
            sequence,
            salt: self.salt,
            base,
            capacity,
            align: record::ALIGN as u32,
            max_record_len: self.max_record_len as u32,
            prev,
            durable,
            recovered,
            recycled: false,
            in_place: false,
        };
        self.file.write_all_at(&header.encode()[..], 0)?;
        self.file.sync_all()?;
        Ok((Predecessor { sequence, salt: self.salt, end, last_frame: self.link }, capacity))
    }

    /// Completes the frame at hand, which ends at `end`.
    fn end_frame(&mut self, end: Lsn) -> io::Result<()> {
        let Some(mut header) = self.frame.take() else { return Ok(()) };
        header.len = end.get() - header.lsn.get();
        self.link = header.link();
        let bytes = header.encode();
        match header.lsn.distance_from(self.at) {
            Some(from) => {
                self.gathered[from as usize..][..bytes.len()].copy_from_slice(&bytes);
                Ok(())
            }
            None => self.file.write_all_at(&bytes, self.offset_of(header.lsn)),
        }
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.gathered, self.offset_of(self.at))?;
        self.at = self.at.advance(self.gathered.len() as u64);
        self.gathered.clear();
        Ok(())
    }

    fn offset_of(&self, lsn: Lsn) -> u64 {
        BLOCK_LEN as u64 + (lsn.get() - self.first.base.get())
    }
}

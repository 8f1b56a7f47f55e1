//! Which file, frame and records a position lies in, damaged or not.

use wal_core::format::file_header::BLOCK_LEN;
use wal_core::format::frame::{self, HEADER_LEN};
use wal_core::format::{checksum, record};
use wal_core::sink::LogSource;
use wal_core::{Error, Lsn};

use super::{Frame, Seen};
use crate::examine::File;
use crate::newest;

/// Bytes looked at in one go.
const CHUNK: usize = 1 << 20;
/// Records shown before and behind the position.
const AROUND: usize = 3;

/// Reading parts of files.
pub(super) struct Bytes<'a> {
    source: &'a dyn LogSource,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(source: &'a dyn LogSource) -> Self {
        Self { source }
    }

    /// The `len` bytes at `offset`, or fewer if the file ends before.
    pub(super) fn get(&self, file: u64, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        let read = self.source.read_at(file, offset, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

/// How a file maps to the stream: by its header, or by what its frames say if that is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) base: Lsn,
    pub(super) salt: u64,
    pub(super) align: u64,
    max_len: usize,
    /// The position behind the last byte.
    limit: Lsn,
    pub(super) guessed: bool,
}

impl Map {
    pub(super) fn offset_of(&self, lsn: Lsn) -> u64 {
        BLOCK_LEN as u64 + lsn.get().saturating_sub(self.base.get())
    }

    fn holds(&self, lsn: Lsn) -> bool {
        self.base <= lsn && lsn < self.limit
    }
}

/// The file that `lsn` lies in, and how it maps to the stream.
pub(super) fn file_of<'a>(
    bytes: &Bytes<'_>,
    files: &'a [File],
    lsn: Lsn,
) -> Result<Option<(&'a File, Map)>, Error> {
    let newest = newest::holding(files, lsn);
    let mut found = None;
    for file in files {
        let map = match &file.header {
            Ok(header) => Some(Map {
                base: header.base,
                salt: header.salt,
                align: u64::from(header.align),
                max_len: header.max_record_len as usize,
                limit: header.limit(),
                guessed: false,
            }),
            Err(_) => guess(bytes, file)?,
        };
        if let Some(map) = map.filter(|map| map.holds(lsn)) {
            // Of two that could, the one that the log says, or else the later one.
            if file.sequence == newest {
                return Ok(Some((file, map)));
            }
            found = Some((file, map));
        }
    }
    Ok(found)
}

/// What the first intact frame of a file without a header says of it.
fn guess(bytes: &Bytes<'_>, file: &File) -> Result<Option<Map>, Error> {
    let found = next_frame(bytes, file.sequence, BLOCK_LEN as u64, |_, _| true)?;
    Ok(found.and_then(|(offset, header)| {
        let base = Lsn::new(header.lsn.get().checked_sub(offset - BLOCK_LEN as u64)?);
        let limit = base.advance(file.len.saturating_sub(BLOCK_LEN as u64));
        let max_len = record::MAX_LEN;
        Some(Map { base, salt: header.salt, align: 8, max_len, limit, guessed: true })
    }))
}

/// The first intact frame header from `offset` on that is wanted.
fn next_frame(
    bytes: &Bytes<'_>,
    file: u64,
    mut offset: u64,
    wanted: impl Fn(u64, &frame::Header) -> bool,
) -> Result<Option<(u64, frame::Header)>, Error> {
    loop {
        let chunk = bytes.get(file, offset, CHUNK + HEADER_LEN)?;
        for at in (0..chunk.len().min(CHUNK)).step_by(record::ALIGN) {
            if let Some(header) = frame::decode_anywhere(&chunk[at..]) {
                let place = offset + at as u64;
                if wanted(place, &header) {
                    return Ok(Some((place, header)));
                }
            }
        }
        if chunk.len() <= CHUNK {
            return Ok(None);
        }
        offset += CHUNK as u64;
    }
}

/// The frame that `lsn` lies in, or in whose padding; what is left of it if it is damaged.
pub(super) fn frame_of(
    bytes: &Bytes<'_>,
    file: &File,
    map: &Map,
    lsn: Lsn,
) -> Result<Option<Frame>, Error> {
    let mut at = map.base;
    loop {
        let offset = map.offset_of(at);
        let head = bytes.get(file.sequence, offset, HEADER_LEN)?;
        let room = map.limit.distance_from(at).unwrap_or(0);
        let (fault, end) = match frame::decode(&head, at, map.salt, room) {
            Ok(header) => (None, header.end()),
            Err(fault) => {
                let fits = |place: u64, header: &frame::Header| {
                    header.salt == map.salt && map.offset_of(header.lsn) == place && header.lsn > at
                };
                let next = next_frame(bytes, file.sequence, offset + 8, fits)?;
                (Some(fault), next.map_or(map.limit, |(_, header)| header.lsn))
            }
        };
        let next = Lsn::new(end.get().next_multiple_of(map.align));
        if lsn < next || next >= map.limit {
            return Ok(Some(Frame { lsn: at, offset, bytes: head, fault, end }));
        }
        at = next;
    }
}

/// The records of a frame that lie around `lsn`, as far as lengths lead from one to the next.
pub(super) fn records_of(
    bytes: &Bytes<'_>,
    file: &File,
    map: &Map,
    frame: &Frame,
    lsn: Lsn,
) -> Result<Vec<Seen>, Error> {
    let is_data =
        frame::decode_anywhere(&frame.bytes).is_none_or(|header| header.kind == frame::Kind::Data);
    let mut seen: Vec<Seen> = Vec::new();
    let mut at = frame.lsn.advance(HEADER_LEN as u64);
    let mut behind = 0;
    while is_data && at < frame.end && behind < AROUND {
        let record = record_at(bytes, file, map, at, frame.end)?;
        // Zeros behind a frame that does not say where it ends are no records.
        let absent = frame.fault.is_some() && record.len == 0 && record.stored == 0;
        if absent {
            break;
        }
        behind += usize::from(record.lsn > lsn);
        let lost = record.computed.is_none();
        at = record.end();
        seen.push(record);
        let before = seen.iter().filter(|record| record.end() <= lsn).count();
        if before > AROUND {
            seen.remove(0);
        }
        if lost {
            break;
        }
    }
    Ok(seen)
}

fn record_at(bytes: &Bytes<'_>, file: &File, map: &Map, at: Lsn, end: Lsn) -> Result<Seen, Error> {
    let offset = map.offset_of(at);
    let room = end.distance_from(at).unwrap_or(0);
    let head = bytes.get(file.sequence, offset, record::HEADER_LEN)?;
    let stored = head
        .get(4..8)
        .map_or(0, |crc| crc.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)));
    let Some(word) = record::peek(&head) else {
        let fault = Some(record::Fault::Length);
        return Ok(Seen { lsn: at, offset, len: 0, kind: None, stored, computed: None, fault });
    };
    let (len, kind) = (word.len(), word.kind());
    if record::stored_len(len) as u64 > room || len > map.max_len {
        let fault = Some(record::Fault::Length);
        return Ok(Seen { lsn: at, offset, len, kind, stored, computed: None, fault });
    }
    let whole = bytes.get(file.sequence, offset, record::stored_len(len))?;
    let payload = whole.get(record::HEADER_LEN..record::HEADER_LEN + len).unwrap_or_default();
    let computed = checksum::record(checksum::crc32c(payload), at, map.salt, word.get());
    let fault = record::decode(&whole, at, map.salt, map.max_len).err();
    Ok(Seen { lsn: at, offset, len, kind, stored, computed: Some(computed), fault })
}

//! Bytes read as a plan: a log to build frame by frame, and harm to do to it.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use wal_core::format::checksum::{self, crc32c};
use wal_core::format::file_header::BLOCK_LEN;
use wal_core::format::frame::HEADER_LEN;
use wal_core::format::record;
use wal_core::recover::{Aside, ScanOptions, scan};
use wal_core::sink::SegmentSink;
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::testing::logs::{FrameAt, Item, Writer, overwrite, reseal};

/// The files of a log, and where its frames were.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Bytes by sequence number.
    pub bytes: BTreeMap<u64, Vec<u8>>,
    frames: Vec<FrameAt>,
}

impl Files {
    /// The same files on a disk in memory.
    #[must_use]
    pub fn disk(&self) -> MemDisk {
        let disk = MemDisk::new();
        for (&file, bytes) in &self.bytes {
            disk.put_file(file, bytes.clone());
        }
        disk
    }
}

/// Builds a log and harms it, as `u` says; stops where `u` ends.
#[must_use]
pub fn files(u: &mut Unstructured<'_>) -> Files {
    let mut files = build(u);
    // A plan that ends early has done what it said until then.
    let _ = harm(u, &mut files);
    files
}

/// Builds a sound log of one life or several, in which everything or a part is durable.
#[must_use]
pub fn build(u: &mut Unstructured<'_>) -> Files {
    let align = *u.choose(&[8u32, 8, 512, 4096]).unwrap_or(&8);
    let capacity = BLOCK_LEN as u64 + u64::from(align.max(128)) * 4;
    let mut w = Writer::new(capacity, align);
    let mut frames = Vec::new();
    let _ = grow(u, &mut w, &mut frames);
    frames.append(&mut w.frames);
    let bytes = w.disk.sequences().into_iter().map(|file| (file, w.disk.file(file))).collect();
    Files { bytes, frames }
}

fn grow(u: &mut Unstructured<'_>, w: &mut Writer, frames: &mut Vec<FrameAt>) -> Result<()> {
    for _ in 0..u.int_in_range(1..=12)? {
        match u.int_in_range(0..=15)? {
            0..=5 => frame(u, w)?,
            6 => drop(w.mark()),
            7 => drop(w.void(64 + 8 * u.int_in_range(0..=64)?)),
            8 | 9 => w.roll(),
            // Over the bytes of an earlier file, or of none.
            10 | 11 => {
                let old = w.disk.sequences();
                let old = old.get(u.int_in_range(0..=3usize)?).map(|&file| w.disk.file(file));
                w.roll_over(old.unwrap_or_default());
            }
            // From here on, nothing more is known to be durable; or everything is.
            12 => {
                w.durable = w.frames.last().map(|at| at.header.lsn).filter(|_| w.durable.is_none())
            }
            13 => drop(w.close(u.arbitrary()?)),
            _ => {
                // The log dies with its last frame whole or damaged, and lives again.
                if u.arbitrary()?
                    && let Some(at) = w.frames.last()
                {
                    let rest = (w.disk.file(at.file).len() as u64).saturating_sub(at.offset);
                    let bit = u.int_in_range(0..=at.header.len * 8 - 1)?;
                    if bit / 8 < rest {
                        w.disk.flip_bit(at.file, at.offset * 8 + bit);
                    }
                }
                live_again(w, frames, u.int_in_range(0..=1)? == 0);
            }
        }
    }
    Ok(())
}

fn frame(u: &mut Unstructured<'_>, w: &mut Writer) -> Result<()> {
    const BYTES: [u8; 700] = [0x5a; 700];
    let mut items = Vec::new();
    for _ in 0..u.int_in_range(1..=4)? {
        let len = if u.ratio(1, 8)? { u.int_in_range(0..=700)? } else { u.int_in_range(0..=40)? };
        items.push(match u.int_in_range(0..=4)? {
            0 => Item::Void(len),
            1 => Item::Batch(&[b"one", b"", b"three"]),
            _ => Item::Record(&BYTES[..len]),
        });
    }
    w.frame(&items);
    Ok(())
}

fn live_again(w: &mut Writer, frames: &mut Vec<FrameAt>, put_away: bool) {
    let Ok(found) = scan(&w.disk, ScanOptions::default(), &mut |_| {}) else { return };
    if let (true, Ok(sink)) = (put_away, MemSink::open(&w.disk)) {
        for aside in &found.aside {
            if let Aside::File { sequence } = aside {
                // Its removal may have been lost as well.
                let _ = sink.set_aside_file(*sequence);
            }
        }
    }
    frames.append(&mut w.frames);
    *w = Writer::reopen(&w.disk, &found, w.capacity, w.align);
}

/// Values at the edges of fields.
fn value(u: &mut Unstructured<'_>, was: u64) -> Result<u64> {
    Ok(match u.int_in_range(0..=11)? {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => u64::MAX - 7,
        4 => 1 << 31,
        5 => was.wrapping_add(8),
        6 => was.wrapping_sub(8),
        7 => was.wrapping_add(1),
        8 => was.wrapping_sub(1),
        9 => was ^ 1 << u.int_in_range(0..=63)?,
        10 => u.int_in_range(0..=1 << 14)?,
        _ => u.arbitrary()?,
    })
}

fn put(bytes: &mut [u8], at: usize, value: u64, len: usize) {
    if let Some(field) = bytes.get_mut(at..at + len) {
        field.copy_from_slice(&value.to_le_bytes()[..len]);
    }
}

fn get(bytes: &[u8], at: usize, len: usize) -> u64 {
    let field = bytes.get(at..at + len).unwrap_or_default();
    field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Harms the files as `u` says.
///
/// # Errors
///
/// If `u` ends before its plan does; what it said until then was done.
pub fn harm(u: &mut Unstructured<'_>, files: &mut Files) -> Result<()> {
    for _ in 0..u.int_in_range(0..=6)? {
        let count = files.bytes.len();
        let Some(&number) = files.bytes.keys().nth(u.int_in_range(0..=count.max(1) - 1)?) else {
            return Ok(());
        };
        let frame = u.int_in_range(0..=files.frames.len().max(1) - 1)?;
        let frame = files.frames.get(frame).copied();
        match u.int_in_range(0..=15)? {
            // A field of a file header; of a frame header; of a record header.
            0..=2 => {
                let (at, len) = *u.choose(&FILE_FIELDS)?;
                forge(u, files.bytes.get_mut(&number), at, len)?;
            }
            3..=5 => {
                let (at, len) = *u.choose(&FRAME_FIELDS)?;
                if let Some(frame) = frame {
                    let file = files.bytes.get_mut(&frame.file);
                    forge(u, file, frame.offset as usize + at, len)?;
                }
            }
            6 | 7 => {
                let (at, len) = *u.choose(&[(64, 4), (68, 4), (72, 8), (80, 8)])?;
                if let Some(frame) = frame {
                    let file = files.bytes.get_mut(&frame.file);
                    forge(u, file, frame.offset as usize + at, len)?;
                }
            }
            8 => {
                let Some(bytes) = files.bytes.get_mut(&number) else { continue };
                let at = u.int_in_range(0..=bytes.len().max(1) - 1)?;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << u.int_in_range(0..=7)?;
                }
            }
            // A lost write: zeros, or what lies elsewhere (misdirected, or of an earlier life).
            9 | 10 => {
                let Some(frame) = frame else { continue };
                let disk = files.disk();
                let from = files.bytes.get(&frame.file).map_or(&[][..], |bytes| &bytes[..]);
                let source = u.int_in_range(0..=from.len() as u64 / 8)? as usize * 8;
                let len = *u.choose(&[64usize, 512, 4096])?;
                let zeros = u.arbitrary::<bool>()?;
                let patch = if zeros {
                    vec![0; len]
                } else {
                    from[source.min(from.len())..(source + len).min(from.len())].to_vec()
                };
                let target =
                    if u.arbitrary()? { frame.offset } else { u.int_in_range(0..=1024)? * 8 };
                overwrite(&disk, number, target, &patch);
                files.bytes.insert(number, disk.file(number));
            }
            11 => {
                let len = u.int_in_range(0..=12_000)?;
                if let Some(bytes) = files.bytes.get_mut(&number) {
                    bytes.resize(len, 0);
                }
            }
            12 => {
                let to = if u.arbitrary()? { number.wrapping_add(1) } else { value(u, number)? };
                if let Some(bytes) = files.bytes.get(&number).cloned() {
                    files.bytes.insert(to, bytes);
                }
            }
            13 => drop(files.bytes.remove(&number)),
            14 => relink(files, u.arbitrary()?),
            _ => {
                let (nth, kind) = (u.int_in_range(0..=5)?, u.int_in_range(0..=3u32)?);
                if let Some(frame) = frame {
                    change_kind(files, &frame, nth, kind);
                }
            }
        }
    }
    if u.ratio(3, 4)? {
        files.bytes.values_mut().for_each(|bytes| reseal(bytes));
    }
    if u.ratio(1, 2)? {
        relink(files, true);
    }
    Ok(())
}

const FILE_FIELDS: [(usize, usize); 19] = [
    (0, 8),
    (8, 4),
    (12, 4),
    (16, 8),
    (32, 8),
    (40, 8),
    (48, 8),
    (56, 8),
    (64, 4),
    (68, 4),
    (72, 8),
    (80, 8),
    (88, 8),
    (96, 8),
    (104, 4),
    (108, 4),
    (112, 8),
    (120, 8),
    (4092, 4),
];
const FRAME_FIELDS: [(usize, usize); 10] =
    [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 8), (48, 4), (52, 8), (60, 4)];

fn forge(
    u: &mut Unstructured<'_>,
    file: Option<&mut Vec<u8>>,
    at: usize,
    len: usize,
) -> Result<()> {
    let Some(bytes) = file else { return Ok(()) };
    let was = get(bytes, at, len);
    put(bytes, at, value(u, was)?, len);
    Ok(())
}

/// Gives the `nth` record of a frame other kind bits, and the checksum that goes with them.
fn change_kind(files: &mut Files, frame: &FrameAt, nth: usize, kind: u32) {
    let Some(bytes) = files.bytes.get_mut(&frame.file) else { return };
    let mut at = HEADER_LEN;
    for left in (0..=nth).rev() {
        let rest = bytes.get(frame.offset as usize + at..).unwrap_or_default();
        let Some(found) = record::peek(rest) else { return };
        let (len, stored) = (found.len(), record::stored_len(found.len()));
        if rest.len() < stored || frame.header.len < (at + stored) as u64 {
            return;
        }
        at += stored;
        if left == 0 || at == frame.header.len as usize {
            let start = frame.offset as usize + at - stored;
            let word = len as u32 | kind << 30;
            let payload = crc32c(&bytes[start + record::HEADER_LEN..][..len]);
            let lsn = frame.header.lsn.advance((at - stored) as u64);
            let crc = checksum::record(payload, lsn, frame.header.salt, word);
            put(bytes, start, u64::from(word) | u64::from(crc) << 32, record::HEADER_LEN);
            return;
        }
    }
}

/// Lets each frame name the checksum of the one before, and each file header that of its
/// predecessor's last, so that a change of one does not end the chain.
fn relink(files: &mut Files, headers: bool) {
    files.bytes.values_mut().for_each(|bytes| reseal(bytes));
    let mut crcs: BTreeMap<u64, u64> = BTreeMap::new();
    for frame in &files.frames {
        let Some(bytes) = files.bytes.get_mut(&frame.file) else { continue };
        let at = frame.offset as usize;
        if bytes.len() < at + HEADER_LEN {
            continue;
        }
        if let Some(&crc) = crcs.get(&get(bytes, at + 32, 8)) {
            put(bytes, at + 48, crc, 4);
        }
        reseal_frame(bytes, at);
        crcs.insert(get(bytes, at + 8, 8), get(bytes, at + 60, 4));
    }
    for bytes in files.bytes.values_mut().filter(|_| headers) {
        if let Some(&crc) = crcs.get(&get(bytes, 96, 8)).filter(|_| bytes.len() >= BLOCK_LEN) {
            put(bytes, 104, crc, 4);
            reseal(bytes);
        }
    }
}

fn reseal_frame(bytes: &mut [u8], at: usize) {
    let crc = crc32c(&bytes[at..at + HEADER_LEN - 4]);
    put(bytes, at + HEADER_LEN - 4, u64::from(crc), 4);
}

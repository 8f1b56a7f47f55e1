//! What the bytes behind a damaged place tell about it.
//!
//! Every frame header carries the durable watermark of the moment it was written. Such a *claim*
//! stays true for ever, so one header behind a damaged place can prove that the place had been
//! durable. Without a claim, valid frames behind it prove the opposite of nothing: writes reach
//! the disk in any order.

use crate::error::Error;
use crate::format::file_header::{BLOCK_LEN, FileHeader};
use crate::format::{frame, record};
use crate::lsn::Lsn;
use crate::recover::window::Window;

/// Bytes looked at in one go.
const CHUNK: u64 = 64 << 10;

/// What lies behind a place in a file with an intact header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Survey {
    /// The highest watermark that a frame header claims; zero if there is none.
    pub(super) claim: Lsn,
    /// The first valid frame behind the place.
    pub(super) first: Option<Lsn>,
    /// Whether any byte from the place on is not zero.
    pub(super) nonzero: bool,
}

/// Looks at everything from `at` up to `until`; `at` itself counts for claims only.
pub(super) fn survey(
    window: &mut Window<'_>,
    header: &FileHeader,
    at: Lsn,
    until: Lsn,
) -> Result<Survey, Error> {
    let mut found = Survey { claim: Lsn::ZERO, first: None, nonzero: false };
    let align = u64::from(header.align);
    let start = header.base.advance((at.get() - header.base.get()) & !(align - 1));
    let (from, to) = (header.offset_of(start), header.offset_of(until.max(start)));
    found.nonzero = each_header(window, from, to, align, |offset, stray| {
        let place = header.base.advance(offset - BLOCK_LEN as u64);
        if stray.salt != header.salt {
            return;
        }
        found.claim = found.claim.max(stray.durable);
        let fits = stray.lsn == place && stray.len <= header.capacity - offset;
        if fits && place > at && found.first.is_none() {
            found.first = Some(place);
        }
    })?;
    Ok(found)
}

/// What a file without an intact header holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Headless {
    /// The highest watermark claimed past the damage; zero if there is none.
    pub(super) claim: Lsn,
    /// Whether there are frames that could continue the log.
    pub(super) frames: bool,
}

/// Looks for frames in a file of `len` bytes whose header is lost, by what each says of itself. A
/// frame counts if the file can have continued a log that ended at `end`, and its watermark if that
/// is past `at`; frames of an earlier life lie before.
pub(super) fn headless(
    window: &mut Window<'_>,
    len: u64,
    end: Lsn,
    at: Lsn,
) -> Result<Headless, Error> {
    let mut found = Headless { claim: Lsn::ZERO, frames: false };
    let align = record::ALIGN as u64;
    each_header(window, BLOCK_LEN as u64, len, align, |offset, stray| {
        let base = stray.lsn.get().checked_sub(offset - BLOCK_LEN as u64);
        let Some(base) = base.map(Lsn::new).filter(|&base| base >= end) else { return };
        found.frames = true;
        // The file may have had a coarser alignment, which moves its base up. A watermark at the
        // base claims nothing of what the file held.
        let aligned = (3..=16).any(|shift| end.align_up(1 << shift) == base);
        if stray.durable > if aligned { base.max(at) } else { at } {
            found.claim = found.claim.max(stray.durable);
        }
    })?;
    Ok(found)
}

/// Calls `seen` for every intact frame header at offsets `from`, `from + align`, ... before `to`,
/// and says whether any byte there is not zero.
fn each_header(
    window: &mut Window<'_>,
    from: u64,
    to: u64,
    align: u64,
    mut seen: impl FnMut(u64, frame::Header),
) -> Result<bool, Error> {
    let mut nonzero = false;
    let mut offset = from;
    while offset < to {
        let bytes = window.get(offset, (to - offset).min(CHUNK + frame::HEADER_LEN as u64))?;
        if bytes.is_empty() {
            break;
        }
        let here = bytes.len().min(CHUNK as usize);
        // No frame starts among zeros: its magic number does not cross an alignment.
        if !is_zero(&bytes[..here]) {
            nonzero = true;
            for at in (0..here).step_by(align as usize) {
                if let Some(header) = frame::decode_anywhere(&bytes[at..]) {
                    seen(offset + at as u64, header);
                }
            }
        }
        // `CHUNK` is a multiple of every alignment.
        offset += CHUNK;
    }
    Ok(nonzero)
}

/// The offset just past the last byte before `to` that is not zero, or `from`.
pub(super) fn nonzero_end(window: &mut Window<'_>, from: u64, to: u64) -> Result<u64, Error> {
    let mut end = from;
    let mut offset = from;
    while offset < to {
        let bytes = window.get(offset, (to - offset).min(CHUNK))?;
        if bytes.is_empty() {
            break;
        }
        if !is_zero(bytes) {
            let last = bytes.iter().rposition(|&b| b != 0).unwrap_or(0);
            end = offset + last as u64 + 1;
        }
        offset += CHUNK;
    }
    Ok(end)
}

/// Whether all bytes are zero; as fast as comparing memory.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

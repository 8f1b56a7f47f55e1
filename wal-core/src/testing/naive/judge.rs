//! Section 7, step 5: what a place that does not read well means.

use super::File;
use super::bytes::{
    Block, Header, Pos, align_up, frame, has_magic, has_rotten_magic, part, record, sealed_salt,
};
use super::walk::{Bad, Tail};

pub(super) enum Meaning {
    Corruption,
    Torn,
    Ambiguous,
    Clean,
}

pub(super) fn judge(files: &[File<'_>], bad: &Bad, tail: &Tail) -> Meaning {
    let mut claims = Vec::new();
    let mut behind = false;
    for (index, file) in files.iter().enumerate().skip(bad.index) {
        match &file.block {
            Block::Valid(header) if index == bad.index => {
                let own = behind_in(file.bytes, header, bad.at, bad.until);
                claims.extend(own.claims);
                behind |= own.valid;
            }
            Block::Valid(header) => {
                behind = true;
                claims.push(header.durable);
                if let Some(prev) = header.prev.as_ref().filter(|_| header.recovered) {
                    claims.push(prev.end);
                }
                let all = frames(file.bytes, header, header.base, header.limit);
                let same = all.into_iter().filter(|(_, found)| found.salt == header.salt);
                claims.extend(same.map(|(_, found)| found.durable));
            }
            _ => {
                for (claim, base) in headless(file.bytes, tail.end) {
                    behind = true;
                    let aligned = (3..=16).any(|power| align_up(tail.end, 1 << power) == base);
                    if !aligned || claim > base {
                        claims.push(claim);
                    }
                }
            }
        }
    }
    if claims.iter().any(|&claim| claim > bad.at) {
        Meaning::Corruption
    } else if behind {
        Meaning::Torn
    } else if bad.ours {
        Meaning::Ambiguous
    } else {
        Meaning::Clean
    }
}

/// What lies behind a place in its own file.
struct Behind {
    claims: Vec<Pos>,
    /// Whether a valid frame does.
    valid: bool,
}

fn behind_in(bytes: &[u8], header: &Header, x: Pos, until: Pos) -> Behind {
    let mut behind = Behind { claims: Vec::new(), valid: false };
    let from = header.base + align_up(x - header.base, header.align);
    for (at, found) in frames(bytes, header, from, until) {
        if found.salt == header.salt {
            behind.claims.push(found.durable);
            behind.valid |= found.lsn == at && at > x && at + found.len <= header.limit;
        }
    }
    behind
}

/// Whether a valid frame or a claim lies behind `x` in its own file.
pub(super) fn anything_behind(bytes: &[u8], header: &Header, x: Pos, until: Pos) -> bool {
    let behind = behind_in(bytes, header, x, until);
    behind.valid || behind.claims.iter().any(|&claim| claim > x)
}

/// Intact frame headers at multiples of `align` in `from..until`.
fn frames(bytes: &[u8], header: &Header, from: Pos, until: Pos) -> Vec<(Pos, super::bytes::Frame)> {
    let mut found = Vec::new();
    let mut at = from;
    let end = until.min(header.base + (bytes.len() as Pos).saturating_sub(4096));
    while at + 64 <= end {
        let offset = header.offset(at);
        if let Some(frame) = frame(part(bytes, offset..offset + 64)) {
            found.push((at, frame));
        }
        at += header.align;
    }
    found
}

/// Watermark, and the base that the file would have, of each frame that could continue the log.
fn headless(bytes: &[u8], end: Pos) -> Vec<(Pos, Pos)> {
    let mut found = Vec::new();
    for offset in (4096..bytes.len()).step_by(8) {
        if let Some(frame) = frame(&bytes[offset..])
            && let Some(base) = frame.lsn.checked_sub(offset as Pos - 4096)
            && base >= end
        {
            found.push((frame.durable, base));
        }
    }
    found
}

/// Whether bytes of this life lie at `x`, where no frame header is that belongs there.
pub(super) fn is_ours(bytes: &[u8], header: &Header, x: Pos, until: Pos) -> bool {
    let offset = header.offset(x);
    let head = part(bytes, offset..offset + 64);
    let salt = sealed_salt(head);
    let old = if head.len() < 64 {
        false
    } else if let Some(salt) = salt {
        salt != header.salt
    } else {
        !has_magic(head)
    };
    let rest = part(bytes, offset..header.offset(until));
    let told = !header.recycled && !header.in_place && rest.iter().any(|&byte| byte != 0);
    let first = x + 64;
    if !old || header.in_place {
        return !old || has_rotten_magic(head, header);
    }
    told || record(part(bytes, offset + 64..header.offset(header.limit)), first, header).is_some()
}

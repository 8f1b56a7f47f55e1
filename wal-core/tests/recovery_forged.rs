//! Each field of each header forged in turn, with the checksum made right again, so that nothing but
//! that field is wrong: what recovery reports, and where, word for word.
//!
//! The log is three files of three frames of two records; all but the last frame is known to be
//! durable. A field is forged in the first, the middle and the last file, frame or record. A place
//! is file, offset and LSN. Checksums are no protection from forgery: what no rule speaks against
//! passes, and then the row says so (`passes`: read as written; `changes`: read otherwise).
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

mod common;

use std::fmt::Write as _;

use common::{Item, Writer, Written, recover};
use wal_core::Error;
use wal_core::format::checksum::crc32c;
use wal_core::format::file_header::BLOCK_LEN;
use wal_core::format::frame::HEADER_LEN;
use wal_core::format::record;
use wal_core::sink::mem::MemDisk;

const ALIGN: u64 = 512;

fn log() -> Writer {
    let mut w = Writer::new(BLOCK_LEN as u64 + 3 * ALIGN, ALIGN as u32);
    for i in 0..9u8 {
        w.frame(&[Item::Record(&[b'a' + i; 20]), Item::Record(&[b'A' + i; 12])]);
    }
    assert_eq!(w.disk.sequences(), [1, 2, 3]);
    w
}

/// What a forged field says.
#[derive(Clone, Copy, Debug)]
enum Value {
    /// This.
    Is(u64),
    /// So much more than before, or less.
    By(i64),
    /// The largest that there is.
    Max,
}
use Value::{By, Is, Max};

fn forge(bytes: &mut [u8], at: usize, len: usize, value: Value) {
    let field = &mut bytes[at..at + len];
    let was = field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
    let value = match value {
        Is(value) => value,
        By(by) => was.wrapping_add_signed(by),
        Max => u64::MAX,
    };
    field.copy_from_slice(&value.to_le_bytes()[..len]);
}

fn seal(bytes: &mut [u8]) {
    let at = bytes.len() - 4;
    let crc = crc32c(&bytes[..at]);
    bytes[at..].copy_from_slice(&crc.to_le_bytes());
}

/// What recovery says, in one line.
fn outcome(disk: &MemDisk, written: &[Written]) -> String {
    told(disk, written).replace('"', "")
}

fn told(disk: &MemDisk, written: &[Written]) -> String {
    let (found, records) = recover(disk);
    let scan = match found {
        Ok(scan) => scan,
        Err(Error::Corrupt(at)) => {
            return format!("corrupt {}+{} lsn {}: {}", at.file, at.offset, at.lsn, at.reason);
        }
        Err(Error::UnsupportedFormat { found, path, .. }) => {
            return format!("version {found} in {}", path.display());
        }
        Err(other) => panic!("{other}"),
    };
    match scan.report.cut {
        Some(cut) => {
            let right = records.iter().zip(written).take_while(|(a, b)| a == b).count();
            let verdict = format!("{:?}", scan.report.verdict).to_lowercase();
            let changes = if right == records.len() { "" } else { ", changes" };
            let (file, offset, lsn, reason) = (cut.file, cut.offset, cut.lsn, cut.reason);
            format!("{verdict}{changes} {file}+{offset} lsn {lsn}: {reason}")
        }
        None if records == written => "passes".into(),
        None => "changes".into(),
    }
}

/// A field, its place and length, what it says instead, and what becomes of it in the first, the middle and the last place.
type Row = (&'static str, usize, usize, &'static [Value], [&'static str; 3]);

/// Compares all rows at once, so that a change can be looked at as a whole.
fn compare(rows: &[Row], forge: impl Fn(&MemDisk, usize, &Row, Value)) {
    let (mut actual, mut expected) = (String::new(), String::new());
    let mut count = 0;
    for row in rows {
        let (name, _, _, values, outcomes) = row;
        for value in *values {
            for (place, told) in outcomes.iter().enumerate() {
                let w = log();
                forge(&w.disk, place, row, *value);
                let found = outcome(&w.disk, &w.records);
                writeln!(actual, "{name} {value:?} {place}: {found}").unwrap();
                writeln!(expected, "{name} {value:?} {place}: {told}").unwrap();
                count += 1;
            }
        }
    }
    for (actual, expected) in actual.lines().zip(expected.lines()) {
        if actual != expected {
            println!("is     {actual}\nnot    {expected}");
        }
    }
    assert!(actual == expected, "other outcomes than expected");
    println!("count: forged fields {count}");
}

#[test]
fn each_field_of_a_file_header() {
    compare(FILE_HEADER, |disk, place, &(name, at, len, _, _), value| {
        let file = place as u64 + 1;
        let mut bytes = disk.file(file);
        forge(&mut bytes, at, len, value);
        if name != "crc" {
            seal(&mut bytes[..BLOCK_LEN]);
        }
        disk.put_file(file, bytes);
    });
}

#[test]
fn each_field_of_a_frame_header() {
    compare(FRAME_HEADER, |disk, place, &(name, at, len, _, _), value| {
        let frame = log().frames[[0, 4, 8][place]];
        let mut bytes = disk.file(frame.file);
        let head = &mut bytes[frame.offset as usize..][..HEADER_LEN];
        forge(head, at, len, value);
        if name != "crc" {
            seal(head);
        }
        disk.put_file(frame.file, bytes);
    });
}

#[test]
fn each_field_of_a_record() {
    compare(RECORD, |disk, place, &(name, at, len, _, _), value| {
        let frame = log().frames[[0, 4, 8][place]];
        let mut bytes = disk.file(frame.file);
        let start = frame.offset as usize + HEADER_LEN;
        forge(&mut bytes[start..], at, len, value);
        let word = record::peek(&bytes[start..]).unwrap();
        if name == "word" && word.len() < 1000 {
            let payload = crc32c(&bytes[start + 8..][..word.len()]);
            let lsn = frame.header.lsn.advance(HEADER_LEN as u64);
            let sum =
                wal_core::format::checksum::record(payload, lsn, frame.header.salt, word.get());
            bytes[start + 4..start + 8].copy_from_slice(&sum.to_le_bytes());
        }
        disk.put_file(frame.file, bytes);
    });
}

/// Whole blocks that are not what belongs there, as a disk leaves them.
#[test]
fn each_kind_of_wrong_block() {
    compare(BLOCK, |disk, place, &(name, _, _, _, _), _| {
        let frames = log().frames;
        let frame = frames[[0, 4, 8][place]];
        let (mut bytes, at) = (disk.file(frame.file), frame.offset as usize);
        let block = at..at + ALIGN as usize;
        match name {
            "zeros" => bytes[block].fill(0),
            "ones" => bytes[block].fill(0xff),
            "half a frame header" => bytes[at + HEADER_LEN / 2..block.end].fill(0),
            "a frame header alone" => bytes[at + HEADER_LEN..block.end].fill(0),
            "its records alone" => bytes[at..at + HEADER_LEN].fill(0),
            "the frame of another block" => {
                let other = frames[[1, 3, 7][place]].offset as usize;
                bytes.copy_within(other..other + ALIGN as usize, at);
            }
            "the frame of another file" => {
                let other = disk.file(frame.file % 3 + 1);
                bytes[block.clone()].copy_from_slice(&other[block]);
            }
            "an earlier life of the frame" => {
                let mut old = Writer::new(BLOCK_LEN as u64 + 3 * ALIGN, ALIGN as u32);
                old.salt ^= 1 << 40;
                for i in 0..9 {
                    old.frame(&[Item::Record(&[i; 20])]);
                }
                bytes[block.clone()].copy_from_slice(&old.disk.file(frame.file)[block]);
            }
            other => panic!("{other}"),
        }
        disk.put_file(frame.file, bytes);
    });
}

#[rustfmt::skip]
const FILE_HEADER: &[Row] = &[
    ("magic", 0, 8, &[Is(0), By(1), By(-1), Max, By(256)], [
        "corrupt 1+0 lsn 0: damaged file header (Magic)",
        "corrupt 2+0 lsn 1536: damaged file header (Magic)",
        "corrupt 3+0 lsn 3072: damaged file header (Magic)",
    ]),
    ("version", 8, 4, &[Is(0)], [
        "version 0 in mem/0000000000000001.wal",
        "version 0 in mem/0000000000000002.wal",
        "version 0 in mem/0000000000000003.wal",
    ]),
    ("version", 8, 4, &[Is(2)], [
        "version 2 in mem/0000000000000001.wal",
        "version 2 in mem/0000000000000002.wal",
        "version 2 in mem/0000000000000003.wal",
    ]),
    ("version", 8, 4, &[Max], [
        "version 4294967295 in mem/0000000000000001.wal",
        "version 4294967295 in mem/0000000000000002.wal",
        "version 4294967295 in mem/0000000000000003.wal",
    ]),
    ("version", 8, 4, &[Is(9)], [
        "version 9 in mem/0000000000000001.wal",
        "version 9 in mem/0000000000000002.wal",
        "version 9 in mem/0000000000000003.wal",
    ]),
    ("flags", 12, 4, &[Is(1), Is(2), Is(3), Is(4), Is(7)], [
        "passes",
        "passes",
        "passes",
    ]),
    ("flags", 12, 4, &[Is(8), Is(9), Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(flags))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(flags))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(flags))",
    ]),
    ("log_id", 16, 8, &[Is(0), By(1), Max], [
        "corrupt 2+0 lsn 1536: file belongs to another log",
        "corrupt 2+0 lsn 1536: file belongs to another log",
        "corrupt 3+0 lsn 3072: file belongs to another log",
    ]),
    ("sequence", 32, 8, &[Is(0)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(sequence))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(sequence))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(sequence))",
    ]),
    ("sequence", 32, 8, &[By(1)], [
        "corrupt 1+0 lsn 0: file header names another sequence number",
        "corrupt 2+0 lsn 1536: file header names another sequence number",
        "corrupt 3+0 lsn 3072: file header names another sequence number",
    ]),
    ("sequence", 32, 8, &[By(-1)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(sequence))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(prev.sequence))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(prev.sequence))",
    ]),
    ("sequence", 32, 8, &[Max, Is(77)], [
        "corrupt 1+0 lsn 0: file header names another sequence number",
        "corrupt 2+0 lsn 1536: file header names another sequence number",
        "corrupt 3+0 lsn 3072: file header names another sequence number",
    ]),
    ("salt", 40, 8, &[Is(0), By(1), By(-1), Max], [
        "corrupt 1+4096 lsn 0: damaged frame header (Salt)",
        "corrupt 2+4096 lsn 1536: damaged frame header (Salt)",
        "ambiguous 3+0 lsn 2680: damaged frame header (Salt)",
    ]),
    ("base", 48, 8, &[Is(0)], [
        "passes",
        "corrupt 2+0 lsn 1536: damaged file header (Field(prev.end))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(prev.end))",
    ]),
    ("base", 48, 8, &[By(1), By(8), By(-8)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(base))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(base))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(base))",
    ]),
    ("base", 48, 8, &[By(512)], [
        "corrupt 1+4096 lsn 512: damaged frame header (Lsn)",
        "corrupt 2+4096 lsn 2048: damaged frame header (Lsn)",
        "corrupt 3+4096 lsn 3584: damaged frame header (Lsn)",
    ]),
    ("base", 48, 8, &[By(-512)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(capacity))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(prev.end))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(prev.end))",
    ]),
    ("base", 48, 8, &[Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(base))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(base))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(base))",
    ]),
    ("base", 48, 8, &[Is(1 << 40)], [
        "torn 1+0 lsn 1099511627776: damaged frame header (Lsn)",
        "torn 2+0 lsn 1144: damaged frame header (Lsn)",
        "ambiguous 3+0 lsn 2680: damaged frame header (Lsn)",
    ]),
    ("capacity", 56, 8, &[Is(0), Is(4095)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(capacity))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(capacity))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(capacity))",
    ]),
    ("capacity", 56, 8, &[Is(4096)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Length)",
        "corrupt 2+4096 lsn 1536: damaged frame header (Length)",
        "ambiguous 3+0 lsn 2680: damaged frame header (Length)",
    ]),
    ("capacity", 56, 8, &[By(1)], [
        "corrupt 1+5632 lsn 1536: file shorter than its header says",
        "corrupt 2+5632 lsn 3072: file shorter than its header says",
        "corrupt 3+5632 lsn 4608: file shorter than its header says",
    ]),
    ("capacity", 56, 8, &[By(-1)], [
        "passes",
        "passes",
        "passes",
    ]),
    ("capacity", 56, 8, &[By(-512)], [
        "corrupt 2+0 lsn 1024: file does not continue its predecessor",
        "corrupt 3+0 lsn 2560: file does not continue its predecessor",
        "changes",
    ]),
    ("capacity", 56, 8, &[By(512), Max, Is(1 << 31)], [
        "corrupt 1+5632 lsn 1536: file shorter than its header says",
        "corrupt 2+5632 lsn 3072: file shorter than its header says",
        "corrupt 3+5632 lsn 4608: file shorter than its header says",
    ]),
    ("align", 64, 4, &[Is(0), Is(4)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(align))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(align))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(align))",
    ]),
    ("align", 64, 4, &[Is(8)], [
        "corrupt 1+4216 lsn 120: damaged frame header (Magic)",
        "corrupt 2+4216 lsn 1656: damaged frame header (Magic)",
        "corrupt 3+4216 lsn 3192: damaged frame header (Magic)",
    ]),
    ("align", 64, 4, &[Is(513)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(align))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(align))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(align))",
    ]),
    ("align", 64, 4, &[Is(1024)], [
        "corrupt 1+5120 lsn 1024: frame does not continue its predecessor",
        "corrupt 2+0 lsn 1536: damaged file header (Field(base))",
        "ambiguous 3+4216 lsn 3192: frame does not continue its predecessor",
    ]),
    ("align", 64, 4, &[Is(131_072), Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(align))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(align))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(align))",
    ]),
    ("max_record_len", 68, 4, &[Is(0), Is(19)], [
        "corrupt 1+4160 lsn 64: damaged record (Length)",
        "corrupt 2+4160 lsn 1600: damaged record (Length)",
        "corrupt 3+4160 lsn 3136: damaged record (Length)",
    ]),
    ("max_record_len", 68, 4, &[Is(20)], [
        "passes",
        "passes",
        "passes",
    ]),
    ("max_record_len", 68, 4, &[Is(1 << 30), Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(max_record_len))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(max_record_len))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(max_record_len))",
    ]),
    ("prev.sequence", 72, 8, &[Is(0)], [
        "passes",
        "corrupt 2+0 lsn 1536: damaged file header (Field(prev))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(prev))",
    ]),
    ("prev.sequence", 72, 8, &[By(1)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev.sequence))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(prev.sequence))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(prev.sequence))",
    ]),
    ("prev.sequence", 72, 8, &[By(-1)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev.sequence))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(prev))",
        "corrupt 3+0 lsn 3072: file does not continue its predecessor",
    ]),
    ("prev.sequence", 72, 8, &[Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev.sequence))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(prev.sequence))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(prev.sequence))",
    ]),
    ("prev.salt", 80, 8, &[Is(0)], [
        "passes",
        "corrupt 2+0 lsn 1536: file does not continue its predecessor",
        "corrupt 3+0 lsn 3072: file does not continue its predecessor",
    ]),
    ("prev.salt", 80, 8, &[By(1), By(-1), Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev))",
        "corrupt 2+0 lsn 1536: file does not continue its predecessor",
        "corrupt 3+0 lsn 3072: file does not continue its predecessor",
    ]),
    ("prev.end", 88, 8, &[Is(0)], [
        "passes",
        "corrupt 2+0 lsn 1536: file does not continue its predecessor",
        "corrupt 3+0 lsn 3072: file does not continue its predecessor",
    ]),
    ("prev.end", 88, 8, &[By(1)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev))",
        "corrupt 2+0 lsn 1536: file does not continue its predecessor",
        "corrupt 3+0 lsn 3072: file does not continue its predecessor",
    ]),
    ("prev.end", 88, 8, &[By(-1)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev))",
        "corrupt 1+5120 lsn 1024: file does not continue its predecessor",
        "corrupt 2+5120 lsn 2560: file does not continue its predecessor",
    ]),
    ("prev.end", 88, 8, &[By(8)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev))",
        "corrupt 2+0 lsn 1536: file does not continue its predecessor",
        "corrupt 3+0 lsn 3072: file does not continue its predecessor",
    ]),
    ("prev.end", 88, 8, &[By(-8)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev))",
        "corrupt 1+5120 lsn 1024: file does not continue its predecessor",
        "corrupt 2+5120 lsn 2560: file does not continue its predecessor",
    ]),
    ("prev.end", 88, 8, &[Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(prev.end))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(prev.end))",
    ]),
    ("prev.last_frame.lsn", 96, 8, &[Is(0)], [
        "passes",
        "corrupt 2+0 lsn 1536: file does not continue its predecessor",
        "corrupt 3+0 lsn 3072: file does not continue its predecessor",
    ]),
    ("prev.last_frame.lsn", 96, 8, &[By(1), By(-1), Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev))",
        "corrupt 2+0 lsn 1536: file does not continue its predecessor",
        "corrupt 3+0 lsn 3072: file does not continue its predecessor",
    ]),
    ("prev.last_frame.crc", 104, 4, &[Is(0)], [
        "passes",
        "corrupt 2+0 lsn 1536: file does not continue its predecessor",
        "corrupt 3+0 lsn 3072: file does not continue its predecessor",
    ]),
    ("prev.last_frame.crc", 104, 4, &[By(1), By(-1), Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(prev))",
        "corrupt 2+0 lsn 1536: file does not continue its predecessor",
        "corrupt 3+0 lsn 3072: file does not continue its predecessor",
    ]),
    ("reserved", 108, 4, &[Is(1), Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(reserved))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(reserved))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(reserved))",
    ]),
    ("durable", 112, 8, &[Is(0)], [
        "passes",
        "passes",
        "passes",
    ]),
    ("durable", 112, 8, &[By(1)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(durable))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(durable))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(durable))",
    ]),
    ("durable", 112, 8, &[By(-1)], [
        "corrupt 1+0 lsn 0: damaged file header (Field(durable))",
        "passes",
        "passes",
    ]),
    ("durable", 112, 8, &[Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(durable))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(durable))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(durable))",
    ]),
    ("reserved", 120, 8, &[Is(1), Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(reserved))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(reserved))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(reserved))",
    ]),
    ("reserved", 4084, 8, &[Is(1), Max], [
        "corrupt 1+0 lsn 0: damaged file header (Field(reserved))",
        "corrupt 2+0 lsn 1536: damaged file header (Field(reserved))",
        "corrupt 3+0 lsn 3072: damaged file header (Field(reserved))",
    ]),
    ("crc", 4092, 4, &[Is(0), By(1), By(-1), Max], [
        "corrupt 1+0 lsn 0: damaged file header (Checksum)",
        "corrupt 2+0 lsn 1536: damaged file header (Checksum)",
        "corrupt 3+0 lsn 3072: damaged file header (Checksum)",
    ]),
];

#[rustfmt::skip]
const FRAME_HEADER: &[Row] = &[
    ("magic", 0, 4, &[Is(0), By(1), By(-1), Max], [
        "corrupt 1+4096 lsn 0: damaged frame header (Magic)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Magic)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Magic)",
    ]),
    ("flags", 4, 4, &[Is(1)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Length)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Length)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Length)",
    ]),
    ("flags", 4, 4, &[Is(2)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Flags)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Flags)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Flags)",
    ]),
    ("flags", 4, 4, &[Is(3)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Length)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Length)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Length)",
    ]),
    ("flags", 4, 4, &[Is(4)], [
        "corrupt 1+4608 lsn 512: frame does not continue its predecessor",
        "corrupt 2+5120 lsn 2560: frame does not continue its predecessor",
        "changes",
    ]),
    ("flags", 4, 4, &[Is(5), Max], [
        "corrupt 1+4096 lsn 0: damaged frame header (Flags)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Flags)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Flags)",
    ]),
    ("lsn", 8, 8, &[Is(0)], [
        "passes",
        "corrupt 2+4608 lsn 2048: damaged frame header (Lsn)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Lsn)",
    ]),
    ("lsn", 8, 8, &[By(1), By(-1), By(512), By(-512), Max], [
        "corrupt 1+4096 lsn 0: damaged frame header (Lsn)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Lsn)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Lsn)",
    ]),
    ("len", 16, 8, &[Is(0), Is(64)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Length)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Length)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Length)",
    ]),
    ("len", 16, 8, &[Is(72)], [
        "corrupt 1+4160 lsn 64: damaged record (Length)",
        "corrupt 2+4672 lsn 2112: damaged record (Length)",
        "ambiguous 3+4728 lsn 3704: damaged record (Length)",
    ]),
    ("len", 16, 8, &[By(1), By(-1)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Length)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Length)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Length)",
    ]),
    ("len", 16, 8, &[By(8)], [
        "corrupt 1+4216 lsn 120: damaged record (Checksum)",
        "corrupt 2+4728 lsn 2168: damaged record (Checksum)",
        "ambiguous 3+5240 lsn 4216: damaged record (Checksum)",
    ]),
    ("len", 16, 8, &[By(-8)], [
        "corrupt 1+4192 lsn 96: damaged record (Length)",
        "corrupt 2+4704 lsn 2144: damaged record (Length)",
        "ambiguous 3+5216 lsn 4192: damaged record (Length)",
    ]),
    ("len", 16, 8, &[By(-24)], [
        "corrupt 1+4608 lsn 512: frame does not continue its predecessor",
        "corrupt 2+5120 lsn 2560: frame does not continue its predecessor",
        "changes",
    ]),
    ("len", 16, 8, &[Is(1 << 31), Max], [
        "corrupt 1+4096 lsn 0: damaged frame header (Length)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Length)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Length)",
    ]),
    ("durable", 24, 8, &[Is(0)], [
        "passes",
        "corrupt 2+5120 lsn 2560: frame does not continue its predecessor",
        "passes",
    ]),
    ("durable", 24, 8, &[By(1)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Durable)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Durable)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Durable)",
    ]),
    ("durable", 24, 8, &[By(-1)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Durable)",
        "corrupt 2+5120 lsn 2560: frame does not continue its predecessor",
        "passes",
    ]),
    ("durable", 24, 8, &[Max], [
        "corrupt 1+4096 lsn 0: damaged frame header (Durable)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Durable)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Durable)",
    ]),
    ("prev.lsn", 32, 8, &[Is(0), By(1), By(-1)], [
        "corrupt 1+4096 lsn 0: frame does not continue its predecessor",
        "corrupt 2+4608 lsn 2048: frame does not continue its predecessor",
        "ambiguous 3+4728 lsn 3704: frame does not continue its predecessor",
    ]),
    ("prev.lsn", 32, 8, &[Max], [
        "passes",
        "corrupt 2+4608 lsn 2048: frame does not continue its predecessor",
        "ambiguous 3+4728 lsn 3704: frame does not continue its predecessor",
    ]),
    ("salt", 40, 8, &[Is(0), By(1), By(-1), Max], [
        "corrupt 1+4096 lsn 0: damaged frame header (Salt)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Salt)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Salt)",
    ]),
    ("prev.crc", 48, 4, &[Is(0)], [
        "passes",
        "corrupt 2+4608 lsn 2048: frame does not continue its predecessor",
        "ambiguous 3+4728 lsn 3704: frame does not continue its predecessor",
    ]),
    ("prev.crc", 48, 4, &[By(1), By(-1), Max], [
        "corrupt 1+4096 lsn 0: frame does not continue its predecessor",
        "corrupt 2+4608 lsn 2048: frame does not continue its predecessor",
        "ambiguous 3+4728 lsn 3704: frame does not continue its predecessor",
    ]),
    ("reserved", 52, 8, &[Is(1), Max], [
        "corrupt 1+4096 lsn 0: damaged frame header (Reserved)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Reserved)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Reserved)",
    ]),
    ("crc", 60, 4, &[Is(0), By(1), By(-1), Max], [
        "corrupt 1+4096 lsn 0: damaged frame header (Checksum)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Checksum)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Checksum)",
    ]),
];

#[rustfmt::skip]
const RECORD: &[Row] = &[
    ("word", 0, 4, &[Is(0)], [
        "corrupt 1+4168 lsn 72: damaged record (Length)",
        "corrupt 2+4680 lsn 2120: damaged record (Length)",
        "ambiguous, changes 3+5192 lsn 4168: damaged record (Length)",
    ]),
    ("word", 0, 4, &[By(1), By(-1), By(4)], [
        "changes",
        "changes",
        "changes",
    ]),
    ("word", 0, 4, &[By(5)], [
        "corrupt 1+4200 lsn 104: damaged record (Length)",
        "corrupt 2+4712 lsn 2152: damaged record (Length)",
        "ambiguous, changes 3+5224 lsn 4200: damaged record (Length)",
    ]),
    ("word", 0, 4, &[Is(64), Is((1 << 30) - 1)], [
        "corrupt 1+4160 lsn 64: damaged record (Length)",
        "corrupt 2+4672 lsn 2112: damaged record (Length)",
        "ambiguous 3+4728 lsn 3704: damaged record (Length)",
    ]),
    ("word", 0, 4, &[By(1 << 30)], [
        "passes",
        "passes",
        "passes",
    ]),
    ("word", 0, 4, &[By(1 << 31)], [
        "changes",
        "changes",
        "changes",
    ]),
    ("word", 0, 4, &[By(3 << 30)], [
        "corrupt 1+4160 lsn 64: damaged record (Kind)",
        "corrupt 2+4672 lsn 2112: damaged record (Kind)",
        "ambiguous 3+4728 lsn 3704: damaged record (Kind)",
    ]),
    ("word", 0, 4, &[Max], [
        "corrupt 1+4160 lsn 64: damaged record (Length)",
        "corrupt 2+4672 lsn 2112: damaged record (Length)",
        "ambiguous 3+4728 lsn 3704: damaged record (Length)",
    ]),
    ("crc", 4, 4, &[Is(0), By(1), By(-1), Max], [
        "corrupt 1+4160 lsn 64: damaged record (Checksum)",
        "corrupt 2+4672 lsn 2112: damaged record (Checksum)",
        "ambiguous 3+4728 lsn 3704: damaged record (Checksum)",
    ]),
    ("payload", 8, 1, &[Is(0), By(1), By(-1), Max], [
        "corrupt 1+4160 lsn 64: damaged record (Checksum)",
        "corrupt 2+4672 lsn 2112: damaged record (Checksum)",
        "ambiguous 3+4728 lsn 3704: damaged record (Checksum)",
    ]),
    ("padding", 28, 4, &[Is(1), Max], [
        "passes",
        "passes",
        "passes",
    ]),
];

#[rustfmt::skip]
const BLOCK: &[Row] = &[
    ("zeros", 0, 0, &[Is(0)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Magic)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Magic)",
        "changes",
    ]),
    ("ones", 0, 0, &[Is(0)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Magic)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Magic)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Magic)",
    ]),
    ("half a frame header", 0, 0, &[Is(0)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Checksum)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Checksum)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Checksum)",
    ]),
    ("a frame header alone", 0, 0, &[Is(0)], [
        "corrupt 1+4160 lsn 64: damaged record (Checksum)",
        "corrupt 2+4672 lsn 2112: damaged record (Checksum)",
        "ambiguous 3+4728 lsn 3704: damaged record (Checksum)",
    ]),
    ("its records alone", 0, 0, &[Is(0)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Magic)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Magic)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Magic)",
    ]),
    ("the frame of another block", 0, 0, &[Is(0)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Lsn)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Lsn)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Lsn)",
    ]),
    ("the frame of another file", 0, 0, &[Is(0)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Salt)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Salt)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Salt)",
    ]),
    ("an earlier life of the frame", 0, 0, &[Is(0)], [
        "corrupt 1+4096 lsn 0: damaged frame header (Salt)",
        "corrupt 2+4608 lsn 2048: damaged frame header (Salt)",
        "ambiguous 3+4728 lsn 3704: damaged frame header (Salt)",
    ]),
];

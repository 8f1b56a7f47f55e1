//! What recovery makes of a log in each situation: one test for each letter of the case table in
//! `spec/FORMAT.md`, in that order. Their names begin with the letter.
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

mod common;

use std::io;
use std::path::PathBuf;

use common::{FrameAt, Item, LOG_ID, Writer, Written};
use common::{apply, forge_file, forge_frame, overwrite, recover, recover_with, reopen, zero};
use wal_core::format::checksum::crc32c;
use wal_core::format::file_header::{BLOCK_LEN, Fault as FileFault};
use wal_core::format::frame::{Fault as FrameFault, HEADER_LEN, Link};
use wal_core::format::record::{Fault as RecordFault, Kind, Word, encode_header};
use wal_core::recover::{Aside, Case, Scan, ScanOptions};
use wal_core::sink::mem::MemDisk;
use wal_core::sink::{FileEntry, Listing, LogSource, SinkError, SinkOp};
use wal_core::{AmbiguousTail, Corruption, Error, Lsn, Reason, RecoveryMode, Verdict};

const FILE: u64 = 64 << 10;
const ALIGN: u32 = 4096;

/// A log of three frames in one file: one record, a batch of three, one record.
fn three() -> (Writer, [FrameAt; 3]) {
    let mut w = Writer::new(FILE, ALIGN);
    let frames = [
        w.frame(&[Item::Record(b"first")]),
        w.frame(&[Item::Record(b"second"), Item::Batch(&[b"x", b"", b"z"])]),
        w.frame(&[Item::Record(b"third")]),
    ];
    (w, frames)
}

/// A log of two files with two frames each, of which the last has two records.
fn two_files() -> (Writer, [FrameAt; 4]) {
    let mut w = Writer::new(FILE, ALIGN);
    let a = w.frame(&[Item::Record(b"a")]);
    let b = w.frame(&[Item::Record(b"b"), Item::Record(b"bb")]);
    w.roll();
    let c = w.frame(&[Item::Record(b"c")]);
    let d = w.frame(&[Item::Record(b"d"), Item::Record(b"dd")]);
    (w, [a, b, c, d])
}

fn good(disk: &MemDisk) -> (Scan, Vec<Written>) {
    let (scan, records) = recover(disk);
    (scan.unwrap(), records)
}

fn corruption(disk: &MemDisk) -> Corruption {
    match recover(disk).0 {
        Err(Error::Corrupt(corruption)) => *corruption,
        other => panic!("{other:?}"),
    }
}

fn salvage(disk: &MemDisk) -> (Scan, Vec<Written>) {
    let options = ScanOptions { mode: RecoveryMode::Salvage, ..ScanOptions::default() };
    let (scan, records) = recover_with(disk, options);
    (scan.unwrap(), records)
}

fn refuse_ambiguous(disk: &MemDisk) -> Result<Scan, Error> {
    let ambiguous_tail = AmbiguousTail::Refuse;
    recover_with(disk, ScanOptions { ambiguous_tail, ..ScanOptions::default() }).0
}

/// The offset of the first record's payload in a frame.
fn payload(at: &FrameAt) -> u64 {
    at.offset + HEADER_LEN as u64 + 8
}

fn assert_case(scan: &Scan, case: Case, verdict: Verdict) {
    assert_eq!((scan.report.case, scan.report.verdict), (case, verdict), "{}", scan.report);
    assert_eq!(scan.report.end, scan.end);
}

#[test]
fn a_nothing_there_is_a_new_log() {
    let disk = MemDisk::new();
    let (scan, _) = good(&disk);
    assert_case(&scan, Case::New, Verdict::New);
    assert_eq!((scan.end, scan.next_sequence, scan.last, scan.log_id), (Lsn::ZERO, 1, None, None));

    disk.put_file(4, vec![0; FILE as usize]);
    disk.put_file(5, Vec::new());
    let (scan, _) = good(&disk);
    assert_case(&scan, Case::New, Verdict::New);
    assert_eq!((scan.next_sequence, scan.unused), (6, vec![4, 5]));
}

#[test]
fn b_close_mark_ends_the_log_trimmed_or_not() {
    for trim in [false, true] {
        let (mut w, _) = three();
        let close = w.close(trim);
        let (scan, records) = good(&w.disk);
        assert_case(&scan, Case::Closed, Verdict::Closed);
        assert_eq!(records, w.records);
        assert_eq!(scan.end, close.header.end());
        assert_eq!(scan.last.unwrap().last_frame, close.header.link());
        assert_eq!((scan.report.records, scan.report.frames, scan.report.files), (6, 4, 1));
        assert_eq!(scan.report.payload_bytes, 18);

        // The next life goes on behind the mark, and the log is no longer closed.
        let mut w = reopen(&w.disk, &scan, FILE, ALIGN);
        w.frame(&[Item::Record(b"next life")]);
        let (scan, again) = good(&w.disk);
        assert_case(&scan, Case::Clean, Verdict::Clean);
        assert_eq!(again[..6], records);
        assert_eq!(again[6..], w.records);
    }
    // A close mark claims everything before it: damage there is corruption.
    let (mut w, [.., third]) = three();
    w.close(true);
    w.disk.flip_bit(1, payload(&third) * 8);
    assert_eq!(corruption(&w.disk).reason, Reason::Record(RecordFault::Checksum));
}

#[test]
fn c_zeros_old_bytes_or_no_room_are_a_clean_end() {
    let (w, [.., third]) = three();
    let (scan, records) = good(&w.disk);
    assert_case(&scan, Case::Clean, Verdict::Clean);
    assert_eq!(records, w.records);
    assert_eq!(scan.end, third.header.end());
    assert_eq!((scan.next_sequence, scan.log_id), (2, Some(LOG_ID)));
    assert_eq!(scan.files[0].end, scan.end);
    let last = scan.last.unwrap();
    assert_eq!((last.sequence, last.end, last.last_frame), (1, scan.end, third.header.link()));

    // No room for another frame: one frame fills the file.
    let mut w = Writer::new(FILE, ALIGN);
    w.frame(&[Item::Record(&vec![1; FILE as usize - BLOCK_LEN - HEADER_LEN - 8])]);
    assert_case(&good(&w.disk).0, Case::Clean, Verdict::Clean);

    // A recycled file: behind the new frame lie frames of the old life, the first of them at
    // its very place, or reaching over it.
    for first in [100, 9000] {
        let mut old = Writer::new(FILE, ALIGN);
        for _ in 0..4 {
            old.frame(&[Item::Record(&vec![0xee; first])]);
        }
        let mut w = Writer::new(FILE, ALIGN);
        w.frame(&[Item::Record(b"of file 1")]);
        w.roll();
        w.disk.put_file(2, old.disk.file(1));
        w.frame(&[Item::Record(b"over the old life")]);
        let (scan, records) = good(&w.disk);
        assert_case(&scan, Case::Clean, Verdict::Clean);
        assert_eq!(records, w.records);
        assert_eq!(scan.aside, []);
    }
}

/// Wherever an honest end lies among the bytes of earlier lives, in the middle of an old frame, in
/// the last one of all, or behind frames of two lives, nothing of it is taken for a torn write.
#[test]
fn an_end_within_old_frames_is_clean() {
    for align in [8, 512, ALIGN] {
        let mut first = Writer::new(FILE, align);
        for _ in 0..4 {
            first.frame(&[Item::Record(&[0xee; 14_000])]);
        }
        for old in [0, 5_000, 20_000, 33_333] {
            let mut second = Writer::new(FILE, align);
            second.frame(&[Item::Record(b"of file 1")]);
            second.roll();
            second.disk.put_file(2, first.disk.file(1));
            second.frame(&[Item::Record(&vec![0xdd; old]), Item::Record(b"behind it")]);
            for new in (0..60_000).step_by(997) {
                let mut w = Writer::new(FILE, align);
                w.frame(&[Item::Record(b"of file 1")]);
                w.roll();
                w.disk.put_file(2, second.disk.file(2));
                w.salt ^= 7 << 40;
                w.frame(&[Item::Record(&vec![1; new])]);
                let (scan, records) = good(&w.disk);
                assert_case(&scan, Case::Clean, Verdict::Clean);
                assert_eq!((records.len(), scan.aside.len()), (2, 0));
            }
        }
    }
}

#[test]
fn d_island_behind_a_lost_frame_is_torn() {
    let (mut w, [_, second, third]) = three();
    w.durable = Some(third.header.lsn);
    let lost = w.frame(&[Item::Record(b"lost"), Item::Record(b"as well")]);
    w.durable = Some(lost.header.lsn);
    let island = w.frame(&[Item::Record(b"island")]);
    // Not even the third frame had been durable by the last claim; only the fourth is bad.
    for damage in [0, 1, 2] {
        let disk = w.disk.snapshot();
        match damage {
            0 => zero(&disk, 1, lost.offset, 4096),
            1 => disk.flip_bit(1, lost.offset * 8 + 77),
            _ => disk.flip_bit(1, payload(&lost) * 8),
        }
        let (scan, records) = good(&disk);
        assert_case(&scan, Case::TornFrame, Verdict::Torn);
        assert_eq!(records, w.until(lost.header.lsn));
        assert_eq!(scan.end, third.header.end());
        let cut = scan.report.cut.clone().unwrap();
        let offset = third.offset + third.header.len;
        assert_eq!((cut.lsn, cut.file, cut.offset, cut.files), (scan.end, 1, offset, 1));
        assert_eq!(scan.aside, [Aside::Range { sequence: 1, offset, len: cut.bytes }]);
        assert_eq!(offset + cut.bytes, payload(&island) + 6, "up to the island's last byte");
    }
    // Records before the bad one of the same frame are kept.
    let disk = w.disk.snapshot();
    disk.flip_bit(1, (payload(&lost) + 16) * 8);
    let (scan, records) = good(&disk);
    assert_eq!(records.last().unwrap().1, b"lost");
    assert_eq!(scan.end, lost.header.lsn.advance(HEADER_LEN as u64 + 16));
    assert_eq!(scan.last.unwrap().last_frame, lost.header.link());
    // The same damage one frame earlier is corruption: the islands claim that one.
    zero(&w.disk, 1, second.offset, 4096);
    assert_eq!(corruption(&w.disk).lsn, second.header.lsn);
}

#[test]
fn e_damaged_last_frame_is_ambiguous() {
    type Harm = fn(&MemDisk, &FrameAt);
    let harms: [(Harm, Reason); 6] = [
        (|disk, at| disk.flip_bit(1, at.offset * 8), Reason::FrameHeader(FrameFault::Magic)),
        (
            |disk, at| disk.flip_bit(1, at.offset * 8 + 90),
            Reason::FrameHeader(FrameFault::Checksum),
        ),
        (|disk, at| disk.flip_bit(1, payload(at) * 8), Reason::Record(RecordFault::Checksum)),
        // The first sector never reached the disk, a later one did.
        (
            |disk, at| {
                zero(disk, 1, at.offset, 512);
                overwrite(disk, 1, at.offset + 600, b"rest");
            },
            Reason::FrameHeader(FrameFault::Magic),
        ),
        (
            |disk, at| zero(disk, 1, at.offset, HEADER_LEN as u64),
            Reason::FrameHeader(FrameFault::Magic),
        ),
        (
            |disk, at| forge_frame(disk, at, |header| header.len = 1 << 40),
            Reason::FrameHeader(FrameFault::Length),
        ),
    ];
    for (harm, reason) in harms {
        let (w, [_, second, third]) = three();
        harm(&w.disk, &third);
        let (scan, records) = good(&w.disk);
        assert_case(&scan, Case::AmbiguousFrame, Verdict::Ambiguous);
        assert_eq!(records, w.until(third.header.lsn));
        assert_eq!(scan.end, second.header.end());
        let cut = scan.report.cut.unwrap();
        assert_eq!((cut.reason, cut.lsn), (reason, scan.end));

        match refuse_ambiguous(&w.disk) {
            Err(Error::AmbiguousTail(refused)) => assert_eq!(*refused, cut),
            other => panic!("{other:?}"),
        }
    }
    // A batch that ends before its last record is dropped whole, and so is one with a bad record.
    for bit in [0, 17] {
        let mut w = Writer::new(FILE, ALIGN);
        w.frame(&[Item::Record(b"before")]);
        let at = w.frame(&[Item::Record(b"alone"), Item::Batch(&[b"1", b"2", b"3"])]);
        let third = payload(&at) + 16 + 3 * 16;
        match bit {
            0 => forge_frame(&w.disk, &at, |header| header.len -= 16),
            _ => w.disk.flip_bit(1, (third - 16) * 8),
        }
        let (scan, records) = good(&w.disk);
        assert_case(&scan, Case::AmbiguousFrame, Verdict::Ambiguous);
        assert_eq!(records, w.records[..2]);
        assert_eq!(scan.end, at.header.lsn.advance(HEADER_LEN as u64 + 16));
        let reason = scan.report.cut.unwrap().reason;
        assert!((reason == Reason::UnfinishedBatch) == (bit == 0), "{reason:?}");
    }
    // A void record within a batch leaves the batch unfinished.
    let mut w = Writer::new(FILE, ALIGN);
    w.frame(&[Item::Record(b"before")]);
    let at = w.frame(&[Item::Batch(&[b"1", b"2", b"3"])]);
    let second = payload(&at) + 8;
    let lsn = at.header.lsn.advance(second - at.offset);
    let word = Word::new(1, Kind::Void);
    let void = encode_header(word, crc32c(b"2"), lsn, at.header.salt);
    overwrite(&w.disk, 1, second, &void);
    let (scan, records) = good(&w.disk);
    assert_eq!((records.len(), scan.report.voids), (1, 0));
    assert_eq!(scan.report.cut.unwrap().reason, Reason::UnfinishedBatch);
    // What is kept of a file's only frame keeps the file.
    let mut w = Writer::new(FILE, ALIGN);
    let at = w.frame(&[Item::Record(b"kept"), Item::Record(b"lost")]);
    w.disk.flip_bit(1, (payload(&at) + 16) * 8);
    let (scan, records) = good(&w.disk);
    assert_eq!((records.len(), scan.files.len()), (1, 1));
    let offset = payload(&at) + 8;
    assert_eq!(scan.aside, [Aside::Range { sequence: 1, offset, len: 12 }]);
    // The lost header of a recycled file's frame is told from an old life by its records.
    let mut old = Writer::new(FILE, ALIGN);
    for _ in 0..4 {
        old.frame(&[Item::Record(&[0xee; 99])]);
    }
    let mut w = Writer::new(FILE, ALIGN);
    w.frame(&[Item::Record(b"of file 1")]);
    w.roll();
    w.disk.put_file(2, old.disk.file(1));
    w.frame(&[Item::Record(b"one")]);
    let two = w.frame(&[Item::Record(b"two")]);
    zero(&w.disk, 2, two.offset, HEADER_LEN as u64);
    assert_case(&good(&w.disk).0, Case::AmbiguousFrame, Verdict::Ambiguous);
    // A file that was not recycled holds nothing but zeros and what this life wrote: whatever else
    // lies there was written in its place.
    let (w, [_, second, third]) = three();
    forge_frame(&w.disk, &third, |header| header.salt ^= 1);
    zero(&w.disk, 1, third.offset + HEADER_LEN as u64, 64);
    let (scan, _) = good(&w.disk);
    assert_case(&scan, Case::AmbiguousFrame, Verdict::Ambiguous);
    assert_eq!(scan.end, second.header.end());
    assert_eq!(scan.report.cut.unwrap().reason, Reason::FrameHeader(FrameFault::Salt));
    // Of a recycled one nobody can tell.
    forge_file(&w.disk, 1, |header| header.recycled = true);
    assert_case(&good(&w.disk).0, Case::Clean, Verdict::Clean);
}

/// A file that records are stored in before their frame is there: without its magic, a frame was
/// never begun, whatever lies behind. That is what a killed process leaves, so it is never doubted.
#[test]
fn records_without_a_frame_in_a_file_written_in_place_are_a_clean_end() {
    let in_place = || {
        let (w, [first, second, third]) = three();
        forge_file(&w.disk, 1, |header| header.in_place = true);
        (w, [first, second, third])
    };
    let refuse = ScanOptions { ambiguous_tail: AmbiguousTail::Refuse, ..ScanOptions::default() };
    for missing in [4, HEADER_LEN as u64, 512] {
        let (w, [_, second, third]) = in_place();
        zero(&w.disk, 1, third.offset, missing);
        let (scan, _) = good(&w.disk);
        assert_case(&scan, Case::Clean, Verdict::Clean);
        assert_eq!(scan.end, second.header.end(), "{missing}");
        assert!(recover_with(&w.disk, refuse).0.is_ok());
    }
    // What was a frame once is not taken for one that was not begun: a wrong magic, not zeros; a
    // bad header behind a right one; a bad record.
    type Harm = fn(&MemDisk, &FrameAt);
    let harms: [Harm; 3] = [
        |disk, at| disk.flip_bit(1, at.offset * 8 + 3),
        |disk, at| disk.flip_bit(1, at.offset * 8 + 99),
        |disk, at| disk.flip_bit(1, (payload(at) + 1) * 8),
    ];
    for harm in harms {
        let (w, [_, _, third]) = in_place();
        harm(&w.disk, &third);
        assert_case(&good(&w.disk).0, Case::AmbiguousFrame, Verdict::Ambiguous);
    }
    // A frame behind it, or one that claims it, decides as in any file.
    let (w, [_, second, _]) = in_place();
    zero(&w.disk, 1, second.offset, 4);
    let (found, _) = recover(&w.disk);
    assert!(matches!(found, Err(Error::Corrupt(_))), "{found:?}");
}

#[test]
fn f_frame_that_a_later_frame_claims_is_corrupt() {
    let (w, [first, second, third]) = three();
    type Harm = fn(&MemDisk, &FrameAt);
    let harms: [(Harm, u64, Reason); 4] = [
        (
            |disk, at| zero(disk, 1, at.offset, HEADER_LEN as u64),
            0,
            Reason::FrameHeader(FrameFault::Magic),
        ),
        (|disk, at| zero(disk, 1, at.offset, 4096), 0, Reason::FrameHeader(FrameFault::Magic)),
        (
            |disk, at| disk.flip_bit(1, at.offset * 8 + 99),
            0,
            Reason::FrameHeader(FrameFault::Checksum),
        ),
        (
            |disk, at| disk.flip_bit(1, payload(at) * 8),
            HEADER_LEN as u64,
            Reason::Record(RecordFault::Checksum),
        ),
    ];
    for (harm, within, reason) in harms {
        let disk = w.disk.snapshot();
        harm(&disk, &second);
        let found = corruption(&disk);
        let lsn = second.header.lsn.advance(within);
        assert_eq!((found.reason, found.lsn, found.file), (reason, lsn, 1));
        assert_eq!(found.offset, second.offset + within);
        assert_eq!(found.len, third.header.lsn.get() - lsn.get());
        assert_eq!(found.proof, third.header.durable);
        assert_eq!(found.path, PathBuf::from("mem/0000000000000001.wal"));
        // The records before the damage were visited, and nothing else.
        assert_eq!(recover(&disk).1, w.until(first.header.end()));
    }
    // The reason alone can be a batch without its end.
    let disk = w.disk.snapshot();
    forge_frame(&disk, &second, |header| header.len -= 16);
    let found = corruption(&disk);
    assert_eq!(found.lsn, second.header.lsn.advance(HEADER_LEN as u64 + 16));
    assert_eq!(found.reason, Reason::UnfinishedBatch);
}

#[test]
fn g_frame_that_only_a_later_file_claims_is_corrupt() {
    let (w, [_, b, c, d]) = two_files();
    w.disk.flip_bit(1, (payload(&b) + 16) * 8);
    let found = corruption(&w.disk);
    assert_eq!(found.lsn, b.header.lsn.advance(HEADER_LEN as u64 + 16));
    assert_eq!(found.len, c.header.lsn.get() - found.lsn.get());
    assert_eq!(found.proof, c.header.durable);

    // The file's header claims nothing, a frame in it does.
    let disk = w.disk.snapshot();
    forge_file(&disk, 2, |header| header.durable = Lsn::ZERO);
    forge_frame(&disk, &c, |header| header.durable = Lsn::ZERO);
    assert_eq!(corruption(&disk).proof, d.header.durable);

    // Even a frame of a file without a header does, if it can only have followed.
    let headless = disk.snapshot();
    headless.flip_bit(2, 200);
    assert_eq!(corruption(&headless).proof, d.header.durable);
    assert_eq!(corruption(&headless).file, 1);

    // It may claim no more than the frame in which the damage lies.
    let mut w = Writer::new(FILE, ALIGN);
    w.durable = Some(Lsn::ZERO);
    let a = w.frame(&[Item::Record(b"a"), Item::Record(b"aa")]);
    let next = w.frame(&[Item::Record(b"b")]).header.lsn;
    w.frame(&[Item::Record(b"bb")]);
    w.roll();
    w.durable = Some(next);
    w.frame(&[Item::Record(b"c")]);
    w.disk.flip_bit(1, (payload(&a) + 16) * 8);
    w.disk.flip_bit(2, 200);
    assert_eq!(corruption(&w.disk).proof, next);

    // Nothing does, but recovery wrote the file.
    forge_frame(&disk, &d, |header| header.durable = Lsn::ZERO);
    assert_eq!(good(&disk).0.report.verdict, Verdict::Torn);
    forge_file(&disk, 2, |header| header.recovered = true);
    assert_eq!(corruption(&disk).proof, b.header.end());
}

#[test]
fn h_intact_frame_in_the_wrong_place_is_a_bad_frame() {
    let (w, [first, second, third]) = three();
    let frame = |at: &FrameAt| w.disk.file(1)[at.offset as usize..][..4096].to_vec();
    // An old frame over a later one.
    let disk = w.disk.snapshot();
    overwrite(&disk, 1, second.offset, &frame(&first));
    let found = corruption(&disk);
    assert_eq!(found.reason, Reason::FrameHeader(FrameFault::Lsn));
    assert_eq!(found.lsn, second.header.lsn);
    // Over the last one: nothing claims that one.
    let disk = w.disk.snapshot();
    overwrite(&disk, 1, third.offset, &frame(&first));
    assert_case(&good(&disk).0, Case::AmbiguousFrame, Verdict::Ambiguous);
    // A later frame over an earlier one still claims what it claims, wherever it lies.
    let disk = w.disk.snapshot();
    overwrite(&disk, 1, second.offset, &frame(&third));
    zero(&disk, 1, third.offset, 4096);
    assert_eq!(corruption(&disk).proof, third.header.durable);
    // The right place, but another frame before it.
    for change in [
        |link: &mut Link| link.crc ^= 1,
        |link: &mut Link| link.lsn = link.lsn.advance(8),
        |link: &mut Link| *link = Link::NONE,
    ] {
        let disk = w.disk.snapshot();
        forge_frame(&disk, &second, |header| change(&mut header.prev));
        let found = corruption(&disk);
        assert_eq!((found.reason, found.lsn), (Reason::BrokenFrameChain, second.header.lsn));
        let disk = w.disk.snapshot();
        forge_frame(&disk, &third, |header| change(&mut header.prev));
        assert_eq!(good(&disk).0.report.cut.unwrap().reason, Reason::BrokenFrameChain);
    }
    let disk = w.disk.snapshot();
    forge_frame(&disk, &first, |header| header.prev = second.header.link());
    assert_eq!(corruption(&disk).reason, Reason::BrokenFrameChain);
}

#[test]
fn i_leftovers_behind_the_named_end_are_ignored() {
    let (mut w, [.., third]) = three();
    w.durable = Some(third.header.lsn);
    let torn = w.frame(&[Item::Record(b"kept"), Item::Record(b"lost"), Item::Record(b"gone")]);
    w.durable = Some(torn.header.lsn);
    w.frame(&[Item::Record(b"island")]);
    let bad = payload(&torn) + 16;
    w.disk.flip_bit(1, bad * 8);
    let (scan, before) = good(&w.disk);
    assert_case(&scan, Case::TornFrame, Verdict::Torn);
    assert_eq!(before.last().unwrap().1, b"kept");

    // The next life begins within the torn frame's range. The old file is as it was.
    let mut next = reopen(&w.disk, &scan, FILE, ALIGN);
    next.frame(&[Item::Record(b"of the next life")]);
    next.frame(&[Item::Record(b"more")]);
    let expected = [&before[..], &next.records].concat();
    for state in 0..4 {
        let disk = next.disk.snapshot();
        match state {
            0 => {}
            // The damage heals, worsens or vanishes: nothing of it resurfaces.
            1 => disk.flip_bit(1, bad * 8),
            2 => zero(&disk, 1, bad - 8, 3 * 4096),
            _ => overwrite(&disk, 1, bad - 8, &[0xff; 9000]),
        }
        let (scan, records) = good(&disk);
        assert_case(&scan, Case::Clean, Verdict::Clean);
        assert_eq!(records, expected);
        assert_eq!(scan.files[0].end, before.last().unwrap().0.advance(16));
        assert_eq!((scan.files.len(), scan.aside.len()), (2, 0));
    }
    // An end that leaves nothing of the frame but its header is none that recovery names.
    for end in [torn.header.lsn.advance(1), torn.header.lsn.advance(HEADER_LEN as u64)] {
        let disk = next.disk.snapshot();
        forge_file(&disk, 2, |header| header.prev.as_mut().unwrap().end = end);
        assert_eq!(corruption(&disk).reason, Reason::BrokenFileChain);
        assert_eq!(corruption(&disk).lsn, torn.header.lsn);
    }
    // What lies before the named end is part of the log for good.
    next.disk.flip_bit(1, (bad - 16) * 8);
    assert_eq!(corruption(&next.disk).reason, Reason::Record(RecordFault::Checksum));
}

#[test]
fn j_file_not_as_good_as_its_successor_says_is_torn_without_a_claim() {
    let mut w = Writer::new(FILE, ALIGN);
    w.durable = Some(Lsn::ZERO);
    let a = w.frame(&[Item::Record(b"a")]);
    let b = w.frame(&[Item::Record(b"b")]);
    w.roll();
    w.frame(&[Item::Record(b"c")]);
    w.roll();
    w.frame(&[Item::Record(b"d")]);
    w.disk.put_file(4, vec![0; FILE as usize]);
    zero(&w.disk, 1, b.offset, 4096);
    let (scan, records) = good(&w.disk);
    assert_case(&scan, Case::TornBeforeFile, Verdict::Torn);
    assert_eq!(records, w.until(b.header.lsn));
    assert_eq!(scan.end, a.header.end());
    // Nothing but padding lies behind the end in the file itself.
    assert_eq!(scan.aside, [Aside::File { sequence: 2 }, Aside::File { sequence: 3 }]);
    assert_eq!((scan.unused.clone(), scan.next_sequence), (vec![4], 5));

    // A file is kept even if its header block never reached the disk, but a frame of it did.
    let disk = w.disk.snapshot();
    zero(&disk, 3, 0, BLOCK_LEN as u64);
    assert_eq!(good(&disk).0, Scan { report: good(&disk).0.report, ..scan.clone() });

    let mut next = reopen(&w.disk, &scan, FILE, ALIGN);
    next.frame(&[Item::Record(b"new")]);
    assert_eq!(next.disk.sequences(), [1, 5]);
    let (scan, records) = good(&next.disk);
    assert_case(&scan, Case::Clean, Verdict::Clean);
    assert_eq!(records.len(), 2);
}

#[test]
fn k_interrupted_creation_is_set_aside() {
    // Only the header of the new file, or only a part of it, reached the disk.
    for keep in [BLOCK_LEN, 512, 20] {
        let (w, [_, b, c, _]) = two_files();
        zero(&w.disk, 2, keep as u64, FILE - keep as u64);
        let (scan, records) = good(&w.disk);
        assert_eq!(scan.report.verdict, Verdict::Ambiguous);
        assert_eq!(scan.report.case == Case::InterruptedFile, keep < BLOCK_LEN);
        assert_eq!(records, w.until(c.header.lsn));
        assert_eq!(scan.end, b.header.end());
        assert_eq!(scan.aside, [Aside::File { sequence: 2 }]);
        assert_eq!(scan.last.unwrap().sequence, 1);
        let cut = scan.report.cut.unwrap();
        assert_eq!((cut.file, cut.offset, cut.lsn), (2, 0, scan.end));
        assert!(matches!(refuse_ambiguous(&w.disk), Err(Error::AmbiguousTail(_))));
    }
    // The header did not, a later frame did.
    for header in [0, 1] {
        let mut w = Writer::new(FILE, ALIGN);
        w.frame(&[Item::Record(b"a")]);
        w.roll();
        let c = w.frame(&[Item::Record(b"c")]);
        w.durable = Some(c.header.lsn);
        w.frame(&[Item::Record(b"d")]);
        if header == 0 {
            zero(&w.disk, 2, 0, 8192)
        } else {
            zero(&w.disk, 2, 100, 8092)
        }
        let (scan, records) = good(&w.disk);
        assert_case(&scan, Case::InterruptedFile, Verdict::Torn);
        assert_eq!(records.len(), 1);
        assert_eq!(scan.aside, [Aside::File { sequence: 2 }]);
    }
    // The very first file of a log: it starts anew.
    let mut w = Writer::new(FILE, ALIGN);
    w.frame(&[Item::Record(b"a")]);
    zero(&w.disk, 1, 40, FILE - 40);
    let (scan, records) = good(&w.disk);
    assert_case(&scan, Case::InterruptedFile, Verdict::Ambiguous);
    assert_eq!((records.len(), scan.end, scan.last), (0, Lsn::ZERO, None));
    apply(&w.disk, &scan);
    assert_case(&good(&w.disk).0, Case::New, Verdict::New);
}

#[test]
fn l_bad_header_of_a_file_that_held_durable_data_is_corrupt() {
    for harm in 0..3 {
        let harm = |disk: &MemDisk, file| match harm {
            0 => disk.flip_bit(file, 8 * 50),
            1 => zero(disk, file, 0, BLOCK_LEN as u64),
            _ => disk.truncate_file(file, 100),
        };
        // An older file, claimed by the next one.
        let (w, [_, _, c, _]) = two_files();
        harm(&w.disk, 1);
        let found = corruption(&w.disk);
        assert!(matches!(found.reason, Reason::FileHeader(_)), "{found}");
        assert_eq!((found.file, found.offset, found.lsn), (1, 0, Lsn::ZERO));
        assert_eq!((found.len, found.proof), (c.header.lsn.get(), c.header.durable));
    }
    // The newest file, claimed by its own second frame.
    let (w, [_, b, _, d]) = two_files();
    w.disk.flip_bit(2, 8 * 50);
    let found = corruption(&w.disk);
    assert_eq!(found.reason, Reason::FileHeader(FileFault::Checksum));
    assert_eq!((found.file, found.proof), (2, d.header.durable));
    assert_eq!(found.lsn, b.header.next(4096));
    // A base moved up by a coarser alignment than the last file's is no claim.
    let mut packed = Writer::new(FILE, 8);
    packed.frame(&[Item::Record(b"a")]);
    let mut w = reopen(&packed.disk, &good(&packed.disk).0, FILE, ALIGN);
    let first = w.frame(&[Item::Record(b"b")]);
    assert_eq!(first.header.durable, Lsn::new(4096));
    zero(&w.disk, 2, 0, 512);
    assert_case(&good(&w.disk).0, Case::InterruptedFile, Verdict::Torn);
    // The only file left of a log: its positions alone tell that something was before.
    w.disk.remove_file(1);
    assert!(matches!(corruption(&w.disk).reason, Reason::FileHeader(_)));
}

#[test]
fn m_missing_file_is_corrupt() {
    let mut w = Writer::new(FILE, ALIGN);
    let a = w.frame(&[Item::Record(b"a")]);
    w.roll();
    w.frame(&[Item::Record(b"b")]);
    w.roll();
    let c = w.frame(&[Item::Record(b"c")]);
    w.disk.remove_file(2);
    let found = corruption(&w.disk);
    assert_eq!((found.reason, found.file, found.offset), (Reason::MissingFile, 3, 0));
    assert_eq!(found.lsn, a.header.next(4096));
    assert_eq!(found.len, c.header.lsn.get() - found.lsn.get());
    // No claim is needed: no crash takes a file away.
    forge_file(&w.disk, 3, |header| header.durable = Lsn::ZERO);
    assert_eq!(corruption(&w.disk).reason, Reason::MissingFile);
}

#[test]
fn n_log_truncated_at_its_front_starts_with_its_oldest_file() {
    let (w, [_, b, c, d]) = two_files();
    w.disk.remove_file(1);
    let (scan, records) = good(&w.disk);
    assert_case(&scan, Case::Clean, Verdict::Clean);
    assert_eq!(records, w.records[3..]);
    assert_eq!((scan.report.start, scan.end), (c.header.lsn, d.header.end()));
    // Its first frame must name the one before it all the same.
    let disk = w.disk.snapshot();
    forge_frame(&disk, &c, |header| header.prev.crc ^= 1);
    assert_eq!(corruption(&disk).reason, Reason::BrokenFrameChain);
    // Nothing of it is good: the log goes on where the absent file ended.
    zero(&w.disk, 2, BLOCK_LEN as u64, FILE - BLOCK_LEN as u64);
    let (scan, _) = good(&w.disk);
    assert_eq!(scan.report.verdict, Verdict::Ambiguous);
    assert_eq!((scan.end, scan.last.unwrap().sequence), (b.header.end(), 1));
}

/// A source that serves a disk with one thing changed.
struct Twisted<'a> {
    disk: &'a MemDisk,
    duplicate: bool,
    fail_at: Option<u64>,
}

impl LogSource for Twisted<'_> {
    fn list(&self) -> Result<Listing, SinkError> {
        let mut listing = self.disk.list()?;
        if self.duplicate {
            let path = PathBuf::from("mem/2.wal");
            listing.files.push(FileEntry { sequence: 2, len: 0, path });
        }
        listing.foreign.push(PathBuf::from("mem/notes.txt"));
        Ok(listing)
    }

    fn read_at(&self, sequence: u64, offset: u64, buf: &mut [u8]) -> Result<usize, SinkError> {
        let place = offset..offset + buf.len() as u64;
        if sequence == 2 && self.fail_at.is_some_and(|at| place.contains(&at)) {
            let source = io::Error::other("bad sector");
            let (op, file, offset) = (SinkOp::Read, Some(2), Some(offset));
            return Err(SinkError { op, file, path: None, offset, source });
        }
        self.disk.read_at(sequence, offset, buf)
    }
}

#[test]
fn o_duplicate_file_is_corrupt_in_every_mode() {
    let (w, _) = two_files();
    let source = Twisted { disk: &w.disk, duplicate: true, fail_at: None };
    for mode in [RecoveryMode::Strict, RecoveryMode::Salvage] {
        match recover_with(&source, ScanOptions { mode, ..ScanOptions::default() }).0 {
            Err(Error::Corrupt(found)) => {
                assert_eq!((found.reason, found.file), (Reason::DuplicateFile, 2));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn p_strange_file_is_corrupt() {
    let (w, _) = two_files();
    let disk = w.disk.snapshot();
    forge_file(&disk, 2, |header| header.log_id = [0; 16]);
    let found = corruption(&disk);
    assert_eq!((found.reason, found.file), (Reason::ForeignLog, 2));
    let disk = w.disk.snapshot();
    forge_file(&disk, 2, |header| header.sequence = 7);
    assert_eq!(corruption(&disk).reason, Reason::WrongSequence);
    for number in [0, u64::MAX] {
        let disk = w.disk.snapshot();
        disk.put_file(number, Vec::new());
        assert_eq!(corruption(&disk).reason, Reason::WrongSequence);
    }
}

#[test]
fn q_file_that_contradicts_its_predecessor_is_corrupt() {
    let (w, _) = two_files();
    type Harm = fn(&mut wal_core::format::file_header::Predecessor);
    let harms: [Harm; 6] = [
        |prev| prev.salt ^= 1,
        |prev| prev.end = prev.end.advance(8),
        |prev| prev.last_frame.crc ^= 1,
        |prev| prev.last_frame.lsn = Lsn::ZERO,
        |prev| prev.end = Lsn::ZERO,
        |prev| prev.end = Lsn::new(prev.end.get() - 8),
    ];
    for (i, harm) in harms.into_iter().enumerate() {
        let disk = w.disk.snapshot();
        forge_file(&disk, 2, |header| harm(header.prev.as_mut().unwrap()));
        let found = corruption(&disk);
        assert_eq!(found.reason, Reason::BrokenFileChain, "harm {i}");
        // An end within a frame shows in that frame, the rest in the file that says it.
        let file = if i == 5 { 1 } else { 2 };
        assert_eq!(found.file, file, "harm {i}");
    }
    let disk = w.disk.snapshot();
    forge_file(&disk, 2, |header| header.prev = None);
    assert_eq!(corruption(&disk).reason, Reason::BrokenFileChain);
    let disk = w.disk.snapshot();
    // A file that the next one skips, though it is intact.
    disk.put_file(9, disk.file(2));
    forge_file(&disk, 9, |header| header.sequence = 9);
    assert_eq!(corruption(&disk).reason, Reason::BrokenFileChain);
}

#[test]
fn r_short_file_is_corrupt() {
    // Cut in the zeros, in a frame, between frames: the length alone is the proof.
    let (w, [_, second, third]) = three();
    for len in [FILE - 1, third.offset + 10, third.offset, second.offset + 70, 4096] {
        let disk = w.disk.snapshot();
        disk.truncate_file(1, len);
        let found = corruption(&disk);
        assert_eq!((found.reason, found.file), (Reason::ShortFile, 1), "{len}");
    }
    // A close mark excuses a short file only as the last frame.
    let (mut w, _) = three();
    let close = w.close(false);
    let disk = w.disk.snapshot();
    disk.truncate_file(1, close.offset + 64);
    assert_case(&good(&disk).0, Case::Closed, Verdict::Closed);
    disk.truncate_file(1, close.offset + 63);
    assert_eq!(corruption(&disk).reason, Reason::ShortFile);
    // Nothing but the mark itself may be lost of a trimmed file, and then the log goes on.
    let (mut w, [.., third]) = three();
    let close = w.close(true);
    let disk = w.disk.snapshot();
    disk.flip_bit(1, close.offset * 8 + 70);
    let (scan, records) = good(&disk);
    assert_case(&scan, Case::AmbiguousFrame, Verdict::Ambiguous);
    assert_eq!((&records, scan.end), (&w.records, third.header.end()));
    let mut next = reopen(&disk, &scan, FILE, ALIGN);
    next.frame(&[Item::Record(b"next life")]);
    let (scan, records) = good(&next.disk);
    assert_case(&scan, Case::Clean, Verdict::Clean);
    assert_eq!(records, [&w.records[..], &next.records].concat());
    for at in [third.offset, payload(&third)] {
        let disk = w.disk.snapshot();
        disk.flip_bit(1, close.offset * 8 + 70);
        disk.flip_bit(1, at * 8);
        assert_eq!((corruption(&disk).file, corruption(&disk).proof), (1, corruption(&disk).lsn));
    }
    // Nor does it excuse the file after it.
    let scan = {
        disk.put_file(1, w.disk.file(1));
        good(&disk).0
    };
    let mut next = reopen(&disk, &scan, FILE, ALIGN);
    next.frame(&[Item::Record(b"next life")]);
    for len in [4096, 4100] {
        next.disk.truncate_file(2, len);
        assert_eq!(corruption(&next.disk).reason, Reason::ShortFile);
    }
    // Nor an older one without such a mark.
    let (w, _) = two_files();
    w.disk.truncate_file(1, FILE - 4096);
    assert_eq!(corruption(&w.disk).reason, Reason::ShortFile);
}

#[test]
fn s_newer_version_is_unsupported_in_every_mode() {
    let (w, _) = two_files();
    let mut bytes = w.disk.file(2);
    bytes[8] = 9;
    let crc = crc32c(&bytes[..BLOCK_LEN - 4]);
    bytes[BLOCK_LEN - 4..BLOCK_LEN].copy_from_slice(&crc.to_le_bytes());
    w.disk.put_file(2, bytes);
    for mode in [RecoveryMode::Strict, RecoveryMode::Salvage] {
        match recover_with(&w.disk, ScanOptions { mode, ..ScanOptions::default() }).0 {
            Err(Error::UnsupportedFormat { found: 9, supported: 1, path }) => {
                assert_eq!(path, PathBuf::from("mem/0000000000000002.wal"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn t_read_error_is_never_the_end_of_the_log() {
    let (w, _) = two_files();
    for mode in [RecoveryMode::Strict, RecoveryMode::Salvage] {
        for at in (0..FILE).step_by(4096) {
            let source = Twisted { disk: &w.disk, duplicate: false, fail_at: Some(at) };
            match recover_with(&source, ScanOptions { mode, ..ScanOptions::default() }).0 {
                Err(Error::Sink(source)) => assert_eq!(source.file, Some(2)),
                other => panic!("{at}: {other:?}"),
            }
        }
    }
    let source = Twisted { disk: &w.disk, duplicate: false, fail_at: None };
    let scan = recover(&source).0.unwrap();
    assert_eq!(scan.report.foreign, [PathBuf::from("mem/notes.txt")]);
}

#[test]
fn u_unused_file_is_no_part_of_the_log() {
    let (w, _) = two_files();
    w.disk.put_file(3, vec![0; FILE as usize]);
    // Recycled, with frames of an earlier life behind the blank header block.
    let mut old = w.disk.file(1);
    old[..BLOCK_LEN].fill(0);
    w.disk.put_file(4, old);
    let (scan, records) = good(&w.disk);
    assert_case(&scan, Case::Clean, Verdict::Clean);
    assert_eq!(records, w.records);
    assert_eq!((scan.unused, scan.aside, scan.next_sequence), (vec![3, 4], vec![], 5));
}

#[test]
fn v_stray_file_is_no_part_of_the_log() {
    let (w, _) = three();
    w.disk.put_file(2, vec![0; FILE as usize]);
    w.disk.put_file(3, vec![1; FILE as usize]);
    let (scan, _) = good(&w.disk);
    assert_case(&scan, Case::InterruptedFile, Verdict::Ambiguous);
    assert_eq!((scan.unused.clone(), scan.next_sequence), (vec![2], 4));
    // The next life skips both; then one comes back from the dead.
    let mut next = reopen(&w.disk, &scan, FILE, ALIGN);
    next.frame(&[Item::Record(b"new")]);
    next.disk.put_file(2, vec![0; FILE as usize]);
    next.disk.put_file(3, vec![1; FILE as usize]);
    let (scan, records) = good(&next.disk);
    assert_case(&scan, Case::Clean, Verdict::Clean);
    assert_eq!(records, [w.records, next.records].concat());
    assert_eq!((scan.unused, scan.aside), (vec![2], vec![Aside::File { sequence: 3 }]));
}

#[test]
fn w_salvage_skips_and_reports_every_hole() {
    // Two bad frames in the first file, a bad batch in the second.
    let mut w = Writer::new(FILE, ALIGN);
    let a = w.frame(&[Item::Record(b"a1"), Item::Record(b"a2")]);
    let b = w.frame(&[Item::Record(b"b1")]);
    w.frame(&[Item::Record(b"c1")]);
    w.roll();
    let d = w.frame(&[Item::Record(b"d1"), Item::Batch(&[b"d2", b"d3"])]);
    let e = w.frame(&[Item::Record(b"e1")]);
    w.disk.flip_bit(1, (payload(&a) + 16) * 8);
    zero(&w.disk, 1, b.offset, 64);
    w.disk.flip_bit(2, (payload(&d) + 32) * 8);
    let before = w.disk.snapshot();
    let (scan, records) = salvage(&w.disk);
    assert_case(&scan, Case::Salvaged, Verdict::Salvaged);
    let payloads: Vec<_> = records.iter().map(|(_, payload)| &payload[..]).collect();
    assert_eq!(payloads, [&b"a1"[..], b"c1", b"d1", b"e1"]);
    let holes: Vec<_> = scan.report.holes.iter().map(|h| (h.file, h.lsn, h.len)).collect();
    let a2 = a.header.lsn.advance(80);
    let d3 = d.header.lsn.advance(64 + 32);
    assert_eq!(
        holes,
        [(1, a2, 8192 - a2.get()), (2, d3, e.header.lsn.get() - d3.get())],
        "the second bad frame lies within the first hole"
    );
    assert_eq!(scan.end, e.header.end());
    assert_eq!(before.file(1), w.disk.file(1));

    // A missing file, a bad file header, and damage whose proof lies at its own place.
    let three = || {
        let mut w = Writer::new(FILE, ALIGN);
        w.frame(&[Item::Record(b"a")]);
        w.roll();
        w.frame(&[Item::Record(b"b")]);
        w.roll();
        w.frame(&[Item::Record(b"c")]);
        w
    };
    for harm in 0..6 {
        let w = three();
        match harm {
            0 => w.disk.remove_file(2),
            1 => w.disk.flip_bit(2, 9 * 8),
            2 => forge_file(&w.disk, 2, |header| header.log_id = [1; 16]),
            3 => w.disk.truncate_file(2, 4096),
            // A file that claims positions which another file holds.
            4 => forge_file(&w.disk, 2, |header| {
                (header.base, header.durable) = (Lsn::ZERO, Lsn::ZERO);
                header.prev.as_mut().unwrap().end = Lsn::ZERO;
            }),
            _ => zero(&w.disk, 2, 0, 4096),
        }
        let (scan, records) = salvage(&w.disk);
        assert_eq!(scan.report.verdict, Verdict::Salvaged, "harm {harm}");
        let payloads: Vec<_> = records.iter().map(|(_, payload)| payload.clone()).collect();
        assert_eq!(payloads, [b"a", b"c"], "harm {harm}");
        assert_eq!(scan.report.holes.len(), 1, "harm {harm}: {:?}", scan.report.holes);
        assert_eq!(scan.report.holes[0].len, 4096, "harm {harm}");
    }
    // Not even behind a hole may a file claim positions which another one holds.
    let mut w = Writer::new(FILE, ALIGN);
    w.frame(&[Item::Record(b"a")]);
    let bad = w.frame(&[Item::Record(b"bad")]);
    w.roll();
    w.frame(&[Item::Record(b"b")]);
    w.roll();
    w.frame(&[Item::Record(b"c")]);
    w.disk.flip_bit(1, payload(&bad) * 8);
    forge_file(&w.disk, 2, |header| {
        (header.base, header.durable) = (Lsn::ZERO, Lsn::ZERO);
        header.prev.as_mut().unwrap().end = Lsn::ZERO;
    });
    let (scan, records) = salvage(&w.disk);
    assert_eq!(records.len(), 2);
    let reasons: Vec<_> = scan.report.holes.iter().map(|hole| hole.reason).collect();
    assert_eq!(reasons, [Reason::Record(RecordFault::Checksum), Reason::BrokenFileChain]);
    // A sound log is not touched by the mode.
    assert_case(&salvage(&three().disk).0, Case::Clean, Verdict::Clean);
}

#[test]
fn x_vacant_file_is_no_part_of_the_log() {
    let mut w = Writer::new(FILE, ALIGN);
    w.frame(&[Item::Record(b"a")]);
    let begin = |disk: &MemDisk, sequence: u64| {
        let (scan, _) = recover(disk);
        let scan = scan.unwrap();
        let mut header = scan.files[0].header;
        header.prev = scan.last;
        (header.sequence, header.salt, header.recovered) = (sequence, sequence, true);
        header.base = Lsn::new(scan.end.get().next_multiple_of(u64::from(ALIGN)));
        let mut bytes = header.encode().to_vec();
        bytes.resize(FILE as usize, 0);
        disk.put_file(sequence, bytes);
    };
    begin(&w.disk, 2);
    let (scan, records) = recover(&w.disk);
    let scan = scan.unwrap();
    assert_eq!((records.len(), scan.report.verdict), (1, Verdict::Clean));
    assert_eq!((scan.files.len(), &scan.vacant[..], scan.aside.len()), (1, &[2][..], 0));
    assert_eq!(scan.last.unwrap().sequence, 1);
    // A crash before its removal leaves two.
    begin(&w.disk, 3);
    let again = recover(&w.disk).0.unwrap();
    assert_eq!((&again.vacant[..], again.end), (&[2, 3][..], scan.end));
    assert_eq!(again.report.verdict, Verdict::Clean);
    // What rolling over begins comes with a frame: without it, something is missing.
    forge_file(&w.disk, 2, |header| header.recovered = false);
    w.disk.remove_file(3);
    assert_eq!(recover(&w.disk).0.unwrap().report.verdict, Verdict::Ambiguous);
}

/// The case table is kept three times: as data ([`Case`]), as the document, as the tests of this
/// file. None has a letter that another has not, and data and document say the same of each.
#[test]
fn data_document_and_tests_have_the_same_cases_in_the_same_words() {
    let spec = include_str!("../../spec/FORMAT.md");
    let (_, section) = spec.split_once("### Case table").unwrap();
    let section = section.split_once("\n## ").unwrap().0;
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| @")).collect();
    let data = Case::ALL.iter();
    let data = data.map(|case| format!("| {} | {} | {} |", case, case.seen(), case.verdict()));
    assert_eq!(rows, data.collect::<Vec<_>>());

    let tests = include_str!("recovery.rs").lines().filter_map(|line| {
        let name = line.strip_prefix("fn ")?.as_bytes();
        (name.get(1) == Some(&b'_')).then(|| char::from(name[0].to_ascii_uppercase()))
    });
    let letters: Vec<char> = Case::ALL.iter().map(|case| case.letter()).collect();
    assert_eq!(tests.collect::<Vec<_>>(), letters);

    // Every letter is explained below the table, and no other is spoken of anywhere.
    let spoken = |text: &str| -> Vec<char> {
        text.split('@').skip(1).map(|rest| rest.chars().next().unwrap()).collect()
    };
    let reasons = section.lines().filter(|line| line.starts_with("- **@")).collect::<String>();
    for letter in &letters {
        let why = spoken(&reasons).contains(letter);
        assert!(why, "@{letter} is not explained");
    }
    for letter in spoken(spec) {
        assert!(letters.contains(&letter), "@{letter} is no case");
    }
}

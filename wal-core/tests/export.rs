//! Exports: whole and intact, or refused.
#![allow(clippy::unwrap_used, reason = "a test helper fails its test")]

mod support;

use std::ops::Range;

use support::{open, tiny};
use wal_core::export::{Damage, ExportError, Header, Reader, Record, Summary, Writer, export};
use wal_core::sink::mem::{MemDisk, MemSink};
use wal_core::{Error, Lsn};

const MAX: usize = 1 << 20;

/// LSN, *more*, payload.
type Owned = (u64, bool, Vec<u8>);

fn header(range: Range<u64>) -> Header {
    Header {
        log_id: *b"0123456789abcdef",
        salt: 7,
        from: Lsn::new(range.start),
        to: Lsn::new(range.end),
    }
}

fn write(header: Header, records: &[Owned]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    for (lsn, more, payload) in records {
        writer.record(&Record { lsn: Lsn::new(*lsn), more: *more, payload }).unwrap();
    }
    let (bytes, summary) = writer.finish().unwrap();
    let payload_bytes = records.iter().map(|record| record.2.len() as u64).sum();
    assert_eq!(summary, Summary { records: records.len() as u64, payload_bytes });
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Owned>, ExportError> {
    let mut reader = Reader::new(bytes, MAX)?;
    let mut records = Vec::new();
    while let Some(Record { lsn, more, payload }) = reader.next()? {
        records.push((lsn.get(), more, payload.to_vec()));
    }
    assert_eq!(reader.offset(), bytes.len() as u64);
    Ok(records)
}

/// Small, empty, a batch, a gap, a longer one.
fn some() -> Vec<Owned> {
    vec![
        (64, false, b"small".to_vec()),
        (80, false, vec![]),
        (88, true, b"of a".to_vec()),
        (104, false, b"batch".to_vec()),
        (4096 + 64, false, vec![0x5a; 300]),
    ]
}

#[test]
fn what_was_written_is_read_back() {
    for records in [some(), vec![]] {
        assert_eq!(read(&write(header(0..9000), &records)).unwrap(), records);
    }
    let bytes = write(header(16..9000), &some());
    let mut reader = Reader::new(&bytes[..], MAX).unwrap();
    assert_eq!(*reader.header(), header(16..9000));
    while reader.next().unwrap().is_some() {}
    assert_eq!(reader.summary(), Summary { records: 5, payload_bytes: 314 });
    assert!(reader.next().unwrap().is_none(), "and again");
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let bytes = write(header(64..80), &[(64, false, b"abc".to_vec())]);
    let crc = |bytes: &[u8]| wal_core::format::checksum::crc32c(bytes).to_le_bytes();
    let mut expected = b"\x89WALX\r\n\x1a\x01\0\0\0\0\0\0\0".to_vec();
    expected
        .extend(b"0123456789abcdef\x07\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\x50\0\0\0\0\0\0\0\0\0\0\0");
    // What is summed up has no checksums in it.
    let mut summed = expected.clone();
    expected.extend(crc(&summed));
    for part in
        [&b"\x03\0\0\0\x40\0\0\0\0\0\0\0abc"[..], b"\0\0\0\x80\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0"]
    {
        summed.extend(part);
        expected.extend(part);
        expected.extend(crc(&summed));
    }
    assert_eq!(bytes, expected);
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let bytes = write(header(0..9000), &some());
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = read(&bad).unwrap_err();
        let magic = bit < 64;
        assert_eq!(matches!(error, ExportError::NotAnExport), magic, "bit {bit}: {error}");
    }
    for len in 0..bytes.len() {
        let error = read(&bytes[..len]).unwrap_err();
        let unfinished = matches!(error, ExportError::Damaged { damage: Damage::Unfinished, .. });
        assert_eq!(unfinished, len > 0, "{len} bytes: {error}");
    }
    let more = [&bytes[..], b"\0"].concat();
    let offset = bytes.len() as u64;
    let error = read(&more).unwrap_err();
    assert!(
        matches!(error, ExportError::Damaged { offset: at, damage: Damage::Trailing } if at == offset)
    );
}

#[test]
fn damage_is_found_where_it_is_and_nothing_before_is_lost() {
    let records = some();
    let bytes = write(header(0..9000), &records);
    let starts = [64, 64 + 21, 64 + 21 + 16];
    let mut bad = bytes.clone();
    bad[starts[2] + 12] ^= 1;
    let mut reader = Reader::new(&bad[..], MAX).unwrap();
    for (lsn, more, payload) in &records[..2] {
        let expected = Record { lsn: Lsn::new(*lsn), more: *more, payload };
        assert_eq!(reader.next().unwrap(), Some(expected));
    }
    match reader.next() {
        Err(ExportError::Damaged { offset, damage: Damage::Checksum }) => {
            assert_eq!(offset, starts[2] as u64);
        }
        other => panic!("{other:?}"),
    }
}

/// A record whose own checksum was made right again does not pass for the rest of the export.
#[test]
fn a_checksum_covers_all_that_came_before() {
    let (one, other) = (some(), {
        let mut other = some();
        other[0].2 = b"other".to_vec();
        other
    });
    let (one, other) = (write(header(0..9000), &one), write(header(0..9000), &other));
    assert_eq!(one.len(), other.len());
    // Up to and with the first record of the other, then all of the one.
    let second = 64 + 21;
    let mixed = [&other[..second], &one[second..]].concat();
    match read(&mixed).unwrap_err() {
        ExportError::Damaged { offset, damage: Damage::Checksum } => {
            assert_eq!(offset, second as u64);
        }
        error => panic!("{error}"),
    }
    // Records of an export that differs in its salt alone.
    let salted = write(Header { salt: 8, ..header(0..9000) }, &some());
    assert!(read(&[&salted[..64], &one[64..]].concat()).is_err());
}

#[test]
fn left_out_doubled_and_exchanged_records_are_noticed() {
    let bytes = write(header(0..9000), &some());
    let (first, second) = (&bytes[64..85], &bytes[85..101]);
    let (head, rest) = (&bytes[..64], &bytes[101..]);
    for parts in [
        [head, first, rest].concat(),
        [head, second, rest].concat(),
        [head, first, first, second, rest].concat(),
        [head, second, first, rest].concat(),
    ] {
        assert!(read(&parts).unwrap_err().is_damage());
    }
}

/// What no writer writes is refused though every checksum is right.
#[test]
fn a_closing_mark_that_counts_others_is_refused() {
    let whole = write(header(0..80), &[(64, false, b"abc".to_vec())]);
    let closing = |records: u64, bytes: u64, word: u32| {
        let [word, records, bytes] =
            [&word.to_le_bytes()[..], &records.to_le_bytes(), &bytes.to_le_bytes()];
        let mut summed = [&whole[..60], &whole[64..64 + 15], word, records, bytes].concat();
        let crc = wal_core::format::checksum::crc32c(&summed);
        let mark = summed.split_off(75);
        [&whole[..64 + 19], &mark, &crc.to_le_bytes()].concat()
    };
    assert_eq!(closing(1, 3, 1 << 31), whole);
    for (records, bytes) in [(0, 0), (0, 3), (2, 3), (1, 2), (1, 4)] {
        let error = read(&closing(records, bytes, 1 << 31)).unwrap_err();
        assert!(matches!(error, ExportError::Damaged { damage: Damage::Count, .. }), "{error}");
    }
    let error = read(&closing(1, 3, 1 << 31 | 1)).unwrap_err();
    assert!(matches!(error, ExportError::Damaged { damage: Damage::Field, .. }), "{error}");
}

#[test]
fn what_does_not_belong_is_refused_and_writing_goes_on() {
    let mut writer = Writer::new(Vec::new(), header(128..1024)).unwrap();
    let try_at = |writer: &mut Writer<Vec<u8>>, lsn: u64, more| {
        let payload = b"12345678";
        writer.record(&Record { lsn: Lsn::new(lsn), more, payload }).is_ok()
    };
    assert!(!try_at(&mut writer, 120, false), "before the range");
    assert!(!try_at(&mut writer, 1024, false), "behind the range");
    assert!(!try_at(&mut writer, 132, false), "not aligned");
    assert!(try_at(&mut writer, 128, false));
    assert!(!try_at(&mut writer, 136, false), "within the record before");
    assert!(try_at(&mut writer, 152, true));
    assert!(!try_at(&mut writer, 176, false), "not the rest of the batch");
    assert!(try_at(&mut writer, 168, true));
    assert!(try_at(&mut writer, 184, false));
    assert_eq!(read(&writer.finish().unwrap().0).unwrap().len(), 4);

    let mut writer = Writer::new(Vec::new(), header(0..1024)).unwrap();
    assert!(!try_at(&mut writer, 56, false), "where a frame header is");
    assert!(try_at(&mut writer, 64, true));
    assert!(matches!(writer.finish(), Err(ExportError::UnfinishedBatch)));
}

#[test]
fn what_is_no_export_a_newer_one_or_too_large_is_refused_by_name() {
    for bytes in [&b""[..], b"\x7fELF and so on", &[0; 200]] {
        assert!(matches!(read(bytes), Err(ExportError::NotAnExport)), "{bytes:?}");
    }
    let mut newer = write(header(0..80), &[]);
    newer[8] = 2;
    let crc = wal_core::format::checksum::crc32c(&newer[..60]);
    newer[60..64].copy_from_slice(&crc.to_le_bytes());
    let error = read(&newer).unwrap_err();
    assert!(matches!(error, ExportError::Version { found: 2, supported: 1 }), "{error}");

    let bytes = write(header(0..9000), &some());
    let mut reader = Reader::new(&bytes[..], 299).unwrap();
    for _ in 0..4 {
        reader.next().unwrap();
    }
    let error = reader.next().unwrap_err();
    assert!(matches!(error, ExportError::TooLarge { len: 300, max: 299, .. }), "{error}");
}

/// A length that is not backed by bytes takes no memory.
#[test]
fn a_length_from_nowhere_allocates_nothing() {
    let mut bytes = write(header(0..80), &[])[..64].to_vec();
    bytes.extend(((1u32 << 30) - 1).to_le_bytes());
    bytes.extend([0; 20]);
    let error = Reader::new(&bytes[..], 1 << 30).unwrap().next().unwrap_err();
    assert!(matches!(error, ExportError::Damaged { damage: Damage::Unfinished, .. }), "{error}");
}

#[test]
fn a_range_of_a_log_is_what_lies_in_it() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let first = wal.append(b"first").unwrap();
    let batch = wal.append_batch(&[b"one".as_slice(), b"two", b"three"]).unwrap();
    drop(wal.reserve(100).unwrap());
    let large = wal.append(&[0x77; 9000]).unwrap();
    wal.close().unwrap();
    let source = MemSink::open(&disk).unwrap();
    let run = |range: Range<Lsn>| {
        export(&source, range, Vec::new()).map(|(bytes, _)| read(&bytes).unwrap())
    };
    let end = large.end;
    let all = run(Lsn::ZERO..end).unwrap();
    let payloads: Vec<_> = all.iter().map(|record| record.2.len()).collect();
    assert_eq!(payloads, [5, 3, 3, 5, 9000]);
    let more: Vec<_> = all.iter().map(|record| record.1).collect();
    assert_eq!(more, [false, true, true, false, false]);
    assert_eq!((all[0].0, all[1].0), (first.lsn.get(), batch.lsn.get()));

    // Two records of the batch are a batch, and the rest is a record.
    let (second, third) = (Lsn::new(all[2].0), Lsn::new(all[3].0));
    let cut = run(Lsn::ZERO..third).unwrap();
    assert_eq!(cut.iter().map(|record| record.1).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(run(second..third).unwrap(), [(second.get(), false, b"two".to_vec())]);
    assert_eq!(run(end..end).unwrap(), []);

    let error = run(Lsn::ZERO..end.advance(1 << 20)).map(|records| records.len()).unwrap_err();
    assert!(matches!(error, ExportError::Log(Error::NotAppended { .. })), "{error}");
}

#[test]
fn a_range_that_is_gone_is_refused() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let mut last = wal.append(&[1; 3000]).unwrap();
    for _ in 0..40 {
        last = wal.append(&[1; 3000]).unwrap();
    }
    wal.sync().unwrap();
    let start = wal.truncate_before(last.lsn).unwrap().start;
    assert!(start > Lsn::ZERO);
    wal.close().unwrap();
    let source = MemSink::open(&disk).unwrap();
    let gone = export(&source, Lsn::ZERO..last.end, Vec::new());
    match gone.unwrap_err() {
        ExportError::Log(Error::Truncated { first_available, .. }) => {
            assert_eq!(first_available, start);
        }
        error => panic!("{error}"),
    }
    export(&source, start..last.end, Vec::new()).unwrap();
}

#[test]
fn a_log_is_exported_while_it_is_open_up_to_its_watermark() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    for _ in 0..20 {
        wal.append(&[1; 3000]).unwrap();
    }
    wal.append_and_sync(b"last").unwrap();
    let range = wal.start_lsn()..wal.durable_lsn();
    wal.append(b"neither written nor wanted").unwrap();
    let (bytes, summary) = export(wal.sink(), range, Vec::new()).unwrap();
    assert_eq!(summary.records, 21);
    assert_eq!(read(&bytes).unwrap()[20].2, b"last");
}

/// What looks like damage to a reader of a log that is written to meanwhile lies behind the range.
#[test]
fn damage_behind_the_range_is_of_no_concern_and_within_it_is() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let batch = wal.append_batch(&[b"one".as_slice(), b"two"]).unwrap();
    wal.sync().unwrap();
    let next = wal.append_and_sync(b"another frame").unwrap();
    wal.append_and_sync(b"proves it").unwrap();
    wal.close().unwrap();
    let run = |lsn: Lsn, end: Lsn| {
        let harmed = disk.snapshot();
        harmed.flip_bit(1, (4096 + lsn.get() + 8) * 8);
        let source = MemSink::open(&harmed).unwrap();
        export(&source, Lsn::ZERO..end, Vec::new()).map(|(_, summary)| summary.records)
    };
    // A record and a frame header behind the range, or just within it.
    for end in [batch.end, Lsn::new(4096)] {
        assert_eq!(run(next.lsn, end).unwrap(), 2);
        assert_eq!(run(Lsn::new(next.lsn.get() - 64), end).unwrap(), 2);
    }
    assert!(run(next.lsn, next.end).is_err());
    // The second of a batch is bad: the first was not passed on, so the range is not all there.
    let second = Lsn::new(batch.lsn.get() + 16);
    assert!(run(second, second).is_err());
}

//! Appending, flushing and reading back, over the in-memory sink.

mod support;

use std::io::IoSlice;

use support::{open, payloads, tiny};
use wal_core::sink::mem::MemDisk;
use wal_core::{Durability, Error, Lsn};

#[test]
fn a_record_is_readable_once_it_is_durable_and_not_before() {
    let wal = open(&MemDisk::new(), tiny());
    let a = wal.append(b"hello").unwrap();
    assert!(matches!(wal.read_at(a.lsn), Err(Error::NotDurable { .. })));
    assert!(payloads(&wal).is_empty());
    wal.wait_durable(a.lsn).unwrap();
    assert_eq!(wal.read_at(a.lsn).unwrap(), b"hello");
    assert!(wal.durable_lsn() >= a.end);
    assert_eq!(payloads(&wal), [b"hello"]);
    assert!(matches!(wal.read_at(a.lsn.advance(8)), Err(Error::NotARecord { .. })));
}

/// A cursor goes on where it ended, with what has become durable since.
#[test]
fn a_cursor_follows_the_watermark() {
    let wal = open(&MemDisk::new(), tiny().segment_size(16 << 10).file_size(1 << 20));
    let mut cursor = wal.cursor_from(wal.start_lsn()).unwrap();
    for i in 0..20u8 {
        assert_eq!(cursor.next().unwrap(), None);
        let a = wal.append(&[i; 6000]).unwrap();
        wal.flush().unwrap();
        assert_eq!(cursor.next().unwrap(), None, "written is not durable");
        wal.append(&[i; 10]).unwrap();
        wal.sync().unwrap();
        let entry = cursor.next().unwrap().unwrap();
        assert_eq!((entry.lsn, entry.end, entry.payload), (a.lsn, a.end, &[i; 6000][..]));
        assert_eq!(cursor.next().unwrap().unwrap().payload, [i; 10]);
    }
}

/// Reading starts at the first record at or behind a position, whatever lies there.
#[test]
fn iterating_from_any_position_gives_every_record_at_or_behind_it() {
    let wal = open(&MemDisk::new(), tiny());
    let mut lsns = Vec::new();
    for i in 0..40u8 {
        lsns.push(wal.append(&vec![i; usize::from(i) * 40]).unwrap().lsn);
        if i % 7 == 0 {
            wal.sync().unwrap();
        }
    }
    wal.sync().unwrap();
    for position in (0..wal.durable_lsn().get()).step_by(8).map(Lsn::new) {
        let first = wal.iter_from(position).unwrap().next().map(|r| r.unwrap().lsn);
        assert_eq!(first, lsns.iter().copied().find(|&lsn| lsn >= position));
    }
    let past = wal.iter_from(wal.durable_lsn().advance(1 << 30)).unwrap().next();
    assert!(past.is_none());
}

/// A batch whose end is lost is not there at all.
#[test]
fn a_torn_batch_is_gone_as_a_whole() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let batch = wal.append_batch(&[[1; 100], [2; 100], [3; 100]]).unwrap();
    wal.append(b"behind").unwrap();
    wal.sync().unwrap();
    let torn = disk.snapshot();
    let last = batch.end.get() - 8;
    torn.flip_bit(1, (4096 + last) * 8);
    assert_eq!(payloads(&open(&torn, tiny())), Vec::<Vec<u8>>::new());
    drop(wal);
    assert_eq!(payloads(&open(&disk, tiny())).len(), 4);
}

#[test]
fn every_way_to_append_is_read_back_in_order() {
    let wal = open(&MemDisk::new(), tiny());
    wal.append(b"").unwrap();
    wal.append_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cd")]).unwrap();
    wal.append_batch(&[b"x".as_slice(), b"", b"yz"]).unwrap();
    let mut r = wal.reserve(3).unwrap();
    r.copy_from_slice(b"res");
    r.commit().unwrap();
    drop(wal.reserve(100).unwrap());
    let large = vec![7; 50_000];
    wal.append(&large).unwrap();
    let mut r = wal.reserve(10_000).unwrap();
    r.fill(9);
    r.commit().unwrap();
    wal.append_batch(&[vec![1; 5000], vec![2; 5000]]).unwrap();
    wal.append_with(b"last", Durability::PowerLoss).unwrap();
    let expected: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"abcd".to_vec(),
        b"x".to_vec(),
        b"".to_vec(),
        b"yz".to_vec(),
        b"res".to_vec(),
        large,
        vec![9; 10_000],
        vec![1; 5000],
        vec![2; 5000],
        b"last".to_vec(),
    ];
    assert!(payloads(&wal) == expected);
    let end = wal.clone().close().unwrap();
    assert_eq!(wal.durable_lsn().get() % 4096, 0);
    assert!(end <= wal.durable_lsn());
    assert!(matches!(wal.append(b"no"), Err(Error::Closed)));
    assert!(payloads(&wal) == expected);
}

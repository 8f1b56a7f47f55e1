//! Appending, flushing and reading back, over the in-memory sink.

mod support;

use std::io::IoSlice;

use support::{open, payloads, tiny};
use wal_core::sink::mem::MemDisk;
use wal_core::{Durability, Error};

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

//! Flushes that go wrong, on a simulated disk.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::path::Path;

use wal_core::sink::SinkOp;
use wal_core::testing::sim::{CallKind, Fault, SimDisk, Survival};
use wal_core::{Error, Options, Wal};
use wal_io_std::SimLayer;
use wal_mmap::{FileOptions, MmapSink, Preparation, SimMapper};

type SimWal = Wal<MmapSink<SimLayer, SimMapper>>;

fn open(disk: &SimDisk) -> (SimWal, u64) {
    let files = FileOptions::default().preparation(Preparation::Inline);
    let layer = SimLayer(disk.clone());
    let sink = MmapSink::with_layer(layer, SimMapper, Path::new("/log"), &files).unwrap();
    let options = Options::default().segment_size(8192).segments(4).file_size(64 << 10);
    let (wal, report) = Wal::open(sink, options).unwrap();
    (wal, report.records)
}

/// Whatever is not acknowledged: it was not flushed.
fn survivors(disk: &SimDisk) -> u64 {
    open(&disk.power_loss(Survival::Nothing, 1)).1
}

#[test]
fn an_interrupted_flush_is_made_again() {
    let disk = SimDisk::new(1);
    let (wal, _) = open(&disk);
    let mut first = true;
    disk.plan(move |call| {
        let strikes = call.kind == CallKind::Sync && std::mem::take(&mut first);
        strikes.then_some(Fault::Interrupted)
    });
    wal.append_and_sync(b"acknowledged").unwrap();
    assert_eq!(disk.struck().len(), 1);
    assert_eq!(survivors(&disk), 1);
}

#[test]
fn a_failed_flush_is_final() {
    let disk = SimDisk::new(1);
    let (wal, _) = open(&disk);
    wal.append_and_sync(b"acknowledged").unwrap();
    disk.plan(|call| (call.kind == CallKind::Sync).then_some(Fault::Io));
    let lost = wal.append(b"lost").unwrap();
    for _ in 0..2 {
        let error = wal.wait_durable(lost.lsn).unwrap_err();
        assert!(matches!(&error, Error::Poisoned { first } if first.op == SinkOp::Sync), "{error}");
        // The system would say that all is well by now.
        disk.heal();
    }
    assert!(wal.durable_lsn() <= lost.lsn && wal.append(b"more").is_err());
    assert!((1..=2).contains(&survivors(&disk)));
}

/// What was stored and not flushed survives the process, and nothing else does it surely.
#[test]
fn the_process_may_die_where_the_power_may_not_go() {
    let disk = SimDisk::new(1);
    let (wal, _) = open(&disk);
    wal.append_and_sync(b"durable").unwrap();
    let written = wal.append(b"written").unwrap();
    wal.wait(written.lsn, wal_core::Durability::ProcessCrash).unwrap();
    wal.append(b"in memory").unwrap();
    assert_eq!(survivors(&disk), 1);
    assert_eq!(open(&disk.process_crash(1)).1, 2);
}

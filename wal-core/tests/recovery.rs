//! What recovery makes of a log in each situation: one test for each letter of the case table in
//! `spec/FORMAT.md`, in that order.

mod common;

use common::{Item, LOG_ID, Writer, recover};
use wal_core::Verdict;
use wal_core::recover::Case;

const FILE: u64 = 64 << 10;

#[test]
fn smoke() {
    let mut w = Writer::new(FILE, 4096);
    w.frame(&[Item::Record(b"one"), Item::Record(b""), Item::Void(9)]);
    w.frame(&[Item::Batch(&[b"a", b"b", b"c"])]);
    w.roll();
    w.frame(&[Item::Record(&[7; 9000])]);
    let (scan, records) = recover(&w.disk);
    let scan = scan.unwrap();
    assert_eq!(records, w.records);
    assert_eq!((scan.report.verdict, scan.report.case), (Verdict::Clean, Case::Clean));
    assert_eq!(scan.log_id, Some(LOG_ID));
    w.close(true);
    let (scan, records) = recover(&w.disk);
    assert_eq!(records, w.records);
    assert_eq!(scan.unwrap().report.verdict, Verdict::Closed);
}

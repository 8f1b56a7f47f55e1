//! Tails: what they see and do not see, what wakes them, how they end, and what they leave.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use support::{Rule, ScriptSink, counted, open, tiny};
use wal_core::sink::mem::MemDisk;
use wal_core::{Error, Lsn, Record, Tail, Wal};

fn poll(tail: &mut Tail, waker: &Waker) -> Poll<Option<Result<Record, Error>>> {
    tail.poll_next(&mut Context::from_waker(waker))
}

#[track_caller]
fn ready(tail: &mut Tail, waker: &Waker) -> Vec<u8> {
    match poll(tail, waker) {
        Poll::Ready(Some(record)) => record.unwrap().payload,
        other => panic!("{other:?}"),
    }
}

#[test]
fn durable_records_come_in_order_and_no_other() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let (count, waker) = counted();
    wal.append_and_sync(b"before").unwrap();
    let mut tail = wal.tail_from(Lsn::ZERO).unwrap();
    assert_eq!(ready(&mut tail, &waker), b"before");
    assert!(poll(&mut tail, &waker).is_pending());
    // Neither what is in memory nor what is written, but not synced.
    wal.append(b"first").unwrap();
    drop(wal.reserve(100).unwrap());
    wal.append_batch(&["second", "third"]).unwrap();
    assert!(poll(&mut tail, &waker).is_pending());
    wal.flush().unwrap();
    assert!(poll(&mut tail, &waker).is_pending());
    assert_eq!(count.calls(), 0);
    // One sync, one wake-up, whatever it covers; void records are no news.
    wal.sync().unwrap();
    assert_eq!(count.calls(), 1);
    for expected in ["first", "second", "third"] {
        assert_eq!(ready(&mut tail, &waker), expected.as_bytes());
    }
    assert!(poll(&mut tail, &waker).is_pending());
    drop(wal.reserve(100).unwrap());
    wal.sync().unwrap();
    assert_eq!(count.calls(), 2);
    assert!(poll(&mut tail, &waker).is_pending());
    // Over files, and from a place that nothing has reached yet.
    let ahead = wal.next_lsn().advance(1 << 15);
    let mut late = wal.tail_from(ahead).unwrap();
    for n in 0..20_u8 {
        let appended = wal.append_and_sync(&[n; 3000]).unwrap();
        assert_eq!(ready(&mut tail, &waker), [n; 3000]);
        match poll(&mut late, &waker) {
            Poll::Ready(record) => assert_eq!(record.unwrap().unwrap().lsn, appended.lsn),
            Poll::Pending => assert!(appended.lsn < ahead),
        }
    }
    assert!(disk.sequences().len() > 3);
}

/// A tail waits for what others want durable; it makes nobody write or sync, nor lead.
#[test]
fn a_tail_asks_for_nothing() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let wal = Wal::open(sink, tiny().segments(4)).unwrap().0;
    let mut tail = wal.tail_from(Lsn::ZERO).unwrap();
    let (count, waker) = counted();
    assert!(poll(&mut tail, &waker).is_pending());
    let before = (control.writes(), control.syncs());
    for n in 0..2_u8 {
        wal.append(&[n; 3000]).unwrap();
    }
    assert!(poll(&mut tail, &waker).is_pending());
    assert!(matches!(
        tail.next_timeout(Duration::from_millis(5)),
        Err(Error::TimedOut { durable: Lsn::ZERO })
    ));
    assert_eq!((control.writes(), control.syncs(), count.calls()), (before.0, before.1, 0));
    // One who needs space writes, and makes nothing durable for the tail.
    for n in 2..9_u8 {
        wal.append(&[n; 3000]).unwrap();
    }
    assert!(control.writes() > before.0);
    assert_eq!(control.syncs(), before.1);
    assert!(poll(&mut tail, &waker).is_pending());
}

#[test]
fn truncation_and_cuts_tell_a_tail_that_they_concern() {
    let disk = MemDisk::new();
    let wal = open(&disk, tiny());
    let all: Vec<_> = (0..10_u8).map(|n| wal.append_and_sync(&[n; 3500]).unwrap()).collect();
    let (count, waker) = counted();
    let mut slow = wal.tail_from(Lsn::ZERO).unwrap();
    let mut fast = wal.tail_from(all[9].end).unwrap();
    assert_eq!(ready(&mut slow, &waker), [0; 3500]);
    assert!(poll(&mut fast, &waker).is_pending());
    let start = wal.truncate_before(all[8].lsn).unwrap().start;
    // It has the rest of the first file in its buffer, perhaps; the second is gone.
    let told = loop {
        match poll(&mut slow, &waker) {
            Poll::Ready(Some(Ok(record))) => assert!(record.lsn < all[4].lsn),
            Poll::Ready(Some(Err(error))) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(told, Error::Truncated { first_available, .. } if first_available == start));
    assert_eq!(count.calls(), 0);

    // The log moves on by a cut: who stands at the end is woken, and told.
    let next = wal.truncate_after(all[9].lsn).unwrap();
    assert_eq!(count.calls(), 1);
    match poll(&mut fast, &waker) {
        Poll::Ready(Some(Err(Error::Truncated { first_available, .. }))) => {
            assert_eq!(first_available, next);
        }
        other => panic!("{other:?}"),
    }
    // One that has read no further than to the cut goes on behind it.
    let mut there = wal.tail_from(all[8].end).unwrap();
    assert!(poll(&mut there, &waker).is_pending());
    wal.append_and_sync(b"more").unwrap();
    assert_eq!(ready(&mut there, &waker), b"more");
}

#[test]
fn a_tail_ends_with_the_log() {
    let (count, waker) = counted();
    let ends = |wal: Wal<_>, end: fn(Wal<_>)| {
        wal.append_and_sync(b"last").unwrap();
        let mut tail = wal.tail_from(Lsn::ZERO).unwrap();
        assert_eq!(ready(&mut tail, &waker), b"last");
        assert!(poll(&mut tail, &waker).is_pending());
        let calls = count.calls();
        let other = wal.clone();
        drop(other);
        assert_eq!(count.calls(), calls);
        end(wal);
        assert!(count.calls() > calls);
        assert!(matches!(poll(&mut tail, &waker), Poll::Ready(None)));
        assert!(tail.next().unwrap().is_none());
    };
    ends(open(&MemDisk::new(), tiny()), drop);
    ends(open(&MemDisk::new(), tiny()), |wal| {
        wal.close().unwrap();
    });
}

#[test]
fn a_poisoned_log_is_read_to_its_durable_end_first() {
    let disk = MemDisk::new();
    let (sink, control) = ScriptSink::open(&disk);
    let wal = Wal::open(sink, tiny()).unwrap().0;
    let mut waiting = wal.tail_from(Lsn::ZERO).unwrap();
    let mut late = wal.tail_from(Lsn::ZERO).unwrap();
    let (count, waker) = counted();
    wal.append_and_sync(b"durable").unwrap();
    assert_eq!(ready(&mut waiting, &waker), b"durable");
    assert!(poll(&mut waiting, &waker).is_pending());
    control.on_sync(Rule::Fail(std::io::ErrorKind::Other));
    wal.append(b"lost").unwrap();
    assert!(wal.sync().is_err());
    assert_eq!(count.calls(), 1);
    assert_eq!(ready(&mut late, &waker), b"durable");
    for tail in [&mut waiting, &mut late] {
        assert!(matches!(poll(tail, &waker), Poll::Ready(Some(Err(Error::Poisoned { .. })))));
        assert!(matches!(tail.next(), Err(Error::Poisoned { .. })));
    }
}

/// Dropped while it is registered, after it was woken, or before: nothing is left of it, and another
/// is woken all the same.
#[test]
fn a_tail_that_is_dropped_leaves_nothing_and_takes_nobody_elses_turn() {
    let wal = open(&MemDisk::new(), tiny());
    for stage in 0..4 {
        let (count, waker) = counted();
        let (other_count, other_waker) = counted();
        let from = wal.durable_lsn();
        let mut dropped = wal.tail_from(from).unwrap();
        let mut stays = wal.tail_from(from).unwrap();
        assert!(poll(&mut stays, &other_waker).is_pending());
        if stage > 0 {
            assert!(poll(&mut dropped, &waker).is_pending());
            // Only the last waker counts.
            assert!(poll(&mut dropped, &waker).is_pending());
        }
        if stage == 3 {
            drop(dropped);
            wal.append_and_sync(b"news").unwrap();
        } else {
            wal.append_and_sync(b"news").unwrap();
            if stage == 2 {
                assert_eq!(ready(&mut dropped, &waker), b"news");
                assert!(poll(&mut dropped, &waker).is_pending());
            }
            drop(dropped);
        }
        assert_eq!(count.calls(), [0, 1, 1, 0][stage]);
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1, "a waker is left behind at stage {stage}");
        assert_eq!(other_count.calls(), 1);
        assert_eq!(ready(&mut stays, &other_waker), b"news");
    }
}

/// Threads that wait, and writers that wait for durability: every tail sees every record, in order,
/// and a tail that comes in with a timeout comes out.
#[test]
fn tails_see_everything_while_it_is_written() {
    let wal = open(&MemDisk::new(), tiny().segments(4));
    let tails: Vec<_> = (0..3).map(|_| wal.tail_from(Lsn::ZERO).unwrap()).collect();
    thread::scope(|scope| {
        let follow = |mut tail: Tail, timed: bool| {
            let mut seen = Vec::new();
            loop {
                let next = match timed {
                    true => tail.next_timeout(Duration::from_micros(200)),
                    false => tail.next(),
                };
                match next {
                    Ok(Some(entry)) => seen.push((entry.lsn, entry.payload.to_vec())),
                    Ok(None) => return seen,
                    Err(Error::TimedOut { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let following: Vec<_> = tails
            .into_iter()
            .enumerate()
            .map(|(index, tail)| scope.spawn(move || follow(tail, index == 0)))
            .collect();
        let writers: Vec<_> = (0..3_u32)
            .map(|writer| {
                let wal = wal.clone();
                scope.spawn(move || {
                    let mut written = Vec::new();
                    for index in 0..200 {
                        let payload = support::payload(writer, index, 2500);
                        let appended = wal.append(&payload).unwrap();
                        if index % 4 == 3 {
                            wal.wait_durable(appended.lsn).unwrap();
                        }
                        written.push((appended.lsn, payload));
                    }
                    written
                })
            })
            .collect();
        let mut written: Vec<_> = writers.into_iter().flat_map(|w| w.join().unwrap()).collect();
        written.sort();
        wal.close().unwrap();
        for tail in following {
            assert!(tail.join().unwrap() == written);
        }
    });
}

#[cfg(feature = "stream")]
#[test]
fn a_tail_is_a_stream() {
    use std::pin::pin;
    let wal = open(&MemDisk::new(), tiny());
    let (count, waker) = counted();
    let mut stream = pin!(wal.tail_from(Lsn::ZERO).unwrap());
    let mut next = || {
        let stream: std::pin::Pin<&mut dyn futures_core::Stream<Item = _>> = stream.as_mut();
        stream.poll_next(&mut Context::from_waker(&waker))
    };
    assert!(next().is_pending());
    wal.append_and_sync(b"one").unwrap();
    assert_eq!(count.calls(), 1);
    let Poll::Ready(Some(Ok(record))) = next() else { panic!("nothing came") };
    assert_eq!(record.payload, b"one");
    wal.close().unwrap();
    assert!(matches!(next(), Poll::Ready(None)));
}

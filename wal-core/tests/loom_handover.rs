//! Handing over, under every ordering that the memory model allows: once per life, with every byte
//! of every writer, and back again for the next life.
#![cfg(wal_loom)]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod weak;

use loom::thread;
use wal_core::Lsn;
use wal_core::model::START;
use weak::{Leader, RECORD, Seen, Sum, append, append_in_life, explore, ring};

#[test]
fn the_leader_sees_every_byte_of_every_writer() {
    two_writers_and_a_leader("two writers and a leader", [1, 2]);
}

#[test]
fn the_leader_sees_every_byte_of_writers_that_share_a_stripe() {
    two_writers_and_a_leader("two writers of one stripe and a leader", [1, 3]);
}

/// Two writers, and a leader that seals late and takes the segment as soon as it is complete.
fn two_writers_and_a_leader(name: &str, bytes: [u8; 2]) {
    let (both, straggler) = (Seen::default(), Seen::default());
    let (both_seen, straggles) = (both.clone(), straggler.clone());
    explore(name, Some(3), move || {
        let ring = ring(2);
        let writer = |byte: u8| {
            let ring = ring.clone();
            thread::spawn(move || {
                // Not if it finds the segment closed and the next not active yet.
                append_in_life(&ring, byte, &mut Sum::default()).ok()
            })
        };
        let writers = bytes.map(writer);
        let of_leader = ring.clone();
        let leader = thread::spawn(move || {
            let mut leader = Leader::default();
            let sealed = of_leader.seal_active(Lsn::MAX).activated;
            leader.step(&of_leader);
            (leader, sealed)
        });
        let mut appended = Vec::new();
        for (writer, byte) in writers.into_iter().zip(bytes) {
            appended.extend(writer.join().unwrap().map(|lsn| (lsn.get(), byte)));
        }
        let (mut leader, sealed) = leader.join().unwrap();
        straggles.note(sealed && leader.segments.is_empty());
        both_seen.note(leader.read.len() == 2);
        leader.finish(&ring);
        assert_eq!(leader.segments.len(), usize::from(sealed));
        // The rest is in the segment that is still open.
        appended.retain(|&(lsn, _)| sealed && lsn < leader.segments[0].len);
        appended.sort_unstable();
        assert_eq!(leader.read, appended);
    });
    both.assert("the leader finds the records of both");
    straggler.assert("a writer is still copying when the segment is sealed");
}

/// One thread appends through three lives; another leads and frees what it has read.
#[test]
fn the_next_life_overwrites_only_what_was_read() {
    let (leader_last, writer_last) = (Seen::default(), Seen::default());
    let (leader_second, writer_second) = (leader_last.clone(), writer_last.clone());
    explore("writer and leader", None, move || {
        let ring = ring(1);
        let other = ring.clone();
        let writer = thread::spawn(move || {
            let (mut sum, mut appended) = (Sum::default(), Vec::new());
            for byte in 1..4 {
                appended
                    .extend(append_in_life(&other, byte, &mut sum).map(|lsn| (lsn.get(), byte)));
            }
            (sum, appended)
        });
        let mut leader = Leader::default();
        for _ in 0..2 {
            leader.step(&ring);
        }
        leader_second.note(leader.sum.activated > 0);
        let (mut sum, mut appended) = writer.join().unwrap();
        writer_second.note(sum.activated > 1);
        while leader.step(&ring) {}
        // All that was closed is free again, so one is active, or the next can be.
        let last = append_in_life(&ring, 9, &mut sum).unwrap();
        appended.push((last.get(), 9));
        sum.add(ring.seal_active(Lsn::MAX));
        leader.finish(&ring);
        assert_eq!(leader.read, appended);
    });
    leader_last.assert("the leader activates what it has freed");
    writer_last.assert("the writer activates what the leader has freed");
}

/// Two writers go round the ring while a third thread leads.
#[test]
fn writers_and_leader_share_every_life() {
    let (third, full) = (Seen::default(), Seen::default());
    let (in_third, is_full) = (third.clone(), full.clone());
    explore("two writers round the ring", Some(2), move || {
        let ring = ring(1);
        let writer = |byte: u8| {
            let ring = ring.clone();
            thread::spawn(move || {
                let (mut sum, mut appended) = (Sum::default(), Vec::new());
                for _ in 0..2 {
                    let lsn = append_in_life(&ring, byte, &mut sum);
                    appended.extend(lsn.map(|lsn| (lsn.get(), byte)));
                }
                appended
            })
        };
        let writers = [writer(1), writer(2)];
        let mut leader = Leader::default();
        for _ in 0..2 {
            leader.step(&ring);
        }
        let mut appended = Vec::new();
        for writer in writers {
            appended.append(&mut writer.join().unwrap());
        }
        leader.finish(&ring);
        is_full.note(appended.len() < 4);
        appended.sort_unstable();
        let segment = ring.layout().segment;
        in_third.note(appended.last().is_some_and(|last| last.0 >= 2 * segment));
        for ((lsn, _), index) in appended.iter().zip(0..) {
            assert_eq!(*lsn, index * segment + START, "{appended:?}");
        }
        assert!(appended.starts_with(&leader.read), "{:?} of {appended:?}", leader.read);
    });
    third.assert("a slot lives twice");
    full.assert("the ring is full");
}

/// What the sealer says of a segment is there when the segment is complete.
#[test]
fn the_leader_sees_what_the_sealer_says() {
    let (with_record, without) = (Seen::default(), Seen::default());
    let (has_record, is_empty) = (with_record.clone(), without.clone());
    explore("claim, writer and leader", Some(4), move || {
        let ring = ring(1);
        let of_writer = ring.clone();
        let writer = thread::spawn(move || append(&of_writer, 1, &mut Sum::default()).ok());
        let of_claimant = ring.clone();
        let claimant = thread::spawn(move || of_claimant.claim_direct(24).0.unwrap());
        let mut leader = Leader::default();
        leader.step(&ring);
        let (early, lsn, claim) =
            (leader.segments.len(), writer.join().unwrap(), claimant.join().unwrap());
        leader.finish(&ring);
        // One record fits, so only the claim closes a segment.
        let inside = lsn.is_some_and(|lsn| lsn < claim.place.base);
        let [segment] = leader.segments[..] else { panic!("{:?}", leader.segments) };
        let len = START + if inside { RECORD } else { 0 };
        assert_eq!((segment.len, segment.direct), (len, 24), "{claim:?}");
        let rotation = ring.layout().rotate(segment.place, len, 24);
        assert_eq!(rotation.direct, Some(claim.place));
        has_record.note(early == 1 && inside);
        is_empty.note(early == 1 && !inside);
    });
    with_record.assert("a segment with a record is found complete");
    without.assert("an empty segment is found complete");
}

//! Reserving, under every ordering that the memory model allows: ranges are disjoint and gapless,
//! and belong to the life of the slot that granted them.
#![cfg(wal_loom)]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod weak;

use loom::thread;
use wal_core::model::START;
use weak::{Leader, RECORD, Seen, Sum, append, append_in_life, explore, ring};

/// Two threads append two records each to segments of two.
#[test]
fn ranges_are_disjoint_and_gapless() {
    let (rotated, shared) = (Seen::default(), Seen::default());
    let (rotations, sharing) = (rotated.clone(), shared.clone());
    explore("ranges", Some(4), move || {
        let ring = ring(2);
        let writer = |byte: u8| {
            let ring = ring.clone();
            thread::spawn(move || {
                let (mut sum, mut lsns) = (Sum::default(), Vec::new());
                while lsns.len() < 2 {
                    match append_in_life(&ring, byte, &mut sum) {
                        Ok(lsn) => lsns.push(lsn.get()),
                        Err(closed) => {
                            // The next is free: its activator is on the way.
                            assert_eq!(closed, 0, "segment {closed} is open");
                            thread::yield_now();
                        }
                    }
                }
                (lsns, sum)
            })
        };
        let (one, two) = (writer(1), writer(2));
        let (one, two) = (one.join().unwrap(), two.join().unwrap());
        sharing.note(one.0[0] < two.0[0] && two.0[0] < one.0[1]);
        rotations.note(one.1.activated == 1);
        assert_eq!(one.1.activated + two.1.activated, 1);
        Leader::default().finish(&ring);
        let mut all = [one.0, two.0].concat();
        all.sort_unstable();
        let second = ring.layout().segment + START;
        assert_eq!(all, [START, START + RECORD, second, second + RECORD]);
    });
    rotated.assert("the first thread rotates");
    shared.assert("the threads take turns in a segment");
}

/// One thread takes the ring through three lives of its two slots, so that a writer may come to a
/// slot by the way of an earlier life, as a writer and as the one who crosses its end.
#[test]
fn a_writer_on_a_stale_path_is_of_the_life_that_grants_it() {
    let (first, last) = (Seen::default(), Seen::default());
    let (in_first, in_last) = (first.clone(), last.clone());
    explore("stale writer", Some(3), move || {
        let ring = ring(1);
        let other = ring.clone();
        let writer = thread::spawn(move || append_in_life(&other, 9, &mut Sum::default()).ok());
        let (mut sum, mut leader, mut all) = (Sum::default(), Leader::default(), Vec::new());
        for byte in 1..4 {
            all.extend(append_in_life(&ring, byte, &mut sum));
            leader.step(&ring);
        }
        let stale = writer.join().unwrap();
        leader.finish(&ring);
        all.extend(stale);
        all.sort_unstable();
        // Every segment holds one record.
        let segment = ring.layout().segment;
        for (lsn, index) in all.iter().zip(0..) {
            assert_eq!(lsn.get(), index * segment + START, "{all:?}");
        }
        for (lsn, byte) in leader.read {
            let stale = stale.is_some_and(|stale| stale.get() == lsn);
            assert_eq!(byte == 9, stale, "byte {byte} at {lsn}");
        }
        in_first.note(stale.is_some_and(|lsn| lsn.get() == START));
        in_last.note(stale.is_some_and(|lsn| lsn.get() == 2 * segment + START));
    });
    first.assert("the writer is granted the slot's first life");
    last.assert("the writer is granted the slot's second life");
}

/// The same for a claim, which always crosses an end.
#[test]
fn a_claim_on_a_stale_path_is_placed_behind_the_life_it_closes() {
    let (first, last) = (Seen::default(), Seen::default());
    let (in_first, in_last) = (first.clone(), last.clone());
    explore("stale claim", Some(3), move || {
        let ring = ring(1);
        let other = ring.clone();
        let claimant = thread::spawn(move || other.claim_direct(8).0.ok());
        let (mut sum, mut leader, mut appended) = (Sum::default(), Leader::default(), 0);
        for byte in 1..4 {
            appended += u64::from(append(&ring, byte, &mut sum).is_ok());
            leader.step(&ring);
        }
        let claim = claimant.join().unwrap();
        leader.finish(&ring);
        let Some(claim) = claim else { return };
        in_first.note(claim.sequence == 0);
        in_last.note(claim.sequence == 2);
        assert_eq!(claim.salt, ring.salt(claim.place.file));
        let segments = &leader.segments;
        for segment in segments {
            let direct = if segment.sequence == claim.sequence { 8 } else { 0 };
            assert_eq!(segment.direct, direct);
            let rotation = ring.layout().rotate(segment.place, segment.len, segment.direct);
            assert!(rotation.direct.is_none_or(|place| place == claim.place), "{claim:?}");
            let next = segments.iter().find(|next| next.sequence == segment.sequence + 1);
            assert!(next.is_none_or(|next| next.place == rotation.next), "{segments:?}");
        }
        let end = segments.last().map_or(0, |last| last.place.base.get() + last.len);
        assert!(appended * RECORD <= end);
    });
    first.assert("the claim closes the slot's first life");
    last.assert("the claim closes the slot's second life");
}

/// A claim is refused only where no segment is active.
#[test]
fn a_claim_finds_the_active_segment() {
    let (refused, granted) = (Seen::default(), Seen::default());
    let (refuses, grants) = (refused.clone(), granted.clone());
    explore("claim", None, move || {
        let ring = ring(1);
        let mut sum = Sum::default();
        append(&ring, 1, &mut sum).unwrap();
        let other = ring.clone();
        let claimant = thread::spawn(move || other.claim_direct(8).0.map(|claim| claim.sequence));
        let _ = append(&ring, 2, &mut sum);
        let claim = claimant.join().unwrap();
        // Only a claim closes the second segment.
        assert!(claim != Err(1), "segment 1 is open");
        refuses.note(claim == Err(0));
        grants.note(claim == Ok(1));
    });
    refused.assert("a rotation is under way");
    granted.assert("the claim closes the new segment");
}

//! The end of the stream, under every ordering that the memory model allows: `next_lsn` covers what
//! its caller has appended and nothing that is not reserved; and what is sealed on its account.
#![cfg(wal_loom)]
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod weak;

use loom::thread;
use wal_core::Lsn;
use wal_core::model::{Ring, START};
use weak::{Leader, RECORD, Seen, Sum, append_in_life, explore, ring};

/// What a thread has appended is covered, whichever way it came to its segment.
#[test]
fn it_covers_what_the_same_thread_appended() {
    let (second, third) = (Seen::default(), Seen::default());
    let (in_second, in_third) = (second.clone(), third.clone());
    explore("covered", Some(2), move || {
        let ring = ring(1);
        let (mut sum, mut leader) = (Sum::default(), Leader::default());
        append_in_life(&ring, 1, &mut sum).unwrap();
        let other = ring.clone();
        let writer = thread::spawn(move || {
            let lsn = append_in_life(&other, 9, &mut Sum::default()).ok()?.get();
            let next = other.next_lsn().get();
            assert!(next >= lsn + RECORD, "{next} passes over {lsn}");
            Some(lsn)
        });
        // Takes the ring to the second life of its first slot.
        for byte in 2..4 {
            let _ = append_in_life(&ring, byte, &mut sum);
            leader.step(&ring);
        }
        let lsn = writer.join().unwrap();
        let segment = ring.layout().segment;
        in_second.note(lsn.is_some_and(|lsn| lsn < 2 * segment));
        in_third.note(lsn.is_some_and(|lsn| lsn >= 2 * segment));
    });
    second.assert("the writer is granted the second segment");
    third.assert("the writer is granted the slot's second life");
}

/// A thread that asks while another takes the ring round is told neither of an earlier life nor of
/// bytes that nobody has reserved.
#[test]
fn it_is_between_what_was_reserved_before_and_after() {
    let (before, after) = (Seen::default(), Seen::default());
    let (at_start, at_end) = (before.clone(), after.clone());
    explore("bounded", Some(1), move || {
        let ring = ring(1);
        let (mut sum, mut leader) = (Sum::default(), Leader::default());
        let first = append_in_life(&ring, 1, &mut sum).unwrap().get();
        let other = ring.clone();
        let asker = thread::spawn(move || other.next_lsn().get());
        append_in_life(&ring, 2, &mut sum).unwrap();
        leader.step(&ring);
        // Leaves the slot's second life empty.
        sum.add(ring.seal_active(Lsn::MAX));
        assert_eq!((sum.activated, ring.current()), (2, 2));
        let (told, end) = (asker.join().unwrap(), ring.next_lsn().get());
        assert!((first + RECORD..=end).contains(&told), "{told} of {end}");
        at_start.note(told == first + RECORD);
        at_end.note(told == end);
    });
    before.assert("the thread is told of the first life");
    after.assert("the thread is told of the second life");
}

/// A record that a thread reserves after it has asked does not lie before what it was told.
#[test]
fn nothing_is_reserved_before_it_later() {
    let crossed = Seen::default();
    let crosses = crossed.clone();
    explore("not before", None, move || {
        let ring = ring(1);
        let writer = || {
            let ring = ring.clone();
            thread::spawn(move || {
                let next = ring.next_lsn();
                let lsn = append_in_life(&ring, 1, &mut Sum::default()).ok()?;
                assert!(lsn >= next, "{lsn} after {next}");
                Some((next, lsn))
            })
        };
        let (one, two) = (writer(), writer());
        let told = [one.join().unwrap(), two.join().unwrap()];
        crosses.note(told.iter().flatten().any(|(next, lsn)| lsn.get() > next.get() + START));
    });
    crossed.assert("a segment ends in between");
}

/// A segment whose records all lie at or behind the goal is left alone, whichever life of its slot
/// the caller sees; one with a record before the goal is sealed.
#[test]
fn what_lies_behind_the_goal_is_not_sealed() {
    let (kept, sealed) = (Seen::default(), Seen::default());
    let (keeps, seals) = (kept.clone(), sealed.clone());
    explore("goal", Some(2), move || {
        let ring = ring(1);
        let (mut sum, mut leader) = (Sum::default(), Leader::default());
        append_in_life(&ring, 1, &mut sum).unwrap();
        let other = ring.clone();
        // Nobody wants more than the first two segments.
        let goal = Lsn::new(2 * ring.layout().segment);
        let flusher = thread::spawn(move || {
            let mut sum = Sum::default();
            sum.add(other.seal_active(goal));
            sum
        });
        for byte in 2..4 {
            let _ = append_in_life(&ring, byte, &mut sum);
            leader.step(&ring);
        }
        let of_flusher = flusher.join().unwrap();
        leader.finish(&ring);
        sum.add(ring.seal_active(goal));
        leader.finish(&ring);
        // Two before the goal, unless the ring was full; one behind it.
        assert!(leader.segments.len() <= 2, "{:?}", leader.segments);
        keeps.note(leader.segments.len() == 2 && of_flusher.handed_over == 0);
        seals.note(of_flusher.handed_over == 1);
    });
    kept.assert("nothing is sealed");
    sealed.assert("a segment is sealed");
}

/// The activator of a segment tells of it when others have long gone on: `current` does not go back.
#[test]
fn current_never_goes_back() {
    let passed = Seen::default();
    let passes = passed.clone();
    explore("current", Some(1), move || {
        let ring = loom::sync::Arc::new(Ring::new(3, START + RECORD));
        append_in_life(&ring, 1, &mut Sum::default()).unwrap();
        let of_writer = ring.clone();
        let writer = thread::spawn(move || {
            let append = || append_in_life(&of_writer, 9, &mut Sum::default()).ok();
            let first = append();
            append().or(first)
        });
        let (mut sum, mut leader) = (Sum::default(), Leader::default());
        for byte in 2..4 {
            let _ = append_in_life(&ring, byte, &mut sum);
            leader.step(&ring);
        }
        // Activates the second life of the first slot.
        sum.add(ring.seal_active(Lsn::MAX));
        let last = writer.join().unwrap();
        // Every segment holds one record.
        let furthest = last.map_or(0, |lsn| lsn.get() / ring.layout().segment);
        assert!(ring.current() >= furthest, "{} after {furthest}", ring.current());
        passes.note(furthest == 4);
    });
    passed.assert("the writer activates the segment after that");
}

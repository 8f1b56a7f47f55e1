//! What the tests under the memory-model checker share.
#![allow(unsafe_code)]
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use wal_core::Lsn;
use wal_core::model::{Duties, Granted, Ring, START, Sealed};

/// Stream bytes of a record as these tests make them.
pub(crate) const RECORD: u64 = 16;

/// Runs `model` in every execution with at most `bound` preemptions (`None`: in every one), and
/// says how many there were.
pub(crate) fn explore(name: &str, bound: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(AtomicUsize::new(0));
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound;
    builder.max_branches = 10_000;
    let (start, count) = (Instant::now(), Arc::clone(&executions));
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let bound = bound.map_or("no bound".to_owned(), |n| format!("{n} preemptions"));
    let executions = executions.load(Ordering::Relaxed);
    println!("{name}: {executions} executions ({bound}) in {:.1?}", start.elapsed());
}

/// How often something happened, over all executions of a test.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<AtomicUsize>);

impl Seen {
    /// Counts if `happened`.
    pub(crate) fn note(&self, happened: bool) {
        self.0.fetch_add(usize::from(happened), Ordering::Relaxed);
    }

    /// Fails the test if it never happened: then what it checks was not put to the test.
    pub(crate) fn assert(&self, what: &str) {
        let times = self.0.load(Ordering::Relaxed);
        assert!(times > 0, "never seen: {what}");
        println!("  {what}: {times} times");
    }
}

/// A ring of 2 segments with room for `records` records each.
pub(crate) fn ring(records: u64) -> loom::sync::Arc<Ring> {
    loom::sync::Arc::new(Ring::new(2, START + records * RECORD))
}

/// What one thread was told to do, and how often.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) activated: u32,
    pub(crate) handed_over: u32,
}

impl Sum {
    pub(crate) fn add(&mut self, duties: Duties) {
        self.activated += u32::from(duties.activated);
        self.handed_over += u32::from(duties.handed_over);
    }
}

/// Reserves a record if there is room.
pub(crate) fn try_reserve(ring: &Ring, sum: &mut Sum) -> Result<Granted, u64> {
    let (claim, duties) = ring.reserve(RECORD);
    sum.add(duties);
    claim
}

/// Fills and commits; returns where the record lies. Even and odd bytes have different stripes.
pub(crate) fn commit(ring: &Ring, mut granted: Granted, byte: u8, sum: &mut Sum) -> Lsn {
    let lsn = granted.lsn();
    granted.fill(byte);
    sum.add(ring.commit(granted, usize::from(byte)));
    lsn
}

/// Whoever leads: takes complete segments in order, reads them and frees them.
#[derive(Default)]
pub(crate) struct Leader {
    next: u64,
    /// Where the records lay that it read, and what each was filled with.
    pub(crate) read: Vec<(u64, u8)>,
    /// The segments as it found them.
    pub(crate) segments: Vec<Sealed>,
    pub(crate) sum: Sum,
}

impl Leader {
    /// Takes the next segment if it is complete.
    pub(crate) fn step(&mut self, ring: &Ring) -> bool {
        let Some(sealed) = ring.sealed(self.next) else { return false };
        assert_eq!(sealed.sequence, self.next);
        assert_eq!(sealed.salt, ring.salt(sealed.place.file), "another life's salt");
        // SAFETY: the tests have one leader at a time, and it recycles below.
        let bytes = unsafe { ring.complete(&sealed) };
        for at in (START..sealed.len).step_by(RECORD as usize) {
            let record = &bytes[at as usize..(at + RECORD) as usize];
            assert!(record[0] != 0 && record.iter().all(|&b| b == record[0]), "{record:?}");
            self.read.push((sealed.place.base.get() + at, record[0]));
        }
        self.segments.push(sealed);
        self.next += 1;
        self.sum.activated += u32::from(ring.recycle(&sealed));
        true
    }

    /// Takes all that is complete, when nobody else touches the ring any more, and checks that each
    /// segment was handed over once.
    pub(crate) fn finish(&mut self, ring: &Ring) {
        while self.step(ring) {}
        assert!(ring.handed_over().into_iter().eq(0..self.next), "{:?}", ring.handed_over());
    }
}

/// Appends one record if there is room.
pub(crate) fn append(ring: &Ring, byte: u8, sum: &mut Sum) -> Result<Lsn, u64> {
    Ok(commit(ring, try_reserve(ring, sum)?, byte, sum))
}

/// Appends one record to a ring without claims, and checks that its salt is that of its life.
pub(crate) fn append_in_life(ring: &Ring, byte: u8, sum: &mut Sum) -> Result<Lsn, u64> {
    let granted = try_reserve(ring, sum)?;
    // The first segment fills its file.
    let file = if granted.lsn().get() < ring.layout().segment { 1 } else { 2 };
    assert_eq!(granted.salt(), ring.salt(file), "another life's salt");
    Ok(commit(ring, granted, byte, sum))
}

//! The contract of [`SegmentSink`], clause by clause: each function panics where a sink breaks it.
//! [`sink_conformance!`](crate::sink_conformance) makes a test of each.
#![allow(unsafe_code, reason = "submitting a write is unsafe: its bytes must stay")]
#![allow(clippy::unwrap_used, reason = "a failed call fails its clause")]
#![allow(clippy::missing_panics_doc, reason = "every clause panics if it is broken, and says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IoSlice, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use super::Store;
use crate::error::Error;
use crate::format::file_header::BLOCK_LEN;
use crate::lsn::Lsn;
use crate::options::Options;
use crate::sink::mem::{MemDisk, MemSink};
use crate::sink::{
    Completion, Created, LogSource, SegmentSink, SinkError, SinkOp, Submitted, Write,
};
use crate::wal::Wal;

/// Blocks of a file in these tests.
const BLOCKS: u64 = 8;

/// The unit of offsets and lengths: what the sink wants, and a block at least.
fn unit(sink: &impl SegmentSink) -> u64 {
    sink.alignment().max(4096) as u64
}

/// `len` bytes that no other `seed` up to 250 gives, none of them zero.
fn bytes(seed: u8, len: u64) -> Vec<u8> {
    let seed = u64::from(seed) * 131;
    (0..len).map(|at| ((at * 31 + (at >> 8) + seed) % 251 + 1) as u8).collect()
}

fn write(
    sink: &impl SegmentSink,
    file: u64,
    offset: u64,
    parts: &[&[u8]],
) -> Result<(), SinkError> {
    let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    sink.write(&Write { ticket: 0, file, offset, parts: &parts })
}

fn read(source: &impl LogSource, file: u64, offset: u64, len: u64) -> Vec<u8> {
    let mut buf = vec![0; len as usize];
    let got = source.read_at(file, offset, &mut buf).unwrap();
    buf.truncate(got);
    buf
}

fn sequences(source: &impl LogSource) -> Vec<u64> {
    source.list().unwrap().files.iter().map(|file| file.sequence).collect()
}

fn len_of(source: &impl LogSource, sequence: u64) -> Option<u64> {
    let listing = source.list().unwrap();
    listing.files.iter().find(|file| file.sequence == sequence).map(|file| file.len)
}

/// That a file to which nothing was written is as long as asked, and holds what `create` said.
fn assert_holds_nothing(source: &impl LogSource, file: u64, capacity: u64, created: Created) {
    let there = read(source, file, 0, capacity);
    assert_eq!(there.len() as u64, capacity, "the length of file {file}");
    let zeros = match created {
        Created::Zeroed => there.len(),
        Created::Recycled | Created::InPlace => BLOCK_LEN.min(there.len()),
    };
    let nonzero = there[..zeros].iter().position(|&byte| byte != 0);
    assert_eq!(nonzero, None, "file {file}, {created:?}, has bytes of something else");
}

/// Says that a part of a clause cannot be shown on this store.
fn skipped(clause: &str, lacking: &str) {
    eprintln!("{clause}: a part is left out, since the store gives no {lacking}");
}

/// A store just made holds no file.
pub fn a_new_store_is_empty<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    assert!(sink.list().unwrap().files.is_empty());
}

/// `create`: the whole capacity can be read and written, and no more of it is said to be there.
pub fn create_makes_the_whole_file<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let (unit, capacity) = (unit(&sink), BLOCKS * unit(&sink));
    let created = sink.create(1, capacity).unwrap();
    assert_eq!(len_of(&sink, 1), Some(capacity));
    assert_holds_nothing(&sink, 1, capacity, created);
    let (first, last) = (bytes(1, unit), bytes(2, unit));
    write(&sink, 1, capacity - unit, &[&last]).unwrap();
    write(&sink, 1, 0, &[&first]).unwrap();
    assert_eq!(read(&sink, 1, 0, unit), first);
    assert_eq!(read(&sink, 1, capacity - unit, unit), last);
    assert_eq!(len_of(&sink, 1), Some(capacity));
}

/// `create`: may be called again while nothing was written, in this life and in the next, which may
/// want another capacity.
pub fn create_can_be_repeated<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let capacity = BLOCKS * unit(&sink);
    sink.create(1, capacity).unwrap();
    sink.create(1, capacity).unwrap();
    drop(sink);
    let sink = store.open().unwrap();
    sink.create(1, 2 * capacity).unwrap();
    assert!(read(&sink, 1, 0, 2 * capacity).len() as u64 == 2 * capacity);
    let block = bytes(3, unit(&sink));
    write(&sink, 1, 2 * capacity - unit(&sink), &[&block]).unwrap();
    assert_eq!(read(&sink, 1, 2 * capacity - unit(&sink), unit(&sink)), block);
}

/// `create`: the file is there after a power loss, without a sync.
pub fn create_survives_power_loss<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let capacity = BLOCKS * unit(&sink);
    sink.create(1, capacity).unwrap();
    match store.power_loss() {
        Some(after) => assert_eq!(len_of(&after.open().unwrap(), 1), Some(capacity)),
        None => skipped("create_survives_power_loss", "image of a power loss"),
    }
}

/// `prepare`: what was announced can be created, so can what was not, and a file that was prepared
/// in vain can be removed by the next life.
pub fn prepared_files_can_be_created<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let (unit, capacity) = (unit(&sink), BLOCKS * unit(&sink));
    sink.create(1, capacity).unwrap();
    sink.prepare(2, capacity);
    sink.create(2, capacity).unwrap();
    sink.prepare(3, capacity);
    sink.prepare(3, capacity);
    sink.create(3, 2 * capacity).unwrap();
    assert!(len_of(&sink, 3) >= Some(2 * capacity));
    write(&sink, 2, 0, &[&bytes(1, unit)]).unwrap();
    write(&sink, 3, 2 * capacity - unit, &[&bytes(2, unit)]).unwrap();
    sink.prepare(4, capacity);
    drop(sink);
    let sink = store.open().unwrap();
    assert_eq!(read(&sink, 2, 0, unit), bytes(1, unit));
    if sequences(&sink).contains(&4) {
        sink.remove_unused(4).unwrap();
    }
    assert_eq!(sequences(&sink), [1, 2, 3]);
}

/// `write`: every part, of any length and at any address, arrives whole and in order; the bytes
/// around it stay.
pub fn writes_are_whole<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    sink.create(1, BLOCKS * unit).unwrap();
    let around = bytes(1, BLOCKS * unit);
    write(&sink, 1, 0, &[&around]).unwrap();
    // More parts than a system takes in one call, of odd lengths, some empty.
    let within = bytes(2, 4 * unit);
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut rest = &within[..];
    while !rest.is_empty() {
        let (part, more) = rest.split_at((parts.len() % 8).min(rest.len()));
        parts.push(part);
        rest = more;
    }
    assert!(parts.len() > 2048, "{} parts", parts.len());
    write(&sink, 1, 2 * unit, &parts).unwrap();
    let (from, to) = ((2 * unit) as usize, (6 * unit) as usize);
    let there = read(&sink, 1, 0, BLOCKS * unit);
    assert!(there[from..to] == within[..], "the parts are not as written");
    assert!(there[..from] == around[..from], "bytes before the write have changed");
    assert!(there[to..] == around[to..], "bytes behind the write have changed");
}

/// `write`: to any file that was created, in any order of positions, over and over.
pub fn writes_go_where_they_say<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    for file in [1, 2, 7] {
        sink.create(file, BLOCKS * unit).unwrap();
    }
    for round in 0..3u8 {
        for block in [5, 0, 7, 2, 3, 6, 1, 4] {
            for file in [7, 1, 2] {
                let block_bytes = bytes(round * 80 + file as u8 * 10 + block, unit);
                write(&sink, file, u64::from(block) * unit, &[&block_bytes]).unwrap();
            }
        }
    }
    for file in [1, 2, 7] {
        for block in 0..8u8 {
            let there = read(&sink, file, u64::from(block) * unit, unit);
            assert!(there == bytes(160 + file as u8 * 10 + block, unit), "{block} of {file}");
        }
    }
}

/// Submits one block, whose bytes the caller keeps until the end.
///
/// # Safety
///
/// As for [`SegmentSink::submit`], with `block` as the bytes of the write.
unsafe fn submit(sink: &impl SegmentSink, ticket: u64, at: u64, block: &[u8]) -> Submitted {
    // The array of parts goes at once, as it may.
    let parts = vec![IoSlice::new(&block[..1]), IoSlice::new(&block[1..])];
    // SAFETY: the caller's promise.
    unsafe { sink.submit(&Write { ticket, file: 1, offset: at, parts: &parts }) }
}

/// Reaps until none of `pending` is left.
fn reap_all(sink: &impl SegmentSink, mut pending: BTreeSet<u64>) {
    while !pending.is_empty() {
        let mut done = Vec::new();
        sink.reap(true, &mut done);
        assert!(!done.is_empty(), "a reap that waits returned nothing; in flight: {pending:?}");
        for Completion { ticket, result } in done {
            result.unwrap();
            assert!(pending.remove(&ticket), "ticket {ticket} was reported twice, or never given");
        }
    }
}

/// `memory_in`: none before the first block of the file was written; what is stored in it is in the file at once, its
/// write moves nothing and makes it count for `sync`, and other writes arrive around it.
pub fn lent_memory_is_the_file<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    let lent = || sink.memory_in(1, unit, unit as usize).is_some();
    sink.prepare(1, BLOCKS * unit);
    assert!(!lent(), "lent before it was created");
    let created = sink.create(1, BLOCKS * unit).unwrap();
    assert!(!lent(), "lent before it was begun");
    write(&sink, 1, 0, &[&bytes(9, unit)]).unwrap();
    let Some(lent) = sink.memory_in(1, 2 * unit, 2 * unit as usize) else {
        return skipped("lent_memory_is_the_file", "memory that is a part of a file");
    };
    assert_eq!(created, Created::InPlace);
    assert!(lent.len() as u64 == 2 * unit && (lent.as_ptr() as usize).is_multiple_of(8));
    let next = sink.memory_in(1, 3 * unit, 2 * unit as usize);
    assert!(next.is_some(), "it is not lent while some that it overlaps is");
    let end = sink.memory_in(1, (BLOCKS - 1) * unit, 2 * unit as usize);
    assert!(end.is_none(), "lent behind the end of the file");
    let stored = bytes(1, unit);
    // SAFETY: the first half of what was lent, which is this test's alone; the other memory, which
    // begins behind it, is not used.
    let slice = unsafe { std::slice::from_raw_parts_mut(lent.as_ptr(), unit as usize) };
    slice.copy_from_slice(&stored);
    assert!(read(&sink, 1, 2 * unit, unit) == stored, "what is stored cannot be read");
    if let Some(crashed) = store.process_crash() {
        let there = read(&crashed.open().unwrap(), 1, 2 * unit, unit);
        assert!(there == stored, "what was stored is lost with the process");
    }
    let (before, behind) = (bytes(2, unit), bytes(3, unit));
    write(&sink, 1, unit, &[&before, slice, &behind]).unwrap();
    sink.sync().unwrap();
    drop((lent, next));
    let all = [before, stored, behind].concat();
    assert!(read(&sink, 1, unit, 3 * unit) == all, "not as written");
    if let Some(after) = store.power_loss() {
        let there = read(&after.open().unwrap(), 1, unit, 3 * unit);
        assert!(there == all, "what was stored, written and synced is lost");
    }
}

/// `submit` and `reap`: every write that stays in flight is reported exactly once, and is over
/// then: it can be read, and its memory is the caller's again.
pub fn completions_come_exactly_once<St: Store>() {
    let store = St::new();
    // Before the sink, so that a panic drops it after the sink, which waits for what it reads.
    let mut blocks: Vec<Vec<u8>>;
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    sink.create(1, BLOCKS * unit).unwrap();
    for round in 0..4u8 {
        blocks = (0..BLOCKS).map(|block| bytes(round * 8 + block as u8, unit)).collect();
        let mut pending = BTreeSet::new();
        for (block, at) in blocks.iter().zip(0..) {
            let ticket = u64::from(round) * 100 + at;
            // SAFETY: `blocks` is not touched before everything pending was reaped, in the next
            // lines; if those panic, it is dropped after the sink.
            match unsafe { submit(&sink, ticket, at * unit, block) } {
                Submitted::Done(result) => result.unwrap(),
                Submitted::Pending => assert!(pending.insert(ticket)),
            }
        }
        reap_all(&sink, pending);
        let mut done = Vec::new();
        sink.reap(false, &mut done);
        assert!(done.is_empty(), "reported with nothing in flight: {done:?}");
        blocks.iter_mut().for_each(|block| block.fill(0));
        for at in 0..BLOCKS {
            let there = read(&sink, 1, at * unit, unit);
            assert!(there == bytes(round * 8 + at as u8, unit), "block {at} of round {round}");
        }
    }
}

/// Dropping the sink waits for the writes in flight: their memory can go then, and they are there.
#[expect(clippy::needless_late_init, reason = "declared first to be dropped after the sink")]
pub fn dropping_waits_for_writes_in_flight<St: Store>() {
    let store = St::new();
    let blocks: Vec<_>;
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    sink.create(1, BLOCKS * unit).unwrap();
    blocks = (0..BLOCKS).map(|block| bytes(block as u8, unit)).collect();
    for (block, at) in blocks.iter().zip(0..) {
        // SAFETY: `blocks` lives until the sink has been dropped, here or in a panic.
        if let Submitted::Done(result) = unsafe { submit(&sink, at, at * unit, block) } {
            result.unwrap();
        }
    }
    drop(sink);
    drop(blocks);
    let sink = store.open().unwrap();
    for at in 0..BLOCKS {
        assert!(read(&sink, 1, at * unit, unit) == bytes(at as u8, unit), "block {at} was dropped");
    }
}

/// `sync`: what was written before it, to whichever files, survives a power loss.
#[expect(clippy::needless_late_init, reason = "declared first to be dropped after the sink")]
pub fn sync_covers_completed_writes<St: Store>() {
    let store = St::new();
    let block;
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    for file in [1, 2] {
        sink.create(file, BLOCKS * unit).unwrap();
        write(&sink, file, 0, &[&bytes(file as u8, 2 * unit)]).unwrap();
    }
    sink.sync().unwrap();
    block = bytes(9, unit);
    // SAFETY: `block` is not touched until the write has ended, in the next lines; if those panic,
    // it is dropped after the sink.
    match unsafe { submit(&sink, 5, 3 * unit, &block) } {
        Submitted::Done(result) => result.unwrap(),
        Submitted::Pending => reap_all(&sink, BTreeSet::from([5])),
    }
    sink.sync().unwrap();
    // Covered by neither, and not to be harmed by it.
    write(&sink, 2, 4 * unit, &[&bytes(4, unit)]).unwrap();
    let Some(after) = store.power_loss() else {
        return skipped("sync_covers_completed_writes", "image of a power loss");
    };
    let sink = after.open().unwrap();
    for file in [1, 2] {
        let there = read(&sink, file, 0, 2 * unit);
        assert!(there == bytes(file as u8, 2 * unit), "what was synced to file {file} is lost");
    }
    assert!(read(&sink, 1, 3 * unit, unit) == block, "what was submitted and synced is lost");
}

/// What was written survives the sink, synced or not, and the process.
pub fn reopening_finds_everything<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    for file in [1, 2] {
        sink.create(file, BLOCKS * unit).unwrap();
        write(&sink, file, unit, &[&bytes(file as u8, unit)]).unwrap();
    }
    sink.sync().unwrap();
    write(&sink, 2, 5 * unit, &[&bytes(5, unit)]).unwrap();
    let crashed = store.process_crash();
    drop(sink);
    if crashed.is_none() {
        skipped("reopening_finds_everything", "image of a crash of the process");
    }
    for store in [Some(store), crashed].into_iter().flatten() {
        let sink = store.open().unwrap();
        assert_eq!(sequences(&sink), [1, 2]);
        for (file, at, seed) in [(1, 1, 1), (2, 1, 2), (2, 5, 5)] {
            assert!(read(&sink, file, at * unit, unit) == bytes(seed, unit), "{at} of {file}");
        }
    }
}

/// `read_at`: as much as there is, from any position, and an error for a file that is not there.
pub fn reading_past_the_end_is_short<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let capacity = BLOCKS * unit(&sink);
    sink.create(1, capacity).unwrap();
    write(&sink, 1, 0, &[&bytes(1, capacity)]).unwrap();
    assert!(read(&sink, 1, 3, capacity)[..] == bytes(1, capacity)[3..]);
    assert!(read(&sink, 1, capacity - 10, 20)[..] == bytes(1, capacity)[capacity as usize - 10..]);
    assert!(read(&sink, 1, capacity, 20).is_empty());
    assert!(read(&sink, 1, 1 << 40, 20).is_empty());
    assert!(read(&sink, 1, 5, 0).is_empty());
    let error = sink.read_at(7, 0, &mut [0; 8]).unwrap_err();
    assert!(matches!(error.op, SinkOp::Read | SinkOp::Open), "{error}");
}

/// `read_at`: from any thread, while the log writes.
pub fn reading_goes_on_while_writing<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    sink.create(1, BLOCKS * unit).unwrap();
    write(&sink, 1, 0, &[&bytes(1, unit)]).unwrap();
    // Writing goes on until there were enough reads beside it, and reading until writing has ended.
    let (reads, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let _ends_writing = OnDrop(|| {
                    reads.fetch_add(200, Ordering::SeqCst);
                });
                while !over.load(Ordering::SeqCst) {
                    assert!(read(&sink, 1, 0, unit) == bytes(1, unit));
                    assert!(sequences(&sink).starts_with(&[1]));
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let _ends_reading = OnDrop(|| over.store(true, Ordering::SeqCst));
        for round in 2.. {
            // Rotating at first, and then not: the store may be small.
            let file = round.min(4);
            sink.create(file, BLOCKS * unit).unwrap();
            for block in 0..BLOCKS {
                write(&sink, file, block * unit, &[&bytes(2, unit)]).unwrap();
            }
            sink.sync().unwrap();
            if round > 3 && reads.load(Ordering::SeqCst) >= 200 {
                break;
            }
        }
    });
}

/// Runs at the end of a scope, whatever ends it.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// `list`: the log's files in ascending order, each at a place of its own, and what is none as
/// foreign.
pub fn listing_is_in_order<St: Store>() {
    let store = St::new();
    let planted = store.plant_foreign();
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    for file in [3, 1, 20, 100] {
        sink.create(file, (file + 2) * unit).unwrap();
    }
    let listing = sink.list().unwrap();
    let listed: Vec<_> = listing.files.iter().map(|file| (file.sequence, file.len)).collect();
    assert_eq!(listed, [1, 3, 20, 100].map(|file| (file, (file + 2) * unit)));
    let paths: BTreeSet<_> = listing.files.iter().map(|file| &file.path).collect();
    assert_eq!(paths.len(), 4);
    match planted {
        Some(planted) => assert_eq!(listing.foreign, [planted]),
        None => assert!(listing.foreign.is_empty(), "foreign: {:?}", listing.foreign),
    }
}

/// Errors say what failed and where, and a failed write stays failed.
pub fn errors_are_reported_and_stay<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    sink.create(1, BLOCKS * unit).unwrap();
    write(&sink, 1, 0, &[&bytes(1, unit)]).unwrap();
    for _ in 0..2 {
        // Nobody has created the file.
        let error = write(&sink, 9, unit, &[&bytes(2, unit)]).unwrap_err();
        assert!(matches!(error.op, SinkOp::Write | SinkOp::Open), "{error}");
        assert_eq!(error.file.unwrap_or(9), 9, "{error}");
        let said = error.to_string();
        assert!(error.file.is_some() || error.path.is_some(), "an error names its place: {said}");
    }
    // What is there can still be read, and listed.
    assert!(read(&sink, 1, 0, unit) == bytes(1, unit));
    assert_eq!(sequences(&sink), [1]);
    let error = sink.set_aside(9, 0, unit).unwrap_err();
    assert!(matches!(error.op, SinkOp::SetAside | SinkOp::Open | SinkOp::Read), "{error}");
    assert!(sink.set_aside_file(9).is_err());
    assert!(sink.remove_unused(9).is_err());
    assert!(sink.retire(9).is_err());
}

/// One sink at a time: a second one is told, and does no harm.
pub fn a_second_opener_is_refused<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    sink.create(1, BLOCKS * unit).unwrap();
    match store.open() {
        Err(Error::Locked { .. }) => {}
        Err(error) => panic!("instead of saying that it is locked: {error}"),
        Ok(_) => panic!("two sinks have the store open"),
    }
    write(&sink, 1, 0, &[&bytes(1, unit)]).unwrap();
    sink.sync().unwrap();
    assert!(store.open().is_err());
    drop(sink);
    assert!(read(&store.open().unwrap(), 1, 0, unit) == bytes(1, unit));
}

/// `trim`: takes nothing before the length given, and adds nothing.
pub fn trimming_keeps_what_is_before<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let (unit, capacity) = (unit(&sink), BLOCKS * unit(&sink));
    sink.create(1, capacity).unwrap();
    write(&sink, 1, 0, &[&bytes(1, capacity)]).unwrap();
    sink.sync().unwrap();
    sink.trim(1, 2 * capacity).unwrap();
    assert_eq!(len_of(&sink, 1), Some(capacity));
    sink.trim(1, 3 * unit).unwrap();
    let len = len_of(&sink, 1).unwrap();
    assert!(len == 3 * unit || len == capacity, "{len} bytes");
    assert!(read(&sink, 1, 0, 3 * unit)[..] == bytes(1, capacity)[..(3 * unit) as usize]);
    drop(sink);
    let sink = store.open().unwrap();
    assert!(read(&sink, 1, 0, 3 * unit)[..] == bytes(1, capacity)[..(3 * unit) as usize]);
}

/// `set_aside`: the file stays as it is, the copy is no log file, and says where it is.
pub fn setting_aside_keeps_the_file<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let (unit, capacity) = (unit(&sink), BLOCKS * unit(&sink));
    sink.create(1, capacity).unwrap();
    write(&sink, 1, 0, &[&bytes(1, capacity)]).unwrap();
    sink.sync().unwrap();
    let copy = sink.set_aside(1, 2 * unit, unit + 24).unwrap();
    assert!(!copy.as_os_str().is_empty());
    assert_ne!(sink.set_aside(1, 4 * unit, unit).unwrap(), copy, "two copies in one place");
    assert!(read(&sink, 1, 0, capacity) == bytes(1, capacity));
    drop(sink);
    let sink = store.open().unwrap();
    assert_eq!(sequences(&sink), [1]);
    assert!(read(&sink, 1, 0, capacity) == bytes(1, capacity));
}

/// `set_aside_file` and `remove_unused`: the file is gone for good, and its number can be used again.
pub fn removed_files_are_gone<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let unit = unit(&sink);
    for file in [1, 2, 3] {
        sink.create(file, BLOCKS * unit).unwrap();
    }
    write(&sink, 2, 0, &[&bytes(2, unit)]).unwrap();
    sink.sync().unwrap();
    assert!(!sink.set_aside_file(2).unwrap().as_os_str().is_empty());
    sink.remove_unused(3).unwrap();
    assert_eq!(sequences(&sink), [1]);
    match store.power_loss() {
        Some(after) => assert_eq!(sequences(&after.open().unwrap()), [1]),
        None => skipped("removed_files_are_gone", "image of a power loss"),
    }
    assert!(sink.read_at(2, 0, &mut [0; 8]).is_err(), "a file that is gone is read");
    sink.create(2, BLOCKS * unit).unwrap();
    write(&sink, 2, unit, &[&bytes(7, unit)]).unwrap();
    drop(sink);
    let sink = store.open().unwrap();
    assert_eq!(sequences(&sink), [1, 2]);
    assert!(read(&sink, 2, unit, unit) == bytes(7, unit));
}

/// `retire`: the file is gone for good, whatever happens next, and the others are as they were.
pub fn retired_files_are_gone<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let (unit, capacity) = (unit(&sink), BLOCKS * unit(&sink));
    for file in 1..=6 {
        sink.create(file, capacity).unwrap();
        write(&sink, file, 0, &[&bytes(file as u8, capacity)]).unwrap();
    }
    sink.sync().unwrap();
    let holds = |source: &St::Sink, from: u64| {
        assert_eq!(sequences(source), (from..=6).collect::<Vec<_>>());
        for file in from..=6 {
            let there = read(source, file, 0, capacity);
            assert!(there == bytes(file as u8, capacity), "file {file} has changed");
        }
        assert!(source.read_at(from - 1, 0, &mut [0; 8]).is_err(), "a retired file is read");
    };
    // More than any sink keeps, and each gone when its call returns.
    for file in 1..=4 {
        assert!(
            read(&sink, file, unit, unit)
                == bytes(file as u8, capacity)[unit as usize..][..unit as usize]
        );
        sink.retire(file).unwrap();
        holds(&sink, file + 1);
        match store.power_loss() {
            Some(after) => holds(&after.open().unwrap(), file + 1),
            None => skipped("retired_files_are_gone", "image of a power loss"),
        }
        match store.process_crash() {
            Some(after) => holds(&after.open().unwrap(), file + 1),
            None => skipped("retired_files_are_gone", "image of a crash of the process"),
        }
    }
    assert!(sink.retire(4).is_err(), "a file is retired twice");
    // The next life knows nothing of them either, and can retire what this one has made.
    drop(sink);
    let sink = store.open().unwrap();
    holds(&sink, 5);
    sink.retire(5).unwrap();
    holds(&sink, 6);
}

/// `create` after `retire`: whether the sink uses old files again or not, the new one has its length,
/// holds what it is said to hold, and takes every byte; also after a crash.
pub fn retired_files_may_be_used_again<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let (unit, capacity) = (unit(&sink), BLOCKS * unit(&sink));
    // Some of another length, of which none fits what comes later.
    let len = |file: u64| if file % 4 == 3 { capacity + unit } else { capacity };
    let fill = |file: u64| {
        write(&sink, file, 0, &[&bytes(file as u8, len(file))]).unwrap();
        sink.sync().unwrap();
    };
    for file in 1..=4 {
        sink.create(file, len(file)).unwrap();
        fill(file);
    }
    for file in 5..=16 {
        sink.retire(file - 4).unwrap();
        sink.prepare(file, len(file));
        let created = sink.create(file, len(file)).unwrap();
        assert_eq!(len_of(&sink, file), Some(len(file)));
        assert_holds_nothing(&sink, file, len(file), created);
        assert_eq!(sink.create(file, len(file)).unwrap(), created, "another answer");
        for after in [store.power_loss(), store.process_crash()].into_iter().flatten() {
            let after = after.open().unwrap();
            assert_eq!(sequences(&after), (file - 3..=file).collect::<Vec<_>>());
            assert_holds_nothing(&after, file, len(file), created);
        }
        fill(file);
        for there in file - 3..=file {
            let found = read(&sink, there, 0, len(there));
            assert!(found == bytes(there as u8, len(there)), "file {there} of {file}");
        }
    }
    if let Some(after) = store.power_loss() {
        let after = after.open().unwrap();
        assert_eq!(sequences(&after), [13, 14, 15, 16]);
        assert!(read(&after, 16, 0, capacity) == bytes(16, capacity));
    }
}

/// `retire`: while another thread creates, writes and syncs, and a third one reads.
pub fn retiring_goes_on_beside_everything<St: Store>() {
    const OLD: u64 = 24;
    let store = St::new();
    let sink = store.open().unwrap();
    let (unit, capacity) = (unit(&sink), BLOCKS * unit(&sink));
    for file in 1..=OLD {
        sink.create(file, capacity).unwrap();
        write(&sink, file, 0, &[&bytes(file as u8, unit)]).unwrap();
    }
    sink.sync().unwrap();
    std::thread::scope(|scope| {
        let retiring = scope.spawn(|| {
            for file in 1..=OLD {
                sink.retire(file).unwrap();
                assert!(sink.read_at(file, 0, &mut [0; 8]).is_err(), "a retired file is read");
            }
        });
        let mut file = OLD;
        while file < OLD + 8 || !retiring.is_finished() {
            file += 1;
            sink.prepare(file + 1, capacity);
            let created = sink.create(file, capacity).unwrap();
            assert_holds_nothing(&sink, file, capacity, created);
            for block in 0..BLOCKS {
                write(&sink, file, block * unit, &[&bytes(block as u8, unit)]).unwrap();
            }
            sink.sync().unwrap();
        }
        for file in OLD + 1..=file {
            for block in 0..BLOCKS {
                let there = read(&sink, file, block * unit, unit);
                assert!(there == bytes(block as u8, unit), "block {block} of file {file}");
            }
        }
    });
    assert!(sequences(&sink).iter().all(|&file| file > OLD));
}

/// `alignment` and `memory`: a power of two, and memory of the length asked for, aligned to it,
/// zeroed, apart from all other.
pub fn memory_is_as_asked<St: Store>() {
    let store = St::new();
    let sink = store.open().unwrap();
    let alignment = sink.alignment();
    assert!(alignment.is_power_of_two() && alignment <= 65536, "an alignment of {alignment}");
    let len = 2 * unit(&sink) as usize;
    let lent: Vec<_> = (0..3).map(|_| sink.memory(len).unwrap()).collect();
    let mut ends = Vec::new();
    for memory in &lent {
        assert!(memory.len() >= len);
        let from = memory.as_ptr().addr();
        assert!(from.is_multiple_of(alignment.max(8)), "memory at {from:#x}");
        assert!(ends.iter().all(|&(a, b)| from >= b || from + len <= a), "two share memory");
        ends.push((from, from + len));
        // SAFETY: the memory was lent to this function alone, initialised and of this length.
        let bytes = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), len) };
        assert!(bytes.iter().all(|&byte| byte == 0), "memory is not zeroed");
        bytes.fill(0xa5);
    }
}

/// A whole log over the sink: appended, synced, closed, opened again, and after each crash that the
/// store can tell.
pub fn a_log_lives_on_it<St: Store>() {
    let store = St::new();
    let options = || Options::default().segment_size(16 << 10).segments(3).file_size(128 << 10);
    let payload = |i: u64| bytes(i as u8, if i % 7 == 6 { 40_000 } else { 1 + 331 * (i % 5) });
    let check = |store: &St, at_least: u64, what: &str| {
        let (wal, _) = Wal::open(store.open().unwrap(), options()).unwrap();
        let records: Vec<_> = wal.iter_from(wal.start_lsn()).unwrap().map(Result::unwrap).collect();
        assert!(records.len() as u64 >= at_least, "{what}: {} records", records.len());
        for (i, record) in records.iter().enumerate() {
            assert!(record.payload == payload(i as u64), "{what}: record {i}");
        }
    };
    let (wal, _) = Wal::open(store.open().unwrap(), options()).unwrap();
    for i in 0..30 {
        wal.append(&payload(i)).unwrap();
    }
    wal.sync().unwrap();
    let power = store.power_loss();
    for i in 30..40 {
        wal.append(&payload(i)).unwrap();
    }
    wal.flush().unwrap();
    let process = store.process_crash();
    wal.close().unwrap();
    power.iter().for_each(|store| check(store, 30, "after a power loss"));
    process.iter().for_each(|store| check(store, 40, "after a crash of the process"));
    check(&store, 40, "opened again");
}

/// A log that is truncated as it grows, over files that may be used again, crashed and opened again.
pub fn a_log_is_truncated_on_it<St: Store>() {
    let store = St::new();
    let options = || Options::default().segment_size(16 << 10).segments(2).file_size(64 << 10);
    let payload = |n: u64| {
        let mut payload = bytes(n as u8, 8 + 997 * (n % 7));
        payload[..8].copy_from_slice(&n.to_le_bytes());
        payload
    };
    // The records from some that was not truncated on, up to the last that had been synced.
    let check = |wal: &Wal<St::Sink>, first: u64, last: u64, what: &str| {
        let records: Vec<_> = wal.iter_from(wal.start_lsn()).unwrap().map(Result::unwrap).collect();
        let Some(found) = records.first() else { panic!("{what}: nothing is left") };
        let from = u64::from_le_bytes(found.payload[..8].try_into().unwrap());
        assert!(from <= first, "{what}: begins with {from} instead of {first}");
        assert!(from + records.len() as u64 > last, "{what}: ends before {last}");
        for (record, n) in records.iter().zip(from..) {
            assert!(record.payload == payload(n), "{what}: record {n}");
        }
        from
    };
    let (mut first, mut next, mut begun) = (0, 0, Vec::new());
    for life in 0..3 {
        let (wal, _) = Wal::open(store.open().unwrap(), options()).unwrap();
        for round in 0..12 {
            let mut lsn = wal.start_lsn();
            for _ in 0..16 {
                lsn = wal.append(&payload(next)).unwrap().lsn;
                next += 1;
            }
            wal.sync().unwrap();
            if round % 3 == 1 {
                first = next - 1;
                wal.truncate_before(lsn).unwrap();
            }
            let what = format!("life {life}, round {round}");
            begun.push(check(&wal, first, next - 1, &what));
            for after in [store.power_loss(), store.process_crash()].into_iter().flatten() {
                let (again, _) = Wal::open(after.open().unwrap(), options()).unwrap();
                check(&again, first, next - 1, &what);
            }
        }
        if life == 1 {
            wal.close().unwrap();
        }
    }
    assert!(begun.is_sorted() && begun[0] == 0 && begun[35] > next / 2, "{begun:?}");
}

/// A log that is cut back while two threads append, again and again: in a record's place, within a
/// frame, before a record larger than a segment; held, after each cut and each crash, against a list.
pub fn a_log_is_cut_back_on_it<St: Store>() {
    let store = St::new();
    let options = || Options::default().segment_size(16 << 10).segments(3).file_size(64 << 10);
    let payload = |n: u64| {
        let mut payload = bytes(n as u8, if n % 11 == 10 { 40_000 } else { 8 + 997 * (n % 7) });
        payload[..8].copy_from_slice(&n.to_le_bytes());
        payload
    };
    let check = |wal: &Wal<St::Sink>, expected: &BTreeMap<Lsn, u64>, what: &str| {
        let found = wal.iter_from(wal.start_lsn()).unwrap().map(Result::unwrap);
        let found: BTreeMap<_, _> = found.map(|record| (record.lsn, record.payload)).collect();
        assert!(found.keys().eq(expected.keys()), "{what}: other records");
        assert!(found.iter().all(|(lsn, p)| *p == payload(expected[lsn])), "{what}: other bytes");
    };
    let (mut expected, mut begun) = (BTreeMap::new(), 0);
    for life in 0..3 {
        let (wal, _) = Wal::open(store.open().unwrap(), options()).unwrap();
        check(&wal, &expected, "opened again");
        for round in 0..6 {
            let what = format!("life {life}, round {round}");
            let append = |from: u64| {
                let all = (from..from + 12).map(|n| (wal.append(&payload(n)).unwrap().lsn, n));
                all.collect::<BTreeMap<_, _>>()
            };
            let before = append(begun);
            let at = before.keys().nth(round * 2).copied().unwrap_or_default();
            let (next, beside) = std::thread::scope(|scope| {
                let beside = [12, 24].map(|ahead| scope.spawn(move || append(begun + ahead)));
                let next = wal.truncate_after(at).unwrap();
                (next, beside.map(|thread| thread.join().unwrap()))
            });
            begun += 36;
            // What the others have appended meanwhile came before the cut or behind it.
            let all = beside.into_iter().chain([before]).flatten();
            expected.extend(all.filter(|&(lsn, _)| lsn < at || lsn >= next));
            wal.sync().unwrap();
            check(&wal, &expected, &what);
            for after in [store.power_loss(), store.process_crash()].into_iter().flatten() {
                let (again, report) = Wal::open(after.open().unwrap(), options()).unwrap();
                assert!(again.next_lsn() >= next, "{what}: positions are given out again");
                check(&again, &expected, &format!("{what}, {report}"));
            }
        }
        if life == 1 {
            wal.close().unwrap();
        }
    }
}

/// A log that is read backwards, in this life and the next, also while another thread appends and
/// truncates: the same records as forwards in the opposite order, or word of the truncation.
pub fn a_log_is_read_backwards_on_it<St: Store>() {
    let store = St::new();
    let options = || Options::default().segment_size(16 << 10).segments(3).file_size(64 << 10);
    let payload = |n: u64| {
        let mut payload = bytes(n as u8, if n % 31 == 30 { 40_000 } else { 8 + 997 * (n % 5) });
        payload[..8].copy_from_slice(&n.to_le_bytes());
        payload
    };
    let append = |wal: &Wal<St::Sink>, numbers: std::ops::Range<u64>| {
        for n in numbers {
            let appended = wal.append(&payload(n)).unwrap();
            if n % 7 == 6 {
                wal.wait_durable(appended.lsn).unwrap();
            }
        }
        wal.sync().unwrap();
    };
    let check = |wal: &Wal<St::Sink>| {
        let all: Vec<_> = wal.iter_from(wal.start_lsn()).unwrap().map(Result::unwrap).collect();
        for from in [all.len(), all.len() / 2, 1] {
            let lsn = all.get(from).map_or(Lsn::MAX, |record| record.lsn);
            let back = wal.iter_back_from(lsn).unwrap().map(Result::unwrap);
            assert!(back.eq(all[..from].iter().rev().cloned()), "before {lsn}: other records");
        }
        all.len() as u64
    };
    let (wal, _) = Wal::open(store.open().unwrap(), options()).unwrap();
    append(&wal, 0..100);
    assert_eq!(check(&wal), 100);
    drop(wal);
    let (wal, _) = Wal::open(store.open().unwrap(), options()).unwrap();
    append(&wal, 100..120);
    assert_eq!(check(&wal), 120);
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            for from in (120..280).step_by(20) {
                append(&wal, from..from + 20);
                wal.truncate_before(Lsn::new(wal.next_lsn().get() - 100_000)).unwrap();
            }
        });
        while !beside.is_finished() {
            let mut after = None;
            for record in wal.iter_back_from(Lsn::MAX).unwrap() {
                let record = match record {
                    Err(Error::Truncated { lsn, first_available }) if lsn < first_available => {
                        break;
                    }
                    record => record.unwrap(),
                };
                let n = u64::from_le_bytes(record.payload[..8].try_into().unwrap());
                assert!(record.payload == payload(n), "record {n}");
                assert!(after.is_none_or(|after| after == n + 1), "{n} comes before {after:?}");
                after = Some(n);
            }
        }
        beside.join().unwrap();
    });
    assert!(check(&wal) < 280);
}

/// A log whose files are shipped while it grows, is truncated as far as it goes, and opened again: each
/// file is there until it is done, what is announced of it is what a power loss would leave, and the
/// copies are a log.
pub fn a_log_is_archived_on_it<St: Store>() {
    let store = St::new();
    let options = || Options::default().segment_size(16 << 10).segments(2).file_size(64 << 10);
    let payload = |n: u64| {
        let mut payload = bytes(n as u8, 8 + 997 * (n % 7) + if n % 50 == 7 { 100_000 } else { 0 });
        payload[..8].copy_from_slice(&n.to_le_bytes());
        payload
    };
    let (copies, mut position, mut next, mut shipped) = (MemDisk::new(), Lsn::ZERO, 0, 0);
    for life in 0..3 {
        let (wal, _) = Wal::open(store.open().unwrap(), options()).unwrap();
        let mut archive = wal.archive("copies", position).unwrap();
        for _ in 0..12 {
            for _ in 0..16 {
                wal.append(&payload(next)).unwrap();
                next += 1;
            }
            wal.sync().unwrap();
            wal.truncate_before(Lsn::MAX).unwrap();
            // The next file begins on a block of its own.
            assert!(wal.start_lsn() <= position.align_up(4096), "not shipped, and gone");
            let context = &mut Context::from_waker(Waker::noop());
            while let Poll::Ready(Some(file)) = archive.poll_next(context) {
                let file = file.unwrap();
                let (mut copy, sequence) = (Vec::new(), file.sequence());
                file.reader().read_to_end(&mut copy).unwrap();
                if let Some(after) = store.power_loss() {
                    let found = read(&after.open().unwrap(), sequence, 0, file.len());
                    assert!(found == copy, "file {sequence} was announced before it was durable");
                }
                let listed = wal.sink().list().unwrap().files;
                let listed = listed.iter().find(|listed| listed.sequence == sequence);
                assert!(listed.is_some_and(|listed| listed.path == file.path()), "{file:?}");
                copy.resize(file.capacity() as usize, 0);
                copies.put_file(sequence, copy);
                position = file.end();
                shipped += 1;
                file.done();
            }
        }
        drop(archive);
        if life == 1 {
            wal.close().unwrap();
        }
    }
    let (restored, report) = Wal::open(MemSink::open(&copies).unwrap(), options()).unwrap();
    let records = restored.iter_from(Lsn::ZERO).unwrap().map(Result::unwrap);
    let count = records.zip(0..).map(|(record, n)| assert!(record.payload == payload(n))).count();
    assert!(shipped > 20 && count as u64 + 200 > next && report.holes.is_empty(), "{report}");
}

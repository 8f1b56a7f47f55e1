//! What the ring may answer, and when the sink may go: writes that end short, interrupted, failed and
//! out of order, panics and drops at every step. The ring of these tests reads memory when a write
//! ends, so that under AddressSanitizer any byte given back early is found.
#![allow(unsafe_code, reason = "submitting a write is unsafe: its bytes must stay")]
#![allow(clippy::unwrap_used, reason = "a failed call fails its test")]

mod support;

use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use support::{Driven, Fate, Script, ring};
use wal_core::sink::{LogSource, SegmentSink, SinkOp, Submitted, Write};
use wal_core::testing::sim::{SimDisk, Survival};
use wal_core::{Error, Options, SinkError};
use wal_io_std::{FileOptions, Preparation, SimLayer};
use wal_io_uring::{UringOptions, UringSink};

const BLOCK: usize = 4096;
const FILE: u64 = 64 * BLOCK as u64;

type Sink = UringSink<Driven, SimLayer>;

fn options() -> UringOptions {
    UringOptions::default().files(FileOptions::default().preparation(Preparation::Inline))
}

fn open(disk: &SimDisk, seed: u64) -> (Arc<Mutex<Script>>, Sink) {
    let (script, ring) = ring(seed);
    let layer = SimLayer(disk.clone());
    (script, UringSink::with_queue(ring, layer, Path::new("/log"), &options()).unwrap())
}

fn opened(seed: u64) -> (SimDisk, Arc<Mutex<Script>>, Sink) {
    let disk = SimDisk::new(seed);
    let (script, sink) = open(&disk, seed);
    sink.create(1, FILE).unwrap();
    (disk, script, sink)
}

fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 7 + at / 256 + seed * 31) % 251 + 1) as u8).collect()
}

fn write(sink: &Sink, at: u64, bytes: &[u8]) -> Result<(), SinkError> {
    sink.write(&Write { ticket: 0, file: 1, offset: at, parts: &[IoSlice::new(bytes)] })
}

fn read(sink: &Sink, at: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0; len];
    assert_eq!(sink.read_at(1, at, &mut buf).unwrap(), len);
    buf
}

/// A ring that ends writes as they come, short at every length, and interrupted.
#[test]
fn short_and_interrupted_writes_are_finished() {
    let (_, script, sink) = opened(1);
    let whole = bytes(1, 3 * BLOCK);
    for (round, short) in [512, 513, 1024, 4095, 4096, 4097, 8192, 12287].into_iter().enumerate() {
        let interruptions = [libc::EINTR, libc::EAGAIN, libc::ECANCELED].map(Fate::Errno);
        script.lock().unwrap().fates.extend(interruptions);
        script.lock().unwrap().fates.extend([Fate::Short(short), Fate::Short(512)]);
        let at = (round * 4 * BLOCK) as u64;
        write(&sink, at, &whole).unwrap();
        assert!(script.lock().unwrap().fates.is_empty(), "the faults have happened");
        assert!(read(&sink, at, 3 * BLOCK) == whole, "short by {short}");
        assert!(read(&sink, at + 3 * BLOCK as u64, BLOCK).iter().all(|&byte| byte == 0));
    }
    assert!(sink.activity().resumed >= 8 * 4, "{:?}", sink.activity());
    sink.sync().unwrap();
}

/// What a write is refused for is reported for it, once, and names the place; everything later is
/// refused for the same reason, and reading goes on.
#[test]
fn errors_surface_once_and_stay() {
    for errno in [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EBADF] {
        let (_, script, sink) = opened(2);
        let good = bytes(1, BLOCK);
        write(&sink, 0, &good).unwrap();
        script.lock().unwrap().fates.push_back(Fate::Errno(errno));
        let error = write(&sink, 4 * BLOCK as u64, &good).unwrap_err();
        assert_eq!((error.op, error.file), (SinkOp::Write, Some(1)));
        assert_eq!(error.offset, Some(4 * BLOCK as u64));
        assert_eq!(error.source.raw_os_error(), Some(errno));
        assert_eq!(error.is_no_space(), [libc::ENOSPC, libc::EDQUOT].contains(&errno));
        let enters = sink.activity().enters;
        for _ in 0..2 {
            let later = write(&sink, 0, &good).unwrap_err();
            assert!(later.to_string().contains("earlier failure"), "{later}");
            assert!(sink.sync().unwrap_err().to_string().contains("earlier failure"));
            assert!(sink.create(2, FILE).is_err());
        }
        assert_eq!(sink.activity().enters, enters, "nothing more was tried");
        assert!(read(&sink, 0, BLOCK) == good);
    }
}

/// Of several writes in flight, the one that failed is the one reported so, and the others end as
/// they do.
#[test]
fn the_ticket_that_failed_is_the_one_reported() {
    for seed in 0..40 {
        let (_, script, sink) = opened(seed);
        let memory = sink.memory(6 * BLOCK).unwrap();
        // SAFETY: lent to this test alone, initialised, of this length, and kept by the sink.
        let segment = unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), memory.len()) };
        for (n, block) in segment.chunks_mut(BLOCK).enumerate() {
            block.copy_from_slice(&bytes(n, BLOCK));
        }
        let blocks: Vec<&[u8]> = segment.chunks(BLOCK).collect();
        let nth = seed as usize % 6;
        script.lock().unwrap().fates.extend((0..nth).map(|_| Fate::Whole));
        script.lock().unwrap().fates.push_back(Fate::Errno(libc::EIO));
        for (n, block) in blocks.iter().enumerate() {
            let parts = [IoSlice::new(block)];
            let write =
                Write { ticket: 10 + n as u64, file: 1, offset: (n * BLOCK) as u64, parts: &parts };
            // SAFETY: registered memory stays until the sink is dropped, and is not changed.
            assert!(matches!(unsafe { sink.submit(&write) }, Submitted::Pending));
        }
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        while done.len() < 6 {
            sink.reap(true, &mut done);
        }
        for completion in &done {
            let n = (completion.ticket - 10) as usize;
            match &completion.result {
                Ok(()) => assert!(read(&sink, (n * BLOCK) as u64, BLOCK) == blocks[n]),
                Err(error) => {
                    assert_eq!(error.offset, Some((n * BLOCK) as u64));
                    failed.push(n);
                }
            }
        }
        assert_eq!(failed.len(), 1, "{done:?}");
        let mut tickets: Vec<_> = done.iter().map(|completion| completion.ticket).collect();
        tickets.sort_unstable();
        assert_eq!(tickets, (10..16).collect::<Vec<_>>());
        assert!(sink.sync().is_err());
    }
}

/// The calls of the system themselves may be interrupted, take part of what they are given, or be
/// refused from some time on.
#[test]
fn a_ring_that_is_refused_fails_what_it_was_not_given() {
    let (_, script, sink) = opened(3);
    script.lock().unwrap().at_once = 1;
    let big = bytes(1, 40 * BLOCK + 1);
    let passing = [libc::EINTR, libc::EAGAIN, libc::EBUSY].map(Some);
    script.lock().unwrap().enter.extend(passing);
    // Not aligned, and more than is copied at once.
    write(&sink, 0, &big[1..]).unwrap();
    assert!(read(&sink, 0, 40 * BLOCK) == big[1..]);
    script.lock().unwrap().enter.extend([None, Some(libc::EPERM)]);
    let error = write(&sink, 0, &big[1..]).unwrap_err();
    assert_eq!(error.source.raw_os_error(), Some(libc::EPERM), "{error}");
    assert!(sink.sync().is_err());
    assert!(script.lock().unwrap().calls > 0);
}

/// A record of any size takes the memory of the few buffers that it is copied through.
#[test]
fn what_is_not_aligned_is_copied_in_chunks() {
    let (_, _, sink) = opened(4);
    let big = bytes(5, 60 * BLOCK + 3);
    write(&sink, 0, &big[3..]).unwrap();
    assert_eq!(sink.activity().copied, 60 * BLOCK as u64);
    assert!(sink.activity().pushed >= 4, "{:?}", sink.activity());
    assert!(read(&sink, 0, 60 * BLOCK) == big[3..]);
    let memory = sink.memory(4 * BLOCK).unwrap();
    // SAFETY: lent to this test alone, and initialised.
    let segment = unsafe { std::slice::from_raw_parts(memory.as_ptr(), memory.len()) };
    write(&sink, 0, segment).unwrap();
    assert_eq!(sink.activity().copied, 60 * BLOCK as u64, "a segment is not copied");
    assert_eq!(sink.features().registered_segments, 1);
}

/// What cannot be registered is written without, and said.
#[test]
fn what_cannot_be_registered_is_done_without() {
    let disk = SimDisk::new(5);
    let (script, ring) = ring(5);
    script.lock().unwrap().refuse_registration = true;
    let layer = SimLayer(disk);
    let sink = UringSink::with_queue(ring, layer, Path::new("/log"), &options()).unwrap();
    sink.create(1, FILE).unwrap();
    let memory = sink.memory(BLOCK).unwrap();
    // SAFETY: as above.
    let segment = unsafe { std::slice::from_raw_parts(memory.as_ptr(), memory.len()) };
    write(&sink, 0, segment).unwrap();
    let features = sink.features();
    assert!(features.direct && features.durable_writes);
    assert_eq!((features.registered_segments, features.registered_files), (0, false));
    let said = features.to_string();
    assert!(said.contains("ulimit -l") && said.contains("files cannot be registered"), "{said}");
}

/// Memory of the test's own, which goes right behind the sink, over a log that is dropped, or whose
/// ring panics, at every step that there is.
#[test]
fn nothing_is_freed_while_it_is_in_the_ring() {
    let log = Options::default().segment_size(8192).segments(4).depth(3).file_size(64 << 10);
    let mut steps = 0;
    for at in 0.. {
        let log = log.clone();
        let disk = SimDisk::new(6);
        let (script, ring) = ring(at as u64);
        script.lock().unwrap().panic_at = Some(at);
        let layer = SimLayer(disk.clone());
        let ended = catch_unwind(AssertUnwindSafe(|| -> Result<(), Error> {
            let sink = UringSink::with_queue(ring, layer, Path::new("/log"), &options())?;
            let (wal, _) = wal_core::Wal::open(sink, log.clone())?;
            for n in 0..60 {
                wal.append(&bytes(n, 1500))?;
                if n % 9 == 8 {
                    wal.sync()?;
                }
            }
            // No frame from a stack, as a large record or a close has: a panic of the ring while it
            // has one ends the process.
            wal.sync()
        }));
        let over = script.lock().unwrap_or_else(std::sync::PoisonError::into_inner).calls <= at;
        match ended {
            Ok(Ok(())) if over => break,
            // The log is poisoned, or the panic came through.
            Ok(Err(_)) | Err(_) => {}
            Ok(Ok(())) => panic!("the panic at call {at} was swallowed"),
        }
        steps += 1;
        let left = script.lock().unwrap_or_else(std::sync::PoisonError::into_inner).in_flight;
        assert_eq!(left, 0, "dropped with writes in the ring, call {at}");
        // What is there opens.
        let (_, sink) = open(&disk.process_crash(at as u64), 1);
        wal_core::Wal::open(sink, log).unwrap();
    }
    assert!(steps > 30, "{steps} steps");
}

/// The sink is dropped after any number of completions were taken: the others are waited for.
#[test]
fn dropping_waits_at_every_step() {
    for reaped in 0..6 {
        for seed in 0..10 {
            let blocks: Vec<_> = (0..6).map(|n| bytes(n, BLOCK)).collect();
            let (disk, script, sink) = opened(seed);
            {
                let sink = sink;
                for (n, block) in blocks.iter().enumerate() {
                    let parts = [IoSlice::new(block)];
                    let offset = (n * BLOCK) as u64;
                    let write = Write { ticket: n as u64, file: 1, offset, parts: &parts };
                    // SAFETY: the blocks are dropped after the sink.
                    assert!(matches!(unsafe { sink.submit(&write) }, Submitted::Pending));
                }
                let mut done = Vec::new();
                while done.len() < reaped {
                    sink.reap(true, &mut done);
                }
            }
            assert_eq!(script.lock().unwrap().in_flight, 0);
            // Durable, too: each write was, when it ended.
            let (_, sink) = open(&disk.power_loss(Survival::Nothing, seed), seed);
            for n in 0..6 {
                assert!(read(&sink, (n * BLOCK) as u64, BLOCK) == bytes(n, BLOCK), "block {n}");
            }
        }
    }
}

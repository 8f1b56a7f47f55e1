//! What the kernel is asked for in the steady state. Alone in its process: another log's workers would
//! be counted, too.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::thread;

use wal_core::Options;
use wal_io_uring::{Wal, open};

/// How often each thread has slept that the kernel has made for this process to do what it could not do
/// at once: once for each job, at the least. It ends them some seconds after the last one.
fn workers() -> BTreeMap<OsString, u64> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
    let works = |task: &DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("iou-wrk"))
    };
    let sleeps = |task: DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let count = status.lines().find_map(|l| l.strip_prefix("voluntary_ctxt_switches:"))?;
        Some((task.file_name(), count.trim().parse().ok()?))
    };
    tasks.filter(works).filter_map(sleeps).collect()
}

/// Commits by several threads over several files used again, while a reader follows; returns the
/// calls of the system, the syncs and the frames.
fn commits(wal: &Wal, rounds: usize) -> (u64, u64, u64) {
    let (before, stats) = (wal.sink().activity().enters, wal.stats());
    thread::scope(|scope| {
        for reads in [true, false] {
            scope.spawn(move || {
                for n in 0..rounds {
                    let lsn = wal.append_and_sync(&[n as u8; 100]).unwrap().lsn;
                    if reads && n % 16 == 0 {
                        assert_eq!(wal.read_at(lsn).unwrap(), [n as u8; 100]);
                        wal.truncate_before(lsn).unwrap();
                    }
                }
            });
        }
    });
    let after = wal.stats();
    let enters = wal.sink().activity().enters - before;
    (enters, after.syncs - stats.syncs, after.frames - stats.frames)
}

/// In the steady state, the kernel hands nothing to worker threads, and a commit is one call.
#[test]
fn a_commit_is_one_call_and_no_worker_is_needed() {
    if let Err(why) = wal_io_uring::probe() {
        eprintln!("skipped: {why}");
        return;
    }
    // Not on a file system in memory, which has no device to wait for.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (wal, _) = open(dir.path(), Options::default().file_size(1 << 20)).unwrap();
    let features = wal.sink().features();
    if !features.direct {
        eprintln!("skipped: {features}");
        return;
    }
    assert!(features.durable_writes && features.missing.is_empty(), "{features}");
    commits(&wal, 50);
    let before = workers();
    let (enters, syncs, frames) = commits(&wal, 300);
    let jobs: u64 = workers()
        .into_iter()
        .map(|(worker, sleeps)| sleeps - before.get(&worker).copied().unwrap_or(0))
        .sum();
    // A file made in the meantime may take one or two.
    assert!(jobs <= frames / 100, "the kernel hands to workers: {jobs} sleeps in {frames} frames");
    assert_eq!(enters, frames, "calls for as many frames");
    assert!(syncs <= frames && wal.sink().activity().resumed == 0, "{:?}", wal.sink().activity());
}

//! The durable queue: at least once, and never again once that is durable.

#[allow(dead_code, reason = "the program's own main")]
#[path = "../../examples/queue.rs"]
mod example;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use wal_core::{Lsn, Options};

use example::Queue;

/// Without one, it waits for so long.
const NOTHING: Duration = Duration::from_millis(20);

fn small() -> Options {
    Options::default().segment_size(4096).segments(4).file_size(16 << 10)
}

fn message(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(50)
}

/// The files of a log as they are on disk at this moment, opened as a queue: what a crash leaves.
fn crash(dir: &Path) -> Result<(tempfile::TempDir, Queue), Failed> {
    let copy = tempfile::tempdir()?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match std::fs::copy(entry.path(), copy.path().join(entry.file_name())) {
            // A file in the making, which has got its name since: nothing is in it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => drop(copied?),
        }
    }
    let queue = Queue::open(copy.path(), small())?;
    Ok((copy, queue))
}

/// The ids of all that is received, which is then acknowledged.
fn drain(queue: &Queue) -> Result<Vec<Lsn>, Failed> {
    let mut ids = Vec::new();
    while let Some(delivery) = queue.receive(NOTHING)? {
        ids.push(delivery.id);
        delivery.acknowledge()?;
    }
    Ok(ids)
}

/// Crashes after every step of a life in which messages are acknowledged in another order than they
/// were pushed in.
pub(crate) fn comes_again() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let queue = Queue::open(dir.path(), small())?;
    let mut waiting = BTreeSet::new();
    let mut held = Vec::new();
    for n in 0..60_u32 {
        waiting.insert(queue.push(&message(n))?);
        if n % 2 == 0 {
            held.extend(queue.receive(NOTHING)?);
        }
        if n % 3 == 2 && !held.is_empty() {
            let delivery = held.swap_remove(n as usize * 7 % held.len());
            let id = delivery.id;
            delivery.acknowledge()?;
            waiting.remove(&id);
        }
        if n % 5 == 0 {
            let (_copy, after) = crash(dir.path())?;
            assert!(drain(&after)?.into_iter().eq(waiting.iter().copied()), "after {n}");
        }
    }
    assert!(waiting.len() > 20 && waiting.len() < 50);
    // What is acknowledged after one crash does not come after the next.
    let (copy, after) = crash(dir.path())?;
    let first = after.receive(NOTHING)?.ok_or("nothing")?;
    assert_eq!(Some(&first.id), waiting.first());
    let gone = first.id;
    first.acknowledge()?;
    waiting.remove(&gone);
    drop(after);
    let again = Queue::open(copy.path(), small())?;
    assert!(drain(&again)?.into_iter().eq(waiting));
    assert!(again.receive(NOTHING)?.is_none());
    Ok(())
}

pub(crate) fn dropped() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let queue = Queue::open(dir.path(), small())?;
    let id = queue.push(b"hard")?;
    for _ in 0..3 {
        let delivery = queue.receive(NOTHING)?.ok_or("nothing")?;
        assert_eq!((delivery.id, &delivery.payload[..]), (id, &b"hard"[..]));
        assert!(queue.receive(NOTHING)?.is_none(), "on loan");
    }
    assert_eq!(drain(&queue)?, [id]);
    assert!(queue.receive(NOTHING)?.is_none());
    Ok(())
}

/// Producers and consumers at once: in one life each message comes to one consumer, in whole.
pub(crate) fn many() -> Result<(), Failed> {
    const EACH: u32 = 100;
    let dir = tempfile::tempdir()?;
    let queue = Queue::open(dir.path(), small())?;
    let (pushed, seen) = (Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let producers = (0..3_u32).map(|producer| {
            let (queue, pushed) = (&queue, &pushed);
            scope.spawn(move || {
                for n in 0..EACH {
                    let content = message(producer * EACH + n);
                    let id = queue.push(&content)?;
                    pushed.lock().map_err(panicked)?.insert((id, content));
                }
                Ok::<_, Failed>(())
            })
        });
        let producers: Vec<_> = producers.collect();
        let consumers = (0..3).map(|_| {
            let (queue, seen) = (&queue, &seen);
            scope.spawn(move || {
                while seen.lock().map_err(panicked)?.len() < 3 * EACH as usize {
                    let Some(mut delivery) = queue.receive(NOTHING)? else { continue };
                    let entry = (delivery.id, std::mem::take(&mut delivery.payload));
                    delivery.acknowledge()?;
                    seen.lock().map_err(panicked)?.push(entry);
                }
                Ok::<_, Failed>(())
            })
        });
        let consumers: Vec<_> = consumers.collect();
        for thread in producers.into_iter().chain(consumers) {
            thread.join().map_err(panicked)??;
        }
        Ok::<_, Failed>(())
    })?;
    let mut seen = seen.into_inner().map_err(panicked)?;
    seen.sort();
    assert!(seen.into_iter().eq(pushed.into_inner().map_err(panicked)?));
    Ok(())
}

fn panicked<T>(_: T) -> &'static str {
    "a thread panicked"
}

pub(crate) fn freed() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let queue = Queue::open(dir.path(), small())?;
    let pushed = (0..200_u32).map(|n| queue.push(&message(n))).collect::<Result<Vec<_>, _>>()?;
    let oldest = queue.receive(NOTHING)?.ok_or("nothing")?;
    // All but the first.
    assert_eq!(drain(&queue)?, pushed[1..]);
    assert!(queue.wal.start_lsn() <= oldest.id, "the oldest is still there");
    let long = queue.wal.stats().files.count;
    oldest.acknowledge()?;
    assert!(queue.wal.start_lsn() > pushed[100], "{}", queue.wal.start_lsn());
    let short = queue.wal.stats().files.count;
    assert!(short < long / 4, "{long} files, and then {short}");
    // A queue that is empty and has been truncated opens as such.
    let (_copy, after) = crash(dir.path())?;
    assert!(after.receive(NOTHING)?.is_none());
    assert_eq!(drain(&after)?, []);
    Ok(())
}

//! The archive in an object store: nothing goes before it was shipped, and what comes back is the log.

#[allow(dead_code, reason = "the program's own main")]
#[path = "../../examples/archive.rs"]
mod example;

use std::thread;

use libtest_mimic::Failed;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload};
use wal_core::{Lsn, Record};
use wal_io_std::{Wal, open};

use crate::object::Flaky;
use example::{options, position, record, restore, runtime, ship, write};

/// The records that a log made of the copies has.
fn restored(store: &Flaky) -> Result<Vec<Record>, Failed> {
    let dir = tempfile::tempdir()?;
    runtime()?.block_on(restore(store, dir.path()))?;
    let (wal, _) = open(dir.path(), options())?;
    all(&wal)
}

fn all(wal: &Wal) -> Result<Vec<Record>, Failed> {
    Ok(wal.iter_from(wal.start_lsn())?.collect::<Result<_, _>>()?)
}

/// Fails each call to the store in turn, while the log is written and truncated, and goes on behind it.
pub(crate) fn interrupted() -> Result<(), Failed> {
    let runtime = runtime()?;
    let mut failed = 0;
    for fail in 0.. {
        let dir = tempfile::tempdir()?;
        let store = Flaky::new(fail);
        let shipped = {
            let (wal, _) = open(dir.path(), options())?;
            let mut archive = wal.archive("copies", wal.start_lsn())?;
            thread::scope(|scope| {
                let shipping = scope.spawn(|| ship(&mut archive, &store, 1));
                write(&wal, 0..8_000)?;
                // What was not shipped is there, whether or not somebody ships at the moment.
                let safe = runtime.block_on(position(&store))?.unwrap_or(Lsn::ZERO);
                let kept = wal.hold("what was not shipped", safe);
                assert!(kept.is_ok(), "call {fail}: what lies behind {safe} is gone: {kept:?}");
                drop(kept);
                wal.close()?;
                shipping.join().map_err(|_| Failed::from("the thread that ships panicked"))
            })?
        };
        let (wal, _) = open(dir.path(), options())?;
        let from = runtime.block_on(position(&store))?.unwrap_or_else(|| wal.start_lsn());
        let mut archive = wal.archive("copies", from)?;
        thread::scope(|scope| {
            let shipping = scope.spawn(|| ship(&mut archive, &store, 2));
            write(&wal, 8_000..10_000)?;
            wal.close()?;
            shipping.join().map_err(|_| "the thread that ships panicked")??;
            Ok::<_, Failed>(())
        })?;
        let found = restored(&store)?;
        // All of the first life; the second is still in the file being written.
        assert_eq!(found.len(), 8_000);
        let right = found.iter().zip(0..).all(|(found, n)| found.payload == record(n));
        assert!(right, "call {fail}: other records");
        // A mark that the log was closed lies behind the last record.
        let end = runtime.block_on(position(&store))?;
        assert!(found.last().map(|record| record.end) <= end, "more than it says");
        if shipped.is_ok() {
            break;
        }
        failed += 1;
    }
    // Four calls a file: begin, send, complete, and say so.
    assert!(failed > 8, "{failed} calls failed");
    Ok(())
}

pub(crate) fn damaged() -> Result<(), Failed> {
    let runtime = runtime()?;
    let dir = tempfile::tempdir()?;
    let store = Flaky::new(usize::MAX);
    let (wal, _) = open(dir.path(), options())?;
    let hold = wal.hold("test", wal.start_lsn())?;
    write(&wal, 0..10_000)?;
    let before = all(&wal)?;
    let mut archive = wal.archive("copies", wal.start_lsn())?;
    wal.close()?;
    assert!(ship(&mut archive, &store, 1)? > 2);
    drop((archive, hold));

    // Back to within a file that was shipped, as others behind it were.
    let (wal, _) = open(dir.path(), options())?;
    let hold = wal.hold("test", wal.start_lsn())?;
    let end = wal.truncate_after(before[3000].end)?;
    write(&wal, 20_000..25_000)?;
    let expected = all(&wal)?;
    let from = runtime.block_on(position(&store))?.ok_or("nothing was shipped")?;
    let mut archive = wal.archive("copies", from)?;
    wal.close()?;
    ship(&mut archive, &store, 1)?;
    drop((archive, hold));
    let found = restored(&store)?;
    assert!(found.iter().any(|record| record.lsn >= end), "what came behind the cut");
    assert!(expected.starts_with(&found), "copies of what was cut off are left out");

    // One bit of one copy.
    let newest = runtime.block_on(newest(&store))?;
    let mut bytes = runtime.block_on(async { store.get(&newest).await?.bytes().await })?.to_vec();
    bytes[9000] ^= 4;
    runtime.block_on(store.put(&newest, PutPayload::from(bytes)))?;
    let error = restored(&store).err().ok_or("restored")?;
    assert!(error.message().is_some_and(|text| text.contains("another checksum")), "{error:?}");
    Ok(())
}

/// The copy of the newest file.
async fn newest(store: &Flaky) -> Result<Path, Failed> {
    let objects = store.list_with_delimiter(None).await?.objects;
    let copies = objects.into_iter().map(|object| object.location);
    let newest = copies.filter(|path| !path.as_ref().ends_with(".entry")).max();
    newest.ok_or_else(|| "there is no copy".into())
}

//! Ships the files of a log to an object store while it is written and truncated, and restores the log
//! from there.
//!
//! `cargo run -p wal-io-std --example archive`
//!
//! The store is a directory here. Any other that the crate `object_store` has takes the same code, with
//! one line of `main` changed and the feature enabled:
//! `AmazonS3Builder::from_env().with_bucket_name("logs").build()?`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::ops::Range;
use std::thread;
use std::time::Duration;

use object_store::path::Path;
use object_store::{
    MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, local::LocalFileSystem,
};
use tokio::runtime::{Builder, Runtime};
use wal_core::format::checksum::crc32c;
use wal_core::{Archive, Lsn, Options, SealedFile};
use wal_io_std::{Wal, open};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes sent at once. S3 takes no fewer than 5 MiB, but for the last.
const PART: u64 = 8 << 20;

fn main() -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let [log, copies, restored] = ["log", "copies", "restored"].map(|name| dir.path().join(name));
    fs::create_dir_all(&copies)?;
    // To try it. A directory does not sync what is put there, so that a copy may not be durable: a
    // log must not be truncated for its sake where power can fail.
    let store = LocalFileSystem::new_with_prefix(&copies)?;
    let runtime = runtime()?;
    // Two lives of one log: the second ships what the first has left.
    for records in [0..20_000, 20_000..30_000] {
        let (wal, report) = open(&log, options())?;
        println!("{report}");
        let from = runtime.block_on(position(&store))?.unwrap_or_else(|| wal.start_lsn());
        let mut archive = wal.archive("copies", from)?;
        thread::scope(|scope| {
            // On a thread of its own: to wait for a file and to read it blocks.
            let shipping = scope.spawn(|| ship(&mut archive, &store, 5));
            let written = write(&wal, records);
            println!("{}", wal.stats());
            // Ends the archive, too.
            wal.close()?;
            written?;
            let shipped = shipping.join().map_err(|_| "the thread that ships panicked")??;
            println!("{shipped} files shipped");
            Outcome::Ok(())
        })?;
    }
    let files = runtime.block_on(restore(&store, &restored))?;
    let (wal, report) = open(&restored, options())?;
    println!("{files} files restored: {report}");
    let mut numbers = 0..;
    for (found, number) in wal.iter_from(wal.start_lsn())?.zip(&mut numbers) {
        if found?.payload != record(number) {
            return Err(format!("record {number} is another one").into());
        }
    }
    println!("{} of 30000 records are back; the others are in the last file", numbers.start);
    Ok(())
}

/// What an object store needs: also `enable_io`, if it is reached by a network.
pub(crate) fn runtime() -> Outcome<Runtime> {
    Ok(Builder::new_current_thread().enable_time().build()?)
}

pub(crate) fn options() -> Options {
    Options::default().segment_size(64 << 10).file_size(1 << 20)
}

pub(crate) fn record(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(50)
}

/// Appends records that are told from each other, and frees whatever was shipped.
pub(crate) fn write(wal: &Wal, numbers: Range<u64>) -> Result<(), wal_core::Error> {
    for number in numbers {
        let appended = wal.append(&record(number))?;
        if number % 100 == 0 {
            wal.wait_durable(appended.lsn)?;
            wal.truncate_before(appended.lsn)?;
        }
    }
    wal.sync()
}

/// Ships each file as it is announced, until the log is closed; returns how many there were. A file
/// that the store has refused so many `tries` is an error, and for as long as `archive` lives the log
/// keeps it: take a new archive at [`position`] before this one is dropped, and go on with that.
pub(crate) fn ship(archive: &mut Archive, store: &dyn ObjectStore, tries: u32) -> Outcome<u64> {
    let runtime = runtime()?;
    let mut shipped = 0;
    while let Some(file) = archive.next()? {
        let mut tried = 1;
        while let Err(error) = runtime.block_on(upload(&file, store)) {
            if tried == tries {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(100) * tried);
            tried += 1;
        }
        file.done();
        shipped += 1;
    }
    Ok(shipped)
}

/// Puts a copy there, and then, all at once, what says that it is there and what it is.
async fn upload(file: &SealedFile, store: &dyn ObjectStore) -> Outcome<()> {
    let name = file.path().file_name().and_then(|name| name.to_str()).ok_or("no name")?;
    // A log that is cut back has a file again, with another end. Until that is said, the copy as it
    // was has to stay.
    let object = format!("{name}.{}", file.end());
    let mut upload = store.put_multipart(&Path::from(object.as_str())).await?;
    if let Err(error) = send(file, &mut *upload).await {
        // Parts that nobody will complete cost money.
        let _ = upload.abort().await;
        return Err(error);
    }
    let follows = file.follows().map_or_else(|| "-".to_owned(), |sequence| sequence.to_string());
    let (len, capacity, checksum) = (file.len(), file.capacity(), file.checksum());
    let entry = format!("{name} {object} {len} {capacity} {checksum} {} {follows}", file.end());
    let at = Path::from(format!("{:020}.entry", file.sequence()));
    store.put(&at, PutPayload::from(entry.into_bytes())).await?;
    Ok(())
}

async fn send(file: &SealedFile, upload: &mut dyn MultipartUpload) -> Outcome<()> {
    let mut reader = file.reader();
    loop {
        let mut part = Vec::new();
        // Checks the checksum when it comes to the end.
        reader.by_ref().take(PART).read_to_end(&mut part)?;
        if part.is_empty() {
            break;
        }
        upload.put_part(PutPayload::from(part)).await?;
    }
    upload.complete().await?;
    Ok(())
}

/// What is said of a copy.
struct Entry {
    name: String,
    object: Path,
    len: u64,
    capacity: u64,
    checksum: u32,
    end: Lsn,
    follows: Option<u64>,
}

/// All there are, by the number of the file.
async fn entries(store: &dyn ObjectStore) -> Outcome<BTreeMap<u64, Entry>> {
    let mut entries = BTreeMap::new();
    for object in store.list_with_delimiter(None).await?.objects {
        let Some(sequence) = object.location.as_ref().strip_suffix(".entry") else { continue };
        let bytes = store.get(&object.location).await?.bytes().await?;
        let fields: Vec<_> = std::str::from_utf8(&bytes)?.split(' ').collect();
        let [name, object, len, capacity, checksum, end, follows] = fields[..] else {
            return Err(format!("{} is no entry", object.location).into());
        };
        let (name, object) = (name.to_owned(), Path::from(object));
        let (len, capacity, checksum) = (len.parse()?, capacity.parse()?, checksum.parse()?);
        let (end, follows) = (Lsn::new(end.parse()?), follows.parse().ok());
        let entry = Entry { name, object, len, capacity, checksum, end, follows };
        entries.insert(sequence.parse()?, entry);
    }
    Ok(entries)
}

/// How far the copies go, if there are any: where to go on.
pub(crate) async fn position(store: &dyn ObjectStore) -> Outcome<Option<Lsn>> {
    Ok(entries(store).await?.last_key_value().map(|(_, entry)| entry.end))
}

/// Makes a directory of the copies that can be opened as a log; returns how many files it has.
pub(crate) async fn restore(store: &dyn ObjectStore, to: &std::path::Path) -> Outcome<u64> {
    fs::create_dir_all(to)?;
    let mut entries = entries(store).await?;
    let mut files = 0;
    // Backwards, each file naming the one before it: copies of files that were cut off are left out.
    let mut next = entries.last_key_value().map(|(&sequence, _)| sequence);
    while let Some(entry) = next.and_then(|sequence| entries.remove(&sequence)) {
        let bytes = store.get(&entry.object).await?.bytes().await?;
        if bytes.len() as u64 != entry.len || crc32c(&bytes) != entry.checksum {
            return Err(format!("{} has another checksum than was shipped", entry.object).into());
        }
        let mut file = File::create(to.join(&entry.name))?;
        file.write_all(&bytes)?;
        // Zeros behind it.
        file.set_len(entry.capacity)?;
        file.sync_all()?;
        files += 1;
        next = entry.follows;
    }
    File::open(to)?.sync_all()?;
    Ok(files)
}

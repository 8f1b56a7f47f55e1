//! Ships the files of a log to another directory while it is written and truncated, and opens a log
//! that is made of the copies.
//!
//! `cargo run -p wal-io-std --example archive`

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::thread;

use wal_core::{Archive, Lsn, Options, SealedFile};
use wal_io_std::{Wal, open};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let [log, copies, restored] = ["log", "copies", "restored"].map(|name| dir.path().join(name));
    fs::create_dir_all(&copies)?;
    // Two lives of one log: the second ships what the first has left.
    for records in [0..20_000, 20_000..30_000] {
        let (wal, report) = open(&log, options())?;
        println!("{report}");
        let from = position(&copies)?.unwrap_or_else(|| wal.start_lsn());
        let archive = wal.archive("copies", from)?;
        thread::scope(|scope| {
            let shipping = scope.spawn(|| ship(archive, &copies));
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
    let count = restore(&copies, &restored)?;
    println!("{count} of 30000 records restored; the others are in the file that was written last");
    Ok(())
}

fn options() -> Options {
    Options::default().segment_size(64 << 10).file_size(1 << 20)
}

fn record(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(50)
}

/// Appends records that are told from each other, and frees whatever was shipped.
fn write(wal: &Wal, numbers: Range<u64>) -> Result<(), wal_core::Error> {
    for number in numbers {
        let appended = wal.append(&record(number))?;
        if number % 100 == 0 {
            wal.wait_durable(appended.lsn)?;
            wal.truncate_before(appended.lsn)?;
        }
    }
    wal.sync()
}

/// Copies each file as it is announced, until the log is closed; returns how many there were. One that
/// cannot be copied stays in the log, and is announced again by the next run.
fn ship(mut archive: Archive, to: &Path) -> Outcome<u64> {
    let mut shipped = 0;
    while let Some(file) = archive.next()? {
        copy(&file, to)?;
        note(to, file.end())?;
        file.done();
        shipped += 1;
    }
    Ok(shipped)
}

/// Puts a copy there, durably, that a log can be made of. A copy that was not finished has another
/// name.
fn copy(file: &SealedFile, to: &Path) -> Outcome<()> {
    let name = file.path().file_name().ok_or("the file has no name")?;
    let unfinished = to.join("unfinished");
    let mut copy = File::create(&unfinished)?;
    // Checks the checksum, too.
    io::copy(&mut file.reader(), &mut copy)?;
    // Zeros behind it.
    copy.set_len(file.capacity())?;
    copy.sync_all()?;
    fs::rename(unfinished, to.join(name))?;
    File::open(to)?.sync_all()?;
    Ok(())
}

/// Notes how far the copies go. Losing this costs some copying.
fn note(copies: &Path, position: Lsn) -> io::Result<()> {
    let unfinished = copies.join("unfinished");
    fs::write(&unfinished, position.to_string())?;
    fs::rename(unfinished, copies.join("position"))
}

fn position(copies: &Path) -> Outcome<Option<Lsn>> {
    match fs::read_to_string(copies.join("position")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => Ok(Some(Lsn::new(read?.parse()?))),
    }
}

/// Opens a log made of the copies, and holds what is in it against what was appended.
fn restore(copies: &Path, to: &Path) -> Outcome<u64> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(copies)? {
        let path = entry?.path();
        if let (Some(name), Some("wal")) =
            (path.file_name(), path.extension().and_then(|e| e.to_str()))
        {
            fs::copy(&path, to.join(name))?;
        }
    }
    let (wal, report) = open(to, options())?;
    println!("{report}");
    let mut number = 0;
    for found in wal.iter_from(wal.start_lsn())? {
        if found?.payload != record(number) {
            return Err(format!("record {number} is another one").into());
        }
        number += 1;
    }
    Ok(number)
}

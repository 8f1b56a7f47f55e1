//! Reading back what is on disk: the floor, and what it takes to do so more than once.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use wal_core::format::checksum;

use crate::measure::{Span, histogram};
use crate::usage::cpu;

/// Bytes of one read.
const PIECE: usize = 1 << 20;

/// The files below a directory, in order.
///
/// # Errors
///
/// Any error of listing them.
pub fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A copy of a directory, durable, in place of what was at `to`.
///
/// # Errors
///
/// Any error of making it.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    for file in files(from)? {
        // Of files below `from`.
        let Ok(name) = file.strip_prefix(from) else { continue };
        let target = to.join(name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(&file, &target)?;
        File::open(target)?.sync_all()?;
    }
    Ok(())
}

/// Drops the files of a directory from the page cache, as far as they are on the disk; says whether
/// the system knows how to.
///
/// # Errors
///
/// Any error of the calls.
pub fn cool(dir: &Path) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        for path in files(dir)? {
            let file = File::open(path)?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
        Ok(true)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = dir;
        Ok(false)
    }
}

/// Reads every file of a directory, in pieces of 1 MiB, and says how many bytes there were.
///
/// # Errors
///
/// Any error of reading.
pub fn read(dir: &Path) -> io::Result<u64> {
    let (mut piece, mut total) = (vec![0; PIECE], 0);
    for path in files(dir)? {
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut piece)? {
                0 => break,
                read => total += std::hint::black_box(&piece[..read]).len() as u64,
            }
        }
    }
    Ok(total)
}

/// Copies bytes that are in memory, and takes their checksum, in pieces of 1 MiB.
pub fn copy_and_checksum(bytes: &[u8]) {
    let mut target = vec![1; PIECE];
    for piece in bytes.chunks(PIECE) {
        target[..piece.len()].copy_from_slice(piece);
        std::hint::black_box(checksum::crc32c(std::hint::black_box(&target[..piece.len()])));
    }
}

/// How long something took that reads `records` records and says how many it found.
///
/// # Errors
///
/// That of `work`; or that it did not find them all.
pub fn timed<E: ToString>(
    records: u64,
    work: impl FnOnce() -> Result<u64, E>,
) -> Result<Span, String> {
    let (before, start) = (cpu(), Instant::now());
    let found = work().map_err(|error| error.to_string())?;
    let (wall, cpu) = (start.elapsed(), cpu().saturating_sub(before));
    if found != records {
        return Err(format!("{found} records found, of {records}"));
    }
    let (waited, times) = (std::time::Duration::ZERO, histogram());
    Ok(Span { records, wall, quiet: true, waited, times, syncs: None, cpu, written: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_bytes_warm_and_cold_and_replaces_what_was_there() {
        let home = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::create_dir_all(from.join("sub")).unwrap();
        fs::write(from.join("one"), vec![1; 5000]).unwrap();
        fs::write(from.join("sub/two"), vec![2; PIECE + 1]).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(to.join("old"), "x").unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(read(&to).unwrap(), 5000 + PIECE as u64 + 1);
        cool(&to).unwrap();
        assert_eq!(read(&to).unwrap(), read(&from).unwrap());
        assert_eq!(fs::read(to.join("sub/two")).unwrap(), vec![2; PIECE + 1]);
    }

    #[test]
    fn a_reader_that_misses_records_is_told() {
        assert_eq!(timed(3, || Ok::<_, String>(3)).unwrap().records, 3);
        assert_eq!(timed(3, || Ok::<_, String>(2)).unwrap_err(), "2 records found, of 3");
        assert_eq!(timed(3, || Err("torn")).unwrap_err(), "torn");
    }
}

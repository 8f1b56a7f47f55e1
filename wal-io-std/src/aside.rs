//! Setting damage aside: copies and moves into a subdirectory that nobody reads or cleans up.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

use wal_core::SinkError;
use wal_core::sink::SinkOp;

use crate::dir::{Dir, SET_ASIDE_NAME, file_name};
use crate::sys::{Access, FileLayer, read_full_at, uninterrupted, write_all_at};

/// Bytes copied at a time.
const CHUNK: usize = 1 << 20;

/// Copies `len` bytes at `offset` of file `sequence`, or up to its end if it ends before. The copy
/// and its name are durable on return, and no earlier copy is replaced.
pub(crate) fn copy<L: FileLayer>(
    dir: &Dir<L>,
    sequence: u64,
    offset: u64,
    len: u64,
) -> Result<PathBuf, SinkError> {
    let from = dir.open_file(sequence, Access::Read)?;
    let attempt = || {
        let aside = open(dir)?;
        let name = format!("{sequence:020}-{offset:020}");
        // Under a name of its own until complete, so that half a copy never passes for one.
        let temporary = aside.join(format!("{name}.tmp"));
        if let Err(error) = copy_range(&dir.layer, &from, offset, len, &temporary) {
            let _ = uninterrupted(|| dir.layer.remove(&temporary));
            return Err(error);
        }
        let to = free_path(&dir.layer, &aside, &name, ".bin")?;
        uninterrupted(|| dir.layer.rename(&temporary, &to))?;
        sync(dir, &aside)?;
        Ok(to)
    };
    attempt().map_err(dir.failed(SinkOp::SetAside, sequence, Some(offset)))
}

/// Moves file `sequence`. The move is durable on return.
pub(crate) fn move_file<L: FileLayer>(dir: &Dir<L>, sequence: u64) -> Result<PathBuf, SinkError> {
    let from = dir.file_path(sequence);
    let attempt = || {
        let aside = open(dir)?;
        let name = file_name(sequence);
        let stem = name.trim_end_matches(".wal");
        let to = free_path(&dir.layer, &aside, stem, ".wal")?;
        uninterrupted(|| dir.layer.rename(&from, &to))?;
        sync(dir, &aside)?;
        Ok(to)
    };
    attempt().map_err(dir.failed(SinkOp::SetAside, sequence, None))
}

/// Makes the subdirectory unless it is there.
fn open<L: FileLayer>(dir: &Dir<L>) -> io::Result<PathBuf> {
    let aside = dir.path().join(SET_ASIDE_NAME);
    match uninterrupted(|| dir.layer.create_dir(&aside)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(aside),
    }
}

/// Syncs the subdirectory and then its parent: the new name first, so that at no time a file has
/// durably gone from the one without being durably in the other.
fn sync<L: FileLayer>(dir: &Dir<L>, aside: &Path) -> io::Result<()> {
    let handle = uninterrupted(|| dir.layer.open_dir(aside))?;
    uninterrupted(|| dir.layer.sync_dir(&handle))?;
    dir.sync()
}

/// A path that is not taken: `stem`, then `stem.1` and so on. The log's lock keeps it free.
fn free_path<L: FileLayer>(
    layer: &L,
    aside: &Path,
    stem: &str,
    suffix: &str,
) -> io::Result<PathBuf> {
    let taken: BTreeSet<OsString> =
        uninterrupted(|| layer.list(aside))?.into_iter().map(|entry| entry.name).collect();
    let mut name = format!("{stem}{suffix}");
    let mut count = 0u64;
    while taken.contains(Path::new(&name).as_os_str()) {
        count += 1;
        name = format!("{stem}.{count}{suffix}");
    }
    Ok(aside.join(name))
}

fn copy_range<L: FileLayer>(
    layer: &L,
    from: &L::File,
    offset: u64,
    len: u64,
    to: &Path,
) -> io::Result<()> {
    match uninterrupted(|| layer.remove(to)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let copy = uninterrupted(|| layer.open(to, Access::CreateNew))?;
    let mut buf = vec![0; CHUNK];
    let mut done = 0;
    while done < len {
        let want = (len - done).min(CHUNK as u64) as usize;
        let Some(at) = offset.checked_add(done) else { break };
        let read = read_full_at(layer, from, &mut buf[..want], at)?;
        write_all_at(layer, &copy, &[IoSlice::new(&buf[..read])], done)?;
        done += read as u64;
        if read < want {
            break;
        }
    }
    uninterrupted(|| layer.sync_data(&copy))
}

//! The system calls, behind one small trait.
//!
//! [`Os`] is the real thing and costs nothing: every call is direct. Another [`FileLayer`] below
//! the same backend makes its rare paths reachable: short writes, interruptions, a full disk, a
//! failed sync. The trait serves simulators and tests; **it is outside of semantic versioning**.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading a file that exists.
    Read,
    /// Reading and writing a file that exists.
    Update,
    /// Reading and writing; the file is made if it does not exist.
    UpdateOrCreate,
    /// Reading and writing a file that must not exist yet.
    CreateNew,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: OsString,
    /// Whether it is a regular file. A symbolic link is not.
    pub is_file: bool,
    /// Length in bytes.
    pub len: u64,
}

/// What the backend asks of the operating system, one call each.
///
/// Reads and writes may be short, and each call may fail with [`ErrorKind::Interrupted`]: the
/// backend loops. Any other error is final for that call.
pub trait FileLayer: Send + Sync + 'static {
    /// An open file or directory.
    type File: Send + Sync + 'static;

    /// Opens a file.
    ///
    /// # Errors
    ///
    /// The system's.
    fn open(&self, path: &Path, access: Access) -> io::Result<Self::File>;

    /// Opens a directory, to sync it.
    ///
    /// # Errors
    ///
    /// The system's; in particular if `path` is no directory.
    fn open_dir(&self, path: &Path) -> io::Result<Self::File>;

    /// Takes an exclusive lock that lasts until `file` is dropped; false if somebody else has it.
    ///
    /// # Errors
    ///
    /// The system's; file systems without locks have one.
    fn try_lock(&self, file: &Self::File) -> io::Result<bool>;

    /// Length in bytes.
    ///
    /// # Errors
    ///
    /// The system's.
    fn len(&self, file: &Self::File) -> io::Result<u64>;

    /// How many names an open file has: none, if it was removed or replaced. A layer whose files
    /// nobody else touches need not know.
    ///
    /// # Errors
    ///
    /// The system's.
    fn links(&self, file: &Self::File) -> io::Result<u64> {
        let _ = file;
        Ok(1)
    }

    /// Whether `path` names the open `file`, or open directory. As for [`links`](Self::links), a
    /// layer need not know.
    ///
    /// # Errors
    ///
    /// The system's; that there is nothing at `path` is none.
    fn is_at(&self, file: &Self::File, path: &Path) -> io::Result<bool> {
        let _ = (file, path);
        Ok(true)
    }

    /// Reads once; 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// The system's.
    fn read_at(&self, file: &Self::File, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes once, from the start of `parts`; need not write all of them.
    ///
    /// # Errors
    ///
    /// The system's.
    fn write_at(&self, file: &Self::File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Reserves space for `len` bytes, where the system can do that ahead of writing; otherwise
    /// does nothing, and a full disk shows when the bytes are written.
    ///
    /// # Errors
    ///
    /// The system's; above all that there is no space.
    fn allocate(&self, file: &Self::File, len: u64) -> io::Result<()>;

    /// Sets the length.
    ///
    /// # Errors
    ///
    /// The system's.
    fn set_len(&self, file: &Self::File, len: u64) -> io::Result<()>;

    /// Makes the file's content, and whatever is needed to read it back, survive power loss.
    ///
    /// # Errors
    ///
    /// The system's. What had been written may be lost, and another sync says nothing about it.
    fn sync_data(&self, file: &Self::File) -> io::Result<()>;

    /// Makes the names in a directory survive power loss.
    ///
    /// # Errors
    ///
    /// The system's.
    fn sync_dir(&self, dir: &Self::File) -> io::Result<()>;

    /// Advises the system to drop the file's clean pages, so that later reads come from the
    /// device. No promise.
    fn drop_cache(&self, file: &Self::File);

    /// Advises the system not to read ahead on this handle. No promise.
    fn no_read_ahead(&self, file: &Self::File) {
        let _ = file;
    }

    /// Has reads and writes on this handle bypass the page cache from now on, drops what is in it,
    /// and returns the alignment in bytes, a power of two, that they need of memory, offset and
    /// length. May be called again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] or [`ErrorKind::InvalidInput`] where the file system has no such
    /// thing, or the layer.
    fn bypass_cache(&self, file: &Self::File) -> io::Result<usize> {
        let _ = file;
        Err(ErrorKind::Unsupported.into())
    }

    /// Writes once, like [`write_at`](Self::write_at); what was written survives power loss when
    /// the call returns.
    ///
    /// # Errors
    ///
    /// The system's; [`ErrorKind::Unsupported`] where it has no such thing, or the layer.
    fn write_through_at(
        &self,
        file: &Self::File,
        parts: &[IoSlice<'_>],
        offset: u64,
    ) -> io::Result<usize> {
        let _ = (file, parts, offset);
        Err(ErrorKind::Unsupported.into())
    }

    /// Renames, replacing `to` if it exists.
    ///
    /// # Errors
    ///
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// The system's; [`ErrorKind::AlreadyExists`] if there is something of this name.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Lists a directory, in any order.
    ///
    /// # Errors
    ///
    /// The system's.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
}

/// The operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

impl FileLayer for Os {
    type File = File;

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        let mut options = OpenOptions::new();
        // A symbolic link is foreign: neither what it names is ours nor the link itself.
        options.read(true).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
        match access {
            Access::Read => {}
            Access::Update => {
                options.write(true);
            }
            Access::UpdateOrCreate => {
                options.write(true).create(true).truncate(false);
            }
            Access::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        options.open(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<File> {
        let dir = File::open(path)?;
        if dir.metadata()?.is_dir() { Ok(dir) } else { Err(ErrorKind::NotADirectory.into()) }
    }

    fn try_lock(&self, file: &File) -> io::Result<bool> {
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn len(&self, file: &File) -> io::Result<u64> {
        #[cfg(target_os = "linux")]
        return Ok(timeless(file, rustix::fs::StatxFlags::SIZE)?.stx_size);
        #[cfg(not(target_os = "linux"))]
        Ok(file.metadata()?.len())
    }

    fn links(&self, file: &File) -> io::Result<u64> {
        #[cfg(target_os = "linux")]
        return Ok(timeless(file, rustix::fs::StatxFlags::NLINK)?.stx_nlink.into());
        #[cfg(not(target_os = "linux"))]
        Ok(file.metadata()?.nlink())
    }

    fn is_at(&self, file: &File, path: &Path) -> io::Result<bool> {
        let open = file.metadata()?;
        match std::fs::metadata(path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (open.dev(), open.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read_at(&self, file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buf, offset)
    }

    fn write_at(&self, file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        write_vectored_at(file, parts, offset)
    }

    fn allocate(&self, file: &File, len: u64) -> io::Result<()> {
        allocate(file, len)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        // `fdatasync`, or `F_FULLFSYNC` on Apple systems, where `fsync` leaves the drive's cache.
        file.sync_data()
    }

    fn sync_dir(&self, dir: &File) -> io::Result<()> {
        dir.sync_all()
    }

    fn drop_cache(&self, file: &File) {
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
        #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
        let _ = file;
    }

    fn no_read_ahead(&self, file: &File) {
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
        #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
        let _ = file;
    }

    #[cfg(target_os = "linux")]
    fn bypass_cache(&self, file: &File) -> io::Result<usize> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        let alignment = direct_alignment(file)?;
        // On the handle that there is: another one, opened by name, might be another file's.
        fcntl_setfl(file, fcntl_getfl(file)? | OFlags::DIRECT)?;
        self.drop_cache(file);
        Ok(alignment)
    }

    #[cfg(target_os = "linux")]
    fn write_through_at(
        &self,
        file: &File,
        parts: &[IoSlice<'_>],
        offset: u64,
    ) -> io::Result<usize> {
        Ok(rustix::io::pwritev2(file, parts, offset, rustix::io::ReadWriteFlags::DSYNC)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            // Does not follow a symbolic link. A name that vanished since is not there.
            match entry.metadata() {
                Ok(meta) => entries.push(DirEntry {
                    name: entry.file_name(),
                    is_file: meta.is_file(),
                    len: meta.len(),
                }),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }
}

/// Unix systems without `pwritev` write one part per call.
#[cfg(not(any(
    target_os = "cygwin",
    target_os = "espidf",
    target_os = "haiku",
    target_os = "nto",
    target_os = "redox",
    target_os = "solaris",
)))]
fn write_vectored_at(file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    // rustix passes at most IOV_MAX parts on: the rest is a short write like any other.
    Ok(rustix::io::pwritev(file, parts, offset)?)
}

#[cfg(any(
    target_os = "cygwin",
    target_os = "espidf",
    target_os = "haiku",
    target_os = "nto",
    target_os = "redox",
    target_os = "solaris",
))]
fn write_vectored_at(file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    parts.iter().find(|part| !part.is_empty()).map_or(Ok(0), |part| file.write_at(part, offset))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn allocate(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The other systems' calls are emulated, or refused by some of their file systems.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn allocate(_file: &File, _len: u64) -> io::Result<()> {
    Ok(())
}

/// What is asked for, and nothing else: a file whose times were looked at gets new ones with the very
/// next write (multigrain timestamps, since Linux 6.13), and an ext4 without a journal writes them with
/// the next sync, which makes a commit that looks half as slow again.
#[cfg(target_os = "linux")]
fn timeless(file: &File, asked: rustix::fs::StatxFlags) -> io::Result<rustix::fs::Statx> {
    Ok(rustix::fs::statx(file, "", rustix::fs::AtFlags::EMPTY_PATH, asked)?)
}

/// What direct reads and writes of this file have to be aligned to.
#[cfg(target_os = "linux")]
fn direct_alignment(file: &File) -> io::Result<usize> {
    use rustix::fs::StatxFlags;
    /// Logical blocks are no larger on any disk that a kernel too old to say drives.
    const UNTOLD: usize = 4096;
    let told = timeless(file, StatxFlags::DIOALIGN)?;
    if told.stx_mask & StatxFlags::DIOALIGN.bits() == 0 {
        return Ok(UNTOLD);
    }
    match told.stx_dio_mem_align.max(told.stx_dio_offset_align) as usize {
        0 => Err(ErrorKind::Unsupported.into()),
        alignment => Ok(alignment.next_power_of_two()),
    }
}

/// Calls until the call is not interrupted by a signal.
///
/// # Errors
///
/// Any other error of the call.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads until `buf` is full or the file ends; returns the bytes read.
pub(crate) fn read_full_at<L: FileLayer>(
    layer: &L,
    file: &L::File,
    buf: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        // No file reaches this far, so it is the end of any.
        let Some(at) = offset.checked_add(filled as u64) else { break };
        let read = uninterrupted(|| layer.read_at(file, &mut buf[filled..], at))?;
        if read == 0 {
            break;
        }
        filled += read;
    }
    Ok(filled)
}

/// Writes all of `parts`, resuming short writes where they ended, inside a part or between two.
pub(crate) fn write_all_at<L: FileLayer>(
    layer: &L,
    file: &L::File,
    parts: &[IoSlice<'_>],
    offset: u64,
) -> io::Result<()> {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    if total == 0 {
        return Ok(());
    }
    if offset.checked_add(total as u64).is_none() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the write ends behind 2^64 bytes"));
    }
    let mut done = write_some_at(layer, file, parts, offset, total)?;
    if done == total {
        return Ok(());
    }
    // Short writes are rare: only they pay for a copy of the array.
    let mut copy = parts.to_vec();
    let mut rest = &mut copy[..];
    IoSlice::advance_slices(&mut rest, done);
    while done < total {
        let written = write_some_at(layer, file, rest, offset + done as u64, total - done)?;
        IoSlice::advance_slices(&mut rest, written);
        done += written;
    }
    Ok(())
}

/// Writes at least one byte of the `left` bytes in `parts`; returns how many.
fn write_some_at<L: FileLayer>(
    layer: &L,
    file: &L::File,
    parts: &[IoSlice<'_>],
    offset: u64,
    left: usize,
) -> io::Result<usize> {
    match uninterrupted(|| layer.write_at(file, parts, offset))? {
        0 => Err(ErrorKind::WriteZero.into()),
        written if written <= left => Ok(written),
        written => Err(io::Error::other(format!("{written} bytes written of {left} given"))),
    }
}

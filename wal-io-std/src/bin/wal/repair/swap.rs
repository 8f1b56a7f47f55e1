//! Putting a directory in the place of another.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// A name beside `dir` that is not taken: `dir.what`, then `dir.what.1` and so on.
pub(super) fn beside(dir: &Path, what: &str) -> PathBuf {
    let name = |count: u64| {
        let mut name = dir.to_owned().into_os_string();
        name.push(if count == 0 { format!(".{what}") } else { format!(".{what}.{count}") });
        PathBuf::from(name)
    };
    let free = (0..).map(name).find(|path| path.symlink_metadata().is_err());
    free.unwrap_or_else(|| name(0))
}

/// Gives `fresh` and the files in it the owner and the permissions of `dir` and its log files, so that
/// whoever used the log can use it.
pub(super) fn take_after(fresh: &Path, dir: &Path) -> Outcome<()> {
    let like = |new: &Path, old: &Path| -> io::Result<()> {
        let (now, wanted) = (fs::metadata(new)?, fs::metadata(old)?);
        if (now.uid(), now.gid()) != (wanted.uid(), wanted.gid()) {
            chown(new, Some(wanted.uid()), Some(wanted.gid()))?;
        }
        fs::set_permissions(new, wanted.permissions())
    };
    let run = || -> io::Result<()> {
        let log_files = |dir: &Path| -> io::Result<Vec<PathBuf>> {
            let paths = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path()));
            let paths = paths.collect::<io::Result<Vec<_>>>()?;
            let is_log_file = |path: &PathBuf| path.extension().is_some_and(|end| end == "wal");
            Ok(paths.into_iter().filter(is_log_file).collect())
        };
        if let Some(old) = log_files(dir)?.first() {
            for new in log_files(fresh)? {
                like(&new, old)?;
            }
        }
        like(fresh, dir)
    };
    run().map_err(|error| {
        let text = format!(
            "the repaired log in {} cannot have the owner and permissions of {}: {error}; repair it as \
             that owner, or move it by hand",
            fresh.display(),
            dir.display()
        );
        Failure::trouble(text)
    })
}

/// Puts `fresh` in the place of `dir`, and returns where what was there is now. At every moment, one
/// of them has the name, where the system can exchange two names at once.
pub(super) fn swap(dir: &Path, fresh: &Path) -> Outcome<PathBuf> {
    let kept = beside(dir, "before-repair");
    let run = || -> io::Result<()> {
        if exchange(dir, fresh)? {
            fs::rename(fresh, &kept)?;
        } else {
            fs::rename(dir, &kept)?;
            fs::rename(fresh, dir)?;
        }
        File::open(dir.join(".."))?.sync_all()
    };
    run().map_err(|error| {
        let text = format!(
            "cannot put the repaired log in the place of {}: {error}; the two are in {} and {}: \
             move them by hand, or use --to",
            dir.display(),
            fresh.display(),
            kept.display()
        );
        Failure::trouble(text)
    })?;
    Ok(kept)
}

/// Exchanges two names at once; `false` if the system or the file system cannot.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn exchange(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

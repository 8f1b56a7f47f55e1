//! The directory that a command is given, looked at before anything is done there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wal_core::sink::{Listing, LogSource};
use wal_io_std::DirSource;

use crate::failure::{Failure, Outcome};

/// What the commands that only read have in common.
#[derive(clap::Args)]
pub(crate) struct Place {
    /// Directory of the log.
    pub(crate) dir: PathBuf,
}

/// What there is at a path where a log is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// An empty directory, or one with nothing but what a log leaves beside its files.
    Empty,
    Log,
}

/// Looks at `dir`; refuses what can neither be a log nor become one.
pub(crate) fn look(dir: &Path) -> Outcome<Found> {
    let metadata = match fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(Failure::system("open", dir, &error)),
    };
    if !metadata.is_dir() {
        return Err(not_a_directory(dir));
    }
    fs::read_dir(dir).map_err(|error| Failure::system("read", dir, &error))?;
    let listing = list(dir)?;
    if !listing.files.is_empty() {
        return Ok(Found::Log);
    }
    // What a freshly made file system holds is nobody's.
    let mut foreign = listing.foreign.iter().filter(|path| !path.ends_with("lost+found"));
    let Some(first) = foreign.next() else { return Ok(Found::Empty) };
    Err(Failure::trouble(format!(
        "no log in {}, but other things ({}{}); give the directory of a log, or one that is empty \
         or does not exist yet",
        dir.display(),
        first.display(),
        if foreign.next().is_some() { " and more" } else { "" }
    )))
}

/// The log files in `dir`; it is an error if there are none.
pub(crate) fn log_files(dir: &Path) -> Outcome<Listing> {
    match look(dir)? {
        Found::Log => list(dir),
        Found::Nothing => Err(Failure::trouble(format!(
            "{} does not exist; check the path, or make a log there with `wal append`",
            dir.display()
        ))),
        Found::Empty => Err(Failure::trouble(format!(
            "no log files in {}; give the directory of a log, or make one with `wal append`",
            dir.display()
        ))),
    }
}

fn list(dir: &Path) -> Outcome<Listing> {
    let read = || DirSource::open(dir)?.list().map_err(wal_core::Error::from);
    read().map_err(|error| Failure::log(dir, &error))
}

fn not_a_directory(path: &Path) -> Failure {
    let log_file = path.extension().is_some_and(|suffix| suffix == "wal");
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let advice = match (log_file, parent) {
        (true, Some(parent)) => format!("give the directory of the log: {}", parent.display()),
        (true, None) => "give the directory of the log: `.`".into(),
        (false, _) => "give the directory of a log".into(),
    };
    Failure::trouble(format!("{} is a file; {advice}", path.display()))
}

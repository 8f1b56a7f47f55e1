//! The commands, a module each, and what they share.

pub(crate) mod compare;
pub(crate) mod load;
pub(crate) mod report;
pub(crate) mod simulate;
pub(crate) mod stress;
pub(crate) mod torture;

use std::fmt;
use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

/// What ends a command.
pub(crate) enum Failure {
    /// A log lost, altered or invented something.
    Damage(String),
    /// It could not be tried.
    Trouble(String),
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Damage(_) => 1,
            Self::Trouble(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damage(text) | Self::Trouble(text) => f.write_str(text),
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        // Errors of this workspace tell their causes themselves.
        Self::Trouble(error.to_string())
    }
}

/// Prints a line; a reader that is gone ends the program quietly.
pub(crate) fn say(line: &str) -> Outcome<()> {
    match writeln!(stdout(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => Ok(done?),
    }
}

/// A new directory for logs in `parent`, by default in the one for temporary files, removed when
/// dropped.
pub(crate) fn home(parent: Option<&Path>) -> Outcome<TempDir> {
    let parent = parent.map_or_else(std::env::temp_dir, PathBuf::from);
    let made = tempfile::Builder::new().prefix("wal-bench-").tempdir_in(&parent);
    made.map_err(|error| {
        Failure::Trouble(format!("cannot make a directory in {}: {error}", parent.display()))
    })
}

/// A bar of `steps` steps on a terminal, nothing elsewhere.
pub(crate) fn progress(steps: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(steps);
    match ProgressStyle::with_template("{bar:30} {eta} left {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Parses a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let range = || "give a number of seconds from 0.01 to 86400".to_owned();
    let seconds: f64 = text.parse().map_err(|_| range())?;
    let in_range = (0.01..=86400.0).contains(&seconds);
    if in_range { Ok(Duration::from_secs_f64(seconds)) } else { Err(range()) }
}

//! How a command ends: exit codes, and messages that say what is wrong, where, and what to do.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use wal_core::Error;
use wal_core::export::ExportError;

use crate::paint::note;

/// The exit codes of the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Success,
    /// Data is damaged or missing.
    Damage,
    /// Wrong usage, or a failure of the system.
    Trouble,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        match code {
            Code::Success => Self::SUCCESS,
            Code::Damage => Self::from(1),
            Code::Trouble => Self::from(2),
        }
    }
}

/// Why a command stops.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Whoever read our output has gone: nothing is wrong.
    BrokenPipe,
    /// A message for the user.
    Message { code: Code, text: String },
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// Wrong usage or trouble with the system, told in full by `text`.
    pub(crate) fn trouble(text: impl Into<String>) -> Self {
        Self::Message { code: Code::Trouble, text: text.into() }
    }

    /// Damage, told in full by `text`.
    pub(crate) fn damage(text: impl Into<String>) -> Self {
        Self::Message { code: Code::Damage, text: text.into() }
    }

    /// A failed call of the system: `doing` something at `path`.
    pub(crate) fn system(doing: &str, path: &Path, error: &io::Error) -> Self {
        Self::trouble(format!("cannot {doing} {}: {error}; {}", path.display(), remedy(error)))
    }

    /// A failed write to standard output.
    pub(crate) fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            let advice = "check where the output goes";
            Self::trouble(format!("cannot write to standard output: {error}; {advice}"))
        }
    }

    /// An error of the log in `dir`.
    pub(crate) fn log(dir: &Path, error: &Error) -> Self {
        let code = if error.is_corruption() { Code::Damage } else { Code::Trouble };
        let text = format!("log {}: {error}; {}", dir.display(), advice(error));
        Self::Message { code, text }
    }

    /// An error of an export that is read from, or written to, `name`.
    pub(crate) fn export(name: &str, error: &ExportError) -> Self {
        let (code, advice) = match error {
            ExportError::Damaged { .. } => (Code::Damage, "get another copy, or export once more"),
            ExportError::NotAnExport => (Code::Trouble, "give what `wal export` has written"),
            ExportError::Version { .. } => (Code::Trouble, "nothing was read"),
            ExportError::TooLarge { .. } => {
                (Code::Damage, "it is damaged, or was not made by `wal export`")
            }
            ExportError::Io(error) => (Code::Trouble, remedy(error)),
            _ => (Code::Trouble, "export once more"),
        };
        Self::Message { code, text: format!("{name}: {error}; {advice}") }
    }

    /// Puts `prefix` before the message, if there is one.
    pub(crate) fn context(self, prefix: &str) -> Self {
        match self {
            Self::BrokenPipe => Self::BrokenPipe,
            Self::Message { code, text } => Self::Message { code, text: format!("{prefix}{text}") },
        }
    }

    /// Prints the message, if there is one, and tells how to exit.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::BrokenPipe => ExitCode::SUCCESS,
            Self::Message { code, text } => {
                note(&text);
                code.into()
            }
        }
    }
}

/// What to do about an error of the log.
fn advice(error: &Error) -> &'static str {
    match error {
        Error::InvalidOption { .. } => "give another value",
        Error::Locked { .. } => "wait until the other one is done, or end it, then try again",
        Error::Corrupt(_) => {
            "nothing was changed; `wal verify` tells all that is damaged, `wal inspect` shows the \
             bytes, `wal cat --salvage` prints what still reads well, and `wal repair` makes a log \
             of it"
        }
        Error::UnsupportedFormat { .. } => "this one has changed nothing",
        Error::TooLarge { .. } => "split the record, or give fewer records per batch",
        Error::Truncated { .. } => "give a position from there on",
        Error::AmbiguousTail(_) => "nothing was changed; leave out the option that refuses it",
        Error::NotAppended { .. } => "give a position before that; `wal stat` tells the range",
        Error::Exhausted { .. } => "nothing was changed; such a log was made up, or is damaged",
        Error::Poisoned { first } if first.is_no_space() => "free some space, then append again",
        Error::NoSpace { .. } => "free some space, then append again",
        Error::Poisoned { .. } => {
            "what was reported durable is safe; check the device and the system's log, then append \
             again: opening recovers"
        }
        Error::Sink(source) => remedy(&source.source),
        _ => "try again",
    }
}

/// What to do about a failed call of the system.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "check the permissions",
        io::ErrorKind::AlreadyExists => "give another name, or remove what is there",
        io::ErrorKind::DirectoryNotEmpty => "give a directory that is empty or does not exist yet",
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => "check what the path names",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space, try again",
        io::ErrorKind::ReadOnlyFilesystem => "mount the file system for writing",
        _ => "check the device and the system's log, then try again",
    }
}

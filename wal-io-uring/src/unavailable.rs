//! Why io_uring cannot be used, and what to do about it.

use std::fmt;
use std::io;

use wal_core::Error;

/// This process cannot use io_uring: what is missing, and what to do.
#[derive(Debug)]
pub struct Unavailable {
    missing: String,
    source: io::Error,
}

impl Unavailable {
    pub(crate) fn new(missing: impl Into<String>, source: io::Error) -> Self {
        Self { missing: missing.into(), source }
    }

    /// Explains an error of a call of io_uring; `disabled` is what the system setting of that name
    /// says.
    pub(crate) fn explain(call: &str, source: io::Error, disabled: Option<&str>) -> Self {
        let missing = match (source.raw_os_error(), disabled) {
            (Some(libc::EPERM), Some(level @ ("1" | "2"))) => format!(
                "it is switched off by the system setting kernel.io_uring_disabled={level}; \
                 `sysctl kernel.io_uring_disabled=0` allows it to everybody, and 1 to the group \
                 kernel.io_uring_group"
            ),
            (Some(libc::EPERM | libc::EACCES), _) => format!(
                "{call} is refused by a filter or a security policy, as containers have them; allow \
                 io_uring_setup, io_uring_enter and io_uring_register"
            ),
            (Some(libc::ENOSYS), _) => format!(
                "{call} does not exist: the kernel is older than 5.6, built without io_uring, or a \
                 filter hides it"
            ),
            (Some(libc::ENOMEM), _) => format!(
                "{call} finds no memory: kernels before 5.12 count the ring against RLIMIT_MEMLOCK \
                 (`ulimit -l`)"
            ),
            (Some(libc::EMFILE | libc::ENFILE), _) => {
                format!("{call} finds no file descriptor; raise RLIMIT_NOFILE (`ulimit -n`)")
            }
            _ => format!("{call} failed"),
        };
        Self { missing, source }
    }

    /// The reason in `error`, if it is that io_uring cannot be used.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::Sink(sink) => sink.source.get_ref()?.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring cannot be used: {} ({})", self.missing, self.source)
    }
}

impl std::error::Error for Unavailable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_says_what_to_do() {
        let say = |errno, disabled| {
            let source = io::Error::from_raw_os_error(errno);
            Unavailable::explain("io_uring_setup", source, disabled).to_string()
        };
        assert!(say(libc::EPERM, Some("2")).contains("sysctl kernel.io_uring_disabled=0"));
        assert!(say(libc::EPERM, Some("0")).contains("allow io_uring_setup"));
        assert!(say(libc::EPERM, None).contains("allow io_uring_setup"));
        assert!(say(libc::ENOSYS, None).contains("older than 5.6"));
        assert!(say(libc::ENOMEM, None).contains("ulimit -l"));
        assert!(say(libc::EMFILE, None).contains("ulimit -n"));
        assert!(say(libc::EIO, None).contains("io_uring_setup failed"));
    }
}

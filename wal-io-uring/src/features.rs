//! What a sink found and uses, and what it has done.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a [`UringSink`](crate::UringSink) uses of what it was asked to use.
///
/// Whether files can be written past the page cache is known for certain with the first one made,
/// and whether memory can be registered when the log has taken it: once the log is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// Writes bypass the page cache.
    pub direct: bool,
    /// Each write is durable when it ends.
    pub durable_writes: bool,
    /// Segments registered with the ring.
    pub registered_segments: usize,
    /// Whether files are registered with the ring.
    pub registered_files: bool,
    /// What was asked for and cannot be had, and why.
    pub missing: Vec<String>,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (writes, durable) = match (self.direct, self.durable_writes) {
            (true, true) => ("direct", "with each write"),
            (true, false) => ("direct", "with each sync"),
            (false, _) => ("buffered", "with each sync"),
        };
        let files = if self.registered_files { "registered" } else { "not registered" };
        write!(
            f,
            "{writes} writes, durable {durable}; {} segments registered, files {files}",
            self.registered_segments
        )?;
        self.missing.iter().try_for_each(|missing| write!(f, "; {missing}"))
    }
}

/// Counters of a [`UringSink`](crate::UringSink) since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Activity {
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// Writes given to the ring.
    pub pushed: u64,
    /// Those of them that were the rest of a short write, or came again after an interruption.
    pub resumed: u64,
    /// Bytes that were copied, not being in aligned memory.
    pub copied: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) enters: AtomicU64,
    pub(crate) pushed: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) copied: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        // Relaxed: counters order nothing.
        counter.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Activity {
        // Relaxed: as above.
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Activity {
            enters: of(&self.enters),
            pushed: of(&self.pushed),
            resumed: of(&self.resumed),
            copied: of(&self.copied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_read_as_a_sentence() {
        let mut features = Features {
            direct: true,
            durable_writes: true,
            registered_segments: 8,
            registered_files: true,
            missing: Vec::new(),
        };
        assert_eq!(
            features.to_string(),
            "direct writes, durable with each write; 8 segments registered, files registered"
        );
        features.direct = false;
        features.missing.push("no O_DIRECT".to_owned());
        let said = features.to_string();
        assert!(said.starts_with("buffered writes, durable with each sync"), "{said}");
        assert!(said.ends_with("; no O_DIRECT"), "{said}");
    }
}

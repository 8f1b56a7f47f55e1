//! What a log can be told at open.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::format::{file_header, frame, record};
use crate::recover::Progress;

/// Where a log's blocking work runs when its owner must not block.
///
/// Under tokio, with `let handle = tokio::runtime::Handle::current()`:
/// `Options::default().executor(move |job| { handle.spawn_blocking(job); })`. Jobs are handed over
/// from any thread that appends, so the runtime must be named. Under smol:
/// `Options::default().executor(|job| smol::unblock(job).detach())`.
pub trait Executor: Send + Sync + 'static {
    /// Runs `job` soon, on a thread that may block. If it is dropped without being run, futures
    /// that wait end with [`Error::NoExecutor`], and threads that wait do the work themselves.
    fn execute(&self, job: Box<dyn FnOnce() + Send + 'static>);
}

impl<F: Fn(Box<dyn FnOnce() + Send + 'static>) + Send + Sync + 'static> Executor for F {
    fn execute(&self, job: Box<dyn FnOnce() + Send + 'static>) {
        self(job);
    }
}

/// Tells the time, for what a log measures of itself: the core reads no clock of its own.
///
/// With `let start = std::time::Instant::now()`: `Options::default().clock(move || start.elapsed())`.
pub trait Clock: Send + Sync + 'static {
    /// The time since some moment, always the same. A clock that goes back is taken to stand still.
    fn now(&self) -> Duration;
}

impl<F: Fn() -> Duration + Send + Sync + 'static> Clock for F {
    fn now(&self) -> Duration {
        self()
    }
}

/// What to do about corruption of durable data at open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryMode {
    /// Refuse to open, naming the place; nothing is changed on disk.
    #[default]
    Strict,
    /// Skip what is damaged and report every hole.
    Salvage,
}

/// What to do about a damaged last frame of which nothing tells whether it had been durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AmbiguousTail {
    /// Cut it off, keep a copy, and say so in the report. What most users want: after a crash it
    /// is nearly always a torn write that nobody was told about.
    #[default]
    Cut,
    /// Refuse to open.
    Refuse,
}

/// How frames are laid out on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Padding {
    /// Every frame starts on a block of its own (4096 bytes), so bytes once acknowledged are
    /// never rewritten.
    #[default]
    Block,
    /// Frames follow each other at 8 bytes. Saves space with small commits, and assumes that
    /// rewriting a block leaves the bytes that do not change intact even across power loss (the
    /// "powersafe overwrite" assumption of SQLite). Refused by sinks that need alignment.
    Packed,
}

/// Options of a log. The defaults suit a database on a local disk.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    pub(crate) segment_size: usize,
    pub(crate) segments: usize,
    pub(crate) file_size: u64,
    pub(crate) max_record_len: usize,
    pub(crate) depth: usize,
    pub(crate) padding: Padding,
    pub(crate) recovery: RecoveryMode,
    pub(crate) ambiguous_tail: AmbiguousTail,
    pub(crate) executor: Option<Arc<dyn Executor>>,
    pub(crate) name: Arc<str>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) progress: Option<Arc<dyn Fn(Progress) + Send + Sync>>,
    pub(crate) seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_size: 512 << 10,
            segments: 8,
            file_size: 64 << 20,
            max_record_len: 64 << 20,
            depth: 1,
            padding: Padding::Block,
            recovery: RecoveryMode::Strict,
            ambiguous_tail: AmbiguousTail::Cut,
            executor: None,
            name: Arc::from("wal"),
            clock: None,
            progress: None,
            seed: None,
        }
    }
}

impl Options {
    /// Smallest segment in bytes.
    pub const MIN_SEGMENT_SIZE: usize = 4 << 10;
    /// Largest segment in bytes. Bounds how far failed reservations can push a segment's tail.
    pub const MAX_SEGMENT_SIZE: usize = 32 << 20;
    /// Largest number of segments in the ring.
    pub const MAX_SEGMENTS: usize = 1024;
    /// Largest log file in bytes (1 TiB).
    pub const MAX_FILE_SIZE: u64 = 1 << 40;

    /// Bytes of one ring segment: a multiple of 4096 from 4 KiB to 32 MiB. Default 512 KiB. A
    /// record that does not fit is written directly.
    #[must_use]
    pub fn segment_size(mut self, bytes: usize) -> Self {
        self.segment_size = bytes;
        self
    }

    /// Segments in the ring, 2 to 1024. Default 8. The ring is all the memory that a log uses.
    #[must_use]
    pub fn segments(mut self, count: usize) -> Self {
        self.segments = count;
        self
    }

    /// Bytes of one log file: a multiple of 4096, from one segment and a block to 1 TiB. Default
    /// 64 MiB. A record that does not fit gets a file of its own size.
    #[must_use]
    pub fn file_size(mut self, bytes: u64) -> Self {
        self.file_size = bytes;
        self
    }

    /// Largest payload in bytes, 1 to 2^30 - 1. Default 64 MiB. Records already in the log are
    /// read whatever their size: each file carries the limit it was written with.
    #[must_use]
    pub fn max_record_len(mut self, bytes: usize) -> Self {
        self.max_record_len = bytes;
        self
    }

    /// Segments in flight at once, 1 to `segments` - 1. Default 1, which suits local disks where every
    /// commit is waited for; only sinks that complete asynchronously use more. Where writers append on
    /// and wait for their records later, some more keep the device busy: smaller segments, too, are
    /// then on their way sooner.
    #[must_use]
    pub fn depth(mut self, writes: usize) -> Self {
        self.depth = writes;
        self
    }

    /// How frames are laid out. Default [`Padding::Block`].
    #[must_use]
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// What to do about corruption. Default [`RecoveryMode::Strict`].
    #[must_use]
    pub fn recovery(mut self, mode: RecoveryMode) -> Self {
        self.recovery = mode;
        self
    }

    /// What to do about an undecidable last frame. Default [`AmbiguousTail::Cut`].
    #[must_use]
    pub fn ambiguous_tail(mut self, policy: AmbiguousTail) -> Self {
        self.ambiguous_tail = policy;
        self
    }

    /// Where blocking work runs for futures, and where sealed segments are written when nobody
    /// waits. Default none: work is done by the blocking callers that need it.
    #[must_use]
    pub fn executor(mut self, executor: impl Executor) -> Self {
        self.executor = Some(Arc::new(executor));
        self
    }

    /// What the log is called where several are told from each other: the field `log` of every span
    /// (feature `tracing`) and the label `log` of every metric (feature `metrics`). Default `wal`. Not
    /// stored.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// A clock to measure with how long syncs take ([`Stats::sync_latency`](crate::Stats)). It is
    /// asked twice for each sync, by the thread that leads, and at no other time. A panic in it
    /// counts as one of the sink: it poisons the log. Default none: nothing is measured.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Has `progress` called while a log opens, on the thread that opens it: when the files are known,
    /// every 16 MiB or so, after each file, and at last when everything is read and the next file is
    /// begun. Neither the phase nor the bytes done ever go back, and they end with the total.
    ///
    /// It is never called after the opening has returned, and is let go of by then, as far as the log
    /// is concerned. All calls come before anything is changed on disk: a panic in it ends the opening
    /// and leaves the log as it was, to be opened again.
    #[must_use]
    pub fn on_progress(mut self, progress: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Fixes the identity and the salts of the log, for reproducible tests. Default: random, which
    /// is what keeps the bytes of one life of a file from being taken for those of another.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Alignment of frames in bytes.
    pub(crate) fn align(&self) -> u64 {
        match self.padding {
            Padding::Block => frame::DEFAULT_ALIGN,
            Padding::Packed => record::ALIGN as u64,
        }
    }

    /// Checks every option against its range and against the sink's alignment.
    pub(crate) fn validate(&self, sink_alignment: usize) -> Result<(), Error> {
        let refuse = |name, value: u64, expected: String| {
            Err(Error::InvalidOption { name, value, expected })
        };
        let (segment, file) = (self.segment_size, self.file_size);
        if !(Self::MIN_SEGMENT_SIZE..=Self::MAX_SEGMENT_SIZE).contains(&segment)
            || !segment.is_multiple_of(4096)
        {
            let range = (Self::MIN_SEGMENT_SIZE, Self::MAX_SEGMENT_SIZE);
            let expected = format!("a multiple of 4096 from {} to {} bytes", range.0, range.1);
            return refuse("segment_size", segment as u64, expected);
        }
        if !(2..=Self::MAX_SEGMENTS).contains(&self.segments) {
            let expected = format!("2 to {} segments", Self::MAX_SEGMENTS);
            return refuse("segments", self.segments as u64, expected);
        }
        let smallest_file = (file_header::BLOCK_LEN + segment) as u64;
        if !(smallest_file..=Self::MAX_FILE_SIZE).contains(&file) || !file.is_multiple_of(4096) {
            let expected = format!(
                "a multiple of 4096 from {smallest_file} (one segment and a block) to {} bytes",
                Self::MAX_FILE_SIZE
            );
            return refuse("file_size", file, expected);
        }
        if !(1..=record::MAX_LEN).contains(&self.max_record_len) {
            let expected = format!("1 to {} bytes", record::MAX_LEN);
            return refuse("max_record_len", self.max_record_len as u64, expected);
        }
        if !(1..self.segments).contains(&self.depth) {
            let expected = format!("1 to `segments` - 1 = {}", self.segments - 1);
            return refuse("depth", self.depth as u64, expected);
        }
        if !self.align().is_multiple_of(sink_alignment as u64) {
            let expected = format!("`Padding::Block`, since this sink aligns to {sink_alignment}");
            return refuse("padding", self.align(), expected);
        }
        Ok(())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_size", &self.segment_size)
            .field("segments", &self.segments)
            .field("file_size", &self.file_size)
            .field("max_record_len", &self.max_record_len)
            .field("depth", &self.depth)
            .field("padding", &self.padding)
            .field("recovery", &self.recovery)
            .field("ambiguous_tail", &self.ambiguous_tail)
            .field("executor", &self.executor.is_some())
            .field("name", &self.name)
            .field("clock", &self.clock.is_some())
            .field("progress", &self.progress.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_out_of_range_is_refused_by_its_name() {
        let o = Options::default;
        let cases = [
            (o().segment_size(4095), "segment_size"),
            (o().segment_size(5000), "segment_size"),
            (o().segment_size(128 << 20), "segment_size"),
            (o().segments(1), "segments"),
            (o().segments(1025), "segments"),
            (o().file_size(512 << 10), "file_size"),
            (o().file_size((64 << 20) + 1), "file_size"),
            (o().file_size(2 << 40), "file_size"),
            (o().max_record_len(0), "max_record_len"),
            (o().max_record_len(1 << 30), "max_record_len"),
            (o().depth(0), "depth"),
            (o().depth(8), "depth"),
        ];
        for (options, expected) in cases {
            match options.validate(1) {
                Err(Error::InvalidOption { name, .. }) => assert_eq!(name, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
        assert!(o().validate(4096).is_ok());
        let packed = o().padding(Padding::Packed);
        assert!(packed.validate(1).is_ok());
        let error = packed.validate(512).unwrap_err().to_string();
        assert!(error.contains("`padding`") && error.contains("512"), "{error}");
    }
}

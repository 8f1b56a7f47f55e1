//! What a file sink can be told at open.

/// Where the next log file is made ahead of need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preparation {
    /// On a short-lived thread named `wal-prepare`, one at a time, which ends when the file is
    /// made: no commit waits for a new file.
    #[default]
    Thread,
    /// Nowhere: the call that needs the file makes it. The sink then never starts a thread, and
    /// the commit that fills a file waits until the next one is written.
    Inline,
}

/// How the bytes of the log get onto the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Io {
    /// Written into the page cache, and synced file by file: `pwritev` and `fdatasync`. Works on
    /// every file system.
    #[default]
    Buffered,
    /// Past the page cache, and each write durable by itself: `pwritev2` with `RWF_DSYNC` on files
    /// with `O_DIRECT`. One system call per commit instead of two and steadier times, on Linux 4.7
    /// or later and file systems that can. Elsewhere opening is refused with an error that says
    /// so. Every write is then durable, also where only a crash of the process was to be survived.
    /// Frames must be aligned to blocks ([`Padding::Block`](wal_core::Padding::Block)).
    Direct,
}

/// Options of a [`FileSink`](crate::FileSink).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FileOptions {
    pub(crate) create: bool,
    pub(crate) preparation: Preparation,
    pub(crate) recycle: bool,
    pub(crate) io: Io,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { create: true, preparation: Preparation::default(), recycle: true, io: Io::default() }
    }
}

impl FileOptions {
    /// Whether a missing directory is made, along with those above it. Default true.
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Where the next file is made. Default [`Preparation::Thread`].
    #[must_use]
    pub const fn preparation(mut self, preparation: Preparation) -> Self {
        self.preparation = preparation;
        self
    }

    /// Whether files that the log has been truncated by are used again. Default true: up to two
    /// are kept, which take their space for as long as the log is open, and the next file takes
    /// one write and one sync to make, and no space. If false, each is removed at once and the
    /// next file is written with zeros, so that what was truncated is not on the disk any more
    /// than the file system leaves it there.
    #[must_use]
    pub const fn recycle(mut self, recycle: bool) -> Self {
        self.recycle = recycle;
        self
    }

    /// What [`io`](Self::io) was asked for: for backends that do it in one way only.
    #[must_use]
    pub const fn asked_io(&self) -> Io {
        self.io
    }

    /// How bytes get onto the device. Default [`Io::Buffered`].
    #[must_use]
    pub const fn io(mut self, io: Io) -> Self {
        self.io = io;
        self
    }
}

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

/// Options of a [`FileSink`](crate::FileSink).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct FileOptions {
    pub(crate) create: bool,
    pub(crate) preparation: Preparation,
    pub(crate) recycle: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { create: true, preparation: Preparation::default(), recycle: true }
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
}

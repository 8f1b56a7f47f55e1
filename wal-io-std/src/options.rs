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
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { create: true, preparation: Preparation::default() }
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
}

//! What the io_uring sink can be told at open.

use wal_io_std::FileOptions;

/// When what was written becomes durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durable {
    /// With each write, which carries `RWF_DSYNC`: a commit is one system call, and several of them
    /// flush at the same time. What is only to survive a crash of the process pays for it, too.
    #[default]
    PerWrite,
    /// With each sync, which calls `fdatasync` for every file written to: for logs that mostly ask
    /// for [`ProcessCrash`](wal_core::Durability::ProcessCrash) and sync now and then.
    PerSync,
}

/// Options of a [`UringSink`](crate::UringSink).
///
/// What the system does not have is done without, and named by
/// [`features`](crate::UringSink::features).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UringOptions {
    pub(crate) files: FileOptions,
    pub(crate) bypass_cache: bool,
    pub(crate) register: bool,
    pub(crate) durable: Durable,
}

impl Default for UringOptions {
    fn default() -> Self {
        Self {
            files: FileOptions::default(),
            bypass_cache: true,
            register: true,
            durable: Durable::default(),
        }
    }
}

impl UringOptions {
    /// How files are made and used again. [`FileOptions::io`] has no meaning here. Default
    /// [`FileOptions::default`].
    #[must_use]
    pub const fn files(mut self, files: FileOptions) -> Self {
        self.files = files;
        self
    }

    /// Whether writes bypass the page cache (`O_DIRECT`) where the file system can do that. Default
    /// true. If not, writes are buffered, which the kernel hands to worker threads of its own, and
    /// a sync calls `fdatasync`, whatever [`durable`](Self::durable) says: several times slower
    /// than [`wal_io_std`].
    #[must_use]
    pub const fn bypass_cache(mut self, bypass_cache: bool) -> Self {
        self.bypass_cache = bypass_cache;
        self
    }

    /// Whether segments and files are registered with the ring, which saves the kernel some work
    /// with each write and pins the segments in memory. Default true.
    #[must_use]
    pub const fn register(mut self, register: bool) -> Self {
        self.register = register;
        self
    }

    /// When what was written becomes durable. Default [`Durable::PerWrite`].
    #[must_use]
    pub const fn durable(mut self, durable: Durable) -> Self {
        self.durable = durable;
        self
    }
}

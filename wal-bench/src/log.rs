//! What a bench appends to, whatever it is.

use wal_core::{Appended, Durability, Error, Lsn, SegmentSink, Wal};

/// Something that many threads append records to.
pub trait Log: Sync {
    /// One thread's access.
    type Writer<'a>: Writer
    where
        Self: 'a;

    /// The access of thread `thread`, made before the clock starts.
    fn writer(&self, thread: usize) -> Self::Writer<'_>;

    /// Syncs done so far, for logs that count them.
    fn syncs(&self) -> Option<u64> {
        None
    }
}

/// One thread's access to a [`Log`].
pub trait Writer {
    /// Appends one record; a failure ends the bench.
    ///
    /// # Panics
    ///
    /// If the record cannot be appended.
    fn append(&mut self, payload: &[u8]);

    /// Hands over what is still held back, for logs whose promise is about the end of a turn; the
    /// clock still runs.
    fn finish(&mut self) {}
}

impl<S: SegmentSink> Log for Wal<S> {
    type Writer<'a> = &'a Self;

    fn writer(&self, _: usize) -> &Self {
        self
    }

    fn syncs(&self) -> Option<u64> {
        Some(self.stats().syncs)
    }
}

impl<S: SegmentSink> Writer for &Wal<S> {
    #[inline]
    fn append(&mut self, payload: &[u8]) {
        if let Err(error) = Wal::append(self, payload) {
            fail(&error);
        }
    }
}

/// A log of which every append is durable when it returns.
pub struct Durable<S: SegmentSink>(pub Wal<S>);

impl<S: SegmentSink> Log for Durable<S> {
    type Writer<'a> = &'a Self;

    fn writer(&self, _: usize) -> &Self {
        self
    }

    fn syncs(&self) -> Option<u64> {
        self.0.syncs()
    }
}

impl<S: SegmentSink> Writer for &Durable<S> {
    fn append(&mut self, payload: &[u8]) {
        if let Err(error) = self.0.append_and_sync(payload) {
            fail(&error);
        }
    }
}

/// A [`Durable`] log of which a checkpoint behind each so many bytes frees what is older, as a database
/// frees its log: by the first thread, as a part of its work.
pub struct Checkpointed<S: SegmentSink> {
    log: Durable<S>,
    every: u64,
}

impl<S: SegmentSink> Checkpointed<S> {
    /// A log with a checkpoint each `every` bytes, whose files have all been used before.
    ///
    /// # Errors
    ///
    /// The log's.
    pub fn new(wal: Wal<S>, every: u64) -> Result<Self, Error> {
        let payload = vec![0x5a; 1 << 20];
        let start = wal.next_lsn();
        while wal.next_lsn() < start.advance(4 * every) {
            let end = wal.append_and_sync(&payload)?.end;
            wal.truncate_before(end)?;
        }
        Ok(Self { log: Durable(wal), every })
    }
}

/// A writer of a [`Checkpointed`] log.
pub struct Checkpointing<'a, S: SegmentSink> {
    log: &'a Checkpointed<S>,
    /// Where the next checkpoint comes, of the one thread that makes them.
    next: Option<Lsn>,
}

impl<S: SegmentSink> Log for Checkpointed<S> {
    type Writer<'a> = Checkpointing<'a, S>;

    fn writer(&self, thread: usize) -> Checkpointing<'_, S> {
        Checkpointing { log: self, next: (thread == 0).then_some(Lsn::ZERO) }
    }

    fn syncs(&self) -> Option<u64> {
        self.log.syncs()
    }
}

impl<S: SegmentSink> Writer for Checkpointing<'_, S> {
    fn append(&mut self, payload: &[u8]) {
        let Checkpointed { log: Durable(wal), every } = self.log;
        let done = wal.append_and_sync(payload).and_then(|Appended { end, .. }| {
            if self.next.is_some_and(|next| next <= end) {
                wal.truncate_before(end)?;
                self.next = Some(end.advance(*every));
            }
            Ok(())
        });
        if let Err(error) = done {
            fail(&error);
        }
    }
}

/// A log whose records are with the operating system when their append returns, or at the end of a
/// turn.
pub struct HandedOver<S: SegmentSink> {
    /// The log.
    pub wal: Wal<S>,
    /// Each record by itself.
    pub each: bool,
}

impl<S: SegmentSink> HandedOver<S> {
    /// Frees the files of earlier turns, to be used again in the next ones.
    ///
    /// # Errors
    ///
    /// The log's.
    pub fn free(&self) -> Result<(), Error> {
        self.wal.sync()?;
        self.wal.truncate_before(self.wal.durable_lsn()).map(drop)
    }
}

impl<S: SegmentSink> Log for HandedOver<S> {
    type Writer<'a> = &'a Self;

    fn writer(&self, _: usize) -> &Self {
        self
    }

    fn syncs(&self) -> Option<u64> {
        self.wal.syncs()
    }
}

impl<S: SegmentSink> Writer for &HandedOver<S> {
    #[inline]
    fn append(&mut self, payload: &[u8]) {
        let done = if self.each {
            self.wal.append_with(payload, Durability::ProcessCrash)
        } else {
            self.wal.append(payload)
        };
        if let Err(error) = done {
            fail(&error);
        }
    }

    fn finish(&mut self) {
        if let Err(error) = self.wal.flush() {
            fail(&error);
        }
    }
}

/// A log that each writer makes durable once in so many records.
pub struct Synced<S: SegmentSink> {
    /// The log.
    pub wal: Wal<S>,
    /// Records of a writer between two syncs.
    pub every: u64,
}

/// A writer of a [`Synced`] log.
pub struct Syncing<'a, S: SegmentSink> {
    log: &'a Synced<S>,
    since: u64,
}

impl<S: SegmentSink> Log for Synced<S> {
    type Writer<'a> = Syncing<'a, S>;

    fn writer(&self, _: usize) -> Syncing<'_, S> {
        Syncing { log: self, since: 0 }
    }

    fn syncs(&self) -> Option<u64> {
        self.wal.syncs()
    }
}

impl<S: SegmentSink> Writer for Syncing<'_, S> {
    #[inline]
    fn append(&mut self, payload: &[u8]) {
        self.since += 1;
        let appended = self.log.wal.append(payload);
        let result = if self.since.is_multiple_of(self.log.every) {
            appended.and_then(|appended| self.log.wal.wait_durable(appended.lsn))
        } else {
            appended.map(drop)
        };
        if let Err(error) = result {
            fail(&error);
        }
    }
}

#[cold]
pub(crate) fn fail(error: &dyn std::error::Error) -> ! {
    panic!("the bench cannot go on: {error}");
}

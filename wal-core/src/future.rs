//! The same waits as futures, for any runtime.

use std::future::Future;
use std::io::IoSlice;

use crate::append::Patience;
use crate::error::Error;
use crate::flush::{Need, Waiting};
use crate::lsn::{Appended, Lsn};
use crate::probe::Probe;
use crate::sink::SegmentSink;
use crate::sync::Arc;
use crate::wal::{Durability, Wal};

/// Waiting without blocking a thread. The futures are `Send`, cancel-safe, and need no particular
/// runtime. While the sink blocks, its work goes to
/// [`Options::executor`](crate::Options::executor). What waits is `'static`; what appends borrows its
/// payload. A future that is the last to have the log closes it when it is dropped, which blocks, as
/// dropping the last handle does.
impl<S: SegmentSink, P: Probe> Wal<S, P> {
    /// [`wait_durable`](Self::wait_durable) as a future.
    ///
    /// # Errors
    ///
    /// As for [`wait_durable`](Self::wait_durable), and [`Error::NoExecutor`] if the sink blocks
    /// and the log has no executor, or the executor drops its jobs.
    pub fn durable(
        &self,
        lsn: Lsn,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static + use<S, P> {
        self.reached(lsn, Durability::PowerLoss)
    }

    /// [`wait`](Self::wait) as a future.
    ///
    /// # Errors
    ///
    /// As for [`durable`](Self::durable).
    pub fn reached(
        &self,
        lsn: Lsn,
        durability: Durability,
    ) -> impl Future<Output = Result<(), Error>> + Send + 'static + use<S, P> {
        let wal = self.clone();
        async move {
            match wal.need(lsn, durability)? {
                Some(need) => wal.pending(need).await,
                None => Ok(()),
            }
        }
    }

    /// [`append`](Self::append) as a future that is pending while no segment is free.
    ///
    /// # Errors
    ///
    /// [`Error::NeedsToWait`] for a record larger than a segment: hand it to a thread that may
    /// block. Otherwise as for [`append`](Self::append) and [`durable`](Self::durable).
    pub async fn append_async(&self, payload: &[u8]) -> Result<Appended, Error> {
        let mut stalled = false;
        loop {
            let current = self.shared.ring.current();
            match self.append_record(&[IoSlice::new(payload)], Patience::Try) {
                Err(Error::WouldBlock) => {
                    self.shared.counters.stall(!stalled);
                    stalled = true;
                    self.pending(Need::Space(current)).await?;
                }
                over => return over,
            }
        }
    }

    async fn pending(&self, need: Need) -> Result<(), Error> {
        if self.shared.sink.blocks() && self.shared.executor.is_none() {
            // What is reached already needs nobody to work.
            return if self.shared.progress().satisfies(need) {
                Ok(())
            } else {
                Err(Error::NoExecutor)
            };
        }
        Waiting::new(Arc::clone(&self.shared), need).await
    }
}

//! A sealed file, as an archive hands it out.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Ship;
use super::ledger::{Key, Ledger};
use crate::error::Error;
use crate::format::checksum::Crc;
use crate::lsn::Lsn;
use crate::read::{Content, Follow};

/// Bytes read at once.
const CHUNK: u64 = 256 << 10;

/// A log file to which nothing is added any more, all of it durable. From
/// [`Archive::next`](super::Archive::next).
///
/// What counts of it are the bytes `0..len()`: a header block and frames. Whatever lies behind in the
/// file is no part of the log. A copy takes its place in a directory of log files under the same name
/// if it has these bytes and then zeros, up to [`capacity`](Self::capacity).
///
/// It is held, and the log with it kept open, until [`done`](Self::done) is called; dropping it does
/// not, since whoever fails to ship a file must not lose it.
#[must_use = "the log keeps the file until `done` is called"]
pub struct SealedFile {
    log: Arc<dyn Ship>,
    ledger: Arc<Ledger>,
    content: Content,
    checksum: u32,
}

impl SealedFile {
    /// Verifies `content` and takes its checksum. Blocks for I/O.
    pub(super) fn read(
        log: &Arc<dyn Ship>,
        ledger: &Arc<Ledger>,
        content: Content,
    ) -> Result<Self, Error> {
        let follow: Arc<dyn Follow> = Arc::<dyn Ship>::clone(log);
        crate::read::verify(&follow, &content.file)?;
        let (mut crc, mut offset) = (Crc::default(), 0);
        let mut buf = vec![0; CHUNK.min(content.len()) as usize];
        while offset < content.len() {
            let len = buf.len().min((content.len() - offset) as usize);
            content.read(&*follow, offset, &mut buf[..len])?;
            crc.update(&buf[..len]);
            offset += len as u64;
        }
        let (log, ledger) = (Arc::clone(log), Arc::clone(ledger));
        Ok(Self { log, ledger, content, checksum: crc.value() })
    }

    fn key(&self) -> Key {
        (self.sequence(), self.end())
    }

    /// Its number, which is part of its name, and which no other file of the log ever has.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.content.file.header.sequence
    }

    /// The number of the file before it in the log, if there was one. Files with numbers in between
    /// were cut off, or held nothing: copies of them are no part of the log.
    #[must_use]
    pub fn follows(&self) -> Option<u64> {
        self.content.file.header.prev.map(|prev| prev.sequence)
    }

    /// Where it starts in the stream.
    #[must_use]
    pub const fn start(&self) -> Lsn {
        self.content.file.header.base
    }

    /// Where it ends in the stream: the position just past its last record, or its start, if it holds
    /// none. Give this to [`Wal::archive`](crate::Wal::archive) to go on behind it.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.content.end
    }

    /// Bytes of the file that count, from its beginning.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a file has its header at least")]
    pub fn len(&self) -> u64 {
        self.content.len()
    }

    /// Bytes of the whole file as it was made; a copy needs as many.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.content.file.header.capacity
    }

    /// CRC-32C of the bytes that count.
    #[must_use]
    pub const fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Where it is, as the sink names it. What copies it by this path takes
    /// [`len`](Self::len) bytes.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.content.path
    }

    /// Reads the bytes that count, from the first to the last, and checks them once more.
    #[must_use]
    pub fn reader(&self) -> SealedReader<'_> {
        SealedReader { file: self, offset: 0, crc: Crc::default() }
    }

    /// Says that the file is safe elsewhere: the log may let go of it, once it has let go of all
    /// before it. Frees nothing by itself: [`truncate_before`](crate::Wal::truncate_before) does. Does
    /// not block for I/O.
    pub fn done(self) {
        self.ledger.done(self.key());
    }
}

impl fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedFile")
            .field("sequence", &self.sequence())
            .field("start", &self.start())
            .field("end", &self.end())
            .field("len", &self.len())
            .field("checksum", &self.checksum)
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// The bytes of a [`SealedFile`], to be copied wherever they are to go. Blocks for I/O.
///
/// An error is one of the log ([`Error`] is its source): above all [`Error::Truncated`], if the log
/// was cut back in the meantime, so that the file has another end, with which it is announced again.
/// If what was read is not what was announced, the read at the end fails
/// ([`InvalidData`](io::ErrorKind::InvalidData)).
pub struct SealedReader<'a> {
    file: &'a SealedFile,
    offset: u64,
    crc: Crc,
}

impl io::Read for SealedReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let content = &self.file.content;
        let len = (buf.len() as u64).min(content.len() - self.offset) as usize;
        if len == 0 {
            if !buf.is_empty() && self.crc.value() != self.file.checksum {
                let what = format!(
                    "{} has checksum {:08x}, and had {:08x} when it was announced",
                    content.path.display(),
                    self.crc.value(),
                    self.file.checksum
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            return Ok(0);
        }
        let follow: &dyn Follow = &*self.file.log;
        content.read(follow, self.offset, &mut buf[..len]).map_err(io::Error::other)?;
        self.crc.update(&buf[..len]);
        self.offset += len as u64;
        Ok(len)
    }
}

impl fmt::Debug for SealedReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedReader")
            .field("file", self.file)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

//! A file to which nothing is added any more, as the bytes that it is.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Cursor, Follow, truncated};
use crate::error::Error;
use crate::format::file_header::BLOCK_LEN;
use crate::format::{frame, record};
use crate::lsn::Lsn;
use crate::recover::{Corruption, Reason};
use crate::shared::ReadFile;

/// Verifies every frame and record of a file that has an end.
pub(crate) fn verify(log: &Arc<dyn Follow>, file: &ReadFile) -> Result<(), Error> {
    let mut cursor = Cursor::at_file(Arc::clone(log), file.clone(), file.header.base);
    while let Some(found) = cursor.frame()? {
        let end = file.end.map_or(found.end(), |end| end.min(found.end()));
        if found.kind == frame::Kind::Data {
            cursor.at = found.lsn.advance(frame::HEADER_LEN as u64);
            cursor.frame_end = end;
            while cursor.at < end {
                cursor.at = match log.hole_end(cursor.at) {
                    Some(hole) => hole,
                    None => {
                        let (lsn, len, _) = cursor.record()?;
                        lsn.advance(record::stored_len(len) as u64)
                    }
                };
            }
        }
        cursor.at = end;
    }
    Ok(())
}

/// The bytes of a file from its header block to its end: all of it that is part of the log.
#[derive(Clone)]
pub(crate) struct Content {
    pub(crate) file: ReadFile,
    /// Where the records end, no earlier than where they begin.
    pub(crate) end: Lsn,
    /// Where the file is, as the source lists it.
    pub(crate) path: PathBuf,
}

impl Content {
    /// That of a file with an end; `None` if it is not listed any more.
    pub(crate) fn of(log: &dyn Follow, file: ReadFile) -> Result<Option<Self>, Error> {
        let listed = log.source().list()?.files;
        let entry = listed.into_iter().find(|entry| entry.sequence == file.header.sequence);
        let end = file.end.unwrap_or(file.header.base).max(file.header.base);
        Ok(entry.map(|entry| Self { file, end, path: entry.path }))
    }

    pub(crate) fn len(&self) -> u64 {
        self.file.header.offset_of(self.end)
    }

    /// Reads the bytes at `offset` into `buf`, all of which lies within; refuses if the file has come
    /// to be another one than it was, or to have another end.
    pub(crate) fn read(&self, log: &dyn Follow, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let sequence = self.file.header.sequence;
        let read = log.source().read_at(sequence, offset, buf);
        // Afterwards, as in `Follow::read`.
        self.check(log)?;
        let read = read?;
        if read < buf.len() {
            let at = offset + read as u64;
            return Err(Error::from(Corruption {
                reason: Reason::ShortFile,
                lsn: self.file.header.base.advance(at.saturating_sub(BLOCK_LEN as u64)),
                file: sequence,
                path: self.path.clone(),
                offset: at,
                len: self.len() - at,
                proof: log.limit(),
            }));
        }
        Ok(())
    }

    /// Whether the file is still part of the log, up to the same end.
    pub(crate) fn check(&self, log: &dyn Follow) -> Result<(), Error> {
        let sequence = self.file.header.sequence;
        log.files(|files| {
            let at = files.partition_point(|file| file.header.sequence < sequence);
            let next = match files.get(at) {
                Some(now) if now.header.sequence == sequence && now.end == self.file.end => {
                    return Ok(());
                }
                Some(now) if now.header.sequence == sequence => files.get(at + 1),
                other => other,
            };
            let lsn = self.file.header.base;
            // The newest file is never taken out of the table, but for a newer one.
            next.map_or(Ok(()), |next| Err(truncated(lsn, next)))
        })
    }
}

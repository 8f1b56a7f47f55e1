//! Where a log can end: behind a whole record, batch or frame.

use std::sync::Arc;

use super::{Cursor, Follow, reach, truncated};
use crate::error::Error;
use crate::format::file_header::Predecessor;
use crate::format::{frame, record};
use crate::lsn::Lsn;
use crate::recover::Reason;
use crate::shared::ReadFile;

/// The end of the last record before `lsn`, as the header of a file that follows it names it; `None`
/// if nothing of the log lies before. Everything before `lsn` is durable.
pub(crate) fn end_before(log: Arc<dyn Follow>, lsn: Lsn) -> Result<Option<Predecessor>, Error> {
    let file = log.files(|files| match files.partition_point(|file| file.header.base <= lsn) {
        0 if lsn < reach(&files[0]) => Err(truncated(lsn, &files[0])),
        0 => Ok(files[0].clone()),
        after => Ok(files[after - 1].clone()),
    })?;
    let before = last_frame_before(&*log, &file);
    if lsn <= file.header.base {
        return Ok(before);
    }
    let start = file.header.base;
    let mut cursor = Cursor::at_file(log, file, start);
    let mut last = before;
    while let Some(found) = cursor.frame()? {
        if found.lsn >= lsn {
            break;
        }
        let header = cursor.file.header;
        let named = |end| Predecessor {
            sequence: header.sequence,
            salt: header.salt,
            end,
            last_frame: found.link(),
        };
        let end = cursor.file.end.map_or(found.end(), |end| end.min(found.end()));
        let first = found.lsn.advance(frame::HEADER_LEN as u64);
        if end <= lsn {
            last = Some(named(end));
        } else if found.kind == frame::Kind::Data && first < lsn {
            let kept = cursor.records_before(first, end, lsn)?;
            if kept > first {
                last = Some(named(kept));
            }
        }
        cursor.at = end;
    }
    Ok(last)
}

/// Where the log ends without `file` and what follows it. A vacant file that `file` names is none to
/// end in: it may begin behind what was cut off before it.
fn last_frame_before(log: &dyn Follow, file: &ReadFile) -> Option<Predecessor> {
    let mut prev = file.header.prev?;
    while let Some(named) = log.file(prev.sequence)
        && prev.end <= named.header.base
    {
        prev = named.header.prev?;
    }
    Some(prev)
}

impl Cursor {
    /// The next frame of the file, of whatever kind, or `None` behind the last.
    pub(super) fn frame(&mut self) -> Result<Option<frame::Header>, Error> {
        self.at = self.at.align_up(u64::from(self.file.header.align));
        if let Some(end) = self.log.hole_end(self.at) {
            self.at = end;
        }
        if self.file.end.is_some_and(|end| self.at >= end) || self.at >= self.limit {
            return Ok(None);
        }
        let (at, salt) = (self.at, self.file.header.salt);
        let room = self.file.header.limit().get().saturating_sub(at.get());
        let bytes = self.bytes(frame::HEADER_LEN, super::cursor::GLANCE)?;
        let found = frame::decode(bytes, at, salt, room);
        found.map(Some).map_err(|fault| self.corrupt(Reason::FrameHeader(fault)))
    }

    /// The end of the last whole record or batch in `first..end` that does not reach over `lsn`.
    fn records_before(&mut self, first: Lsn, end: Lsn, lsn: Lsn) -> Result<Lsn, Error> {
        (self.at, self.frame_end) = (first, end);
        let (mut kept, mut batch) = (first, false);
        while self.at < lsn {
            if let Some(hole) = self.log.hole_end(self.at) {
                // Nobody knows what is in it, so nothing ends there.
                (self.at, batch) = (hole, true);
                continue;
            }
            let (at, len, kind) = self.record()?;
            self.at = at.advance(record::stored_len(len) as u64);
            if kind == record::Kind::Void && self.at > lsn {
                return Ok(kept);
            }
            batch = kind == record::Kind::DataMore;
            if !batch {
                kept = self.at;
            }
        }
        // In the middle of a record, or between the records of a batch.
        if batch || kept > lsn { Err(Error::NotARecord { lsn }) } else { Ok(kept) }
    }
}

//! What the child tells its parent, one line each.

use std::fmt::Write;

use wal_core::Lsn;

/// Where an acknowledged record lies, and the checksum of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lsn: Lsn,
    pub(crate) crc: u32,
}

/// A line from the child. Each is shorter than `PIPE_BUF` (512 bytes at least), so the kernel
/// writes it whole or not at all, and lines of different threads do not mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The log is open.
    Ready,
    /// These records are about to be appended: whatever else turns up later is invented.
    Sent { writer: u32, first: u64, records: u64 },
    /// These records are durable; so many syncs and bytes written were counted by then.
    Durable { syncs: u64, bytes: u64, writer: u32, first: u64, places: Vec<Place> },
}

/// Most records in one message; keeps it below the limit.
pub(crate) const MOST_RECORDS: usize = 8;

impl Message {
    /// The line, newline included.
    pub(crate) fn encode(&self) -> String {
        let mut line = String::new();
        // Writing to a string does not fail.
        let _ = match self {
            Self::Ready => write!(line, "ready"),
            Self::Sent { writer, first, records } => {
                write!(line, "sent {writer} {first} {records}")
            }
            Self::Durable { syncs, bytes, writer, first, places } => {
                let _ = write!(line, "durable {syncs} {bytes} {writer} {first}");
                let mut places = places.iter();
                places.try_for_each(|place| write!(line, " {}:{}", place.lsn, place.crc))
            }
        };
        line.push('\n');
        line
    }

    /// Reads a line without its newline.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let mut number = || words.next()?.parse().ok();
        let message = match kind {
            "ready" => Self::Ready,
            "sent" => {
                let writer = u32::try_from(number()?).ok()?;
                Self::Sent { writer, first: number()?, records: number()? }
            }
            "durable" => {
                let (syncs, bytes) = (number()?, number()?);
                let (writer, first) = (u32::try_from(number()?).ok()?, number()?);
                let place = |word: &str| {
                    let (lsn, crc) = word.split_once(':')?;
                    Some(Place { lsn: Lsn::new(lsn.parse().ok()?), crc: crc.parse().ok()? })
                };
                let places = words.by_ref().map(place).collect::<Option<_>>()?;
                Self::Durable { syncs, bytes, writer, first, places }
            }
            _ => return None,
        };
        if words.next().is_none() { Some(message) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_and_stay_below_the_limit() {
        let place = Place { lsn: Lsn::MAX, crc: u32::MAX };
        let (writer, first) = (u32::MAX, u64::MAX);
        let places = vec![place; MOST_RECORDS];
        let longest = Message::Durable { syncs: u64::MAX, bytes: u64::MAX, writer, first, places };
        let sent = Message::Sent { writer: 1, first: 2, records: 3 };
        for message in [Message::Ready, sent, longest] {
            let line = message.encode();
            assert!(line.len() <= 512, "{} bytes", line.len());
            assert_eq!(Message::parse(line.trim_end()), Some(message));
        }
        for bad in ["", "sent", "sent 1 2", "sent 1 2 3 4", "durable 1 2 3 4 5", "ready 1"] {
            assert_eq!(Message::parse(bad), None, "{bad}");
        }
    }
}

//! Records from lines or from framed input, in groups that follow the input's own pace.

use std::io::{self, BufRead, BufReader, Read};

/// Records that go to one writer together.
pub(crate) type Group = Vec<Vec<u8>>;

/// How the input is cut into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cutting {
    /// A record per line, without the newline; the last line may lack one.
    Lines,
    /// A little-endian length of 4 bytes, then as many bytes.
    Framed,
}

/// How many records make a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// Exactly this many; only the last group of all input may be smaller.
    Exact(usize),
    /// Whatever the input has ready, up to a limit: nothing is held back while waiting for more.
    AsItComes,
}

/// A group as it comes holds at most so many records...
const GROUP_RECORDS: usize = 256;
/// ...and stops growing at so many bytes.
const GROUP_BYTES: usize = 128 << 10;
/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// Why reading stops.
#[derive(Debug)]
pub(crate) enum Trouble {
    Read(io::Error),
    /// Record `number`, counted from 1, is longer than the log takes; its length if it is known.
    TooLong {
        number: u64,
        len: Option<u64>,
    },
    /// The input ends inside record `number`.
    Short {
        number: u64,
    },
}

/// Reads groups of records from one input.
pub(crate) struct Reader<R> {
    input: BufReader<R>,
    cutting: Cutting,
    max_len: usize,
    /// Records read so far.
    records: u64,
    /// Bytes read so far.
    bytes: u64,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(input: R, cutting: Cutting, max_len: usize) -> Self {
        let input = BufReader::with_capacity(BUFFER, input);
        Self { input, cutting, max_len, records: 0, bytes: 0 }
    }

    /// Bytes of input used so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds records to `group` until it is complete (`true`) or the input has ended (`false`).
    pub(crate) fn fill(&mut self, group: &mut Group, grouping: Grouping) -> Result<bool, Trouble> {
        let mut held = 0;
        loop {
            let Some(record) = self.record()? else { return Ok(false) };
            held += record.len();
            group.push(record);
            let complete = match grouping {
                Grouping::Exact(records) => group.len() >= records,
                Grouping::AsItComes => {
                    // With an empty buffer, the next read may wait for whoever writes the input.
                    self.input.buffer().is_empty()
                        || group.len() >= GROUP_RECORDS
                        || held >= GROUP_BYTES
                }
            };
            if complete {
                return Ok(true);
            }
        }
    }

    fn record(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let record = match self.cutting {
            Cutting::Lines => self.line(),
            Cutting::Framed => self.framed(),
        }?;
        self.records += u64::from(record.is_some());
        Ok(record)
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let mut line = Vec::new();
        // One byte for the newline, so that nothing endless is gathered in memory.
        let limit = self.max_len as u64 + 1;
        let read = self.input.by_ref().take(limit).read_until(b'\n', &mut line);
        self.bytes += read.map_err(Trouble::Read)? as u64;
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok(Some(line));
        }
        if line.len() > self.max_len {
            return Err(Trouble::TooLong { number: self.records + 1, len: None });
        }
        Ok(if line.is_empty() { None } else { Some(line) })
    }

    fn framed(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let number = self.records + 1;
        let mut prefix = Vec::with_capacity(4);
        self.take(4, &mut prefix)?;
        if prefix.is_empty() {
            return Ok(None);
        }
        let Ok(prefix) = <[u8; 4]>::try_from(prefix) else { return Err(Trouble::Short { number }) };
        let len = u64::from(u32::from_le_bytes(prefix));
        if len > self.max_len as u64 {
            return Err(Trouble::TooLong { number, len: Some(len) });
        }
        // Grows with what is really there, whatever the length says.
        let mut record = Vec::new();
        self.take(len, &mut record)?;
        if (record.len() as u64) < len { Err(Trouble::Short { number }) } else { Ok(Some(record)) }
    }

    fn take(&mut self, len: u64, into: &mut Vec<u8>) -> Result<(), Trouble> {
        let read = self.input.by_ref().take(len).read_to_end(into).map_err(Trouble::Read)?;
        self.bytes += read as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], cutting: Cutting, max_len: usize) -> Result<Group, Trouble> {
        let mut reader = Reader::new(input, cutting, max_len);
        let mut group = Group::new();
        while reader.fill(&mut group, Grouping::AsItComes)? {}
        assert_eq!(reader.bytes(), input.len() as u64);
        Ok(group)
    }

    #[test]
    fn lines_lose_their_newline_and_nothing_else() {
        let lines = all(b"a\n\n b\r\nlast", Cutting::Lines, 10).unwrap();
        assert_eq!(lines, [b"a".to_vec(), b"".to_vec(), b" b\r".to_vec(), b"last".to_vec()]);
        assert_eq!(all(b"", Cutting::Lines, 10).unwrap(), Group::new());
        assert_eq!(all(b"\n", Cutting::Lines, 10).unwrap(), [b"".to_vec()]);
    }

    #[test]
    fn a_record_of_the_limit_passes_and_a_longer_one_is_refused_by_its_number() {
        assert_eq!(all(b"abc\nabc", Cutting::Lines, 3).unwrap().len(), 2);
        let refused = all(b"abc\nabcd\n", Cutting::Lines, 3);
        assert!(matches!(refused, Err(Trouble::TooLong { number: 2, len: None })));
        assert_eq!(all(b"\x03\0\0\0abc", Cutting::Framed, 3).unwrap(), [b"abc".to_vec()]);
        let refused = all(b"\x04\0\0\0abcd", Cutting::Framed, 3);
        assert!(matches!(refused, Err(Trouble::TooLong { number: 1, len: Some(4) })));
    }

    #[test]
    fn framed_input_that_ends_early_is_refused() {
        let whole = b"\x01\0\0\0a\x02\0\0\0bc";
        assert_eq!(all(whole, Cutting::Framed, 3).unwrap(), [b"a".to_vec(), b"bc".to_vec()]);
        for cut in [1, 4, 6, 9, 10] {
            let refused = all(&whole[..cut], Cutting::Framed, 3);
            assert!(matches!(refused, Err(Trouble::Short { .. })), "{cut}: {refused:?}");
        }
    }

    #[test]
    fn exact_groups_go_on_in_the_next_input() {
        let mut group = Group::new();
        let mut first = Reader::new(&b"1\n2\n3\n"[..], Cutting::Lines, 10);
        assert!(first.fill(&mut group, Grouping::Exact(2)).unwrap());
        group.clear();
        assert!(!first.fill(&mut group, Grouping::Exact(2)).unwrap());
        let mut second = Reader::new(&b"4\n5\n"[..], Cutting::Lines, 10);
        assert!(second.fill(&mut group, Grouping::Exact(2)).unwrap());
        assert_eq!(group, [b"3".to_vec(), b"4".to_vec()]);
    }
}

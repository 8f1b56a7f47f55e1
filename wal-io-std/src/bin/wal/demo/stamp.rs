//! What the demo writes into each record: who wrote it, as which one, and a piece of text.

use std::io::Write;

use super::corpus::Corpus;

/// The head of a record's payload, in readable text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) writer: u32,
    /// Counts this writer's records, from 0, over all rounds.
    pub(crate) seq: u64,
    /// Place in a batch, from 0.
    pub(crate) part: u32,
    /// Records of the batch; 1 for a record on its own.
    pub(crate) parts: u32,
    /// Bytes of text behind the head.
    pub(crate) text_len: usize,
}

impl Stamp {
    /// The whole payload.
    pub(crate) fn payload(&self, corpus: &Corpus) -> Vec<u8> {
        let Self { writer, seq, part, parts, text_len } = *self;
        let mut payload = Vec::with_capacity(64 + text_len);
        // Writing to a vector does not fail.
        let _ = write!(payload, "writer {writer} seq {seq} part {part}/{parts} text {text_len}: ");
        payload.extend(corpus.text_of(writer, seq, text_len));
        payload
    }

    /// Reads the head of a payload; `None` if it has none. The text is not looked at.
    pub(crate) fn parse(payload: &[u8]) -> Option<Self> {
        // No head is longer.
        let head = &payload[..payload.len().min(100)];
        let end = head.windows(2).position(|pair| pair == b": ")?;
        let mut words = std::str::from_utf8(&head[..end]).ok()?.split(' ');
        let mut value = |name: &str| words.next().filter(|word| *word == name).and(words.next());
        let (writer, seq) = (value("writer")?.parse().ok()?, value("seq")?.parse().ok()?);
        let (part, parts) = value("part")?.split_once('/')?;
        let text_len = value("text")?.parse().ok()?;
        Some(Self { writer, seq, part: part.parse().ok()?, parts: parts.parse().ok()?, text_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_and_nothing_else_does() {
        let corpus = Corpus::new(b"some text: with a colon\n".to_vec()).unwrap();
        let stamp = Stamp { writer: 3, seq: 1042, part: 1, parts: 4, text_len: 30 };
        let payload = stamp.payload(&corpus);
        assert!(payload.starts_with(b"writer 3 seq 1042 part 1/4 text 30: some text: "));
        assert_eq!(Stamp::parse(&payload), Some(stamp));
        for bad in ["", ": ", "writer 1 seq 2", "writer 1 seq x part 0/1 text 1: ", "seq 1: "] {
            assert_eq!(Stamp::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}

//! Where the fields of headers are: for tools that show bytes which do not decode.
//!
//! The tables of `spec/FORMAT.md`, in their order and by their names. Reserved bytes between fields
//! are left out.

use super::{file_header, frame, record};

/// A field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in `spec/FORMAT.md`.
    pub name: &'static str,
    /// Bytes before it.
    pub offset: usize,
    /// Bytes that it has.
    pub len: usize,
}

const fn field(name: &'static str, offset: usize, len: usize) -> Field {
    Field { name, offset, len }
}

/// The file header block. Its last field is the checksum of everything before.
pub const FILE_HEADER: &[Field] = &[
    field("magic", 0, 8),
    field("version", 8, 4),
    field("flags", 12, 4),
    field("log_id", 16, 16),
    field("sequence", 32, 8),
    field("salt", 40, 8),
    field("base", 48, 8),
    field("capacity", 56, 8),
    field("align", 64, 4),
    field("max_record_len", 68, 4),
    field("prev.sequence", 72, 8),
    field("prev.salt", 80, 8),
    field("prev.end", 88, 8),
    field("prev.last_frame.lsn", 96, 8),
    field("prev.last_frame.crc", 104, 4),
    field("durable", 112, 8),
    field("crc", file_header::BLOCK_LEN - 4, 4),
];

/// A frame header. Its last field is the checksum of everything before.
pub const FRAME_HEADER: &[Field] = &[
    field("magic", 0, 4),
    field("flags", 4, 4),
    field("lsn", 8, 8),
    field("len", 16, 8),
    field("durable", 24, 8),
    field("prev.lsn", 32, 8),
    field("salt", 40, 8),
    field("prev.crc", 48, 4),
    field("crc", frame::HEADER_LEN - 4, 4),
];

/// A record's header. Its checksum covers payload, LSN, salt and word.
pub const RECORD: &[Field] = &[field("word", 0, 4), field("crc", record::HEADER_LEN - 4, 4)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::file_header::{FileHeader, Predecessor};
    use crate::lsn::Lsn;

    /// The value of a field, as a number.
    fn value(bytes: &[u8], table: &[Field], name: &str) -> u64 {
        let field = table.iter().find(|field| field.name == name).unwrap();
        let bytes = &bytes[field.offset..][..field.len];
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    #[test]
    fn the_tables_say_where_writers_put_things() {
        let last_frame = frame::Link { lsn: Lsn::new(0x11), crc: 0x12 };
        let prev = Predecessor { sequence: 0x13, salt: 0x14, end: Lsn::new(0x15), last_frame };
        let header = FileHeader {
            log_id: [0x16; 16],
            sequence: 0x17,
            salt: 0x18,
            base: Lsn::new(0x20),
            capacity: 0x2000,
            align: 8,
            max_record_len: 0x19,
            prev: Some(prev),
            durable: Lsn::new(0x1a),
            recovered: true,
            recycled: false,
            in_place: false,
        };
        let block = header.encode();
        let expected = [
            ("version", 1),
            ("flags", 1),
            ("sequence", 0x17),
            ("salt", 0x18),
            ("base", 0x20),
            ("capacity", 0x2000),
            ("align", 8),
            ("max_record_len", 0x19),
            ("prev.sequence", 0x13),
            ("prev.salt", 0x14),
            ("prev.end", 0x15),
            ("prev.last_frame.lsn", 0x11),
            ("prev.last_frame.crc", 0x12),
            ("durable", 0x1a),
        ];
        for (name, expected) in expected {
            assert_eq!(value(&block[..], FILE_HEADER, name), expected, "{name}");
        }
        assert_eq!(FILE_HEADER.len(), expected.len() + 3, "magic, log_id and crc besides");
        let crc = u64::from(crate::format::checksum::crc32c(&block[..4092]));
        assert_eq!(value(&block[..], FILE_HEADER, "crc"), crc);

        let header = frame::Header {
            kind: frame::Kind::Close,
            lsn: Lsn::new(0x21),
            len: 64,
            durable: Lsn::new(0x22),
            prev: frame::Link { lsn: Lsn::new(0x23), crc: 0x24 },
            salt: 0x25,
        };
        let bytes = header.encode();
        let expected = [
            ("flags", 3),
            ("lsn", 0x21),
            ("len", 64),
            ("durable", 0x22),
            ("prev.lsn", 0x23),
            ("prev.crc", 0x24),
            ("salt", 0x25),
            ("crc", u64::from(header.link().crc)),
        ];
        for (name, expected) in expected {
            assert_eq!(value(&bytes, FRAME_HEADER, name), expected, "{name}");
        }
        assert_eq!(FRAME_HEADER.len(), expected.len() + 1);

        let word = record::Word::new(0x31, record::Kind::DataMore);
        let bytes = record::encode_header(word, 0x32, Lsn::new(0x33), 0x34);
        assert_eq!(value(&bytes, RECORD, "word"), u64::from(word.get()));
        let crc = crate::format::checksum::record(0x32, Lsn::new(0x33), 0x34, word.get());
        assert_eq!(value(&bytes, RECORD, "crc"), u64::from(crc));
    }
}

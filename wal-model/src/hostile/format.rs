//! The codecs alone.

use arbitrary::Unstructured;
use wal_core::Lsn;
use wal_core::format::checksum::crc32c;
use wal_core::format::file_header::{self, BLOCK_LEN, FileHeader};
use wal_core::format::frame::{self, Kind, Link};
use wal_core::format::record::{self, Word};
use wal_core::testing::logs::LOG_ID;

fn sealed(bytes: &mut [u8]) {
    let at = bytes.len() - 4;
    let crc = crc32c(&bytes[..at]);
    bytes[at..].copy_from_slice(&crc.to_le_bytes());
}

/// Reads a file header block and a frame header: sound ones over which `data` is laid, with the
/// checksum made right or not.
///
/// # Panics
///
/// If what is accepted does not say everything about its bytes.
pub fn header(data: &[u8]) {
    let [mode, data @ ..] = data else { return };
    let mut block = file().encode()[..].to_vec();
    overlay(&mut block, data);
    let mut head = frame().encode();
    overlay(&mut head, data);
    if mode & 1 == 0 {
        sealed(&mut block);
        sealed(&mut head);
    }
    if let Ok(header) = file_header::decode(&block) {
        assert_eq!(header.encode()[..], block);
        assert!(header.base <= header.limit() && header.durable <= header.base);
    }
    assert!(file_header::decode(&block[..BLOCK_LEN - 1]).is_err());
    if let Some(header) = frame::decode_anywhere(&head) {
        assert_eq!(header.encode(), head);
        assert!(header.durable <= header.lsn);
        let decode = |lsn, salt, room| frame::decode(&head, lsn, salt, room);
        let (lsn, salt, len) = (header.lsn, header.salt, header.len);
        assert_eq!(decode(lsn, salt, len), Ok(header));
        assert!(decode(lsn, salt, len - 1).is_err());
        assert_eq!(decode(lsn, !salt, len), Err(frame::Fault::Salt));
        assert_eq!(decode(Lsn::new(!lsn.get()), salt, len), Err(frame::Fault::Lsn));
    }
}

fn overlay(bytes: &mut [u8], data: &[u8]) {
    let len = data.len().min(bytes.len());
    bytes.iter_mut().zip(&data[..len]).for_each(|(byte, change)| *byte ^= change);
}

fn file() -> FileHeader {
    FileHeader {
        log_id: LOG_ID,
        sequence: 2,
        salt: 7,
        base: Lsn::new(8192),
        capacity: 1 << 16,
        align: 4096,
        max_record_len: 1 << 20,
        prev: None,
        durable: Lsn::new(4096),
        recovered: false,
        recycled: false,
        in_place: false,
    }
}

fn frame() -> frame::Header {
    let prev = Link { lsn: Lsn::new(4096), crc: 5 };
    let (lsn, durable) = (Lsn::new(8192), Lsn::new(4096));
    frame::Header { kind: Kind::Data, lsn, len: 128, durable, prev, salt: 7 }
}

/// Reads a record at a place that `data` names.
///
/// # Panics
///
/// If a record is accepted that is not stored as its bytes say, or one is refused that is.
pub fn record(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let place: arbitrary::Result<_> = (|| {
        let (lsn, salt) = (Lsn::new(u.arbitrary::<u64>()? & !7), u.arbitrary()?);
        let max_len = u.int_in_range(0..=512)?;
        Ok((lsn, salt, max_len, u.ratio(3, 4)?))
    })();
    let Ok((lsn, salt, max_len, seal)) = place else { return };
    let mut bytes = u.take_rest().to_vec();
    let word = record::peek(&bytes);
    let whole =
        |word: &Word| word.len() <= max_len && record::stored_len(word.len()) <= bytes.len();
    let fits = word.filter(whole).filter(|word| word.kind().is_some());
    if let (Some(word), true) = (fits, seal) {
        let payload = crc32c(&bytes[record::HEADER_LEN..][..word.len()]);
        bytes[..record::HEADER_LEN]
            .copy_from_slice(&record::encode_header(word, payload, lsn, salt));
    }
    let found = record::decode(&bytes, lsn, salt, max_len);
    assert!(!seal || found.is_ok() == fits.is_some(), "{found:?}");
    let Ok(found) = found else { return };
    let word = Word::new(found.payload.len(), found.kind);
    let head = record::encode_header(word, crc32c(found.payload), lsn, salt);
    assert_eq!(head, bytes[..record::HEADER_LEN]);
    assert_eq!(found.payload, &bytes[record::HEADER_LEN..][..word.len()]);
    assert!(found.payload.len() <= max_len);
    assert!(record::decode(&bytes, lsn, !salt, max_len).is_err(), "another file's");
    assert!(record::decode(&bytes, Lsn::new(lsn.get() ^ 8), salt, max_len).is_err());
}

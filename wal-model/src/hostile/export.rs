//! Exports.

use arbitrary::Unstructured;
use wal_core::Lsn;
use wal_core::export::{ExportError, HEADER_LEN, Header, Reader, Record, Writer};
use wal_core::format::checksum::crc32c;
use wal_core::testing::logs::LOG_ID;

/// Longest payload that the reader takes.
const MAX_LEN: usize = 64;
const CRC_LEN: usize = 4;

/// Writes an export as `data` says, harms it, makes its checksums right or not, and reads it.
///
/// # Panics
///
/// If what is read as a whole export is not what a writer writes, byte for byte.
pub fn export(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(mut bytes) = write(&mut u) else { return };
    if harm(&mut bytes, &mut u).is_err() {
        return;
    }
    let Ok(records) = read(&bytes) else { return };
    let (header, records) = records;
    let mut writer = in_memory(header);
    for (lsn, more, payload) in &records {
        let record = Record { lsn: *lsn, more: *more, payload };
        assert!(writer.record(&record).is_ok(), "read what cannot be written");
    }
    let again = writer.finish().map(|(again, _)| again);
    assert!(again.is_ok_and(|again| again == bytes), "what was read is not all there was");
}

fn in_memory(header: Header) -> Writer<Vec<u8>> {
    match Writer::new(Vec::new(), header) {
        Ok(writer) => writer,
        Err(error) => unreachable!("memory does not fail: {error}"),
    }
}

/// A sound export of a few records.
fn write(u: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let (from, to) = (u64::from(u.arbitrary::<u8>()?), u64::from(u.arbitrary::<u16>()?));
    let (from, to) = (Lsn::new(from.min(to)), Lsn::new(to));
    let mut writer = in_memory(Header { log_id: LOG_ID, salt: u.arbitrary()?, from, to });
    let mut lsn = Lsn::new(64);
    for _ in 0..u.int_in_range(0..=6)? {
        let payload = vec![u.arbitrary()?; u.int_in_range(0..=MAX_LEN)?];
        let record = Record { lsn, more: u.ratio(1, 4)?, payload: &payload };
        // One that does not belong is refused, and the next one may belong.
        if writer.record(&record).is_ok() {
            lsn = record.end();
        }
        lsn = lsn.advance(if record.more { 0 } else { u.int_in_range(0..=9)? * 8 });
    }
    // One that ends within a batch is none.
    writer.finish().map(|(bytes, _)| bytes).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn harm(bytes: &mut Vec<u8>, u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    for _ in 0..u.int_in_range(0..=3)? {
        let at = u.int_in_range(0..=bytes.len() - 1)?;
        match u.int_in_range(0..=3)? {
            0 => bytes[at] ^= u.arbitrary::<u8>()?,
            1 => bytes.truncate(at.max(1)),
            2 => drop(bytes.splice(at..at, [u.arbitrary()?; 8])),
            _ => {
                let to = u.int_in_range(at..=bytes.len().min(at + 40))?;
                bytes.drain(at..to);
                bytes.push(0);
            }
        }
    }
    if u.ratio(1, 2)? {
        seal(bytes);
    }
    Ok(())
}

/// Makes every checksum right, as far as lengths lead from one to the next.
fn seal(bytes: &mut [u8]) {
    let mut summed = Vec::new();
    let (mut at, mut len) = (0, HEADER_LEN - CRC_LEN);
    while let Some(part) = bytes.get(at..at + len + CRC_LEN) {
        summed.extend_from_slice(&part[..len]);
        bytes[at + len..][..CRC_LEN].copy_from_slice(&crc32c(&summed).to_le_bytes());
        at += len + CRC_LEN;
        let Some(Ok(word)) = bytes.get(at..at + 4).map(<[u8; 4]>::try_from) else { break };
        let word = u32::from_le_bytes(word);
        len = if word >> 31 == 1 { 20 } else { 12 + (word & 0x3fff_ffff) as usize };
    }
}

type Read = (Header, Vec<(Lsn, bool, Vec<u8>)>);

fn read(bytes: &[u8]) -> Result<Read, ExportError> {
    let mut reader = Reader::new(bytes, MAX_LEN)?;
    let header = *reader.header();
    let mut records = Vec::new();
    while let Some(Record { lsn, more, payload }) = reader.next()? {
        assert!(payload.len() <= MAX_LEN);
        records.push((lsn, more, payload.to_vec()));
    }
    Ok((header, records))
}

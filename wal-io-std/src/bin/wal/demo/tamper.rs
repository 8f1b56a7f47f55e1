//! Damages the demo's log on purpose, to show that the check fails when it has to.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use wal_core::format::file_header::{self, BLOCK_LEN};
use wal_core::format::record::HEADER_LEN;
use wal_core::sink::LogSource;
use wal_core::{Error, SinkError};
use wal_io_std::DirSource;

use super::check::Ledger;
use crate::failure::{Failure, Outcome};

/// Inverts the first payload byte of the newest durable record.
pub(crate) fn damage(dir: &Path, ledger: &Ledger) -> Outcome<()> {
    let newest = ledger.last_places().map(|(_, _, place)| place.lsn).max();
    let find = || -> Result<Option<_>, Error> {
        let source = DirSource::open(dir)?;
        let mut found = None;
        for file in source.list().map_err(|error: SinkError| Error::from(error))?.files {
            let mut block = vec![0; BLOCK_LEN];
            let read = source.read_at(file.sequence, 0, &mut block)?;
            if let (Ok(header), Some(lsn)) = (file_header::decode(&block[..read]), newest)
                && header.base <= lsn
            {
                found = Some((file.path, header.offset_of(lsn) + HEADER_LEN as u64));
            }
        }
        Ok(found)
    };
    let Some((path, offset)) = find().map_err(|error| Failure::log(dir, &error))? else {
        return Err(Failure::trouble("there is no durable record to damage; give more --seconds"));
    };
    let invert = || {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset)?;
        file.write_all_at(&[!byte[0]], offset)
    };
    invert().map_err(|error| Failure::system("damage", &path, &error))
}

//! Which files there are, and what each says of itself.

use crate::error::Error;
use crate::format::file_header::{self, BLOCK_LEN, Fault, FileHeader, VERSION};
use crate::lsn::Lsn;
use crate::recover::{Corruption, Reason};
use crate::sink::{FileEntry, LogSource};

/// A file and its header, or why it has none to trust.
pub(super) struct Candidate {
    pub(super) entry: FileEntry,
    pub(super) header: Result<FileHeader, Reason>,
}

impl Candidate {
    pub(super) const fn sequence(&self) -> u64 {
        self.entry.sequence
    }

    /// Whether the header block is all zeros: prepared ahead of need.
    pub(super) fn is_unused(&self) -> bool {
        self.header == Err(Reason::FileHeader(Fault::Unused))
    }

    /// The highest position that the header alone proves to have been durable.
    pub(super) fn claim(&self) -> Lsn {
        let Ok(header) = &self.header else { return Lsn::ZERO };
        match &header.prev {
            Some(prev) if header.recovered => header.durable.max(prev.end),
            _ => header.durable,
        }
    }
}

/// All files of a log, in ascending order of sequence.
pub(super) struct Inventory {
    pub(super) files: Vec<Candidate>,
    pub(super) foreign: Vec<std::path::PathBuf>,
    /// Greater than every sequence number present.
    pub(super) next_sequence: u64,
    pub(super) log_id: Option<[u8; 16]>,
}

/// Lists the files and reads their headers.
///
/// Two files with one number, and a file of a newer format, are errors whatever the mode: there is
/// no telling what such files hold.
pub(super) fn take(source: &dyn LogSource) -> Result<Inventory, Error> {
    let mut listing = source.list()?;
    listing.files.sort_by_key(|entry| entry.sequence);
    let mut files: Vec<Candidate> = Vec::with_capacity(listing.files.len());
    let mut log_id = None;
    let mut block = vec![0; BLOCK_LEN];
    for entry in listing.files {
        let sequence = entry.sequence;
        if files.last().is_some_and(|last| last.sequence() == sequence) {
            return Err(refuse(&entry, Reason::DuplicateFile));
        }
        // Neither number is ever given out, and the last one would leave no next.
        if sequence == 0 || sequence == u64::MAX {
            return Err(refuse(&entry, Reason::WrongSequence));
        }
        let len = source.read_at(sequence, 0, &mut block)?.min(BLOCK_LEN);
        let header = match file_header::decode(&block[..len]) {
            Err(Fault::Version(found)) => {
                let path = entry.path;
                return Err(Error::UnsupportedFormat { path, found, supported: VERSION });
            }
            Err(fault) => Err(Reason::FileHeader(fault)),
            Ok(header) if log_id.is_some_and(|id| id != header.log_id) => Err(Reason::ForeignLog),
            Ok(header) if header.sequence != sequence => Err(Reason::WrongSequence),
            Ok(header) => {
                log_id = Some(header.log_id);
                Ok(header)
            }
        };
        files.push(Candidate { entry, header });
    }
    let next_sequence = files.last().map_or(1, |last| last.sequence() + 1);
    Ok(Inventory { files, foreign: listing.foreign, next_sequence, log_id })
}

fn refuse(entry: &FileEntry, reason: Reason) -> Error {
    let (file, path) = (entry.sequence, entry.path.clone());
    let lsn = Lsn::ZERO;
    Error::from(Corruption { reason, lsn, file, path, offset: 0, len: 0, proof: lsn })
}

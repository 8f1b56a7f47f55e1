//! Recovery a second time: a reader written from `spec/FORMAT.md` alone, to hold the other against.
//!
//! It shares nothing with `wal_core::format` and `wal_core::recover`: positions are 128 bits wide
//! and never overflow, checksums come from another crate, files are slices, evidence is sought by
//! looking everywhere. What it makes of any bytes at all is what the strict modes of
//! [`scan`](crate::recover::scan) must make of them, the wording of reasons aside. It is slow, and
//! it trusts its input as little as the other does.

mod bytes;
mod judge;
mod walk;

use bytes::Block;

/// How a log ended, or why it cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No file has a header.
    New,
    /// The last frame is a close mark.
    Closed,
    /// Nothing behind the last frame.
    Clean,
    /// Cut off at the place, since what lies behind cannot have been durable.
    Torn(Place),
    /// Cut off at the place, though nothing tells whether it had been durable.
    Ambiguous(Place),
    /// Durable data is damaged or missing at the place.
    Corrupt(Place),
    /// A file is of another format version.
    Unsupported {
        /// Sequence number of the file.
        file: u64,
        /// Its version.
        version: u32,
    },
}

/// Where a log is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Sequence number of the file.
    pub file: u64,
    /// Stream position: of the first bad byte or, for a cut, of the first byte cut.
    pub lsn: u64,
    /// Byte offset in the file; 0 for a file that does not belong or is cut as a whole.
    pub offset: u64,
}

/// What the bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Position and payload of every record before the end, void ones excepted.
    pub records: Vec<(u64, Vec<u8>)>,
    /// Frames with anything before the end.
    pub frames: u64,
    /// Void records.
    pub voids: u64,
    /// Void frames.
    pub void_frames: u64,
    /// Sizes of the batches, single records included.
    pub batches: Vec<usize>,
    /// The authoritative end.
    pub end: u64,
    /// How it ended.
    pub outcome: End,
}

/// Reads the files of a log, given as number and bytes in any order.
#[must_use]
pub fn read(files: &[(u64, &[u8])]) -> Log {
    let mut sorted: Vec<(u64, &[u8])> = files.to_vec();
    sorted.sort_by_key(|(sequence, _)| *sequence);
    let mut log = Log {
        records: Vec::new(),
        frames: 0,
        voids: 0,
        void_frames: 0,
        batches: Vec::new(),
        end: 0,
        outcome: End::New,
    };
    match list(&sorted) {
        Ok(files) => walk::walk(files, &mut log),
        Err(refused) => log.outcome = refused,
    }
    log
}

/// A file and what its header block says.
struct File<'a> {
    sequence: u64,
    bytes: &'a [u8],
    block: Block,
}

/// Section 7, step 1.
fn list<'a>(sorted: &[(u64, &'a [u8])]) -> Result<Vec<File<'a>>, End> {
    let mut files: Vec<File<'a>> = Vec::new();
    let mut log_id = None;
    for &(sequence, bytes) in sorted {
        let twice = files.last().is_some_and(|before| before.sequence == sequence);
        if twice || sequence == 0 || sequence == u64::MAX {
            return Err(End::Corrupt(Place { file: sequence, lsn: 0, offset: 0 }));
        }
        let mut block = bytes::block(bytes);
        match &block {
            Block::Newer(version) => {
                return Err(End::Unsupported { file: sequence, version: *version });
            }
            Block::Valid(header) => {
                let other = log_id.is_some_and(|id| id != header.log_id);
                if other || header.sequence != sequence {
                    block = Block::Strange;
                } else {
                    log_id = Some(header.log_id);
                }
            }
            _ => {}
        }
        files.push(File { sequence, bytes, block });
    }
    Ok(files)
}

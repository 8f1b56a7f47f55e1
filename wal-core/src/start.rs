//! What opening does to the files before anything new is written: keep what is cut off, begin the
//! new file, put away what is no part of the log.
//!
//! On a full disk it waits, step by step, for room: an existing log opens and can be read all the
//! same, and whoever leads a flush finishes the start before the first write. A process that dies
//! before has changed nothing that the next recovery would not find as this one did.

use std::io::IoSlice;
use std::path::PathBuf;

use crate::flush::Failure;
use crate::format::file_header::FileHeader;
use crate::recover::{Aside, Scan};
use crate::sink::{Created, SegmentSink, SinkError, Write};

/// The steps that are left, in reverse order of each list.
pub(crate) struct Start {
    /// Parts of files that stay, to be copied: sequence number, offset, bytes.
    copies: Vec<(u64, u64, u64)>,
    /// The header of the new file, until it is durable.
    header: Option<FileHeader>,
    /// Files that are no part of the log, to be moved.
    moves: Vec<u64>,
    /// Files that hold nothing, to be removed.
    empty: Vec<u64>,
    /// Where copies and moved files are.
    pub(crate) kept: Vec<PathBuf>,
}

impl Start {
    /// Everything that `scan` calls for, for a log that goes on in the file of `header`.
    pub(crate) fn new(scan: &Scan, header: FileHeader) -> Self {
        let (mut copies, mut moves) = (Vec::new(), Vec::new());
        for aside in &scan.aside {
            match *aside {
                Aside::Range { sequence, offset, len } => copies.push((sequence, offset, len)),
                // The last of them first.
                Aside::File { sequence } => moves.push(sequence),
            }
        }
        copies.reverse();
        let all = scan.unused.iter().chain(&scan.vacant).rev();
        let empty = all.copied().filter(|&file| file != header.sequence).collect();
        Self { copies, header: Some(header), moves, empty, kept: Vec::new() }
    }

    /// The files that it is to move or remove.
    pub(crate) fn put_away(&self) -> Vec<u64> {
        self.moves.iter().chain(&self.empty).copied().collect()
    }

    /// Does what is left. After a harmless failure it can be called again.
    pub(crate) fn run<S: SegmentSink>(&mut self, sink: &S) -> Result<(), Failure> {
        let harmless = Failure::Harmless;
        while let Some(&(sequence, offset, len)) = self.copies.last() {
            self.kept.push(sink.set_aside(sequence, offset, len).map_err(harmless)?);
            self.copies.pop();
        }
        if let Some(header) = &self.header {
            let created = sink.create(header.sequence, header.capacity).map_err(harmless)?;
            let recycled = created == Created::Recycled;
            let in_place = created == Created::InPlace;
            let header = FileHeader { recycled, in_place, ..*header };
            begin(sink, &header).map_err(Failure::Fatal)?;
            self.header = None;
        }
        // Only now, when the new header says that they are no part of the log: a crash in between
        // finds either the log as it was or files that are known to be skipped.
        while let Some(&sequence) = self.moves.last() {
            self.kept.push(sink.set_aside_file(sequence).map_err(harmless)?);
            self.moves.pop();
        }
        while let Some(&sequence) = self.empty.last() {
            sink.remove_unused(sequence).map_err(harmless)?;
            self.empty.pop();
        }
        Ok(())
    }
}

/// Makes the header durable: from now on the old files end where it says.
fn begin<S: SegmentSink>(sink: &S, header: &FileHeader) -> Result<(), SinkError> {
    let block = header.encode();
    let parts = [IoSlice::new(&block[..])];
    sink.write(&Write { ticket: 0, file: header.sequence, offset: 0, parts: &parts })?;
    sink.sync()
}

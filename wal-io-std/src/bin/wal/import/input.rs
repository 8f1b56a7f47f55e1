//! Exports as they are read, one after the other, under a progress bar.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};

use wal_core::Lsn;
use wal_core::export::{ExportError, Header, Reader, Record};
use wal_core::format::record::MAX_LEN;

use crate::failure::{Failure, Outcome};
use crate::progress::Progress;

/// Bytes read at once.
const BUFFER: usize = 1 << 20;

/// Whoever takes what exports hold.
pub(super) trait Receiver {
    /// An export begins.
    fn begin(&mut self, _header: &Header) -> Outcome<()> {
        Ok(())
    }

    /// Its next record.
    fn record(&mut self, record: &Record<'_>) -> Outcome<()>;
}

/// Takes nothing: reading is verifying.
pub(super) struct Verify;

impl Receiver for Verify {
    fn record(&mut self, _: &Record<'_>) -> Outcome<()> {
        Ok(())
    }
}

/// All exports of one run.
pub(super) struct Inputs {
    paths: Vec<PathBuf>,
    progress: Progress,
    /// Bytes of the exports before the one at hand.
    done: u64,
    /// The export before the one at hand.
    last: Option<(String, Header)>,
}

impl Inputs {
    pub(super) fn new(files: &[PathBuf], doing: &'static str) -> Self {
        let standard = [PathBuf::from("-")];
        let paths = if files.is_empty() { standard.to_vec() } else { files.to_vec() };
        let len = |path: &PathBuf| path.metadata().ok().filter(|metadata| metadata.is_file());
        let total = paths.iter().map(|path| len(path).map(|metadata| metadata.len())).sum();
        Self { paths, progress: Progress::bytes(doing, total, false), done: 0, last: None }
    }

    /// Whether all of them can be read twice.
    pub(super) fn are_files(&self) -> bool {
        self.paths.iter().all(|path| path.metadata().is_ok_and(|metadata| metadata.is_file()))
    }

    /// Reads everything, and returns where it ends. Refuses an export that does not go on where the
    /// one before it ends.
    pub(super) fn read(mut self, receiver: &mut impl Receiver) -> Outcome<Option<Lsn>> {
        for path in std::mem::take(&mut self.paths) {
            let (name, input) = open(&path)?;
            let failed = |error: ExportError| Failure::export(&name, &error);
            let input = BufReader::with_capacity(BUFFER, input);
            let mut reader = Reader::new(input, MAX_LEN).map_err(failed)?;
            let header = *reader.header();
            self.follows(&name, &header)?;
            receiver.begin(&header)?;
            loop {
                let at = reader.offset();
                let Some(record) = reader.next().map_err(failed)? else { break };
                self.progress.at(self.done + at);
                receiver.record(&record)?;
            }
            self.done += reader.offset();
            self.last = Some((name, header));
        }
        Ok(self.last.map(|(_, header)| header.to))
    }

    fn follows(&self, name: &str, header: &Header) -> Outcome<()> {
        let Some((before, last)) = &self.last else { return Ok(()) };
        if last.log_id != header.log_id {
            return Err(Failure::trouble(format!(
                "{before} and {name} are exports of different logs; import them into different logs"
            )));
        }
        if last.to != header.from {
            return Err(Failure::trouble(format!(
                "{before} ends at LSN {}, but {name} begins at LSN {}; give the exports in order, and \
                 one for each part in between",
                last.to, header.from
            )));
        }
        Ok(())
    }
}

fn open(path: &Path) -> Outcome<(String, Box<dyn Read>)> {
    if path == Path::new("-") {
        if io::stdin().is_terminal() {
            let text = "an export is nothing to type; give the file that `wal export` has written";
            return Err(Failure::trouble(text));
        }
        return Ok(("standard input".into(), Box::new(io::stdin())));
    }
    let open = || -> io::Result<File> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(file)
    };
    let file = open().map_err(|error| Failure::system("read", path, &error))?;
    Ok((path.display().to_string(), Box::new(file)))
}

//! Where the demo's records come from: the lines of real files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};

/// Reading stops at so many bytes of text.
const ENOUGH: usize = 16 << 20;

/// Lines of text, found again by number in another process that was given the same bytes.
pub(crate) struct Corpus {
    text: Vec<u8>,
    /// Where each line starts.
    lines: Vec<usize>,
}

impl Corpus {
    /// Cuts `text` into lines; `None` if there are none.
    pub(crate) fn new(text: Vec<u8>) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        let starts = ends.map(|end| end + 1).filter(|start| *start < text.len());
        let lines = std::iter::once(0).chain(starts).collect();
        Some(Self { text, lines })
    }

    /// All of the text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many lines there are, at least one.
    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Bytes of the line that record `seq` of `writer` starts with, without the newline.
    pub(crate) fn line_len(&self, writer: u32, seq: u64) -> usize {
        let line = self.line_of(writer, seq);
        let start = self.lines[line];
        let end = self.lines.get(line + 1).map_or(self.text.len(), |next| *next);
        let line = &self.text[start..end];
        line.strip_suffix(b"\n").unwrap_or(line).len()
    }

    /// The text of record `seq` of `writer`: `len` bytes from its line on, beginning again at the
    /// end of the text. Always the same for the same numbers.
    pub(crate) fn text_of(&self, writer: u32, seq: u64, len: usize) -> impl Iterator<Item = u8> {
        let start = self.lines[self.line_of(writer, seq)];
        self.text.iter().copied().cycle().skip(start).take(len)
    }

    /// Each writer starts at a line of its own and goes on line by line.
    fn line_of(&self, writer: u32, seq: u64) -> usize {
        let line = u64::from(writer).wrapping_mul(1_000_003).wrapping_add(seq);
        (line % self.lines.len() as u64) as usize
    }
}

/// Gathers the text files named by `paths`, or those of the repository if there are none, and
/// tells how many files there were.
pub(crate) fn gather(paths: &[PathBuf]) -> Outcome<(Corpus, usize)> {
    let mut text = Vec::new();
    let mut files = 0;
    let mut add = |path: &Path| -> Outcome<bool> {
        let bytes = fs::read(path).map_err(|error| Failure::system("read", path, &error))?;
        if std::str::from_utf8(&bytes).is_ok() && !bytes.is_empty() && text.len() < ENOUGH {
            text.extend_from_slice(&bytes[..bytes.len().min(ENOUGH)]);
            files += 1;
        }
        Ok(text.len() < ENOUGH)
    };
    if paths.is_empty() {
        let root = repository()?;
        let mut found = vec![root.join("README.md"), root.join("spec")];
        for entry in list(&root)? {
            found.push(entry.join("src"));
        }
        for path in found.iter().filter(|path| path.exists()) {
            let only_rust = path.ends_with("src");
            walk(path, &mut |file| {
                let wanted = !only_rust || file.extension().is_some_and(|end| end == "rs");
                if wanted { add(file) } else { Ok(true) }
            })?;
        }
    } else {
        for path in paths {
            walk(path, &mut add)?;
        }
    }
    let advice = "name text files, or directories with some, as PATH";
    let none = || Failure::trouble(format!("found no text to append; {advice}"));
    Ok((Corpus::new(text).ok_or_else(none)?, files))
}

/// The root of the repository around the current directory.
fn repository() -> Outcome<PathBuf> {
    let here = Path::new(".");
    let start = here.canonicalize().map_err(|error| Failure::system("find", here, &error))?;
    let is_root = |dir: &&Path| {
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "[workspace]") || dir.join(".git").exists()
    };
    start.ancestors().find(is_root).map(Path::to_owned).ok_or_else(|| {
        let advice = "run the demo in one, or name text files as PATH";
        Failure::trouble(format!("{} is not inside a repository; {advice}", start.display()))
    })
}

/// Calls `visit` with `path`, or with every file below it, in the order of their names, until it
/// says `false`. Symbolic links below it are not followed.
fn walk(path: &Path, visit: &mut dyn FnMut(&Path) -> Outcome<bool>) -> Outcome<bool> {
    if !path.is_dir() {
        return visit(path);
    }
    for entry in list(path)? {
        let kind = entry.symlink_metadata();
        let kind = kind.map_err(|error| Failure::system("read", &entry, &error))?.file_type();
        let go_on = if kind.is_dir() {
            walk(&entry, visit)?
        } else if kind.is_file() {
            visit(&entry)?
        } else {
            true
        };
        if !go_on {
            return Ok(false);
        }
    }
    Ok(true)
}

fn list(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    let mut entries = entries.map_err(|error| Failure::system("list", dir, &error))?;
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_runs_on_from_its_line_and_begins_again_at_the_end() {
        let corpus = Corpus::new(b"ab\n\ncde".to_vec()).unwrap();
        assert_eq!(corpus.lines(), 3);
        let lens: Vec<_> = (0..4).map(|seq| corpus.line_len(0, seq)).collect();
        assert_eq!(lens, [2, 0, 3, 2]);
        let text: Vec<u8> = corpus.text_of(0, 2, 8).collect();
        assert_eq!(text, b"cdeab\n\nc");
        assert_eq!(Corpus::new(b"one\n".to_vec()).unwrap().lines(), 1);
        assert!(Corpus::new(Vec::new()).is_none());
    }
}

//! A copy of the workspace, to be broken.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Edit;

/// What of the workspace is copied.
const PARTS: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "spec",
    "wal-bench",
    "wal-core",
    "wal-io-std",
    "wal-io-uring",
    "wal-mmap",
    "wal-model",
];

/// The root of the workspace that this crate was built from.
#[must_use]
pub fn root() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir).to_path_buf()
}

/// A copy of the workspace's sources.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
}

impl Tree {
    /// Brings the copy at `path` up to date. Files that have not changed are not touched, so that
    /// little is compiled again. Blocks for I/O.
    ///
    /// # Errors
    ///
    /// Any error of reading the workspace or of writing the copy.
    pub fn copy(path: PathBuf) -> io::Result<Self> {
        let root = root();
        for part in PARTS {
            copy(&root.join(part), &path.join(part))?;
        }
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes `edits`, to be undone when the result is dropped. Blocks for I/O.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if a text to be found is not there exactly once; any error
    /// of reading and writing. What was edited until then has been restored.
    pub fn edit(&self, edits: &[Edit]) -> io::Result<Edited> {
        let mut edited = Edited { originals: Vec::new() };
        for edit in edits {
            let path = self.path.join(edit.file);
            let text = fs::read_to_string(&path)?;
            let changed = apply(edit, &text)?;
            fs::write(&path, changed)?;
            edited.originals.push((path, text));
        }
        Ok(edited)
    }
}

/// `text` with the edit made.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if the text to be found is not there exactly once.
pub fn apply(edit: &Edit, text: &str) -> io::Result<String> {
    let count = text.matches(edit.find).count();
    if count != 1 {
        let message = format!("{}: `{}` is there {count} times, not once", edit.file, edit.find);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text.replacen(edit.find, edit.replace, 1))
}

/// A tree with edits in it, until this is dropped.
#[derive(Debug)]
pub struct Edited {
    originals: Vec<(PathBuf, String)>,
}

impl Drop for Edited {
    fn drop(&mut self) {
        // Last first: one file may have been edited twice.
        for (path, text) in self.originals.iter().rev() {
            if let Err(error) = fs::write(path, text) {
                eprintln!("{} stays as it was edited: {error}", path.display());
            }
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            // What is built elsewhere (the fuzzers) is no source.
            if name == "target" {
                continue;
            }
            copy(&from.join(&name), &to.join(&name))?;
            names.push(name);
        }
        // What is gone must not be compiled any more.
        for entry in fs::read_dir(to)? {
            let entry = entry?;
            if !names.contains(&entry.file_name()) && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        return Ok(());
    }
    let bytes = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(to, bytes)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())
}

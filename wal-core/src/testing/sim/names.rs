//! Directories: names as they are now, as the device has them, and the changes between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A file, by the number of its inode.
    File(u64),
    Dir,
}

/// All names, by their whole path.
#[derive(Clone, Debug)]
pub(super) struct Names {
    now: BTreeMap<PathBuf, Node>,
    device: BTreeMap<PathBuf, Node>,
    /// Oldest first.
    pending: Vec<Change>,
}

/// Names of one directory that change together.
#[derive(Clone, Debug)]
struct Change {
    dir: PathBuf,
    names: Vec<(PathBuf, Option<Node>)>,
}

impl Default for Names {
    fn default() -> Self {
        let root = BTreeMap::from([(PathBuf::from("/"), Node::Dir)]);
        Self { now: root.clone(), device: root, pending: Vec::new() }
    }
}

/// `path` from the root, without `.` and `..`; there are no links, so that words suffice.
pub(super) fn absolute(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> io::Result<Node> {
        self.now.get(path).copied().ok_or_else(not_found)
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<u64> {
        match self.get(path)? {
            Node::File(inode) => Ok(inode),
            Node::Dir => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn dir(&self, path: &Path) -> io::Result<()> {
        match self.get(path)? {
            Node::Dir => Ok(()),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn create(&mut self, path: &Path, node: Node) -> io::Result<()> {
        self.dir(&parent(path))?;
        if self.now.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(parent(path), vec![(path.to_owned(), Some(node))]);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.change(parent(path), vec![(path.to_owned(), None)]);
        Ok(())
    }

    /// Renames a file. Within a directory that is one change; between two, the new name and the
    /// old one reach the device each with its own directory.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = Node::File(self.file(from)?);
        self.dir(&parent(to))?;
        if self.now.get(to) == Some(&Node::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (bind, free) = ((to.to_owned(), Some(node)), (from.to_owned(), None));
        if parent(from) == parent(to) {
            self.change(parent(to), vec![free, bind]);
        } else {
            self.change(parent(to), vec![bind]);
            self.change(parent(from), vec![free]);
        }
        Ok(())
    }

    fn change(&mut self, dir: PathBuf, names: Vec<(PathBuf, Option<Node>)>) {
        apply(&mut self.now, &names);
        self.pending.push(Change { dir, names });
    }

    /// Makes the changes of one directory durable.
    pub(super) fn sync(&mut self, dir: &Path) {
        let Self { device, pending, .. } = self;
        pending.retain(|change| {
            let here = change.dir == dir;
            if here {
                apply(device, &change.names);
            }
            !here
        });
    }

    /// A sync of one directory that fails: `arrives` says of each change whether it reached the
    /// device. No later sync writes the others, as the system takes all of them for written.
    pub(super) fn fail_sync(&mut self, dir: &Path, arrives: &mut dyn FnMut() -> bool) {
        let Self { device, pending, .. } = self;
        pending.retain(|change| {
            let here = change.dir == dir;
            if here && arrives() {
                apply(device, &change.names);
            }
            !here
        });
    }

    /// The files and directories in `dir`.
    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<(PathBuf, Node)>> {
        self.dir(dir)?;
        let inside = self.now.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside.map(|(path, node)| (path.clone(), *node)).collect())
    }

    /// The inodes that have a name now.
    pub(super) fn named(&self) -> impl Iterator<Item = u64> {
        self.now.values().filter_map(|node| match node {
            Node::File(inode) => Some(*inode),
            Node::Dir => None,
        })
    }

    /// Whether a crash could leave a name of this file.
    pub(super) fn mention(&self, inode: u64) -> bool {
        let node = Node::File(inode);
        let pending = self.pending.iter().flat_map(|change| &change.names);
        self.now.values().chain(self.device.values()).any(|&named| named == node)
            || pending.filter_map(|(_, named)| *named).any(|named| named == node)
    }

    /// What the power leaves: `survives` says of each change whether it reached the device. What
    /// lies in a directory that is not there is gone with it.
    pub(super) fn crash(&mut self, survives: &mut dyn FnMut(&Path) -> bool) {
        for change in std::mem::take(&mut self.pending) {
            if survives(&change.names[0].0) {
                apply(&mut self.device, &change.names);
            }
        }
        let dirs: BTreeSet<PathBuf> = self
            .device
            .iter()
            .filter(|(_, node)| **node == Node::Dir)
            .map(|(path, _)| path.clone())
            .collect();
        let reachable = |path: &PathBuf| path.ancestors().skip(1).all(|dir| dirs.contains(dir));
        self.device.retain(|path, _| reachable(path));
        self.now = self.device.clone();
    }
}

fn apply(to: &mut BTreeMap<PathBuf, Node>, names: &[(PathBuf, Option<Node>)]) {
    for (path, node) in names {
        match node {
            Some(node) => to.insert(path.clone(), *node),
            None => to.remove(path),
        };
    }
}

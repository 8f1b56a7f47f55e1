//! What a disk holds at one moment, and what a crash at that moment can leave of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inode::{Inode, Undecided};
use super::names::Names;
use super::random::Random;

/// A disk at one moment: bytes on the device, bytes on their way, and names likewise.
#[derive(Clone, Debug, Default)]
pub struct Image {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) names: Names,
    pub(super) flights: Vec<Flight>,
    pub(super) capacity: Option<u64>,
}

/// A write that was submitted and has not ended.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) ticket: u64,
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    pub(super) offset: usize,
    pub(super) bytes: Arc<Vec<u8>>,
}

/// What of the undecided survives a power loss. Each directory change, each length and each sector
/// that no sync has covered is decided on its own; a sector that was written several times may
/// have any of its versions.
#[derive(Clone, Copy, Debug)]
pub enum Survival<'a> {
    /// Only what was synced.
    Nothing,
    /// All that was written.
    Everything,
    /// Drawn from a seed; of some seeds nearly all survives, of others hardly anything.
    Random(u64),
    /// For each undecided thing, in the order of [`Image::undecided`], the number of the version
    /// that survives; 0, or none given, for the one before.
    Chosen(&'a [usize]),
}

impl Image {
    /// For each thing that a power loss would decide, the number of versions written since the last
    /// sync. The order is that of [`Survival::Chosen`].
    #[must_use]
    pub fn undecided(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.clone().lose_power(&mut |options| {
            found.push(options);
            0
        });
        found
    }

    /// The image after a power loss.
    #[must_use]
    pub fn power_loss(&self, survival: Survival<'_>) -> Self {
        let mut image = self.clone();
        match survival {
            Survival::Nothing => image.lose_power(&mut |_| 0),
            Survival::Everything => image.lose_power(&mut |options| options),
            Survival::Random(seed) => {
                let mut random = Random::new(seed);
                let kept = [1, 5, 8, 11, 15][random.below(5)];
                image.lose_power(&mut |options| {
                    if random.below(16) < kept { 1 + random.below(options) } else { 0 }
                });
            }
            Survival::Chosen(versions) => {
                let mut versions = versions.iter();
                image.lose_power(&mut |options| versions.next().copied().unwrap_or(0).min(options));
            }
        }
        image
    }

    /// The image after the death of the process: the system keeps what it was given, synced or not.
    #[must_use]
    pub fn process_crash(&self) -> Self {
        let mut image = self.clone();
        image.land();
        image
    }

    /// Writes in flight end up in the cache.
    fn land(&mut self) {
        for flight in std::mem::take(&mut self.flights) {
            if let Some(inode) = self.inodes.get_mut(&flight.inode) {
                inode.write(flight.offset, &flight.bytes);
            }
        }
    }

    fn lose_power(&mut self, decide: &mut dyn FnMut(usize) -> usize) {
        self.land();
        self.names.crash(&mut |_| decide(1) > 0);
        let Self { inodes, names, .. } = self;
        inodes.retain(|&number, _| names.mention(number));
        for inode in inodes.values_mut() {
            inode.crash(&mut |_: Undecided, options| decide(options));
        }
    }

    /// The bytes of a file as reads see them; `None` if there is no such file.
    #[must_use]
    pub fn file(&self, path: &Path) -> Option<&[u8]> {
        let inode = self.names.file(path).ok()?;
        self.inodes.get(&inode).map(Inode::bytes)
    }

    /// The files in a directory, by name, with their bytes.
    pub fn files(&self, dir: &Path) -> impl Iterator<Item = (PathBuf, &[u8])> {
        let names = self.names.list(dir).unwrap_or_default().into_iter();
        names.filter_map(|(path, _)| {
            let bytes = self.file(&path)?;
            Some((path, bytes))
        })
    }

    /// Forgets a file that nothing names.
    pub(super) fn forget(&mut self, inode: u64) {
        if !self.names.mention(inode) {
            self.inodes.remove(&inode);
        }
    }
}

//! One file: what reads see, what the device holds, and what lies between.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::random::Random;

/// The unit in which a device writes: it has the old bytes or the new ones.
pub(super) const SECTOR: usize = 512;

type Sector = Arc<[u8; SECTOR]>;

/// A file. Clones share their bytes until one of them changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What reads see.
    cache: Arc<Vec<u8>>,
    /// What is on the device for certain.
    device: Arc<Vec<u8>>,
    /// Sectors on their way to the device: every version since the last sync, oldest first.
    dirty: BTreeMap<usize, Vec<Sector>>,
    /// The file's lengths since the last sync, oldest first.
    lens: Vec<usize>,
    /// Bytes of space reserved, whatever the length.
    reserved: usize,
}

impl Inode {
    /// A file whose bytes are on the device.
    pub(super) fn stored(bytes: Vec<u8>) -> Self {
        let bytes = Arc::new(bytes);
        Self { cache: Arc::clone(&bytes), device: bytes, ..Self::default() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.cache
    }

    /// Space taken on the device.
    pub(super) fn space(&self) -> usize {
        self.reserved.max(self.cache.len())
    }

    pub(super) fn reserve(&mut self, len: usize) {
        self.reserved = self.reserved.max(len);
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.write_cache(offset, bytes);
        for sector in sectors(offset, bytes.len()) {
            self.soil(sector, sector);
        }
    }

    /// A write that the device takes and forgets.
    pub(super) fn write_lost(&mut self, offset: usize, bytes: &[u8]) {
        self.write_cache(offset, bytes);
    }

    /// A write that the device puts `by` sectors away, as far as that is in the file.
    pub(super) fn write_misdirected(&mut self, offset: usize, bytes: &[u8], by: isize) {
        self.write_cache(offset, bytes);
        for sector in sectors(offset, bytes.len()) {
            if let Some(wrong) = sector.checked_add_signed(by)
                && wrong * SECTOR < self.cache.len()
            {
                self.soil(sector, wrong);
            }
        }
    }

    fn write_cache(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.cache.len() {
            self.set_len(end);
        }
        Arc::make_mut(&mut self.cache)[offset..end].copy_from_slice(bytes);
    }

    /// Sends what reads see in sector `from` to sector `to` of the device.
    fn soil(&mut self, from: usize, to: usize) {
        let version = sector_of(&self.cache, from);
        self.dirty.entry(to).or_default().push(Arc::new(version));
    }

    pub(super) fn set_len(&mut self, len: usize) {
        if len != self.cache.len() {
            Arc::make_mut(&mut self.cache).resize(len, 0);
            self.lens.push(len);
            self.dirty.retain(|sector, _| sector * SECTOR < len);
        }
    }

    /// Everything written is on the device.
    pub(super) fn sync(&mut self) {
        self.take(&mut |_, options| options);
        let len = self.cache.len();
        if self.device.len() != len {
            Arc::make_mut(&mut self.device).resize(len, 0);
        }
    }

    /// What was written to these bytes is on the device: whole sectors of it, and the file's length
    /// if it takes that to read them.
    pub(super) fn sync_range(&mut self, range: std::ops::Range<usize>) {
        if range.end.min(self.cache.len()) > self.device.len() {
            return self.sync();
        }
        let device = Arc::make_mut(&mut self.device);
        for sector in sectors(range.start, range.len()) {
            if let Some(version) = self.dirty.remove(&sector).and_then(|mut all| all.pop()) {
                put_sector(device, sector, &version);
            }
        }
    }

    /// A sync that fails as Linux lets it: some sectors arrive, and all pages count as clean.
    pub(super) fn fail_sync(&mut self, random: &mut Random) {
        self.take(&mut |_, options| random.below(options + 1));
    }

    /// The system takes clean pages out of its cache: what was lost shows.
    pub(super) fn evict(&mut self) {
        let len = self.cache.len();
        let mut seen = Vec::clone(&self.device);
        seen.resize(len, 0);
        for (&sector, versions) in &self.dirty {
            if let Some(last) = versions.last() {
                put_sector(&mut seen, sector, last);
            }
        }
        self.cache = Arc::new(seen);
    }

    /// Whether everything written is on the device, as far as the system knows.
    pub(super) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.lens.is_empty()
    }

    /// What the power leaves: `decide` gets each undecided thing with the number of its
    /// versions, and says which of them is on the device, 0 being the one before all of them.
    pub(super) fn crash(&mut self, decide: &mut dyn FnMut(Undecided, usize) -> usize) {
        self.take(decide);
        self.cache = Arc::clone(&self.device);
        self.reserved = 0;
    }

    fn take(&mut self, decide: &mut dyn FnMut(Undecided, usize) -> usize) {
        if self.is_clean() {
            return;
        }
        let device = Arc::make_mut(&mut self.device);
        if !self.lens.is_empty() {
            let chosen = decide(Undecided::Length, self.lens.len());
            let len = chosen.checked_sub(1).map_or(device.len(), |index| self.lens[index]);
            // A file that shrinks and grows again has zeros where it was cut.
            let least = self.lens[..chosen].iter().copied().min().unwrap_or(len);
            device.truncate(least);
            device.resize(len, 0);
        }
        for (sector, versions) in std::mem::take(&mut self.dirty) {
            let chosen = decide(Undecided::Sector(sector), versions.len());
            if let Some(version) = chosen.checked_sub(1).and_then(|index| versions.get(index)) {
                put_sector(device, sector, version);
            }
        }
        self.lens.clear();
    }

    /// Inverts a bit on the device, where reads see it unless the sector is dirty.
    pub(super) fn rot(&mut self, byte: usize, bit: u32) {
        let flip = |bytes: &mut Arc<Vec<u8>>| {
            if let Some(byte) = Arc::make_mut(bytes).get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        };
        flip(&mut self.device);
        if !self.dirty.contains_key(&(byte / SECTOR)) {
            flip(&mut self.cache);
        }
    }
}

/// What a crash decides about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undecided {
    Length,
    Sector(usize),
}

fn sectors(offset: usize, len: usize) -> std::ops::Range<usize> {
    offset / SECTOR..(offset + len).div_ceil(SECTOR)
}

/// A sector's bytes, with zeros behind the end of the file.
fn sector_of(bytes: &[u8], sector: usize) -> [u8; SECTOR] {
    let mut copy = [0; SECTOR];
    let from = bytes.get(sector * SECTOR..).unwrap_or_default();
    let len = from.len().min(SECTOR);
    copy[..len].copy_from_slice(&from[..len]);
    copy
}

/// Writes a sector, as far as the file reaches.
fn put_sector(bytes: &mut [u8], sector: usize, from: &[u8; SECTOR]) {
    if let Some(target) = bytes.get_mut(sector * SECTOR..) {
        let len = target.len().min(SECTOR);
        target[..len].copy_from_slice(&from[..len]);
    }
}

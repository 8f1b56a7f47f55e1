//! The disk as a whole: its image, its faults, its power.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::fault::{Call, CallKind, Fault, Plan, Struck, io_error};
use super::image::{Image, Survival};
use super::inode::Inode;
use super::map::Mapped;
use super::names::{Node, absolute};
use super::random::Random;

/// Sees each call that changes the disk, and the disk after it.
type Observer = Box<dyn FnMut(&Call<'_>, &Image) + Send>;

/// A simulated disk with a file system on it, shared by all clones. See the
/// [module](super).
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

pub(super) struct State {
    pub(super) image: Image,
    pub(super) next_inode: u64,
    /// Open handles of each inode.
    pub(super) handles: BTreeMap<u64, usize>,
    /// Inodes with a lock.
    pub(super) locked: BTreeSet<u64>,
    pub(super) random: Random,
    calls: u64,
    /// The call at which the power goes.
    power_off_at: Option<u64>,
    pub(super) power: bool,
    plan: Option<Plan>,
    observer: Option<Observer>,
    struck: Vec<Struck>,
    /// Mappings, for as long as there is power.
    pub(super) maps: Vec<Weak<Mapped>>,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("SimDisk")
            .field("calls", &state.calls)
            .field("power", &state.power)
            .finish_non_exhaustive()
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new(0)
    }
}

impl SimDisk {
    /// An empty disk. The seed decides what is left open by faults: how much of a short write is
    /// done, what a failed sync has written, in which order writes end.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::of(Image::default(), seed)
    }

    /// A disk that holds `image`; nobody has it open, and no fault is planned.
    #[must_use]
    pub fn of(image: Image, seed: u64) -> Self {
        let next_inode = image.inodes.keys().next_back().map_or(1, |last| last + 1);
        let state = State {
            image,
            next_inode,
            handles: BTreeMap::new(),
            locked: BTreeSet::new(),
            random: Random::new(seed),
            calls: 0,
            power_off_at: None,
            power: true,
            plan: None,
            observer: None,
            struck: Vec::new(),
            maps: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic of an observer is a failed test; the state it left is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk at this moment.
    #[must_use]
    pub fn image(&self) -> Image {
        let mut state = self.state();
        state.store_maps();
        state.image.clone()
    }

    /// A new disk: this one after a power loss.
    #[must_use]
    pub fn power_loss(&self, survival: Survival<'_>, seed: u64) -> Self {
        Self::of(self.image().power_loss(survival), seed)
    }

    /// A new disk: this one after the death of the process.
    #[must_use]
    pub fn process_crash(&self, seed: u64) -> Self {
        Self::of(self.image().process_crash(), seed)
    }

    /// Asks `plan` about every call from now on; see [`Rates::plan`](super::Rates::plan).
    pub fn plan(&self, plan: impl FnMut(&Call<'_>) -> Option<Fault> + Send + 'static) {
        self.state().plan = Some(Box::new(plan));
    }

    /// No call goes wrong from now on.
    pub fn heal(&self) {
        self.state().plan = None;
    }

    /// Shows `observer` the disk after every call that changes it. It must not call the disk.
    pub fn watch(&self, observer: impl FnMut(&Call<'_>, &Image) + Send + 'static) {
        self.state().observer = Some(Box::new(observer));
    }

    /// Cuts the power at call number `index`: it and all later ones fail and change nothing.
    pub fn cut_power_at(&self, index: u64) {
        self.state().power_off_at = Some(index);
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.state().lose_power();
    }

    /// Whether the power is on.
    #[must_use]
    pub fn has_power(&self) -> bool {
        self.state().power
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The faults that struck so far, interruptions and short transfers included.
    #[must_use]
    pub fn struck(&self) -> Vec<Struck> {
        self.state().struck.clone()
    }

    /// Bounds the space of all files together, in bytes; `None` for no bound.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().image.capacity = bytes;
    }

    /// Bytes of space taken by all files together.
    #[must_use]
    pub fn space(&self) -> u64 {
        self.state().space()
    }

    /// Inverts bit `bit` (0 to 7) of a file's byte on the device. Without effect behind its end.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn rot(&self, path: &Path, byte: u64, bit: u32) {
        let mut state = self.state();
        let Some(inode) = state.inode_at(path) else { panic!("no file {}", path.display()) };
        inode.rot(byte as usize, bit);
    }

    /// Takes a file away, durably, as somebody would who does not know what it is.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn lose_file(&self, path: &Path) {
        let path = absolute(path);
        let mut state = self.state();
        let inode = state.image.names.file(&path);
        assert!(inode.is_ok(), "no file {}", path.display());
        let _ = state.image.names.remove(&path);
        state.image.names.sync(path.parent().unwrap_or(&path));
        inode.into_iter().for_each(|inode| state.release(inode));
    }

    /// Puts a file there, durably and in place of one of that name, with the directories above it.
    pub fn put_file(&self, path: &Path, bytes: Vec<u8>) {
        let path = absolute(path);
        let mut state = self.state();
        let number = state.add_inode(Inode::stored(bytes));
        let mut above: Vec<PathBuf> = path.ancestors().skip(1).map(PathBuf::from).collect();
        above.reverse();
        let names = &mut state.image.names;
        for dir in &above {
            let _ = names.create(dir, Node::Dir);
        }
        let _ = names.remove(&path);
        let _ = names.create(&path, Node::File(number));
        for dir in &above {
            names.sync(dir);
        }
    }

    /// At least `least` of `from`, and in what order, by the disk's seed.
    pub(super) fn draw(&self, from: &[u64], least: usize) -> Vec<u64> {
        let random = &mut self.state().random;
        let mut rest = from.to_vec();
        let count = least.min(rest.len()).max(random.below(rest.len() + 1));
        (0..count).map(|_| rest.swap_remove(random.below(rest.len()))).collect()
    }

    /// One call: counts it, lets the plan spoil it, and shows the outcome to the observer.
    pub(super) fn call<T>(
        &self,
        kind: CallKind,
        path: &Path,
        (offset, len): (u64, usize),
        act: impl FnOnce(&mut State, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state();
        let state = &mut *state;
        let index = state.calls;
        state.calls += 1;
        state.store_maps();
        if state.power_off_at.is_some_and(|at| index >= at) {
            state.lose_power();
        }
        if !state.power {
            return Err(io::Error::other("the simulated power is off"));
        }
        let call = Call { index, kind, path, offset, len };
        let fault = state.plan.as_mut().and_then(|plan| plan(&call));
        if let Some(fault) = fault {
            state.struck.push(Struck { index, kind, path: path.to_owned(), fault });
        }
        let result = match fault {
            Some(Fault::Interrupted) => Err(io::ErrorKind::Interrupted.into()),
            Some(Fault::Full) if !kind.syncs() => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Io) if !(kind.writes() || kind.syncs()) => Err(io_error()),
            other => act(state, other),
        };
        if kind.changes()
            && let Some(mut observer) = state.observer.take()
        {
            observer(&call, &state.image);
            state.observer = Some(observer);
        }
        result
    }
}

impl State {
    /// From now on, what is stored in a mapping is lost.
    fn lose_power(&mut self) {
        self.store_maps();
        self.maps.clear();
        self.power = false;
    }

    pub(super) fn add_inode(&mut self, inode: Inode) -> u64 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.image.inodes.insert(number, inode);
        number
    }

    pub(super) fn inode_at(&mut self, path: &Path) -> Option<&mut Inode> {
        let number = self.image.names.file(&absolute(path)).ok()?;
        self.image.inodes.get_mut(&number)
    }

    /// Bytes of space taken: by files that have a name or are open.
    pub(super) fn space(&self) -> u64 {
        let mut held: BTreeSet<u64> = self.handles.keys().copied().collect();
        held.extend(self.image.names.named());
        let inodes = held.iter().filter_map(|number| self.image.inodes.get(number));
        inodes.map(|inode| inode.space() as u64).sum()
    }

    /// Drops a file once it has neither a name nor a handle.
    pub(super) fn release(&mut self, inode: u64) {
        if !self.handles.contains_key(&inode) {
            self.image.forget(inode);
        }
    }
}

//! Small lives, crashed everywhere.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use wal_core::testing::sim::{Image, SimDisk, Survival};
use wal_core::{Durability, Options, Padding, Verdict};

use super::deserve::deserved;
use super::life::{self, Life, Op, Shared};
use super::medium::{DIR, Medium};
use super::oracle::Oracle;
use super::verify;

/// A small life, and those before it.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// Lives that end with a crash that keeps everything written.
    pub before: &'static [&'static [Op]],
    /// The life that is crashed everywhere, from its opening on.
    pub life: &'static [Op],
}

use Op::{
    Abandon, Append, Batch, Close, Commit, Cut, Flush, Hold, Mark, Poll, Sync, Truncate, Wait,
};

/// The standard workloads.
pub const WORKLOADS: &[Workload] = &[
    Workload { name: "first", before: &[], life: &[Append(20), Sync, Append(600), Sync] },
    Workload {
        name: "deep",
        before: &[],
        life: &[Append(3000), Append(3000), Append(3000), Append(10), Wait, Poll, Flush, Sync],
    },
    Workload {
        name: "batches",
        before: &[],
        life: &[Append(5), Batch(3, 300), Flush, Batch(2, 0), Batch(2, 2500), Sync],
    },
    Workload {
        name: "voids",
        before: &[],
        life: &[Hold(40), Hold(700), Abandon, Append(8), Commit, Flush, Hold(1), Abandon, Sync],
    },
    Workload {
        name: "rotation",
        before: &[&[Append(100), Sync]],
        life: &[Append(4000), Append(4000), Append(4000), Flush, Append(4000), Append(4000), Sync],
    },
    Workload {
        name: "large",
        before: &[],
        life: &[Append(3), Append(9000), Append(4), Flush, Append(20_000), Append(5), Sync],
    },
    Workload {
        name: "large-first",
        before: &[&[Append(100), Sync]],
        life: &[Append(20_000), Append(5), Sync],
    },
    Workload {
        name: "marks",
        before: &[],
        life: &[Append(30), Mark, Append(40), Flush, Append(50), Mark, Append(1), Flush],
    },
    Workload {
        name: "closing",
        before: &[&[Append(50), Sync, Append(60), Flush], &[Append(70), Close]],
        life: &[Append(80), Sync, Append(90), Close],
    },
    Workload {
        name: "torn-before",
        before: &[&[Append(50), Sync, Append(3000), Flush, Append(3000), Flush]],
        life: &[Append(80), Flush, Append(90), Sync],
    },
    Workload {
        name: "truncation",
        before: &[],
        life: &[
            Append(4000),
            Append(4000),
            Append(4000),
            Append(4000),
            Append(4000),
            Sync,
            Truncate(0),
            Append(4000),
            Append(4000),
            Append(4000),
            Append(4000),
            Sync,
            Truncate(1),
            Append(10),
            Sync,
        ],
    },
    // Within a frame, with what is not even written behind it; twice in a row; and of everything.
    Workload {
        name: "cut",
        before: &[],
        life: &[
            Append(20),
            Append(30),
            Sync,
            Append(3000),
            Cut(1),
            Cut(0),
            Append(40),
            Flush,
            Append(50),
            Sync,
            Cut(2),
            Append(60),
            Sync,
        ],
    },
    // Over several files, one of which opening began; then again, and on to the next file.
    Workload {
        name: "cut-files",
        before: &[&[Append(100), Append(4000), Sync]],
        life: &[
            Append(4000),
            Append(4000),
            Append(4000),
            Append(4000),
            Sync,
            Cut(4),
            Append(4000),
            Batch(2, 100),
            Sync,
            Cut(0),
            Append(4000),
            Append(4000),
            Append(4000),
            Append(4000),
            Sync,
        ],
    },
    // Behind a file that opening began and left vacant, and which then names another end.
    Workload {
        name: "cut-vacant",
        before: &[&[Append(100), Append(200), Sync]],
        life: &[Cut(0), Append(20_000), Cut(0), Append(5), Close],
    },
    // A new start of the front, and of the tail, with files that are used again.
    Workload {
        name: "cut-recycled",
        before: &[],
        life: &[
            Append(4000),
            Append(4000),
            Append(4000),
            Append(4000),
            Append(4000),
            Sync,
            Truncate(0),
            Append(4000),
            Append(4000),
            Append(4000),
            Sync,
            Cut(2),
            Append(30),
            Sync,
            Truncate(0),
            Append(10),
            Sync,
        ],
    },
];

/// What was looked at.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Moments of a crash: after each call that changes the disk.
    pub points: u64,
    /// States that these crashes can leave, each opened.
    pub states: u64,
    /// Those found before, and not opened again.
    pub repeated: u64,
    /// States that a second crash during recovery can leave.
    pub again: u64,
    /// The verdicts.
    pub verdicts: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds what another run has looked at.
    pub fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.states += other.states;
        self.repeated += other.repeated;
        self.again += other.again;
        for (verdict, count) in &other.verdicts {
            *self.verdicts.entry(verdict.clone()).or_default() += count;
        }
    }
}

/// How much to look at.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Its name.
    pub name: &'static str,
    /// Of a crash that can leave up to so many states, all are looked at.
    pub all: usize,
    /// Of any other, those in which up to so many of the undecided things are lost and the newest of
    /// each other one survives, and those in which only up to so many survive.
    pub together: usize,
    /// One state in so many is crashed again during its recovery.
    pub again: u64,
}

impl Bounds {
    /// Half a minute, without optimisation.
    pub const QUICK: Self = Self { name: "quick", all: 64, together: 1, again: 16 };
    /// Two minutes, optimised and on two cores.
    pub const USUAL: Self = Self { name: "usual", all: 256, together: 2, again: 64 };
    /// Hours.
    pub const DEEP: Self = Self { name: "deep", all: 1 << 14, together: 4, again: 4 };
    /// All there are.
    pub const EACH: [Self; 3] = [Self::QUICK, Self::USUAL, Self::DEEP];
}

/// What to look at: everything, unless something is named.
#[derive(Clone, Debug, Default)]
pub struct Only {
    /// The medium of this name.
    pub medium: Option<String>,
    /// The workload of this name.
    pub workload: Option<String>,
    /// This padding.
    pub padding: Option<Padding>,
    /// The crash of this number.
    pub point: Option<usize>,
}

/// A crash: where, and what was promised by then.
struct Point {
    call: String,
    image: Image,
    oracle: Oracle,
    /// Whether the life is under way, so that the verdict deserved is known.
    running: bool,
}

/// Runs the workloads on one medium.
///
/// # Errors
///
/// As [`run`].
pub fn all<M: Medium>(only: &Only, bounds: Bounds) -> Result<Counts, String> {
    let mut counts = Counts::default();
    if only.medium.as_ref().is_some_and(|name| name != M::NAME) {
        return Ok(counts);
    }
    let named =
        |workload: &&Workload| only.workload.as_ref().is_none_or(|name| name == workload.name);
    let paddings = [Padding::Block, Padding::Packed].into_iter();
    let paddings = paddings
        .filter(|&padding| M::PACKED || padding == Padding::Block)
        .filter(|&padding| only.padding.is_none_or(|only| only == padding));
    for workload in WORKLOADS.iter().filter(named) {
        for padding in paddings.clone() {
            counts.add(&run::<M>(workload, padding, only.point, bounds)?);
        }
    }
    Ok(counts)
}

/// Runs one workload on one medium, and crashes it everywhere or at one point.
///
/// # Errors
///
/// What is wrong, where, and how to see it again.
pub fn run<M: Medium>(
    workload: &Workload,
    padding: Padding,
    only: Option<usize>,
    bounds: Bounds,
) -> Result<Counts, String> {
    // The same salts whenever it is run, so that the same states are crashed again.
    let options = M::options().padding(padding).seed(1);
    let points = points::<M>(workload, &options)?;
    let mut counts = Counts::default();
    let mut seen = HashSet::new();
    let wanted = |number: usize| only.is_none_or(|point| point == number);
    for (number, point) in points.iter().enumerate().filter(|(number, _)| wanted(*number)) {
        counts.points += 1;
        let nothing = point.image.power_loss(Survival::Nothing);
        let truth = point.image.process_crash();
        for chosen in combinations(&point.image.undecided(), bounds) {
            let left = point.image.power_loss(Survival::Chosen(&chosen));
            let state_of = fingerprint(&left);
            if !seen.insert((state_of, point.oracle.acknowledged(), point.running)) {
                counts.repeated += 1;
                continue;
            }
            counts.states += 1;
            let deserved = point.running.then(|| deserved(&truth, &left, Some(&nothing)));
            // By what the state is, so that it is the same for one point alone.
            let again = state_of.is_multiple_of(bounds.again);
            let result = state::<M>(&left, &options, point, deserved, again);
            let (verdict, deeper) = result.map_err(|wrong| {
                format!(
                    "{}/{}/{padding:?}: after {}, with {chosen:?} surviving: {wrong}\n\
                     again: cargo faults exhaustive --bounds {} --medium {} --workload {} \
                     --padding {} --point {number}",
                    M::NAME,
                    workload.name,
                    point.call,
                    bounds.name,
                    M::NAME,
                    workload.name,
                    format!("{padding:?}").to_lowercase(),
                )
            })?;
            *counts.verdicts.entry(format!("{verdict:?}")).or_default() += 1;
            counts.again += deeper;
        }
    }
    Ok(counts)
}

/// Runs the workload once, and keeps every moment.
fn points<M: Medium>(workload: &Workload, options: &Options) -> Result<Vec<Point>, String> {
    let oracle = Shared::default();
    let mut disk = SimDisk::new(1);
    for &before in workload.before {
        let opened = life::open::<M>(&disk, options).map_err(|error| error.to_string())?;
        let mut life = Life::new(&opened, oracle.clone());
        before.iter().for_each(|&op| life.step(op));
        let after = disk.image().power_loss(Survival::Everything);
        drop(life);
        drop(opened);
        disk = SimDisk::of(after, 1);
        // What it says is checked where the same life is crashed everywhere.
        let check = SimDisk::of(disk.image(), 1);
        let survived = Durability::ProcessCrash;
        verify::open::<M>(&check, options, &mut oracle.get(), survived, None)?;
    }
    let points: Arc<Mutex<Vec<Point>>> = Arc::default();
    let running = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (sink, state, known) = (Arc::clone(&points), oracle.clone(), Arc::clone(&running));
    disk.watch(move |call, image| {
        let running = known.load(std::sync::atomic::Ordering::Relaxed);
        let oracle = state.get().clone();
        let point = Point { call: call.to_string(), image: image.clone(), oracle, running };
        sink.lock().unwrap_or_else(PoisonError::into_inner).push(point);
    });
    let opened = life::open::<M>(&disk, options).map_err(|error| error.to_string())?;
    running.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut life = Life::new(&opened, oracle);
    for &op in workload.life {
        life.step(op);
    }
    if let Some(error) = &life.ended
        && workload.life.last() != Some(&Close)
    {
        return Err(format!("{}: {error}", workload.name));
    }
    drop(life);
    drop(opened);
    let points = std::mem::take(&mut *points.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(points)
}

/// Opens one state, and says what the verdict was and how many states lie in its recovery.
fn state<M: Medium>(
    left: &Image,
    options: &Options,
    point: &Point,
    deserved: Option<super::deserve::Deserved>,
    again: bool,
) -> Result<(Verdict, u64), String> {
    let disk = SimDisk::of(left.clone(), 1);
    let moments: Arc<Mutex<Vec<Image>>> = Arc::default();
    if again {
        let moments = Arc::clone(&moments);
        disk.watch(move |_, image| {
            moments.lock().unwrap_or_else(PoisonError::into_inner).push(image.clone());
        });
    }
    let mut oracle = point.oracle.clone();
    let survived = Durability::PowerLoss;
    let survivor = verify::open::<M>(&disk, options, &mut oracle, survived, deserved)?;
    let Some(survivor) = survivor else {
        return Err("a power loss has left a log that is refused".to_owned());
    };
    let (verdict, end) = (survivor.opened.report.verdict, survivor.opened.report.end);
    let end = end.max(oracle.floor());
    let records = survivor.records;
    drop(survivor.opened);
    verify::settles::<M>(&disk.image(), options, &records, end)?;
    let mut deeper = 0;
    let moments = std::mem::take(&mut *moments.lock().unwrap_or_else(PoisonError::into_inner));
    for image in moments {
        for survival in [Survival::Nothing, Survival::Everything, Survival::Random(deeper)] {
            deeper += 1;
            let disk = SimDisk::of(image.power_loss(survival), 1);
            let mut oracle = point.oracle.clone();
            let found = verify::open::<M>(&disk, options, &mut oracle, survived, None).map_err(
                |wrong| format!("crashed again while recovering ({survival:?}): {wrong}"),
            )?;
            if found.is_none_or(|found| found.records != records) {
                return Err("crashed while recovering, it is another log".to_owned());
            }
        }
    }
    Ok((verdict, deeper))
}

/// Ways to choose among things with so many versions, as the bounds say.
fn combinations(options: &[usize], bounds: Bounds) -> Vec<Vec<usize>> {
    let all = options.iter().try_fold(1usize, |product, options| {
        product.checked_mul(options + 1).filter(|&product| product <= bounds.all)
    });
    let mut found = Vec::new();
    if all.is_some() {
        let mut chosen = vec![0; options.len()];
        loop {
            found.push(chosen.clone());
            let Some(at) = (0..chosen.len()).find(|&at| chosen[at] < options[at]) else {
                return found;
            };
            chosen[at] += 1;
            chosen[..at].fill(0);
        }
    }
    for kept in [false, true] {
        let most: Vec<usize> = if kept { vec![0; options.len()] } else { options.to_vec() };
        for count in 0..=bounds.together.min(options.len()) {
            subsets(options.len(), count, &mut |subset| {
                let mut chosen = most.clone();
                for &at in subset {
                    chosen[at] = if kept { options[at] } else { 0 };
                }
                found.push(chosen);
            });
        }
    }
    found
}

/// Calls `visit` with every set of `count` numbers less than `of`.
fn subsets(of: usize, count: usize, visit: &mut dyn FnMut(&[usize])) {
    let mut subset: Vec<usize> = (0..count).collect();
    loop {
        visit(&subset);
        let Some(at) = (0..count).rev().find(|&at| subset[at] < of - (count - at)) else { return };
        subset[at] += 1;
        for next in at + 1..count {
            subset[next] = subset[next - 1] + 1;
        }
    }
}

/// Tells states apart by what is in the log's directories.
fn fingerprint(image: &Image) -> u64 {
    let mut hasher = DefaultHasher::new();
    for dir in [DIR, "/log/set-aside"] {
        for (path, bytes) in image.files(Path::new(dir)) {
            path.hash(&mut hasher);
            bytes.hash(&mut hasher);
        }
    }
    hasher.finish()
}

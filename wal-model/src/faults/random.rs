//! Long runs of lives, from a seed.
//!
//! A run draws everything from its seed: the medium and its options, what each life is told, what
//! goes wrong with which call, when the power goes and what it leaves. So a seed is all that it
//! takes to see a run again.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use wal_core::testing::agree;
use wal_core::testing::sim::{CallKind, Fault, Image, Random, Rates, SimDisk, Struck, Survival};
use wal_core::{Durability, Error, Options, Padding, RecoveryMode};

use super::deserve::{self, Deserved};
use super::life::{self, Life, Op, Opened, Shared};
#[cfg(target_os = "linux")]
use super::medium::Ring;
use super::medium::{Aligned, DIR, Direct, Files, Mapped, Medium, Overlapped};
use super::verify;

/// What goes wrong in a run, apart from crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Nothing.
    Fair,
    /// Calls fail, are interrupted or do less than asked.
    Failing,
    /// The disk is small.
    Small,
    /// The device loses and misdirects writes, and lets bits rot; or somebody removes a file.
    Lying,
}

/// What was done and met.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Seeds.
    pub runs: u64,
    /// Lives.
    pub lives: u64,
    /// Logs opened and held against the oracle.
    pub states: u64,
    /// Records of which it was known that they had to be there.
    pub acknowledged: u64,
    /// Lives that ended with a failed write or sync.
    pub poisoned: u64,
    /// Openings that failed, and were tried again.
    pub refused: u64,
    /// Logs with damage to what was durable, which was named.
    pub corrupt: u64,
    /// Faults that struck, by kind.
    pub faults: BTreeMap<String, u64>,
    /// The verdicts that were known beforehand, and came.
    pub verdicts: BTreeMap<String, u64>,
}

impl Counts {
    /// Adds what another run has met.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.lives += other.lives;
        self.states += other.states;
        self.acknowledged += other.acknowledged;
        self.poisoned += other.poisoned;
        self.refused += other.refused;
        self.corrupt += other.corrupt;
        for (from, to) in [(&other.faults, &mut self.faults), (&other.verdicts, &mut self.verdicts)]
        {
            for (what, count) in from {
                *to.entry(what.clone()).or_default() += count;
            }
        }
    }
}

/// Runs one seed; with `trace`, says on standard error what is done and what it asks of the disk.
///
/// # Errors
///
/// What is wrong, and how to see it again.
pub fn run(seed: u64, trace: bool) -> Result<Counts, String> {
    let mut random = Random::new(seed);
    // The oracle panics within calls of the log; even then there is a seed to tell.
    let result = panic::catch_unwind(AssertUnwindSafe(|| match random.below(6) {
        0 => Run::<Overlapped>::new(random, trace).live(),
        1 => Run::<Aligned>::new(random, trace).live(),
        2 => Run::<Mapped>::new(random, trace).live(),
        3 => Run::<Direct>::new(random, trace).live(),
        #[cfg(target_os = "linux")]
        4 => Run::<Ring>::new(random, trace).live(),
        _ => Run::<Files>::new(random, trace).live(),
    }));
    let result = result.unwrap_or_else(|_| Err("it panicked, as said above".to_owned()));
    result.map_err(|wrong| format!("{wrong}\nagain: cargo faults random --seed {seed}"))
}

struct Run<M: Medium> {
    random: Random,
    trace: bool,
    mood: Mood,
    options: Options,
    disk: SimDisk,
    oracle: Shared,
    counts: Counts,
    /// Writes lost and misdirected, bits inverted, and files removed.
    lies: usize,
    medium: PhantomData<M>,
}

/// What a life has left behind.
struct Left {
    survived: Durability,
    /// The verdict, if it is known beforehand.
    deserved: Option<Deserved>,
}

impl<M: Medium> Run<M> {
    fn new(mut random: Random, trace: bool) -> Self {
        let mood = match random.below(8) {
            0..3 => Mood::Fair,
            3..6 => Mood::Failing,
            6 => Mood::Small,
            _ => Mood::Lying,
        };
        let packed = M::PACKED && random.one_in(2);
        let padding = if packed { Padding::Packed } else { Padding::Block };
        let options = M::options().padding(padding).seed(random.next_u64());
        let disk = SimDisk::new(random.next_u64());
        let counts = Counts { runs: 1, ..Counts::default() };
        let (oracle, medium) = (Shared::default(), PhantomData);
        Self { random, trace, mood, options, disk, oracle, counts, lies: 0, medium }
    }

    fn live(mut self) -> Result<Counts, String> {
        let lives = 2 + self.random.below(6);
        let mut left = Left { survived: Durability::PowerLoss, deserved: Some(Deserved::New) };
        for life in 0..lives {
            let place = format!("{}, {:?}, life {life} of {lives}", M::NAME, self.mood);
            match self.recover(&left).map_err(|wrong| format!("{place}: {wrong}"))? {
                Some(opened) => left = self.life(opened),
                // Damaged beyond use, and it was said so.
                None => return Ok(self.counts),
            }
        }
        self.recover(&left).map_err(|wrong| format!("{}, {:?}: {wrong}", M::NAME, self.mood))?;
        Ok(self.counts)
    }

    /// One life, up to the crash.
    fn life(&mut self, opened: Opened<M>) -> Left {
        self.counts.lives += 1;
        self.disk.plan(self.rates().plan(self.random.next_u64()));
        if self.mood == Mood::Small {
            let room = self.random.below(3 * 5 * 4096) as u64;
            self.disk.set_capacity(Some(self.disk.space() + room));
        }
        if self.random.one_in(3) {
            let call = self.disk.calls() + self.random.below(200) as u64;
            self.disk.cut_power_at(call);
        }
        let before = self.disk.struck().len();
        let mut life = Life::new(&opened, self.oracle.clone());
        for _ in 0..5 + self.random.below(60) {
            if life.ended.is_some() || !self.disk.has_power() {
                break;
            }
            let op = op(&mut self.random);
            if self.trace {
                eprintln!("{op:?}");
            }
            life.step(op);
        }
        self.counts.poisoned += u64::from(matches!(life.ended, Some(Error::Poisoned { .. })));
        let powerless = !self.disk.has_power();
        let mut image = self.disk.image();
        drop(life);
        drop(opened);
        if !powerless && self.random.one_in(4) {
            // The last handle went before the end came.
            image = self.disk.image();
        }
        let struck = self.disk.struck().split_off(before);
        if self.trace {
            struck.iter().for_each(|fault| eprintln!("{fault:?}"));
        }
        for fault in &struck {
            let kind = format!("{:?}", fault.fault);
            let kind = kind.split('(').next().unwrap_or_default();
            *self.counts.faults.entry(kind.to_owned()).or_default() += 1;
        }
        self.crash(&image, powerless, &struck)
    }

    fn rates(&self) -> Rates {
        match self.mood {
            Mood::Fair | Mood::Small => Rates::default(),
            Mood::Failing => Rates::errors(),
            Mood::Lying => Rates { lost: 30, misdirected: 30, ..Rates::default() },
        }
    }

    /// Ends a life: puts what is left of `image` in the place of the disk.
    fn crash(&mut self, image: &Image, powerless: bool, struck: &[Struck]) -> Left {
        let power_loss = powerless || has_lost_names(struck) || self.random.one_in(2);
        let truth = image.process_crash();
        let survival = Survival::Random(self.random.next_u64());
        let lying = self.mood == Mood::Lying;
        // A lie shows once the cache is gone.
        let mut left = if power_loss || lying { image.power_loss(survival) } else { truth.clone() };
        if lying {
            left = if self.random.one_in(4) { self.remove(left) } else { self.rot(left) };
        }
        let lies: Vec<_> = struck
            .iter()
            .filter(|struck| matches!(struck.fault, Fault::Lost | Fault::Misdirected(..)))
            .collect();
        self.lies += lies.len();
        // A file in the making whose old header is back names another number, not its damage.
        let made = lies.iter().all(|lie| lie.path.extension().is_none_or(|name| name != "tmp"));
        // A file whose removal was not durable is back, and may be what is damaged.
        let paths = |image: &Image| -> BTreeSet<_> {
            image.files(Path::new(DIR)).map(|(path, _)| path.to_owned()).collect()
        };
        let known = made && self.lies <= 1 && paths(&left).is_subset(&paths(&truth));
        let deserved = if lying && known {
            Some(deserve::deserved(&truth, &left, None))
        } else if power_loss && self.mood == Mood::Fair && struck.is_empty() {
            let nothing = image.power_loss(Survival::Nothing);
            Some(deserve::deserved(&truth, &left, Some(&nothing)))
        } else {
            None
        };
        // Neither does a failed sync show before.
        let unsynced = struck.iter().any(|struck| {
            struck.fault == Fault::Io || struck.fault == Fault::Full && struck.kind.syncs()
        });
        let survived = if power_loss || unsynced || lying {
            Durability::PowerLoss
        } else {
            Durability::ProcessCrash
        };
        self.insert(left);
        if self.trace {
            eprintln!("crash: {survived:?} has survived, {deserved:?} is deserved");
        }
        Left { survived, deserved }
    }

    /// Puts a disk with this on it in the place of the one there was.
    fn insert(&mut self, image: Image) {
        self.disk = SimDisk::of(image, self.random.next_u64());
        if self.trace {
            self.disk.watch(|call, _| eprintln!("    {call}"));
        }
    }

    /// Removes a file of the log, any but the first: that would be a truncation.
    fn remove(&mut self, image: Image) -> Image {
        let disk = SimDisk::of(image, 0);
        let image = disk.image();
        let mut files: Vec<_> = image.files(Path::new(DIR)).map(|(path, _)| path).collect();
        files.retain(|path| path.extension().is_some_and(|name| name == "wal"));
        files.sort();
        if files.len() > 1 {
            let path = &files[1 + self.random.below(files.len() - 1)];
            self.lies += 1;
            disk.lose_file(path);
        }
        disk.image()
    }

    /// Inverts a few bits of the log's files.
    fn rot(&mut self, image: Image) -> Image {
        let disk = SimDisk::of(image, 0);
        let image = disk.image();
        let files: Vec<_> = image.files(Path::new(DIR)).filter(|(_, b)| !b.is_empty()).collect();
        for _ in 0..self.random.below(3) {
            if let Some((path, bytes)) = files.get(self.random.below(files.len())) {
                self.lies += 1;
                let bit = self.random.below(8) as u32;
                disk.rot(path, self.random.below(bytes.len()) as u64, bit);
            }
        }
        disk.image()
    }

    /// Opens what is left, at times at the second or third attempt, and holds it against what
    /// should be there. `None` if it is damaged beyond use, and that is what it says.
    fn recover(&mut self, left: &Left) -> Result<Option<Opened<M>>, String> {
        self.counts.acknowledged += self.oracle.get().acknowledged() as u64;
        let mut survived = left.survived;
        let mut deserved = left.deserved;
        for _ in 0..self.random.below(3) {
            if self.mood != Mood::Failing {
                break;
            }
            self.disk.plan(Rates::errors().plan(self.random.next_u64()));
            if self.random.one_in(2) {
                let call = self.disk.calls() + self.random.below(40) as u64;
                self.disk.cut_power_at(call);
            }
            let opened = life::open::<M>(&self.disk, &self.options);
            let refused = match &opened {
                Ok(_) => false,
                Err(Error::Sink(_) | Error::NoSpace { .. }) => true,
                Err(error) => return Err(format!("opening with faults: {error}")),
            };
            self.counts.refused += u64::from(refused);
            // Crashed again, opened or not.
            let survival = Survival::Random(self.random.next_u64());
            let image = self.disk.image();
            drop(opened);
            let survives = self.disk.has_power() && !has_lost_names(&self.disk.struck());
            let image = match self.random.one_in(2) && survives {
                true => image.process_crash(),
                false => image.power_loss(survival),
            };
            self.insert(image);
            (survived, deserved) = (Durability::PowerLoss, None);
        }
        self.open_at_last(survived, deserved)
    }

    fn open_at_last(
        &mut self,
        survived: Durability,
        deserved: Option<Deserved>,
    ) -> Result<Option<Opened<M>>, String> {
        self.second_opinion()?;
        if self.lies > 0 && deserved.is_none() {
            return self.after_lies();
        }
        let mut oracle = self.oracle.get().clone();
        if self.mood == Mood::Lying {
            // What the device has lost is lost; whether that is what it says is the question.
            oracle.forgive();
        }
        if self.mood == Mood::Small {
            self.disk.set_capacity(Some(self.disk.space()));
            match life::open::<M>(&self.disk, &self.options) {
                Ok(_) | Err(Error::NoSpace { .. }) => {}
                Err(error) => return Err(format!("opening on a full disk: {error}")),
            }
            self.insert(self.disk.image().process_crash());
            self.disk.set_capacity(None);
        }
        // Rot in the empty rest of a file leaves the end where it was, and makes it doubtful.
        let exact = self.mood == Mood::Fair;
        let damaged =
            |deserved: &Deserved| matches!(deserved, Deserved::Corrupt(_) | Deserved::Gap(_));
        let known = deserved.filter(|deserved| exact || damaged(deserved));
        let survivor = verify::open::<M>(&self.disk, &self.options, &mut oracle, survived, known)
            .map_err(|wrong| format!("{deserved:?}: {wrong}"))?;
        self.counts.states += 1;
        if let Some(deserved) = deserved {
            let word = format!("{deserved:?}");
            let word = word.split('(').next().unwrap_or_default();
            *self.counts.verdicts.entry(word.to_owned()).or_default() += 1;
        }
        let Some(survivor) = survivor else { return self.salvage() };
        if let Some(end) = deserved.and_then(Deserved::end)
            && survivor.opened.report.end != end
        {
            let report = &survivor.opened.report;
            return Err(format!("{deserved:?} was deserved, and the log ends elsewhere: {report}"));
        }
        *self.oracle.get() = oracle;
        if self.random.one_in(4) {
            let end = survivor.opened.report.end;
            let image = self.disk.image();
            verify::settles::<M>(&image, &self.options, &survivor.records, end)?;
            self.counts.states += 2;
        }
        Ok(Some(survivor.opened))
    }

    /// Holds recovery against another one, made of the same specification.
    fn second_opinion(&self) -> Result<(), String> {
        let sink = M::open(&self.disk).map_err(|error| format!("reading: {error}"))?;
        agree::check(&sink).map(drop).map_err(|wrong| format!("two readers disagree: {wrong}"))
    }

    /// Whatever becomes of a log to which its device lies again and again: nothing is read from it
    /// that nobody ever appended.
    fn after_lies(&mut self) -> Result<Option<Opened<M>>, String> {
        for mode in [RecoveryMode::Strict, RecoveryMode::Salvage] {
            let opened = life::open::<M>(&self.disk, &self.options.clone().recovery(mode));
            self.counts.states += 1;
            match opened {
                Ok(opened) => {
                    let records = life::records(&opened);
                    let records = records.map_err(|error| format!("reading: {error}"))?;
                    return self.oracle.get().knows(&records).map(|()| None);
                }
                Err(Error::Corrupt(_)) if mode == RecoveryMode::Strict => self.counts.corrupt += 1,
                // Two files of one number, one of them misnamed.
                Err(Error::Corrupt(_)) => {}
                Err(error) => return Err(format!("after lies: {error}")),
            }
        }
        Ok(None)
    }

    /// Opens a damaged log around the damage: what is read then was appended.
    fn salvage(&mut self) -> Result<Option<Opened<M>>, String> {
        let options = self.options.clone().recovery(RecoveryMode::Salvage);
        let opened =
            life::open::<M>(&self.disk, &options).map_err(|error| format!("salvaging: {error}"))?;
        let records = life::records(&opened).map_err(|error| format!("reading: {error}"))?;
        if opened.report.holes.is_empty() {
            return Err(format!("refused for corruption, and salvaged without: {}", opened.report));
        }
        self.oracle.get().holds(&records)?;
        self.counts.corrupt += 1;
        Ok(None)
    }
}

/// Whether a sync of a directory has failed. Then the system shows names that are not on the device
/// and believes that they are, which nobody can find out who starts later: one that goes on like this
/// is beyond repair, and others (ext4) allow no change until they are started again.
fn has_lost_names(struck: &[Struck]) -> bool {
    let failed = |fault| matches!(fault, Fault::Io | Fault::Full);
    struck.iter().any(|struck| struck.kind == CallKind::SyncDir && failed(struck.fault))
}

/// What a life is told next.
fn op(random: &mut Random) -> Op {
    let small = random.below(900);
    match random.below(40) {
        0..12 => Op::Append(small),
        12 => Op::Append(0),
        13..15 => Op::Append(1000 + random.below(3000)),
        15 => Op::Append(4000 + random.below(20_000)),
        16..19 => Op::Batch(1 + random.below(5), random.below(400)),
        19 => Op::Batch(2 + random.below(3), 1500 + random.below(2000)),
        20..23 => Op::Hold(small),
        23..26 => Op::Commit,
        26 => Op::Abandon,
        27..30 => Op::Wait,
        30..32 => Op::Poll,
        32 => Op::Cancel,
        33..35 => Op::Flush,
        35..37 => Op::Sync,
        37 => Op::Mark,
        38 => match random.below(3) {
            0 => Op::Cut(random.below(6)),
            _ => Op::Truncate(random.below(6)),
        },
        _ => match random.below(4) {
            0 => Op::Close,
            _ => Op::Sync,
        },
    }
}

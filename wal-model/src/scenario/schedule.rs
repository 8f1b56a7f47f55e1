//! Schedules: how the next task is chosen, what was chosen, and how a choice is repeated.

use std::cell::Cell;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use shuttle::scheduler::{
    DataSource, PctScheduler, RandomDataSource, ReplayScheduler, Schedule, Scheduler, Task, TaskId,
};

/// How the next task is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Any runnable task, at each step.
    Random,
    /// By priorities that change at so many points less one of a run ("probabilistic concurrency
    /// testing"): finds what takes few preemptions at the right places.
    Pct(usize),
    /// At random, but now and then a task sleeps for long: finds what takes a thread that is late
    /// by a whole revolution of the ring, or one that stops between two stores. Half of the runs
    /// have tasks sleep anywhere, the others a few steps after marks of two kinds; or only after
    /// marks of the kinds given.
    Stalling(&'static [Mark]),
}

/// A place in a task's life, soon after which it may be worth stalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// An append begins.
    Attempt,
    Reserve,
    Commit,
    Seal,
    Activate,
    HandOver,
    Write,
    Sync,
    Publish,
    Wake,
    Recycle,
}

impl Mark {
    const ALL: [Self; 11] = [
        Self::Attempt,
        Self::Reserve,
        Self::Commit,
        Self::Seal,
        Self::Activate,
        Self::HandOver,
        Self::Write,
        Self::Sync,
        Self::Publish,
        Self::Wake,
        Self::Recycle,
    ];

    /// Says that the current task is there. All tasks of a run share one thread of the system.
    pub(super) fn set(self) {
        MARK.set(Some(self));
    }
}

thread_local! {
    /// Where the current task has got to since the scheduler was last asked.
    static MARK: Cell<Option<Mark>> = const { Cell::new(None) };
}

impl Strategy {
    /// The strategies of a scenario that is about threads that stall after such marks (none: any).
    pub(super) const fn all(stalls: &'static [Mark]) -> [Self; 3] {
        [Self::Random, Self::Pct(3), Self::Stalling(stalls)]
    }

    pub(super) fn scheduler(self, seed: u64, schedules: usize) -> Box<dyn Scheduler + Send> {
        match self {
            Self::Random => Box::new(RandomScheduler::new(seed, schedules, None)),
            Self::Pct(depth) => Box::new(PctScheduler::new_from_seed(seed, depth, schedules)),
            Self::Stalling(marks) => Box::new(RandomScheduler::new(seed, schedules, Some(marks))),
        }
    }
}

/// What was chosen in one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choices {
    /// Which run it was, counted from 1.
    pub(super) run: usize,
    /// Seeds what a run draws for itself.
    seed: u64,
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Task(usize),
    /// The run drew a number.
    Draw,
}

impl Choices {
    /// As one word without a character that a shell would touch: the seed in hexadecimal, then the
    /// steps, where `3x12` runs task 3 for twelve steps and `r` draws a number.
    pub(super) fn encode(&self) -> String {
        let mut text = format!("{:x}", self.seed);
        for run in self.steps.chunk_by(|a, b| a == b) {
            let _ = match run[0] {
                Step::Task(task) => write!(text, ".{task}"),
                Step::Draw => write!(text, ".r"),
            };
            if run.len() > 1 {
                let _ = write!(text, "x{}", run.len());
            }
        }
        text
    }

    /// The choices that `text` encodes, if it encodes any.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        let seed = u64::from_str_radix(parts.next()?, 16).ok()?;
        let mut steps = Vec::new();
        for part in parts {
            let (what, times) = part.split_once('x').unwrap_or((part, "1"));
            let step = if what == "r" { Step::Draw } else { Step::Task(what.parse().ok()?) };
            steps.extend(std::iter::repeat_n(step, times.parse().ok()?));
        }
        Some(Self { run: 1, seed, steps })
    }

    pub(super) fn replay(&self) -> ReplayScheduler {
        let mut schedule = Schedule::new(self.seed);
        for step in &self.steps {
            match *step {
                Step::Task(task) => schedule.push_task(TaskId::from(task)),
                Step::Draw => schedule.push_random(),
            }
        }
        ReplayScheduler::new_from_schedule(schedule)
    }
}

/// Writes down what the scheduler within it chooses.
pub(super) struct Recording<S> {
    inner: S,
    choices: Arc<Mutex<Choices>>,
}

impl<S> Recording<S> {
    pub(super) const fn new(inner: S, choices: Arc<Mutex<Choices>>) -> Self {
        Self { inner, choices }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Choices) -> R) -> R {
        change(&mut self.choices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Scheduler> Scheduler for Recording<S> {
    fn new_execution(&mut self) -> Option<Schedule> {
        let schedule = self.inner.new_execution()?;
        self.change(|choices| {
            choices.run += 1;
            choices.seed = schedule.seed;
            choices.steps.clear();
        });
        Some(schedule)
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let next = self.inner.next_task(runnable, current, is_yielding)?;
        self.change(|choices| choices.steps.push(Step::Task(next.into())));
        Some(next)
    }

    fn next_u64(&mut self) -> u64 {
        self.change(|choices| choices.steps.push(Step::Draw));
        self.inner.next_u64()
    }
}

/// See [`Strategy::Random`] and [`Strategy::Stalling`].
struct RandomScheduler {
    left: usize,
    /// Whether tasks stall, and after which marks if that is given.
    stalls: Option<&'static [Mark]>,
    /// What the runs draw; seeds `random`.
    source: RandomDataSource,
    /// What the scheduler draws.
    random: RandomDataSource,
    step: u64,
    /// After which marks tasks stall in this run; `None`: anywhere.
    marks: Option<Vec<Mark>>,
    tasks: Vec<Sleep>,
}

/// What a scheduler that stalls knows of a task.
#[derive(Clone, Copy, Default)]
struct Sleep {
    /// In how many steps it is to stall.
    due: Option<u64>,
    /// Until which step it sleeps.
    until: u64,
}

impl RandomScheduler {
    /// Anywhere, one step in so many stalls.
    const RARITY: u64 = 64;
    /// How many steps after a mark a task stalls at most.
    const REACH: u64 = 8;

    fn new(seed: u64, schedules: usize, stalls: Option<&'static [Mark]>) -> Self {
        Self {
            left: schedules,
            stalls,
            source: RandomDataSource::initialize(seed),
            random: RandomDataSource::initialize(seed),
            step: 0,
            marks: None,
            tasks: Vec::new(),
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        (self.random.next_u64() >> 16) % below
    }

    fn sleep(&self, task: TaskId) -> Sleep {
        self.tasks.get(usize::from(task)).copied().unwrap_or_default()
    }

    /// Decides whether the task that has just run stalls now.
    fn stall(&mut self, task: TaskId) {
        let task = usize::from(task);
        self.tasks.resize(self.tasks.len().max(task + 1), Sleep::default());
        let stalls = match (&self.marks, MARK.take()) {
            (None, _) => self.draw(Self::RARITY) == 0,
            (Some(marks), mark) => {
                if mark.is_some_and(|mark| marks.contains(&mark)) && self.draw(2) == 0 {
                    self.tasks[task].due = Some(self.draw(Self::REACH));
                }
                let due = self.tasks[task].due;
                self.tasks[task].due = due.and_then(|steps| steps.checked_sub(1));
                due == Some(0)
            }
        };
        if stalls {
            // From a few steps to all of the run, each magnitude as likely as another.
            let magnitude = 2 + self.draw(9);
            self.tasks[task].until = self.step + (1 << magnitude) + self.draw(1 << magnitude);
        }
    }
}

impl Scheduler for RandomScheduler {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.left = self.left.checked_sub(1)?;
        let seed = self.source.reinitialize();
        self.random = RandomDataSource::initialize(!seed);
        self.step = 0;
        self.tasks.clear();
        MARK.set(None);
        let anywhere = self.draw(2) == 0;
        let picked = [self.draw(11), self.draw(11)].map(|mark| Mark::ALL[mark as usize]);
        self.marks = match self.stalls {
            None => None,
            Some([]) if anywhere => None,
            Some([]) => Some(picked.to_vec()),
            Some(marks) => Some(marks.to_vec()),
        };
        Some(Schedule::new(seed))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        self.step += 1;
        if let (Some(task), Some(_)) = (current, self.stalls) {
            self.stall(task);
        }
        let pick = self.random.next_u64() >> 16;
        let ids = || runnable.iter().map(|task| task.id());
        let awake = || ids().filter(|&id| self.sleep(id).until <= self.step);
        // Who yields lets the others go, if they are awake: sleepers are late even so.
        let others = || awake().filter(|&id| !is_yielding || Some(id) != current);
        match (others().count(), awake().count()) {
            // Whoever would wake first, so that nobody waits for a sleeper for nothing.
            (_, 0) => ids().min_by_key(|&id| self.sleep(id).until),
            (0, _) => awake().next(),
            (count, _) => others().nth(pick as usize % count),
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.source.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_survive_their_encoding() {
        let steps = [Step::Task(0), Step::Task(12), Step::Task(12), Step::Draw, Step::Draw];
        let choices = Choices { run: 1, seed: 0xf00d, steps: steps.to_vec() };
        assert_eq!(choices.encode(), "f00d.0.12x2.rx2");
        assert_eq!(Choices::decode("f00d.0.12x2.rx2\n"), Some(choices));
        assert_eq!(Choices::decode("f00d.seven"), None);
    }
}

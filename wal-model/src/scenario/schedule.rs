//! Schedules: how the next task is chosen, what was chosen, and how a choice is repeated.

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
    /// by a whole revolution of the ring, or one that stops between two stores.
    Stalling,
}

impl Strategy {
    pub(super) const ALL: [Self; 3] = [Self::Random, Self::Pct(3), Self::Stalling];

    pub(super) fn scheduler(self, seed: u64, schedules: usize) -> Box<dyn Scheduler + Send> {
        match self {
            Self::Random => Box::new(RandomScheduler::new(seed, schedules, false)),
            Self::Pct(depth) => Box::new(PctScheduler::new_from_seed(seed, depth, schedules)),
            Self::Stalling => Box::new(RandomScheduler::new(seed, schedules, true)),
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
    stalls: bool,
    /// What the runs draw; seeds `random`.
    source: RandomDataSource,
    /// What the scheduler draws.
    random: RandomDataSource,
    step: u64,
    /// Until which step each task sleeps.
    asleep: Vec<u64>,
}

impl RandomScheduler {
    /// One step in so many puts its task to sleep.
    const RARITY: u64 = 24;
    /// The longest sleep in steps.
    const LONGEST: u64 = 400;

    fn new(seed: u64, schedules: usize, stalls: bool) -> Self {
        Self {
            left: schedules,
            stalls,
            source: RandomDataSource::initialize(seed),
            random: RandomDataSource::initialize(seed),
            step: 0,
            asleep: Vec::new(),
        }
    }

    fn sleeps_until(&self, task: TaskId) -> u64 {
        self.asleep.get(usize::from(task)).copied().unwrap_or(0)
    }
}

impl Scheduler for RandomScheduler {
    fn new_execution(&mut self) -> Option<Schedule> {
        self.left = self.left.checked_sub(1)?;
        let seed = self.source.reinitialize();
        self.random = RandomDataSource::initialize(!seed);
        self.step = 0;
        self.asleep.clear();
        Some(Schedule::new(seed))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        self.step += 1;
        let draw = self.random.next_u64();
        if let Some(task) =
            current.filter(|_| self.stalls && (draw >> 32).is_multiple_of(Self::RARITY))
        {
            let task = usize::from(task);
            self.asleep.resize(self.asleep.len().max(task + 1), 0);
            self.asleep[task] = self.step + (draw >> 48) % Self::LONGEST;
        }
        let awake = |task: &&&Task| {
            self.sleeps_until(task.id()) <= self.step
                && !(is_yielding && runnable.len() > 1 && Some(task.id()) == current)
        };
        let count = runnable.iter().filter(awake).count();
        if count > 0 {
            let pick = (draw as u32 as usize) % count;
            return runnable.iter().filter(awake).nth(pick).map(|task| task.id());
        }
        // Whoever would wake first, so that nobody waits for a sleeper for nothing.
        let other = |task: &&&Task| !is_yielding || Some(task.id()) != current;
        let first = runnable.iter().filter(other).min_by_key(|task| self.sleeps_until(task.id()));
        first.or(runnable.first()).map(|task| task.id())
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

//! Running a scenario under many schedules, and one of them again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::{Arc, Mutex, Once, PoisonError};

use shuttle::scheduler::Scheduler;
use shuttle::{Config, FailurePersistence, Runner};

use super::schedule::{Choices, Mark, Recording, Strategy};

/// The seed of a run that is told none: the same schedules each time.
const SEED: u64 = 0x57a1_5eed;

/// What happened in all runs of a scenario, to show that it tries what it is for.
#[derive(Clone, Default)]
pub(super) struct Tally(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Tally {
    pub(super) fn add(&self, what: &'static str, times: u64) {
        if times > 0 {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() +=
                times;
        }
    }

    fn read(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A scenario: what runs under each schedule, and what must have happened at least once.
pub(super) struct Scenario<F> {
    pub(super) name: &'static str,
    /// Schedules of each strategy.
    pub(super) schedules: usize,
    /// What the scenario is for.
    pub(super) happens: &'static [&'static str],
    /// After what threads stall; empty: anywhere.
    pub(super) stalls: &'static [Mark],
    pub(super) body: F,
}

/// A number from the environment, decimal or (`0x`) hexadecimal.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    match number {
        Ok(number) => Some(number),
        Err(error) => panic!("{variable}={text}: {error}"),
    }
}

/// The schedule to run again, itself or in a file, with the name of its scenario.
fn to_replay() -> Option<(String, Choices)> {
    let given = std::env::var("WAL_SHUTTLE_REPLAY").ok()?;
    let text = std::fs::read_to_string(&given).unwrap_or(given);
    let parsed = text
        .split_once('@')
        .and_then(|(name, choices)| Some((name.to_owned(), Choices::decode(choices)?)));
    match parsed {
        Some(parsed) => Some(parsed),
        None => panic!("WAL_SHUTTLE_REPLAY is neither a file nor a schedule: {text}"),
    }
}

fn config() -> Config {
    let mut config = Config::new();
    // Printed here, in a form that replays by one command.
    config.failure_persistence = FailurePersistence::None;
    config.stack_size = 256 << 10;
    config.silence_warnings = true;
    config
}

/// A scenario under way.
struct Running {
    name: &'static str,
    choices: Arc<Mutex<Choices>>,
    panics: usize,
}

thread_local! {
    /// What this thread of the system runs.
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

/// Has the second panic of a run say how to replay it: a panic in a destructor of a thread that
/// panics already ends the process, and nobody is left to say so.
fn set_panic_hook() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            before(info);
            RUNNING.with_borrow_mut(|running| {
                let Some(running) = running else { return };
                running.panics += 1;
                if running.panics > 1 {
                    let choices = running.choices.lock().unwrap_or_else(PoisonError::into_inner);
                    eprintln!("a panic upon a panic; to replay:");
                    eprintln!("{}", replay_command(running.name, &choices));
                }
            });
        }));
    });
}

/// Runs `body` as often as `scheduler` says; gives back the choices that made it fail, if any did.
fn run(
    name: &'static str,
    scheduler: impl Scheduler + 'static,
    body: impl Fn() + Send + Sync + 'static,
) -> Result<usize, (Choices, Box<dyn std::any::Any + Send>)> {
    set_panic_hook();
    let choices = Arc::new(Mutex::new(Choices::default()));
    RUNNING.set(Some(Running { name, choices: Arc::clone(&choices), panics: 0 }));
    let recording = Recording::new(scheduler, Arc::clone(&choices));
    let runner = Runner::new(recording, config());
    let ended = catch_unwind(AssertUnwindSafe(|| runner.run(body)));
    RUNNING.set(None);
    ended.map_err(|panic| (choices.lock().unwrap_or_else(PoisonError::into_inner).clone(), panic))
}

impl<F: Fn(&Tally) + Clone + Send + Sync + 'static> Scenario<F> {
    /// Runs the scenario under all strategies, or one schedule again if the environment names it.
    ///
    /// # Panics
    ///
    /// If a schedule fails, having said how to replay it, or if what the scenario is for never
    /// happened.
    pub(super) fn explore(self) {
        if let Some((name, choices)) = to_replay() {
            if name == self.name {
                self.replay(&choices);
            }
            return;
        }
        let seed = number("WAL_SHUTTLE_SEED").unwrap_or(SEED);
        let asked = number("WAL_SHUTTLE_ITERATIONS").map(|asked| asked as usize);
        let schedules = asked.unwrap_or(self.schedules);
        println!("{}: seed {seed:#x}, {schedules} schedules of each strategy", self.name);
        let tally = Tally::default();
        for strategy in Strategy::all(self.stalls) {
            let (body, counts) = (self.body.clone(), tally.clone());
            let ended = run(self.name, strategy.scheduler(seed, schedules), move || body(&counts));
            if let Err((choices, panic)) = ended {
                let (name, run) = (self.name, choices.run);
                eprintln!("{name}: {strategy:?} schedule {run}, seed {seed:#x} fails; to replay:");
                eprintln!("{}", replay_command(name, &choices));
                resume_unwind(panic);
            }
        }
        let tally = tally.read();
        let happened: Vec<_> =
            tally.iter().map(|(what, times)| format!("{what} {times}")).collect();
        let ran = schedules * Strategy::all(self.stalls).len();
        println!("{}: {ran} schedules; {}", self.name, happened.join(", "));
        // Few schedules prove nothing either way.
        if schedules >= self.schedules {
            for what in self.happens {
                assert!(tally.contains_key(what), "{}: never saw {what}", self.name);
            }
        }
    }

    fn replay(self, choices: &Choices) {
        let body = self.body;
        if let Err((_, panic)) = run(self.name, choices.replay(), move || body(&Tally::default())) {
            resume_unwind(panic);
        }
        println!("{}: replayed, and it passed", self.name);
    }
}

/// The line that runs the schedule again.
fn replay_command(name: &str, choices: &Choices) -> String {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let command = if package == env!("CARGO_PKG_NAME") {
        "cargo shuttle".to_owned()
    } else {
        format!("RUSTFLAGS='--cfg wal_shuttle' cargo test -p {package}")
    };
    format!("WAL_SHUTTLE_REPLAY={name}@{} {command} {name}", choices.encode())
}

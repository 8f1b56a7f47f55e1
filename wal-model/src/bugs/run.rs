//! Running the layers over a broken copy of the workspace.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::tree::{self, Tree};
use super::{Bug, Layer};
use crate::{report, suite};

/// A log that hangs is caught, too: how long a layer may take whose time on the sound tree is not
/// known, and how short that is at the least.
const PATIENCE: RangeInclusive<Duration> = Duration::from_secs(30)..=Duration::from_secs(600);

/// What a layer made of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well, as far as the layer can tell.
    Passed,
    /// It failed, and where.
    Failed(String),
    /// It did not end within this time, many times what it takes on the sound tree.
    Hung(Duration),
    /// It could not be run.
    Unusable(String),
}

impl Outcome {
    /// Whether a bug was noticed.
    #[must_use]
    pub const fn is_caught(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Hung(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(at) => f.write_str(at),
            Self::Hung(limit) => write!(f, "no end within {} s", limit.as_secs()),
            Self::Unusable(why) => write!(f, "cannot be run: {why}"),
        }
    }
}

/// A layer that was run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The layer.
    pub layer: Layer,
    /// What it found.
    pub outcome: Outcome,
    /// How long that took, building not included.
    pub time: Duration,
}

/// Runs layers over a copy of the workspace.
#[derive(Debug)]
pub struct Runner {
    tree: Tree,
    work: PathBuf,
    /// How long tests may take, by the layer's name.
    patience: HashMap<String, Duration>,
}

/// Arguments that choose a test target, and how it is built.
struct Target {
    /// Where it is built: trees with other primitives keep apart.
    dir: &'static str,
    cargo: Vec<String>,
    /// Names of the tests to run; all, if empty.
    filter: Option<&'static str>,
}

impl Target {
    fn of(layer: Layer) -> Option<Self> {
        let plain = |package: &str, target: &str| match target {
            "lib" => vec!["-p".into(), package.into(), "--lib".into()],
            _ => vec!["-p".into(), package.into(), "--test".into(), target.into()],
        };
        let with = |primitives: &str, package: &str, target: &str| {
            let mut args = plain(package, target);
            let flags = format!("build.rustflags=['--cfg=wal_{primitives}']");
            args.extend(["--profile".into(), "models".into(), "--config".into(), flags]);
            args
        };
        Some(match layer {
            Layer::Core(target) => {
                Self { dir: "std", cargo: plain("wal-core", target), filter: None }
            }
            Layer::Files(target) => {
                Self { dir: "std", cargo: plain("wal-io-std", target), filter: None }
            }
            Layer::Mapped(target) => {
                Self { dir: "std", cargo: plain("wal-mmap", target), filter: None }
            }
            Layer::Uring(target) => {
                Self { dir: "std", cargo: plain("wal-io-uring", target), filter: None }
            }
            Layer::Reference => {
                Self { dir: "std", cargo: plain("wal-model", "reference"), filter: None }
            }
            Layer::Hostile => {
                Self { dir: "std", cargo: plain("wal-model", "hostile"), filter: None }
            }
            Layer::Crashes => {
                Self { dir: "std", cargo: plain("wal-model", "crashes"), filter: None }
            }
            Layer::Lives => {
                Self { dir: "std", cargo: plain("wal-model", "faults_random"), filter: None }
            }
            Layer::Trace => Self { dir: "std", cargo: plain("wal-model", "trace"), filter: None },
            Layer::Shuttle(scenario) => {
                let cargo = with("shuttle", "wal-model", "shuttle");
                Self { dir: "shuttle", cargo, filter: Some(scenario) }
            }
            Layer::Loom(target) => {
                Self { dir: "loom", cargo: with("loom", "wal-core", target), filter: None }
            }
            Layer::Machine(_) | Layer::Spec(_) => return None,
        })
    }
}

impl Runner {
    /// Copies the workspace into `work`, where everything is built, too. One runner at a time may
    /// use a directory. Blocks for I/O.
    ///
    /// # Errors
    ///
    /// Any error of reading the workspace or of writing the copy.
    pub fn new(work: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(work.join("tree"))?;
        let tree = Tree::copy(work.join("tree"))?;
        Ok(Self { tree, work, patience: HashMap::new() })
    }

    /// Runs those of the layers that are built from the tree while it is sound, as the iterator
    /// goes: what fails there proves nothing elsewhere. Blocks for minutes.
    pub fn baseline(&mut self, layers: &[Layer]) -> impl Iterator<Item = Run> {
        let built = layers.iter().filter(|layer| Target::of(**layer).is_some());
        built.map(|&layer| {
            let run = self.attempt(layer);
            self.patience.insert(
                layer.to_string(),
                (10 * run.time).clamp(*PATIENCE.start(), *PATIENCE.end()),
            );
            run
        })
    }

    /// Runs those of a bug's layers that are `wanted`. Blocks for minutes.
    ///
    /// # Errors
    ///
    /// If an edit does not apply, or a file cannot be read or written.
    pub fn bug(&self, bug: &Bug, wanted: impl Fn(Layer) -> bool) -> io::Result<Vec<Run>> {
        let _edited = self.tree.edit(bug.edits)?;
        let layers = bug.caught_by.iter().filter(|layer| wanted(**layer));
        Ok(layers.map(|&layer| self.attempt(layer)).collect())
    }

    fn attempt(&self, layer: Layer) -> Run {
        let unusable = |error: io::Error| Outcome::Unusable(error.to_string());
        if let Some(target) = Target::of(layer)
            && let Err(why) = self.build(&target).unwrap_or_else(|error| Err(unusable(error)))
        {
            return Run { layer, outcome: why, time: Duration::ZERO };
        }
        let begun = Instant::now();
        let outcome = self.layer(layer).unwrap_or_else(unusable);
        Run { layer, outcome, time: begun.elapsed() }
    }

    fn layer(&self, layer: Layer) -> io::Result<Outcome> {
        match layer {
            Layer::Machine(bug) => {
                let mut faults = suite::faults().into_iter();
                let Some((machine, property)) = faults.find(|(machine, _)| machine.bug == bug)
                else {
                    return Ok(Outcome::Unusable("no machine has it".into()));
                };
                Ok(match report::find(&machine, property) {
                    Some(steps) => Outcome::Failed(format!("{property} in {} steps", steps.len())),
                    None => Outcome::Passed,
                })
            }
            // Here the fault is the specification's own, and success is that TLC reports it.
            Layer::Spec(fault) => {
                let mut check = Command::new(tree::root().join("spec").join("check"));
                let (told, out) = self.run(check.arg(fault), "spec", *PATIENCE.end())?;
                Ok(match told {
                    Some(true) => Outcome::Failed(row_of(&out, fault)),
                    Some(false) => Outcome::Unusable(row_of(&out, fault)),
                    None => Outcome::Unusable("TLC does not end".into()),
                })
            }
            _ => Target::of(layer).map_or(Ok(Outcome::Passed), |target| self.test(layer, &target)),
        }
    }

    fn cargo(&self, target: &Target, more: &[&str]) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        // Set by whoever runs this, they would win over what is asked for here.
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        cargo.current_dir(self.tree.path()).args(["test", "--locked", "--target-dir"]);
        cargo.arg(self.work.join(target.dir)).args(&target.cargo).args(more);
        cargo
    }

    /// Builds a test target; what does not build is nobody's catch.
    fn build(&self, target: &Target) -> io::Result<Result<(), Outcome>> {
        let mut build = self.cargo(target, &["--no-run"]);
        let (built, out) = self.run(&mut build, "build", Duration::MAX)?;
        if built == Some(true) {
            return Ok(Ok(()));
        }
        let error = out.lines().find(|line| line.starts_with("error")).unwrap_or("").to_owned();
        Ok(Err(Outcome::Unusable(format!("does not build: {error}"))))
    }

    fn test(&self, layer: Layer, target: &Target) -> io::Result<Outcome> {
        let filter = target.filter.map_or(vec![], |name| vec!["--", "--exact", name]);
        let known = self.patience.get(&layer.to_string());
        let limit = known.copied().unwrap_or(*PATIENCE.end());
        let (passed, out) = self.run(&mut self.cargo(target, &filter), "test", limit)?;
        Ok(match passed {
            Some(true) if ran_none(&out) => Outcome::Unusable("no such test".into()),
            Some(true) => Outcome::Passed,
            Some(false) => Outcome::Failed(failed_tests(&out)),
            None => Outcome::Hung(limit),
        })
    }

    /// Runs a command until `limit`; returns whether it succeeded, if it ended, and what it printed.
    fn run(
        &self,
        command: &mut Command,
        name: &str,
        limit: Duration,
    ) -> io::Result<(Option<bool>, String)> {
        let path = self.work.join(format!("{name}.out"));
        let out = File::create(&path)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        // A group of its own, so that the tests go with cargo.
        let mut child = command.process_group(0).spawn()?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status.success());
            }
            if begun.elapsed() > limit {
                let group = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL)?;
                child.wait()?;
                break None;
            }
            thread::sleep(Duration::from_millis(20));
        };
        Ok((status, String::from_utf8_lossy(&fs::read(path)?).into_owned()))
    }
}

/// The names of the tests that failed.
fn failed_tests(out: &str) -> String {
    let names: Vec<&str> = out
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        // Some harnesses put them into a column.
        .map(str::trim_end)
        .collect();
    match &names[..] {
        [] => "the test process died".into(),
        [one] => (*one).into(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

fn ran_none(out: &str) -> bool {
    let results = || out.lines().filter(|line| line.starts_with("test result: "));
    results().all(|line| line.contains(" 0 passed"))
}

/// The line of `spec/check` about a fault.
fn row_of(out: &str, fault: &str) -> String {
    let row = out.lines().find(|line| line.contains(fault)).or(out.lines().last());
    row.unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" ")
}

//! Checking a machine, and saying what came of it.

use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model};

use crate::machine::Machine;

/// As many as there are cores.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a check has come to.
#[derive(Debug)]
pub struct Report {
    /// Distinct states.
    pub states: usize,
    /// Steps taken, to states seen before included.
    pub steps: usize,
    /// The longest of the shortest ways to a state.
    pub depth: usize,
    /// Wall-clock time.
    pub time: Duration,
    /// Properties that do not hold, each with the steps that show it.
    pub broken: Vec<(&'static str, Vec<String>)>,
    /// What ought to be possible and was never met: the model is too small or wrong.
    pub never: Vec<&'static str>,
    /// Whether all states were looked at.
    pub exhaustive: bool,
}

impl Report {
    /// Whether everything holds and everything was met.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.exhaustive && self.broken.is_empty() && self.never.is_empty()
    }

    /// Whether a property is among the broken.
    #[must_use]
    pub fn breaks(&self, property: &str) -> bool {
        self.broken.iter().any(|(name, _)| *name == property)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, steps, depth, time, .. } = self;
        write!(
            f,
            "{states:>10} states {steps:>11} steps  depth {depth:>3}  {:>6.1} s",
            time.as_secs_f64()
        )?;
        for (name, path) in &self.broken {
            write!(f, "\n  BROKEN {name}")?;
            for step in path {
                write!(f, "\n    {step}")?;
            }
        }
        for name in &self.never {
            write!(f, "\n  NEVER MET: {name}")?;
        }
        if !self.exhaustive {
            write!(f, "\n  not exhaustive")?;
        }
        Ok(())
    }
}

/// Looks at every state of `machine`.
#[must_use]
pub fn check(machine: &Machine) -> Report {
    let begun = Instant::now();
    let checker = machine.clone().checker().threads(threads()).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let mut broken = Vec::new();
    let mut never = Vec::new();
    for property in machine.properties() {
        match (property.expectation, discoveries.get(property.name)) {
            (Expectation::Sometimes, None) => never.push(property.name),
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                let steps = path.clone().into_actions();
                broken
                    .push((property.name, steps.iter().map(|step| format!("{step:?}")).collect()));
            }
            _ => {}
        }
    }
    Report {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        time: begun.elapsed(),
        broken,
        never,
        exhaustive: checker.is_done(),
    }
}

/// Looks for a run that breaks `property`, depth first, and returns its steps.
#[must_use]
pub fn find(machine: &Machine, property: &'static str) -> Option<Vec<String>> {
    let wanted = HasDiscoveries::AnyOf([property].into());
    let builder = machine.clone().checker().threads(threads()).finish_when(wanted);
    let found = builder.spawn_dfs().join().discovery(property)?;
    Some(found.into_actions().iter().map(|step| format!("{step:?}")).collect())
}

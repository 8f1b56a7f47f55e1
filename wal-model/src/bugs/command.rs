//! `cargo bugs`: breaks the code on purpose, bug by bug, and prints who noticed.

use std::io;
use std::time::Instant;

use super::run::{Outcome, Run, Runner};
use super::{Bug, KINDS, Layer, tree};

/// Which bugs, and who is asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bugs to try; all, if none is named.
    names: Vec<String>,
    /// Ask only layers of this kind; may be repeated.
    #[arg(long = "layer", value_parser = clap::builder::PossibleValuesParser::new(KINDS))]
    layers: Vec<String>,
    /// Print the list and run nothing.
    #[arg(long)]
    list: bool,
    /// Do not run the layers over the sound code first.
    #[arg(long)]
    no_baseline: bool,
}

impl Args {
    fn bugs(&self) -> io::Result<Vec<Bug>> {
        let all = super::all();
        for name in &self.names {
            if !all.iter().any(|bug| bug.name == name) {
                let message = format!("there is no bug `{name}`; --list shows all");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
        let wanted = |bug: &Bug| self.names.is_empty() || self.names.iter().any(|n| n == bug.name);
        Ok(all.into_iter().filter(wanted).collect())
    }

    fn wants(&self, layer: Layer) -> bool {
        self.layers.is_empty() || self.layers.iter().any(|kind| kind == layer.kind())
    }

    /// Runs the command and prints a table; returns whether every bug was caught by every layer
    /// that must catch it. Blocks for minutes, or an hour for all.
    ///
    /// # Errors
    ///
    /// If a bug's name is unknown, an edit does not apply, or a file cannot be read or written.
    pub fn run(&self) -> io::Result<bool> {
        let bugs = self.bugs()?;
        if self.list {
            for bug in &bugs {
                let layers: Vec<_> = bug.caught_by.iter().map(Layer::to_string).collect();
                println!("{:<28} {}\n{:28} {}", bug.name, bug.what, "", layers.join(", "));
            }
            println!("{} bugs", bugs.len());
            return Ok(true);
        }
        let mut runner = Runner::new(tree::root().join("target").join("bugs"))?;
        let begun = Instant::now();
        if !self.no_baseline && !self.baseline(&mut runner, &bugs) {
            return Ok(false);
        }
        let (mut caught, mut missed) = (0, 0);
        for bug in bugs.iter().filter(|bug| bug.caught_by.iter().any(|l| self.wants(*l))) {
            println!("{}: {}", bug.name, bug.what);
            for run in runner.bug(bug, |layer| self.wants(layer))? {
                let is_caught = run.outcome.is_caught();
                tell(if is_caught { "caught" } else { "MISSED" }, &run);
                if is_caught { caught += 1 } else { missed += 1 }
            }
        }
        println!("{} bugs in {:.0} s", bugs.len(), begun.elapsed().as_secs_f64());
        println!("{caught} passed, {missed} failed");
        Ok(missed == 0)
    }

    fn baseline(&self, runner: &mut Runner, bugs: &[Bug]) -> bool {
        let mut layers: Vec<Layer> = Vec::new();
        for &layer in bugs.iter().flat_map(|bug| bug.caught_by) {
            if self.wants(layer) && !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        println!("no bug");
        let mut sound = true;
        for run in runner.baseline(&layers) {
            let passed = run.outcome == Outcome::Passed;
            tell(if passed { "passed" } else { "FAILED" }, &run);
            sound &= passed;
        }
        sound
    }
}

fn tell(verdict: &str, Run { layer, outcome, time }: &Run) {
    let layer = layer.to_string();
    println!("  {verdict}  {layer:<36} {:>6.1} s  {outcome}", time.as_secs_f64());
}

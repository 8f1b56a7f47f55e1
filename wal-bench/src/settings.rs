//! What the environment says about how long and where to measure.

use std::path::PathBuf;
use std::time::Duration;

/// Settings of a run, from the environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `WAL_BENCH_SCALE`: factor on the number of rounds, 1 by default.
    pub scale: usize,
    /// `WAL_BENCH_DIR`: where benches that write files make their directory.
    pub dir: PathBuf,
    /// One tiny round of everything: started by `cargo test`, or by `cargo bench` with `--test`.
    pub smoke: bool,
    part: Option<String>,
    threads: Vec<usize>,
    bytes: Vec<usize>,
}

impl Settings {
    /// Reads the environment; `dir` is used if it names no directory.
    #[must_use]
    pub fn from_env(dir: &str) -> Self {
        let scale = std::env::var("WAL_BENCH_SCALE").ok();
        Self {
            scale: scale.and_then(|scale| scale.parse().ok()).unwrap_or(1).max(1),
            dir: std::env::var_os("WAL_BENCH_DIR").map_or_else(|| PathBuf::from(dir), Into::into),
            smoke: smoke(std::env::args()),
            part: std::env::var("WAL_BENCH_PART").ok(),
            threads: numbers("WAL_BENCH_THREADS"),
            bytes: numbers("WAL_BENCH_BYTES"),
        }
    }

    /// Whether to run the part `name` of a bench: `WAL_BENCH_PART` names one, or all run.
    #[must_use]
    pub fn runs(&self, name: &str) -> bool {
        self.part.as_deref().is_none_or(|part| part == name)
    }

    /// Those of `all` thread counts that `WAL_BENCH_THREADS` lists, or all.
    #[must_use]
    pub fn threads(&self, all: &[usize]) -> Vec<usize> {
        pick(all, &self.threads)
    }

    /// Those of `all` record sizes that `WAL_BENCH_BYTES` lists, or all.
    #[must_use]
    pub fn bytes(&self, all: &[usize]) -> Vec<usize> {
        pick(all, &self.bytes)
    }

    /// `rounds` scaled, or 1 when smoking.
    #[must_use]
    pub const fn rounds(&self, rounds: usize) -> usize {
        if self.smoke { 1 } else { rounds * self.scale }
    }

    /// A window of `ms` milliseconds, or 1 when smoking.
    #[must_use]
    pub const fn window(&self, ms: u64) -> Duration {
        Duration::from_millis(if self.smoke { 1 } else { ms })
    }
}

/// Whether a bench started with these arguments is only to show that it runs.
fn smoke(args: impl Iterator<Item = String>) -> bool {
    let args: Vec<String> = args.collect();
    let given = |name| args.iter().any(|arg| arg == name);
    given("--test") || !given("--bench")
}

/// The numbers, separated by commas, of an environment variable.
fn numbers(name: &str) -> Vec<usize> {
    let list = std::env::var(name).unwrap_or_default();
    list.split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

fn pick(all: &[usize], wanted: &[usize]) -> Vec<usize> {
    let wanted = |one: &&usize| wanted.is_empty() || wanted.contains(one);
    all.iter().filter(wanted).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cargo_bench_without_test_measures_for_long() {
        let smoke = |args: &str| smoke(args.split(' ').map(str::to_owned));
        assert!(!smoke("append --bench"));
        assert!(smoke("append --bench --test"));
        assert!(smoke("append"));
    }
}

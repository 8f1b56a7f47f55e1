//! Kills processes that write to a log in files, and processes that recover one.
//!
//! A few seconds by default; `WAL_FAULTS_ROUNDS` says how often to kill instead.

mod process;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use wal_core::testing::kill::{self, Plan, Shape};
use wal_core::{Error, Options, Padding, RecoveryReport};
use wal_io_std::{FileOptions, Io, Preparation, Wal};

/// The directory of the log, and how it is opened, for the process to be killed.
const DIR: &str = "WAL_KILL_DIR";
const VARIANT: &str = "WAL_KILL_VARIANT";

const SEGMENT: usize = 8 << 10;
const FILE: u64 = 64 << 10;

/// Every recovery reads all of a log: so none grows for ever.
const ROUNDS_OF_A_LOG: u32 = 12;

/// A way to open the log: all of them have to survive.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    padding: Padding,
    preparation: Preparation,
    io: Io,
}

const AHEAD: Variant = Variant {
    name: "ahead",
    padding: Padding::Block,
    preparation: Preparation::Thread,
    io: Io::Buffered,
};

const VARIANTS: [Variant; 3] = [
    AHEAD,
    Variant { name: "inline", padding: Padding::Packed, preparation: Preparation::Inline, ..AHEAD },
    Variant { name: "direct", io: Io::Direct, ..AHEAD },
];

impl Variant {
    /// Small segments and files: it goes on to new ones all the time.
    fn open(self, dir: &Path) -> Result<(Wal, RecoveryReport), Error> {
        let options = Options::default().segment_size(SEGMENT).segments(4).file_size(FILE);
        let options = options.max_record_len(1 << 20).padding(self.padding);
        // Futures are waited for, too.
        let options = options.executor(|job| drop(std::thread::spawn(job)));
        let files = FileOptions::default().preparation(self.preparation).io(self.io);
        wal_io_std::open_with(dir, options, &files)
    }

    fn torture(self) -> Result<(), Failed> {
        if self.io == Io::Direct {
            let home = tempfile::Builder::new().prefix("wal-kill-").tempdir()?;
            if let Err(error) = self.open(&home.path().join("log")) {
                let _ = process::skipped("kills over direct writes", &error.to_string());
                return Ok(());
            }
        }
        let (rounds, seed) = (process::rounds(6), process::seed());
        for done in (0..rounds).step_by(ROUNDS_OF_A_LOG as usize) {
            self.torture_one(seed.wrapping_add(done.into()), ROUNDS_OF_A_LOG.min(rounds - done))?;
        }
        Ok(())
    }

    fn torture_one(self, seed: u64, rounds: u32) -> Result<(), Failed> {
        let plan = Plan {
            shape: Shape {
                seed,
                first_writer: 0,
                writers: 8,
                segment_size: SEGMENT as u64,
                file_size: FILE,
            },
            rounds,
            longest: Duration::from_millis(120),
        };
        let home = tempfile::Builder::new().prefix("wal-kill-").tempdir()?;
        let dir = home.path().join("log");
        let command = || {
            let mut command = process::itself();
            command.env(DIR, &dir).env(VARIANT, self.name);
            command
        };
        match kill::torture(&plan, &command, &|| self.open(&dir)) {
            Ok(tally) => {
                for (what, count) in tally.counts() {
                    process::count(what, count);
                }
                let idle = tally.killed_at_work < u64::from(plan.rounds)
                    || tally.acknowledgements == 0
                    || tally.locked_out == 0;
                if idle { Err("too little happened to show anything".into()) } else { Ok(()) }
            }
            Err(wrong) => Err(format!("{wrong}; the log is in {}", home.keep().display()).into()),
        }
    }
}

/// What the process to be killed does.
fn die() -> ExitCode {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap_or_default());
    let name = std::env::var(VARIANT).unwrap_or_default();
    let variant = VARIANTS.into_iter().find(|variant| variant.name == name);
    match kill::victim(|| variant.unwrap_or(VARIANTS[0]).open(&dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the process to be killed has failed by itself: {error}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    if kill::is_victim() {
        return die();
    }
    let trials = VARIANTS.map(|variant| {
        let name = format!("every_acknowledged_record_survives_the_kill::{}", variant.name);
        Trial::test(name, move || variant.torture())
    });
    process::run(trials.into())
}

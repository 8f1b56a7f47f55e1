//! Kills processes that write to a log in files, and processes that recover one.
//!
//! A few seconds by default; `WAL_FAULTS_ROUNDS` says how often to kill instead.

mod process;
#[path = "process/torture.rs"]
mod torture;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Completion, Failed, Trial};
use wal_core::Padding;
use wal_core::testing::kill;
use wal_io_std::{FileOptions, FileSink, Io, Preparation};

use torture::Opened;

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
    fn open(self, dir: &Path) -> Opened<FileSink> {
        let files = FileOptions::default().preparation(self.preparation).io(self.io);
        wal_io_std::open_with(dir, torture::options().padding(self.padding), &files)
    }

    fn torture(self) -> Result<Completion, Failed> {
        if self.io == Io::Direct {
            let home = tempfile::Builder::new().prefix("wal-kill-").tempdir()?;
            if let Err(error) = self.open(&home.path().join("log")) {
                return Ok(process::skipped("kills over direct writes", &error.to_string()));
            }
        }
        torture::torture("std", self.name, 6, |dir| self.open(dir)).map(|()| Completion::Completed)
    }
}

fn main() -> ExitCode {
    if kill::is_victim() {
        let named = |name: &str| VARIANTS.into_iter().find(|variant| variant.name == name);
        return torture::die(|name, dir| named(name).unwrap_or(AHEAD).open(dir));
    }
    let trials = VARIANTS.map(|variant| {
        let name = format!("every_acknowledged_record_survives_the_kill::{}", variant.name);
        Trial::ignorable_test(name, move || variant.torture())
    });
    process::run(trials.into())
}

//! Kills processes that write to a log in mapped files, and processes that recover one.
//!
//! A few seconds by default; `WAL_FAULTS_ROUNDS` says how often to kill instead.

#[path = "../../wal-io-std/tests/process/mod.rs"]
mod process;
#[path = "../../wal-io-std/tests/process/torture.rs"]
mod torture;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::Trial;
use wal_core::testing::kill;
use wal_core::{AmbiguousTail, Padding};
use wal_mmap::{FileOptions, MmapSink, Preparation};

use torture::Opened;

/// A way to open the log: all of them have to survive.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    padding: Padding,
    preparation: Preparation,
}

const VARIANTS: [Variant; 2] = [
    Variant { name: "ahead", padding: Padding::Block, preparation: Preparation::Thread },
    Variant { name: "inline", padding: Padding::Packed, preparation: Preparation::Inline },
];

impl Variant {
    fn open(self, dir: &Path) -> Opened<MmapSink> {
        let options = torture::options().padding(self.padding);
        // Wherever a process dies, nothing is left that could be doubted.
        let options = options.ambiguous_tail(AmbiguousTail::Refuse);
        wal_mmap::open_with(dir, options, &FileOptions::default().preparation(self.preparation))
    }
}

fn main() -> ExitCode {
    if kill::is_victim() {
        let named = |name: &str| VARIANTS.into_iter().find(|variant| variant.name == name);
        return torture::die(|name, dir| named(name).unwrap_or(VARIANTS[0]).open(dir));
    }
    let trials = VARIANTS.map(|variant| {
        let name = format!("every_acknowledged_record_survives_the_kill::{}", variant.name);
        Trial::test(name, move || {
            torture::torture("mmap", variant.name, 6, |dir| variant.open(dir))
        })
    });
    process::run(trials.into())
}

//! `wal-bench report`: what comparisons found, as a page with plots.

use std::path::{Path, PathBuf};

use wal_bench::{Report, plot};

use super::{Failure, Outcome, say};

/// The version that this program writes; it reads those before, too.
pub(crate) const VERSION: u32 = 2;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files that `compare --json` has written, on one machine.
    #[arg(required = true)]
    figures: Vec<PathBuf>,
    /// The page.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> Outcome<()> {
    let mut reports = args.figures.iter().map(|path| read(path));
    // One is required.
    let mut report = reports.next().transpose()?.unwrap_or_else(|| Report {
        version: VERSION,
        machine: Vec::new(),
        cells: Vec::new(),
    });
    for more in reports {
        report.cells.extend(more?.cells);
    }
    let page = plot::page(&report)
        .map_err(|error| Failure::Trouble(format!("cannot draw the plots: {error}")))?;
    let out = args.out.display();
    std::fs::write(&args.out, page)
        .map_err(|error| Failure::Trouble(format!("cannot write {out}: {error}")))?;
    say(&format!("{out}: open it in a browser"))
}

fn read(path: &Path) -> Outcome<Report> {
    let named = |what: String| Failure::Trouble(format!("{}: {what}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| named(format!("cannot be read: {error}")))?;
    let report: Report = serde_json::from_slice(&bytes)
        .map_err(|error| named(format!("not what `wal-bench compare --json` writes: {error}")))?;
    match report.version {
        1..=VERSION => Ok(report),
        other => {
            let text = format!("version {other} of these files; this program reads 1 to {VERSION}");
            Err(named(text))
        }
    }
}

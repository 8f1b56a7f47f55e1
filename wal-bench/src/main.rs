//! Measures the log on every backend, and kills processes that write to it.

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use command::{compare, load, report, simulate, stress, torture};

/// Shown at the end of `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  a log lost, altered or invented something, or somebody hung
  2  wrong usage, or a failure of the system (no such directory, disk full, no io_uring...)";

/// Measures the write-ahead log, and kills processes that write to it.
#[derive(Parser)]
#[command(name = "wal-bench", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Appends from many threads for a while and says what it took.
    Load(load::Args),
    /// Lets backends take turns at durable commits, beside the raw disk.
    Compare(compare::Args),
    /// Makes a page with plots of what comparisons found.
    Report(report::Args),
    /// Kills a process that appends, recovers its log, checks every record, and so on.
    #[command(long_about = torture::ABOUT)]
    Torture(torture::Args),
    /// Runs short rounds of many writers in a tiny ring, and verifies each.
    #[command(long_about = stress::ABOUT)]
    Stress(stress::Args),
    /// Simulates how appending would do on more cores than there are.
    #[command(long_about = simulate::ABOUT)]
    Simulate(simulate::Args),
    /// The process that `torture` kills.
    #[command(hide = true)]
    Victim(torture::Victim),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Load(args) => load::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Stress(args) => stress::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Victim(args) => torture::die(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("wal-bench: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

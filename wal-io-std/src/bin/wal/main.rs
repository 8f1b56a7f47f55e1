//! The tool for write-ahead logs in a directory.

mod append;
mod cat;
mod demo;
mod examine;
mod export;
mod failure;
mod import;
mod input;
mod inspect;
mod manual;
mod newest;
mod output;
mod paint;
mod place;
mod progress;
mod repair;
mod shape;
mod stat;
mod steady;
mod table;
mod tail;
mod truncate;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Shown at the end of `--help` and in the manual pages.
const EXIT_CODES: &str = "\
Exit codes:
  0  success; a torn tail, as a crash leaves it, counts as success and is reported
  1  data is damaged or missing
  2  wrong usage, or a failure of the system (no such directory, disk full, log in use...)

A reader that closes the pipe early ends the command quietly with exit code 0.

Colours and progress bars are shown on terminals only; NO_COLOR turns colours off.";

/// Works on a write-ahead log: a directory with log files.
///
/// A record is a string of bytes. Its LSN (log sequence number) is its position in the log: LSNs grow,
/// and are never used again. `wal cat --json` shows them.
#[derive(Parser)]
#[command(name = "wal", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Appends records to a log, which is made if there is none: one per line, or framed.
    #[command(after_help = EXIT_CODES)]
    Append(append::Args),
    /// Prints the records of a log, in order. Takes no lock and writes nothing in DIR.
    #[command(after_help = EXIT_CODES)]
    Cat(cat::Args),
    #[command(after_help = EXIT_CODES)]
    Tail(tail::Args),
    /// Shows what a log holds: files, positions, records, how it ends. Takes no lock and writes
    /// nothing in DIR.
    #[command(after_help = EXIT_CODES)]
    Stat(stat::Args),
    /// Checks every byte of a log. Takes no lock and writes nothing in DIR.
    #[command(after_help = EXIT_CODES)]
    Verify(verify::Args),
    #[command(after_help = EXIT_CODES)]
    Inspect(inspect::Args),
    #[command(after_help = EXIT_CODES)]
    Repair(repair::Args),
    #[command(after_help = EXIT_CODES)]
    Truncate(truncate::Args),
    #[command(after_help = EXIT_CODES)]
    Export(export::Args),
    #[command(after_help = EXIT_CODES)]
    Import(import::Args),
    /// Kills a process that appends to a log, and checks that every record it was told to be
    /// durable is there.
    #[command(after_help = EXIT_CODES, long_about = demo::ABOUT)]
    Demo(demo::Args),
    #[command(after_help = EXIT_CODES)]
    Completions(manual::Completions),
    #[command(after_help = EXIT_CODES)]
    Man(manual::Manual),
    /// The process that `demo` kills.
    #[command(hide = true)]
    DemoChild(demo::child::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Append(args) => append::run(&args),
        Command::Cat(args) => cat::run(&args),
        Command::Tail(args) => tail::run(&args),
        Command::Stat(args) => stat::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Repair(args) => repair::run(&args),
        Command::Truncate(args) => truncate::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Completions(args) => manual::completions(&args, Cli::command()),
        Command::Man(args) => manual::manual(&args, Cli::command()),
        Command::DemoChild(args) => demo::child::run(&args),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => failure.report(),
    }
}

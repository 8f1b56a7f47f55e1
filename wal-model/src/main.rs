//! Checks the model, or lets a browser explore it.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stateright::Model;
use wal_model::bugs::command as bugs;
#[cfg(not(any(wal_loom, wal_shuttle)))]
use wal_model::faults::command as faults;
use wal_model::machine::{Machine, Op};
use wal_model::{report, suite};

#[derive(Parser)]
#[command(about = "Checks the log's core as a state machine")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look at every state, and print states, steps, depth and time.
    Check {
        #[command(flatten)]
        shape: Shape,
        /// The larger machines as well: minutes each.
        #[arg(long)]
        large: bool,
        /// Of the standard machines, only those whose names contain this.
        #[arg(long, default_value = "")]
        only: String,
    },
    /// Break the code on purpose, bug by bug, and see who notices.
    Bugs(bugs::Args),
    /// Try to lose what was acknowledged, and print how often.
    #[cfg(not(any(wal_loom, wal_shuttle)))]
    Faults(faults::Args),
    /// Serve the states to a browser on this machine.
    Explore {
        #[command(flatten)]
        shape: Shape,
        /// Port to listen on; 0 for any that is free.
        #[arg(long, default_value_t = 3000)]
        port: u16,
    },
}

#[derive(clap::Args)]
struct Shape {
    /// Writers, each of which does what `--program` says; without it, the standard machines.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=8))]
    writers: Option<u64>,
    /// Segments of the ring.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(2..=8))]
    segments: u64,
    /// Records that fit a segment.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=8))]
    records: u64,
    /// Calls of each writer.
    #[arg(long, value_delimiter = ',', default_value = "append,sync")]
    program: Vec<Call>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Call {
    Append,
    Void,
    Direct,
    Sync,
    Wait,
    Close,
}

impl Shape {
    fn machine(&self, writers: u64) -> Machine {
        let program: Vec<Op> = self
            .program
            .iter()
            .map(|call| match call {
                Call::Append => Op::Append,
                Call::Void => Op::Void,
                Call::Direct => Op::Direct,
                Call::Sync => Op::Sync,
                Call::Wait => Op::Wait,
                Call::Close => Op::Close,
            })
            .collect();
        Machine::new(writers as usize, self.segments as usize, &program).with_records(self.records)
    }
}

fn check(shape: &Shape, large: bool, only: &str) -> bool {
    let machines = match shape.writers {
        Some(writers) => vec![("as given", shape.machine(writers))],
        None if large => suite::quick().into_iter().chain(suite::large()).collect(),
        None => suite::quick(),
    };
    let mut fine = true;
    for (name, machine) in machines.into_iter().filter(|(name, _)| name.contains(only)) {
        let report = report::check(&machine);
        println!("{name:<40} {report}");
        // A machine of one's own need not meet everything.
        fine &= report.broken.is_empty() && (shape.writers.is_some() || report.is_fine());
    }
    fine
}

/// Serves until the process is ended.
fn explore(shape: &Shape, port: u16) -> ExitCode {
    // The server says neither which port it got nor, nicely, that it got none.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).and_then(|free| free.local_addr());
    let address = match address {
        Ok(address) => address,
        Err(error) => {
            eprintln!("cannot listen on port {port} of this machine: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Told apart, so that a writer keeps its number.
    let machine = Machine { symmetric: false, ..shape.machine(shape.writers.unwrap_or(2)) };
    println!("http://{address}/ (Ctrl-C to stop)");
    machine.checker().serve(address);
    ExitCode::SUCCESS
}

fn end(well: io::Result<bool>) -> ExitCode {
    match well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Check { shape, large, only } => {
            if check(&shape, large, &only) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Command::Bugs(args) => end(args.run()),
        #[cfg(not(any(wal_loom, wal_shuttle)))]
        Command::Faults(args) => end(args.run()),
        Command::Explore { shape, port } => explore(&shape, port),
    }
}

//! The program, used as from a shell.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use wal_bench::backend::{Opened, Work};
use wal_bench::{Backend, Report};
use wal_core::{Lsn, Options, SegmentSink};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wal-bench"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command that succeeds has printed.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

/// The backends that are to be had here.
fn backends() -> Vec<&'static str> {
    struct Nothing;
    impl Work for Nothing {
        type Output = ();

        fn with<S: SegmentSink>(self, _: impl Fn(&Path, Options) -> Opened<S> + Sync) {}
    }
    let here = |backend: &&Backend| match backend.with(Nothing) {
        Ok(()) => true,
        Err(why) => {
            eprintln!("skipped: {backend}: {why}");
            false
        }
    };
    Backend::all().iter().filter(here).map(|backend| backend.name()).collect()
}

#[test]
fn a_load_on_every_backend_appends_what_it_says() {
    let home = tempfile::tempdir().unwrap();
    let input = home.path().join("lines");
    std::fs::write(&input, "one\ntwo\n\nfour").unwrap();
    for backend in backends() {
        for survives in ["memory", "process-crash", "power-loss"] {
            let dir = home.path().join(format!("{backend}-{survives}"));
            let mut load = program();
            load.args(["load", "--json", "--writers", "2", "--records", "101"]);
            load.args(["--backend", backend, "--survives", survives]);
            load.arg("--input").arg(&input).arg("--dir").arg(&dir);
            let figures: Value = serde_json::from_str(&said(&mut load)).unwrap();
            assert_eq!(figures["records"], 101, "{figures}");
            let durable = survives == "power-loss";
            assert_eq!(figures["records_per_sync"].is_f64(), durable, "{figures}");
            let (wal, _) = wal_io_std::open(&dir, Options::default()).unwrap();
            let mut counts = BTreeMap::new();
            for record in wal.iter_from(wal.start_lsn()).unwrap() {
                *counts.entry(text(&record.unwrap().payload)).or_insert(0) += 1;
            }
            let words: Vec<_> = counts.keys().map(String::as_str).collect();
            assert_eq!(words, ["", "four", "one", "two"], "{backend} {survives}");
            assert_eq!(counts.values().sum::<i32>(), 101, "{backend} {survives}");
        }
    }
}

/// Each record that was told is there after a kill, at its place and of its length.
#[test]
fn what_a_load_has_told_is_there_when_it_is_killed() {
    for backend in backends() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("log");
        let mut child = program()
            .args(["load", "--ack", "--backend", backend, "--seconds", "60", "--bytes", "77"])
            .arg("--dir")
            .arg(&dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told: Vec<String> = lines.by_ref().take(100).map(Result::unwrap).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        told.extend(lines.map_while(Result::ok).filter(|line| line.ends_with(" 77")));
        let (wal, _) = wal_io_std::open(&dir, Options::default()).unwrap();
        for line in &told {
            let (lsn, _) = line.split_once(' ').unwrap();
            let lsn = Lsn::new(lsn.parse().unwrap());
            assert_eq!(wal.read_at(lsn).unwrap(), [0x5a; 77], "{backend} {line}");
        }
        assert!(told.len() >= 100, "{backend}");
    }
}

#[test]
fn a_comparison_says_the_same_on_screen_and_in_the_file() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = home.path().join("figures.json");
    let backends = backends();
    let mut compare = program();
    compare.args(["compare", "--rounds", "2", "--turn", "0.02", "--threads", "2"]);
    compare.args(["--bytes", "100", "--backend", &backends.join(",")]);
    compare.arg("--dir").arg(home.path()).arg("--json").arg(&file);
    let said = said(&mut compare);
    let report: Report = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let [cell] = &report.cells[..] else { panic!("{report:?}") };
    assert_eq!((cell.threads, cell.bytes), (2, 100));
    for backend in backends {
        let figures = cell.figures.iter().find(|figures| figures.name == backend).unwrap();
        assert!(figures.records_per_second > 0.0 && figures.of_floor > 0.0, "{figures:?}");
        assert!(figures.records_per_sync.is_some_and(|records| records >= 1.0), "{figures:?}");
        let shown = format!(" {:.2} ", figures.of_floor);
        let line = said.lines().find(|line| line.contains(&format!("  {backend} "))).unwrap();
        assert!(line.contains(&shown), "{line}: {shown}");
    }
    let floor = cell.figures.iter().find(|figures| figures.name == cell.floor).unwrap();
    assert_eq!(floor.of_floor, 1.0);
    assert!(report.machine.iter().any(|(name, _)| name == "kernel"), "{report:?}");
}

#[test]
fn processes_of_every_backend_are_killed() {
    let backends = backends();
    let mut torture = program();
    torture.args(["torture", "--rounds", "2", "--seed", "7", "--backend", &backends.join(",")]);
    let said = said(&mut torture);
    for backend in backends {
        assert!(said.lines().any(|line| line.starts_with(backend)), "{said}");
    }
}

#[test]
fn what_cannot_be_done_is_said_and_has_its_exit_code() {
    let refused = [
        (&["load", "--input", "/nowhere/at/all"][..], "cannot read /nowhere/at/all"),
        (&["load", "--segment-size", "5"], "segment_size"),
        (&["load", "--backend", "tape"], "possible values: std, direct, uring, mmap"),
        (&["load", "--seconds", "x"], "a number of seconds from 0.01"),
        (&["compare", "--dir", "/nowhere"], "cannot make a directory in /nowhere"),
        (&["torture", "--rounds", "0"], "rounds"),
    ];
    for (args, expected) in refused {
        let output = program().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

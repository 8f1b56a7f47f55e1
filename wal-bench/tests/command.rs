//! The program, used as from a shell.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

#[path = "../../wal-model/tests/browser/mod.rs"]
mod browser;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::ValueEnum;
use serde_json::{Value, json};
use wal_bench::backend::{Opened, Work, name};
use wal_bench::{Backend, Report, Workload};
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
fn backends() -> Vec<String> {
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
    Backend::value_variants().iter().filter(here).map(|&backend| name(backend)).collect()
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
            load.args(["--backend", &backend, "--survives", survives]);
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
            .args(["load", "--ack", "--backend", &backend, "--seconds", "60", "--bytes", "77"])
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
    compare.args(["compare", "--rounds", "2", "--turn", "0.02", "--threads", "2", "--size", "1"]);
    compare.args(["--workload", "durable,sustained,watermark,recovery"]);
    compare.args(["--bytes", "100", "--backend", &backends.join(",")]);
    compare.arg("--dir").arg(home.path()).arg("--json").arg(&file);
    let said = said(&mut compare);
    let report: Report = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let promises: Vec<_> =
        report.cells.iter().map(|cell| (cell.workload, cell.guarantee.as_str())).collect();
    let expected = [
        (Workload::Durable, "power loss"),
        (Workload::Sustained, "process crash, at the end of a turn"),
        (Workload::Sustained, "process crash"),
        (Workload::Watermark, "power loss, once waited for"),
        (Workload::Recovery, "from the page cache"),
        (Workload::Recovery, "from the disk, dropped from the page cache (a host may keep it)"),
    ];
    assert_eq!(promises, expected);
    let mut lines = said.lines();
    for cell in &report.cells {
        let recovery = cell.workload == Workload::Recovery;
        assert_eq!((cell.threads, cell.bytes), (if recovery { 1 } else { 2 }, 100));
        for backend in &backends {
            let name = if recovery { format!("{backend}, open and read") } else { backend.clone() };
            let figures = cell.figures.iter().find(|figures| figures.name == name).unwrap();
            assert!(figures.records_per_second > 0.0 && figures.of_floor > 0.0, "{figures:?}");
            let grouped = figures.records_per_sync.is_some_and(|records| records >= 1.0);
            let syncs = matches!(cell.workload, Workload::Durable | Workload::Watermark);
            assert!(grouped || !syncs, "{figures:?}");
            assert_eq!(figures.latency_us.max > 0.0, !recovery, "{figures:?}");
            let shown = match cell.workload {
                Workload::Sustained => format!(" {:.1} %", figures.of_floor * 100.0),
                _ => format!(" {:.2} ", figures.of_floor),
            };
            let line = lines.find(|line| line.contains(&format!("  {name} "))).unwrap();
            assert!(line.contains(&shown), "{line}: {shown}");
        }
        let floor = cell.figures.iter().find(|figures| figures.name == cell.floor).unwrap();
        assert_eq!(floor.of_floor, 1.0);
    }
    assert!(report.machine.iter().any(|(name, _)| name == "kernel"), "{report:?}");
}

/// Every plot of the page that `report` makes of two files, and every line of a plot, is on the screen.
#[test]
fn a_report_is_drawn_by_a_browser() {
    let home = tempfile::tempdir().unwrap();
    let file = |threads: usize| home.path().join(format!("{threads}.json"));
    // One of the first version, which knew durable commits only, and one of this.
    for (threads, version) in [(1, 1), (8, 2)] {
        let figures = |name: &str, speed: f64| {
            json!({
                "name": name, "rounds": 9, "quiet": 9, "records_per_second": speed,
                "of_floor": speed / 5000.0, "records_per_sync": null, "written_per_record": 4096.0,
                "cpu_us_per_record": 40.0,
                "latency_us": { "mean": 1.0, "p50": 1.0, "p99": 2.0, "p999": 3.0, "max": 4.0 },
            })
        };
        let mut report = json!({
            "version": version, "machine": [["cpu", "<one> & only"]], "cells": [{
                "guarantee": "power loss", "threads": threads, "bytes": 100, "floor": "raw",
                "figures": [figures("raw", 5000.0), figures("std", 4000.0 * threads as f64)],
            }],
        });
        if version == 2 {
            let mut recovery = report["cells"][0].clone();
            recovery["workload"] = json!("recovery");
            for figures in recovery["figures"].as_array_mut().unwrap() {
                figures["latency_us"] =
                    json!({ "mean": 0, "p50": 0, "p99": 0, "p999": 0, "max": 0 });
            }
            report["cells"].as_array_mut().unwrap().push(recovery);
        }
        std::fs::write(file(threads), report.to_string()).unwrap();
    }
    let page = home.path().join("page.html");
    let mut report = program();
    report.arg("report").args([file(1), file(8)]).arg("--out").arg(&page);
    assert!(said(&mut report).contains("page.html: open it"));

    let Some(browser) = browser::Browser::start() else {
        // Past what a test that passes is not shown to say.
        writeln!(std::io::stderr(), "skipped: no chromium").unwrap();
        return;
    };
    let mut page = browser.open(&format!("file://{}", page.display()));
    assert!(page.says("<one> & only") && page.says("Records of 100 bytes"));
    assert!(page.says("Durable commits") && page.says("Recovery"));
    // The lines of each plot: their widths and heights on the screen.
    let plots = page.look_for(
        "document.querySelectorAll('svg').length && [...document.querySelectorAll('svg')].map(svg =>
            [...svg.querySelectorAll('polyline[stroke-width=\"2\"]')].map(line => {
                const box = line.getBoundingClientRect();
                return [box.width, box.height];
            }))",
    );
    let plots = plots.as_array().unwrap();
    // Records per sync were not counted; of recovery, no times were taken, either.
    assert_eq!(plots.len(), 6 + 3, "{plots:?}");
    for plot in &plots[..6] {
        let lines = plot.as_array().unwrap();
        assert_eq!(lines.len(), 2, "{plots:?}");
        assert!(lines.iter().all(|line| line[0].as_f64().unwrap() > 100.0), "{plots:?}");
    }
    // Throughput: the floor is level, the log rises.
    assert!(plots[0][0][1].as_f64().unwrap() < 5.0, "{plots:?}");
    assert!(plots[0][1][1].as_f64().unwrap() > 100.0, "{plots:?}");
    assert!(page.requests.iter().all(|asked| asked.starts_with("file://")), "{:?}", page.requests);
}

#[test]
fn processes_of_every_backend_are_killed() {
    let backends = backends();
    let mut torture = program();
    torture.args(["torture", "--rounds", "2", "--seed", "7", "--backend", &backends.join(",")]);
    let said = said(&mut torture);
    for backend in backends {
        assert!(said.lines().any(|line| line.starts_with(&backend)), "{said}");
    }
}

#[test]
fn a_few_rounds_of_stress_on_every_place_find_every_record() {
    let places = ["memory".to_owned()].into_iter().chain(backends()).collect::<Vec<_>>();
    let rounds = (places.len() * 2).to_string();
    let mut stress = program();
    stress.args(["stress", "--seed", "7", "--rounds", &rounds, "--threads", "2,32"]);
    stress.args(["--records", "200", "--on", &places.join(",")]);
    let said = said(&mut stress);
    for place in &places {
        let lines = said.lines().filter(|line| line.starts_with(&format!("{place} ")));
        let records = lines.map(|line| line.split_whitespace().nth(3).unwrap());
        let records: Vec<u64> = records.map(|records| records.parse().unwrap()).collect();
        assert!(records.len() == 2 && records.iter().all(|&found| found >= 200), "{place} {said}");
    }
    assert!(said.ends_with("nobody hung\n"), "{said}");
}

#[test]
fn a_simulation_has_a_row_for_each_design_and_number_of_cores() {
    let mut simulate = program();
    simulate.args(["simulate", "--cores", "1,16", "--near", "50", "--local", "5", "--work", "20"]);
    let said = said(&mut simulate);
    let rows = |cores: &str| said.lines().filter(|line| line.starts_with(cores)).count();
    assert_eq!((rows("    1  "), rows("   16  ")), (5, 5), "{said}");
    assert!(said.lines().any(|line| line.starts_with("    1  present") && line.contains(" 0.00 ")));
    assert!(said.contains("sharded: 1.5 times as fast as the present from 16 cores on"), "{said}");
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
        (&["stress", "--on", "null"], "one of memory, std, direct, uring, mmap"),
        (&["report"], "<FIGURES>"),
        (&["report", "Cargo.toml"], "Cargo.toml: not what `wal-bench compare --json` writes"),
    ];
    for (args, expected) in refused {
        let output = program().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

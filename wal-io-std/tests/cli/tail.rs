//! `tail`: the end of a log, and what comes.

use std::io::{BufRead, BufReader, Write};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::*;

/// A `tail -f` that is ended with the test.
struct Following {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    notes: std::sync::mpsc::Receiver<String>,
}

impl Following {
    fn start(place: &Place, args: &[&str]) -> Self {
        let mut child = wal("tail").arg(place.log()).arg("-f").args(args).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let notes = lines_of(child.stderr.take().unwrap());
        Self { child, lines, notes }
    }

    #[track_caller]
    fn expect(&self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.lines.recv_timeout(PATIENCE).as_deref(), Ok(*line));
        }
    }

    #[track_caller]
    fn expect_note(&self, part: &str) {
        let note = self.notes.recv_timeout(PATIENCE).unwrap();
        assert!(note.contains(part), "{note}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_last_records_are_shown_whatever_files_they_are_in() {
    let place = Place::new();
    for life in 0..5 {
        let lines: String = (0..4).map(|line| format!("{life}.{line}\n")).collect();
        assert_code(&place.append(&[], lines.as_bytes()), SUCCESS);
    }
    let tail = |args: &[&str]| {
        let output = place.read("tail", args);
        assert_code(&output, SUCCESS);
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(tail(&["-n", "2"]), "4.2\n4.3\n");
    assert_eq!(tail(&["-n", "5"]), "3.3\n4.0\n4.1\n4.2\n4.3\n");
    assert_eq!(tail(&["-n", "0"]), "");
    assert_eq!(tail(&["-n", "1000"]).lines().count(), 20);
    assert_eq!(tail(&[]).lines().count(), 10, "by default");
    let last: Value = serde_json::from_str(&tail(&["-n", "1", "--json"])).unwrap();
    assert_eq!(last["text"], "4.3");
    assert_eq!(tail(&["--from", &last["lsn"].to_string()]), "4.3\n");
    assert_eq!(tail(&["--from", &last["end"].to_string()]), "");
    assert_eq!(tail(&["--from", "0"]).lines().count(), 20);
    assert_eq!(tail(&["-n", "1", "--framed"]), "\u{3}\0\0\x004.3");
}

/// Only the files that are needed are read: the oldest may be damaged.
#[test]
fn the_end_of_a_log_is_shown_without_reading_all_of_it() {
    let place = Place::new();
    for life in 0..8 {
        assert_code(&place.append(&[], format!("{life}\n").as_bytes()), SUCCESS);
    }
    place.flip(wal_core::Lsn::new(64));
    assert_code(&place.read("tail", &["-n", "8"]), DAMAGE);
    let tail = place.read("tail", &["-n", "2"]);
    assert_code(&tail, SUCCESS);
    assert_eq!(tail.stdout, b"6\n7\n");
}

#[test]
fn records_are_shown_while_another_process_appends_them() {
    let place = Place::new();
    assert_code(&place.append(&[], b"before\n"), SUCCESS);
    let tail = Following::start(&place, &[]);
    tail.expect(&["before"]);
    let mut child = interactive(&place);
    let mut stdin = child.stdin.take().unwrap();
    let acks = lines_of(child.stdout.take().unwrap());
    for line in ["one", "", "three"] {
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        acks.recv_timeout(PATIENCE).unwrap();
        tail.expect(&[line]);
    }
    // Larger than a segment, so that it is seen in parts; then from file to file.
    let large = "y".repeat(900_000);
    for _ in 0..5 {
        stdin.write_all(format!("{large}\n").as_bytes()).unwrap();
        tail.expect(&[&large]);
    }
    drop(stdin);
    assert_code(&child.wait_with_output().unwrap(), SUCCESS);
    // The next life of the log.
    assert_code(&place.append(&[], b"after\n"), SUCCESS);
    tail.expect(&["after"]);
}

#[test]
fn what_a_killed_process_has_written_is_shown_once() {
    let place = Place::new();
    assert_code(&place.append(&[], b"before\n"), SUCCESS);
    let tail = Following::start(&place, &["-n", "1"]);
    tail.expect(&["before"]);
    for life in 0..3 {
        let mut child = interactive(&place);
        let line = format!("life {life}");
        child.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
        tail.expect(&[&line]);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_code(&place.append(&[], b"end\n"), SUCCESS);
    tail.expect(&["end"]);
}

#[test]
fn who_reads_along_is_told_of_a_cut() {
    let place = Place::new();
    assert_code(&place.append(&[], b"one\ntwo\nthree\n"), SUCCESS);
    let two = place.read("tail", &["-n", "2", "--json"]);
    let two: Value = serde_json::from_str(text(&two.stdout).lines().next().unwrap()).unwrap();
    let tail = Following::start(&place, &[]);
    tail.expect(&["one", "two", "three"]);
    let lsn = two["lsn"].to_string();
    assert_code(&place.read("truncate", &["--after", &lsn]), SUCCESS);
    tail.expect_note(&format!("cut back to LSN {lsn}"));
    assert_code(&place.append(&[], b"another two\n"), SUCCESS);
    tail.expect(&["another two"]);
}

#[test]
fn who_reads_along_too_slowly_is_told_of_a_truncation() {
    let place = Place::new();
    assert_code(&place.append(&[], b"one\n"), SUCCESS);
    let tail = Following::start(&place, &[]);
    tail.expect(&["one"]);
    tail.signal(Signal::STOP);
    assert_code(&place.append(&[], b"two\n"), SUCCESS);
    assert_code(&place.append(&[], b"three\n"), SUCCESS);
    let end = place.json("stat")["end"].to_string();
    assert_code(&place.read("truncate", &["--before", &end]), SUCCESS);
    tail.signal(Signal::CONT);
    tail.expect_note("truncated faster than it could be shown");
    assert_code(&place.append(&[], b"four\n"), SUCCESS);
    tail.expect(&["four"]);

    // One that has seen everything loses nothing by it.
    let end = place.json("stat")["end"].to_string();
    assert_code(&place.read("truncate", &["--before", &end]), SUCCESS);
    assert_code(&place.append(&[], b"five\n"), SUCCESS);
    tail.expect(&["five"]);
    assert!(tail.notes.try_recv().is_err());
}

#[test]
fn it_ends_when_nobody_reads_any_more_though_nothing_comes() {
    let place = Place::new();
    assert_code(&place.append(&[], b"one\n"), SUCCESS);
    let mut child = wal("tail").arg(place.log()).arg("-f").spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(first, "one\n");
    assert_code(&output, SUCCESS);
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_log_that_has_no_record_yet_can_be_followed() {
    let place = Place::new();
    assert_code(&place.append(&[], b""), SUCCESS);
    let tail = Following::start(&place, &[]);
    assert_code(&place.append(&[], b"first\n"), SUCCESS);
    tail.expect(&["first"]);
}

#[test]
fn who_reads_along_is_told_of_a_repair() {
    let place = Place::new();
    let lsns = place.unclosed(true);
    for line in ["four\n", "five\n"] {
        assert_code(&place.append(&[], line.as_bytes()), SUCCESS);
    }
    let tail = Following::start(&place, &[]);
    tail.expect(&["one", "two", "three", "four", "five"]);
    // So that the repaired log has several files.
    place.flip(lsns[1]);
    assert_code(&place.read("repair", &["--in-place"]), SUCCESS);
    tail.expect_note("replaced by others");
    assert_code(&place.append(&[], b"six\n"), SUCCESS);
    tail.expect(&["six"]);
    assert!(tail.notes.try_recv().is_err());
}

/// A write is not seen all at once by those who look at the file.
#[test]
fn a_frame_that_is_half_there_is_shown_when_all_of_it_is() {
    let (whole, place) = (Place::new(), Place::new());
    let lsns = whole.unclosed(false);
    std::fs::create_dir(place.log()).unwrap();
    let name = "00000000000000000001.wal";
    let good = std::fs::read(whole.log().join(name)).unwrap();
    let (second, third) = (4096 + lsns[1].get() as usize, 4096 + lsns[2].get() as usize);
    // The header of the second frame without its record; then that; then the third frame.
    let mut part = good.clone();
    part[second..].fill(0);
    let path = place.log().join(name);
    std::fs::write(&path, &part).unwrap();
    let tail = Following::start(&place, &[]);
    tail.expect(&["one"]);
    // Long enough to look at it more than once.
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(tail.lines.try_recv().is_err());
    for until in [third - 64, good.len()] {
        write_at(&path, &good[second..until], second as u64);
        tail.expect(&[if until < good.len() { "two" } else { "three" }]);
    }
}

fn write_at(path: &std::path::Path, bytes: &[u8], offset: u64) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

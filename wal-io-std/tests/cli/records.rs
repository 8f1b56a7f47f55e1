//! Records in and out: `append`, `cat`, `stat`, `verify`, `demo`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::*;

#[test]
fn lines_come_back_in_order_from_several_files_and_runs() {
    let place = Place::new();
    let file = place.dir.path().join("lines");
    fs::write(&file, "in a file\nno newline").unwrap();
    let appended = place.append(&["-", file.to_str().unwrap()], b"first\n\n  third\t\r\n");
    assert_code(&appended, SUCCESS);
    assert!(text(&appended.stderr).contains("5 records"), "{appended:?}");
    assert_code(&place.append(&["--batch", "2"], b"x\ny\nz\n"), SUCCESS);
    let cat = place.read("cat", &[]);
    assert_code(&cat, SUCCESS);
    assert_eq!(text(&cat.stdout), "first\n\n  third\t\r\nin a file\nno newline\nx\ny\nz\n");
    assert!(cat.stderr.is_empty(), "no progress bar in a pipe: {cat:?}");
}

#[test]
fn several_writers_append_every_line_once() {
    let place = Place::new();
    let input: String = (0..20_000).map(|line| format!("line {line:05}\n")).collect();
    for args in [&["--writers", "4"][..], &["--writers", "3", "--batch", "7"]] {
        assert_code(&place.append(args, input.as_bytes()), SUCCESS);
    }
    let cat = place.read("cat", &[]);
    let mut lines: Vec<&str> = text(&cat.stdout).lines().collect();
    lines.sort_unstable();
    let twice: Vec<&str> = input.lines().flat_map(|line| [line, line]).collect();
    assert!(lines == twice, "{} lines", lines.len());
}

#[test]
fn framed_records_come_back_byte_for_byte() {
    let place = Place::new();
    let large = vec![0xee; 700_000];
    let input = framed(&[b"a\nb", b"", &[0, 255, 10, 13], &large, b"end"]);
    assert_code(&place.append(&["--framed"], &input), SUCCESS);
    let cat = place.read("cat", &["--framed"]);
    assert_code(&cat, SUCCESS);
    assert!(cat.stdout == input);
}

#[test]
fn framed_input_that_ends_early_is_refused_and_what_came_before_is_kept() {
    let place = Place::new();
    let mut input = framed(&[b"whole", b"broken off"]);
    input.pop();
    let appended = place.append(&["--framed"], &input);
    assert_code(&appended, TROUBLE);
    assert!(text(&appended.stderr).contains("standard input ends inside record 2"), "{appended:?}");
    assert_eq!(place.read("cat", &[]).stdout, b"whole\n");
}

#[test]
fn json_tells_positions_and_whether_a_payload_is_text() {
    let place = Place::new();
    assert_code(
        &place.append(&["--framed"], &framed(&[b"te\"xt", &[0xff, 0x0a], b"more"])),
        SUCCESS,
    );
    let cat = place.read("cat", &["--json"]);
    let objects: Vec<Value> =
        text(&cat.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 3);
    assert_eq!((&objects[0]["text"], &objects[1]["hex"]), (&"te\"xt".into(), &"ff0a".into()));
    assert!(objects[0].get("hex").is_none() && objects[1].get("text").is_none());
    assert_eq!(objects[0]["end"], objects[1]["lsn"]);

    let second = objects[1]["lsn"].to_string();
    let third = objects[2]["lsn"].to_string();
    let only = place.read("cat", &["--framed", "--from", &second, "--to", &third]);
    assert_eq!(only.stdout, framed(&[&[0xff, 0x0a]]));
    assert_eq!(place.read("cat", &["--from", "1000000"]).stdout, b"");
}

#[test]
fn stat_adds_up() {
    let place = Place::new();
    assert_code(&place.append(&[], b"ab\ncde\n"), SUCCESS);
    assert_code(&place.append(&[], b"f\n"), SUCCESS);
    let stat = place.json("stat");
    assert_eq!((&stat["verdict"], &stat["records"]), (&"closed".into(), &3.into()));
    assert_eq!(stat["payload_bytes"], 6);
    // A file that was prepared ahead of need may follow.
    let used = |file: &&Value| file["base"].is_u64();
    let files = stat["files"].as_array().unwrap().iter().filter(used);
    let records: Vec<_> = files.map(|file| file["records"].as_u64().unwrap()).collect();
    assert_eq!(records, [2, 1]);
    assert_eq!(stat["corruption"], Value::Null);
    let human = place.read("stat", &[]);
    assert_code(&human, SUCCESS);
    assert!(text(&human.stdout).contains("3 (6 bytes)"), "{human:?}");
}

#[test]
fn verify_passes_a_closed_log_and_one_that_was_not_closed() {
    let place = Place::new();
    assert_code(&place.append(&[], b"a\n"), SUCCESS);
    let verified = place.read("verify", &[]);
    assert_code(&verified, SUCCESS);
    assert!(text(&verified.stdout).contains("closed cleanly"), "{verified:?}");

    let place = Place::new();
    place.unclosed(true);
    assert_code(&place.read("verify", &[]), SUCCESS);
    let verdict = place.json("verify");
    assert_eq!((&verdict["verdict"], &verdict["ok"]), (&"clean".into(), &true.into()));
}

#[test]
fn verify_names_the_place_of_corruption_and_changes_nothing() {
    let place = Place::new();
    let lsns = place.unclosed(true);
    place.flip(lsns[0]);
    let before = place.contents();
    let verified = place.read("verify", &[]);
    assert_code(&verified, DAMAGE);
    let said = text(&verified.stdout);
    for part in ["LSN ", "00000000000000000001.wal", "offset ", "damaged record", "--salvage"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let verdict = place.json("verify");
    assert_eq!((&verdict["verdict"], &verdict["ok"]), (&"corrupt".into(), &false.into()));
    let corruption = &verdict["corruptions"][0];
    assert!(corruption["lsn"].as_u64().unwrap() <= lsns[0].get(), "{corruption}");
    assert_eq!(corruption["file"], 1);

    let stat = place.read("stat", &[]);
    assert_code(&stat, DAMAGE);
    let cat = place.read("cat", &[]);
    assert_code(&cat, DAMAGE);
    assert!(cat.stdout.is_empty() && text(&cat.stderr).contains("--salvage"), "{cat:?}");
    let salvaged = place.read("cat", &["--salvage"]);
    assert_code(&salvaged, DAMAGE);
    assert_eq!(text(&salvaged.stdout), "two\nthree\n");
    assert!(text(&salvaged.stderr).contains("missing: "), "{salvaged:?}");
    assert!(place.contents() == before, "something was written");
}

#[test]
fn verify_reports_a_torn_tail_as_such() {
    let place = Place::new();
    let lsns = place.unclosed(false);
    place.flip(lsns[1]);
    let before = place.contents();
    let verified = place.read("verify", &[]);
    assert_code(&verified, SUCCESS);
    assert!(text(&verified.stdout).contains("torn tail"), "{verified:?}");
    let verdict = place.json("verify");
    assert_eq!((&verdict["verdict"], &verdict["ok"]), (&"torn".into(), &true.into()));
    assert!(verdict["report"]["cut"]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(place.read("cat", &[]).stdout, b"one\n");
    assert!(place.contents() == before, "something was written");

    // Appending recovers, says so, and keeps what it cuts off.
    let appended = place.append(&[], b"four\n");
    assert_code(&appended, SUCCESS);
    assert!(text(&appended.stderr).contains("torn tail"), "{appended:?}");
    assert!(place.log().join("set-aside").is_dir());
    assert_eq!(place.read("cat", &[]).stdout, b"one\nfour\n");
}

#[test]
fn verify_leaves_an_undecidable_tail_to_the_user() {
    let place = Place::new();
    let lsns = place.unclosed(true);
    place.flip(lsns[2]);
    assert_code(&place.read("verify", &[]), SUCCESS);
    assert_eq!(place.json("verify")["verdict"], "ambiguous");
    let refused = place.read("verify", &["--refuse-ambiguous"]);
    assert_code(&refused, DAMAGE);
    assert!(text(&refused.stdout).contains("REFUSED"), "{refused:?}");
}

#[test]
fn a_place_without_a_log_is_an_error() {
    let place = Place::new();
    for command in ["cat", "stat", "verify"] {
        let output = place.read(command, &[]);
        assert_code(&output, TROUBLE);
        assert!(text(&output.stderr).contains("check the path"), "{output:?}");
    }
    fs::create_dir(place.log()).unwrap();
    for command in ["cat", "stat", "verify"] {
        let output = place.read(command, &[]);
        assert_code(&output, TROUBLE);
        assert!(text(&output.stderr).contains("no log files in"), "{output:?}");
    }
    assert!(place.contents().is_empty());
    assert_code(&place.append(&["/does/not/exist"], b""), TROUBLE);
    assert!(place.contents().is_empty(), "nothing is made when an input is missing");
    assert_code(&place.append(&["--writers", "0"], b""), TROUBLE);
}

#[test]
fn a_reader_that_leaves_early_ends_cat_quietly() {
    let place = Place::new();
    let input = "some line\n".repeat(100_000);
    assert_code(&place.append(&[], input.as_bytes()), SUCCESS);
    let mut child = wal("cat").arg(place.log()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    // The reader is dropped with most of the output unread.
    let output = child.wait_with_output().unwrap();
    assert_eq!(first, "some line\n");
    assert_code(&output, SUCCESS);
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn an_acknowledged_record_is_in_the_log_while_append_still_runs_and_after_a_kill() {
    let place = Place::new();
    let mut child = interactive(&place);
    let mut stdin = child.stdin.take().unwrap();
    let acks = lines_of(child.stdout.take().unwrap());
    let mut lsns = Vec::new();
    for line in ["first", "second"] {
        // Comes although the input stays open: nothing is held back.
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        lsns.push(acks.recv_timeout(PATIENCE).expect("no acknowledgement"));
        let cat = place.read("cat", &["--from", lsns.last().unwrap()]);
        assert_code(&cat, SUCCESS);
        assert_eq!(text(&cat.stdout), format!("{line}\n"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let cat = place.read("cat", &["--json"]);
    let found = text(&cat.stdout).lines().map(|line| {
        let object: Value = serde_json::from_str(line).unwrap();
        object["lsn"].to_string()
    });
    assert_eq!(found.collect::<Vec<_>>(), lsns);
}

#[test]
fn each_record_of_a_batch_is_acknowledged_by_its_own_lsn() {
    let place = Place::new();
    let appended = place.append(&["--ack", "--batch", "3"], b"a\nbb\nccc ccc ccc\nd\n");
    assert_code(&appended, SUCCESS);
    let cat = place.read("cat", &["--json"]);
    let found = text(&cat.stdout).lines().map(|line| {
        let object: Value = serde_json::from_str(line).unwrap();
        format!("{}\n", object["lsn"])
    });
    assert_eq!(found.collect::<String>(), text(&appended.stdout));
}

#[test]
fn a_second_append_is_told_that_the_log_is_in_use() {
    let place = Place::new();
    let mut child = interactive(&place);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"first\n").unwrap();
    let acks = lines_of(child.stdout.take().unwrap());
    acks.recv_timeout(PATIENCE).expect("no acknowledgement");

    let second = place.append(&[], b"refused\n");
    assert_code(&second, TROUBLE);
    let said = text(&second.stderr);
    assert!(said.contains("locked") && said.contains("then try again"), "{said}");

    drop(stdin);
    assert_code(&child.wait_with_output().unwrap(), SUCCESS);
    assert_eq!(place.read("cat", &[]).stdout, b"first\n");
}

#[test]
fn a_reader_of_acknowledgements_that_leaves_ends_append_quietly_with_a_closed_log() {
    let place = Place::new();
    let mut child = interactive(&place);
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"nobody listens\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_code(&output, SUCCESS);
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(place.json("verify")["verdict"], "closed");
}

/// Runs the demo over this crate's own sources.
fn demo(args: &[&str]) -> Output {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    run(
        wal("demo")
            .args(["--seconds", "2", "--rounds", "2", "--writers", "4"])
            .args(args)
            .arg(sources),
        b"",
    )
}

#[test]
fn the_demo_passes_and_its_log_verifies() {
    let place = Place::new();
    let log = place.log();
    let output = demo(&["--dir", log.to_str().unwrap()]);
    assert_code(&output, SUCCESS);
    let said = text(&output.stdout);
    assert!(said.contains("none is missing") && !said.contains("FAILED"), "{said}");
    // A heading line, the columns, two rounds, and the closing line.
    assert_eq!(said.lines().count(), 5, "{said}");
    assert_code(&place.read("verify", &[]), SUCCESS);
    let again = demo(&["--dir", log.to_str().unwrap()]);
    assert_code(&again, TROUBLE);
    assert!(text(&again.stderr).contains("holds a log already"), "{again:?}");
}

#[test]
fn the_demo_fails_if_a_durable_record_is_damaged() {
    let place = Place::new();
    let output = demo(&["--tamper", "--dir", place.log().to_str().unwrap()]);
    assert_code(&output, DAMAGE);
    assert!(text(&output.stdout).contains("FAILED in round 2"), "{output:?}");
}

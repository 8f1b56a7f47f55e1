//! `export` and `import`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::*;

/// Records of every kind: lines, empty, binary, a batch, large, several lives.
fn filled() -> Place {
    let place = Place::new();
    assert_code(&place.append(&[], b"first\n\nthird\n"), SUCCESS);
    assert_code(&place.append(&["--batch", "3"], b"a\nbatch\nof three\n"), SUCCESS);
    let large = vec![0xee; 2 << 20];
    assert_code(&place.append(&["--framed"], &framed(&[&[0xff, 0, 10], &large, b"end"])), SUCCESS);
    place
}

fn export(place: &Place, args: &[&str], to: &Path) {
    assert_code(&run(wal("export").arg(place.log()).args(args).arg("-o").arg(to), b""), SUCCESS);
}

fn import(dir: &Path, args: &[&str], files: &[&PathBuf]) -> std::process::Output {
    run(wal("import").arg(dir).args(args).args(files), b"")
}

fn cat(dir: &Path, args: &[&str]) -> Vec<u8> {
    let output = run(wal("cat").arg(dir).args(args), b"");
    assert_code(&output, SUCCESS);
    output.stdout
}

#[test]
fn a_log_comes_back_as_it_was_lsns_and_batches_included() {
    let place = filled();
    let (file, new) = (place.dir.path().join("a.walx"), place.dir.path().join("new"));
    export(&place, &[], &file);
    let imported = import(&new, &["--json"], &[&file]);
    assert_code(&imported, SUCCESS);
    let told: Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!((&told["records"], &told["start"]), (&9.into(), &0.into()));
    assert!(cat(&new, &["--json"]) == cat(&place.log(), &["--json"]));
    // Batches are where they were: nothing within one can be cut.
    let lsn = |text: &str| -> String {
        let lines = cat(&new, &["--json"]);
        let objects = text_lines(&lines);
        let found = objects.iter().find(|object| object["text"] == text).unwrap();
        found["lsn"].to_string()
    };
    let refused = run(wal("truncate").arg(&new).args(["--after", &lsn("of three")]), b"");
    assert_code(&refused, TROUBLE);
    assert_code(&run(wal("verify").arg(&new), b""), SUCCESS);
    assert_code(&run(wal("append").arg(&new), b"goes on\n"), SUCCESS);
    assert!(cat(&new, &["--json"]).starts_with(&cat(&place.log(), &["--json"])));
}

fn text_lines(lines: &[u8]) -> Vec<Value> {
    text(lines).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn exports_that_follow_each_other_are_one_log() {
    let place = Place::new();
    let mut parts = Vec::new();
    let mut from = "0".to_owned();
    for (number, input) in [&b"one\ntwo\n"[..], b"three\n", b"four\nfive\n"].iter().enumerate() {
        assert_code(&place.append(&[], input), SUCCESS);
        let part = place.dir.path().join(format!("{number}.walx"));
        let told = place.read("export", &["--from", &from, "-o", part.to_str().unwrap(), "--json"]);
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(told["from"].to_string(), from);
        from = told["to"].to_string();
        parts.push(part);
    }
    let new = place.dir.path().join("new");
    assert_code(&import(&new, &[], &[&parts[0], &parts[1], &parts[2]]), SUCCESS);
    assert!(cat(&new, &["--json"]) == cat(&place.log(), &["--json"]));

    // A part alone is a log that starts there, and says so.
    let alone = place.dir.path().join("alone");
    assert_code(&import(&alone, &[], &[&parts[2]]), SUCCESS);
    assert_eq!(cat(&alone, &[]), b"four\nfive\n");
    let before = run(wal("cat").arg(&alone).args(["--from", "0"]), b"");
    assert_code(&before, TROUBLE);
    assert!(text(&before.stderr).contains("the log goes on at"), "{before:?}");

    let missing = place.dir.path().join("missing");
    let refused = import(&missing, &[], &[&parts[0], &parts[2]]);
    assert_code(&refused, TROUBLE);
    assert!(text(&refused.stderr).contains("give the exports in order"), "{refused:?}");
    assert!(!missing.exists() && !place.dir.path().join("missing.part").exists());
}

#[test]
fn what_is_appended_gets_new_lsns_and_stays_in_order() {
    let (place, other) = (filled(), Place::new());
    let file = place.dir.path().join("a.walx");
    export(&place, &[], &file);
    assert_code(&other.append(&[], b"was here\n"), SUCCESS);
    let before = cat(&other.log(), &["--json"]);
    let refused = import(&other.log(), &[], &[&file]);
    assert_code(&refused, TROUBLE);
    assert!(text(&refused.stderr).contains("--append"), "{refused:?}");
    let appended = import(&other.log(), &["--append", "--json"], &[&file]);
    assert_code(&appended, SUCCESS);
    let told = text_lines(&appended.stdout);
    let was: Vec<_> = told[..9].iter().map(|object| object["was"].clone()).collect();
    let lsn: Vec<_> = told[..9].iter().map(|object| object["lsn"].clone()).collect();
    let after = cat(&other.log(), &["--json"]);
    assert!(after.starts_with(&before));
    let lsns = |lines: &[u8]| -> Vec<Value> {
        text_lines(lines).iter().map(|object| object["lsn"].clone()).collect()
    };
    assert_eq!(was, lsns(&cat(&place.log(), &["--json"])));
    assert_eq!(lsn, lsns(&after)[1..]);
    assert_eq!(cat(&other.log(), &["--framed"])[12..], cat(&place.log(), &["--framed"]));
    assert_eq!(told[9]["records"], 9);
}

#[test]
fn a_damaged_export_changes_nothing() {
    let (place, other) = (filled(), Place::new());
    let file = place.dir.path().join("a.walx");
    export(&place, &[], &file);
    let good = fs::read(&file).unwrap();
    assert_code(&other.append(&[], b"was here\n"), SUCCESS);
    let before = other.contents();
    let new = place.dir.path().join("new");
    for at in [70, good.len() / 2, good.len() - 3] {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&file, &bad).unwrap();
        for (dir, args) in [(&new, &[][..]), (&other.log(), &["--append"])] {
            let refused = import(dir, args, &[&file]);
            assert_code(&refused, DAMAGE);
            assert!(text(&refused.stderr).contains("a.walx: the export is damaged"), "{refused:?}");
        }
    }
    fs::write(&file, &good[..good.len() - 24]).unwrap();
    let refused = import(&new, &[], &[&file]);
    assert_code(&refused, DAMAGE);
    assert!(text(&refused.stderr).contains("before its closing mark"), "{refused:?}");
    assert!(other.contents() == before && !new.exists());
}

#[test]
fn a_pipe_will_do() {
    let place = filled();
    let exported = place.read("export", &["--from", "1"]);
    assert_code(&exported, SUCCESS);
    let new = place.dir.path().join("new");
    assert_code(&run(wal("import").arg(&new), &exported.stdout), SUCCESS);
    assert!(cat(&new, &["--json"]) == cat(&place.log(), &["--json"]));
}

#[test]
fn a_corrupt_log_and_an_existing_file_are_refused() {
    let place = Place::new();
    let lsns = place.unclosed(true);
    place.flip(lsns[0]);
    let file = place.dir.path().join("a.walx");
    let output = place.read("export", &["-o", file.to_str().unwrap()]);
    assert_code(&output, DAMAGE);
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 1, "nothing is left");
    fs::write(&file, "mine").unwrap();
    let output = place.read("export", &["-o", file.to_str().unwrap()]);
    assert_code(&output, TROUBLE);
    assert!(text(&output.stderr).contains("give another name"), "{output:?}");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

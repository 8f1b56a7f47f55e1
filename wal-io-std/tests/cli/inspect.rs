//! `inspect`: shows, and never touches.

use std::fs;
use std::time::SystemTime;

use serde_json::Value;

use crate::support::*;

/// Names, bytes and times of change of everything in the log's directory, and of itself.
fn state(place: &Place) -> Vec<(std::path::PathBuf, Option<Vec<u8>>, SystemTime)> {
    let entries = fs::read_dir(place.log()).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries.chain([place.log()]).collect();
    all.sort();
    let with = |path: std::path::PathBuf| {
        let changed = path.metadata().unwrap().modified().unwrap();
        (path.clone(), fs::read(&path).ok(), changed)
    };
    all.into_iter().map(with).collect()
}

fn inspect(place: &Place, args: &[&str]) -> Value {
    let output = place.read("inspect", &[args, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn field<'a>(header: &'a Value, name: &str) -> &'a Value {
    let fields = header["fields"].as_array().unwrap();
    fields.iter().find(|field| field["name"] == name).unwrap()
}

#[test]
fn an_intact_log_is_decoded_field_by_field() {
    let place = Place::new();
    assert_code(&place.append(&[], b"one\ntwo\nthree\nfour\nfive\n"), SUCCESS);
    let shown = inspect(&place, &["--at", "96"]);
    assert_eq!(shown["file"]["sequence"], 1);
    assert_eq!(shown["header"]["fault"], Value::Null);
    assert_eq!(field(&shown["header"], "version")["value"], 1);
    assert_eq!(field(&shown["header"], "crc")["meaning"], "right");
    assert_eq!(field(&shown["frame"], "lsn")["value"], 0);
    assert_eq!(field(&shown["frame"], "flags")["meaning"], "data");
    let records = shown["records"].as_array().unwrap();
    assert_eq!(records.len(), 5);
    assert_eq!((&records[2]["lsn"], &records[2]["length"]), (&96.into(), &5.into()));
    assert!(records.iter().all(|record| record["crc_stored"] == record["crc_computed"]));
    assert_eq!(shown["dump"]["offset"], 4096 + 96);
    assert!(shown["dump"]["hex"].as_str().unwrap()[16..].starts_with(&hex(b"three")));

    let human = place.read("inspect", &["--at", "100"]);
    assert_code(&human, SUCCESS);
    let said = text(&human.stdout);
    for part in ["LSN 100 is at offset 4196", "max_record_len", "<- here", "|.....", "three"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Behind the last record of a frame, in a frame without records, behind everything.
    for at in ["150", "4096", "5000"] {
        assert_code(&place.read("inspect", &["--at", at]), SUCCESS);
    }
    let outside = place.read("inspect", &["--at", "99999999"]);
    assert_code(&outside, TROUBLE);
    assert!(text(&outside.stderr).contains("file 1 has LSN 0 to"), "{outside:?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn damage_is_named_and_what_is_around_it_is_decoded() {
    let place = Place::new();
    let lsns = place.unclosed(true);
    place.flip(lsns[0]);
    let shown = inspect(&place, &[]);
    assert_eq!(shown["lsn"].as_u64().unwrap(), lsns[0].get(), "the first damage is shown");
    assert_eq!(shown["damage"]["file"], 1);
    let record = &shown["records"][0];
    assert_eq!((&record["fault"], &record["length"]), (&"the checksum is wrong".into(), &3.into()));
    assert_ne!(record["crc_stored"], record["crc_computed"]);
    assert_code(&place.read("inspect", &[]), DAMAGE);
    assert_code(&place.read("inspect", &["--at", &lsns[1].to_string()]), SUCCESS);

    // A frame header: its records are found all the same.
    let path = place.log().join("00000000000000000001.wal");
    let good = fs::read(&path).unwrap();
    let frame = lsns[1].get() - 64;
    let mut bad = good.clone();
    bad[4096 + frame as usize + 17] ^= 0x40;
    fs::write(&path, &bad).unwrap();
    let shown = inspect(&place, &["--at", &lsns[1].to_string()]);
    assert_eq!(shown["frame"]["fault"], "the checksum is wrong");
    let crc = field(&shown["frame"], "crc")["meaning"].as_str().unwrap();
    assert!(crc.starts_with("WRONG: 0x"), "{crc}");
    let record = &shown["records"][0];
    assert_eq!(record["lsn"].as_u64(), Some(lsns[1].get()));
    assert_eq!(record["crc_stored"], record["crc_computed"]);

    // The file's header: the frames tell where they are.
    let mut bad = good;
    bad[60] ^= 1;
    fs::write(&path, &bad).unwrap();
    let shown = inspect(&place, &["--at", &lsns[1].to_string()]);
    assert_eq!(shown["header"]["fault"], "the checksum is wrong");
    assert_eq!((&shown["file"]["base"], &shown["file"]["base_guessed"]), (&0.into(), &true.into()));
    assert_eq!(shown["records"][0]["lsn"].as_u64().unwrap(), lsns[1].get());
    assert_eq!(shown["records"][0]["fault"], Value::Null);
}

/// Whatever is there, and however it is asked for: no byte, no name and no time changes.
#[test]
fn nothing_is_ever_written() {
    let place = Place::new();
    let lsns = place.unclosed(false);
    let path = place.log().join("00000000000000000001.wal");
    let good = fs::read(&path).unwrap();
    for at in [0, 60, 4096, 4096 + 8, 4096 + 64, 4096 + 72, 8192] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        let before = state(&place);
        let asked = [&[][..], &["--at", "0"], &["--at", "72"], &["--at", "5000"]];
        for (args, json) in asked.iter().flat_map(|args| [(args, false), (args, true)]) {
            let json: &[&str] = if json { &["--json"] } else { &[] };
            let output = place.read("inspect", &[args, json].concat());
            assert!(output.status.code() <= DAMAGE, "byte {at}: {output:?}");
            assert!(!output.stdout.is_empty());
        }
        for command in ["cat", "tail", "stat", "verify"] {
            place.read(command, &[]);
        }
        assert!(state(&place) == before, "byte {at}");
    }
    drop(lsns);
}

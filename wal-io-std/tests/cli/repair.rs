//! `repair`: what is intact, where it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use wal_core::{Lsn, Options};

use crate::support::*;

fn cat(dir: &Path, args: &[&str]) -> Vec<u8> {
    run(wal("cat").arg(dir).args(args), b"").stdout
}

/// A log of several files with a batch, of which one byte in the middle is damaged.
fn damaged() -> (Place, Lsn) {
    let place = Place::new();
    let options = Options::default().segment_size(64 << 10).file_size(128 << 10);
    let (wal, _) = wal_io_std::open(place.log(), options).unwrap();
    let mut bad = Lsn::ZERO;
    for round in 0u32..40 {
        let record = vec![round as u8; 9000];
        let lsn = wal.append(&record).unwrap().lsn;
        wal.append_batch(&[b"of a".as_slice(), b"batch"]).unwrap();
        wal.sync().unwrap();
        if round == 17 {
            bad = lsn;
        }
    }
    wal.close().unwrap();
    let stat = place.json("stat");
    let files = stat["files"].as_array().unwrap();
    let file =
        files.iter().rfind(|file| file["base"].as_u64().is_some_and(|base| base <= bad.get()));
    let file = file.unwrap();
    let path = file["path"].as_str().unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[(4096 + bad.get() - file["base"].as_u64().unwrap()) as usize + 100] ^= 1;
    fs::write(path, bytes).unwrap();
    (place, bad)
}

#[test]
fn a_copy_has_all_that_is_intact_at_its_old_place() {
    let (place, bad) = damaged();
    let before = place.contents();
    let new = place.dir.path().join("new");
    assert_code(&place.read("verify", &[]), DAMAGE);
    let repaired = place.read("repair", &["--to", new.to_str().unwrap()]);
    assert_code(&repaired, SUCCESS);
    let said = text(&repaired.stdout);
    assert!(said.contains(&format!("lost: corruption at LSN {bad}")), "{said}");
    assert!(said.contains("117 records"), "{said}");
    assert!(place.contents() == before, "the damaged log was changed");

    assert_code(&run(wal("verify").arg(&new), b""), SUCCESS);
    let salvaged = cat(&place.log(), &["--salvage", "--json"]);
    assert!(cat(&new, &["--json"]) == salvaged);
    assert_eq!(text(&salvaged).lines().count(), 117);
    // Whoever had read into what is lost is told so, and new records go behind everything.
    let within = run(wal("cat").arg(&new).args(["--from", &(bad.get() + 8).to_string()]), b"");
    assert_code(&within, TROUBLE);
    assert!(text(&within.stderr).contains("is gone"), "{within:?}");
    let end = place.json("stat")["end"].as_u64().unwrap();
    let acks = run(wal("append").arg(&new).arg("--ack"), b"new\n");
    assert!(text(&acks.stdout).trim().parse::<u64>().unwrap() >= end);
}

#[test]
fn in_place_keeps_what_was_there() {
    let (place, _) = damaged();
    let (before, salvaged) = (place.contents(), cat(&place.log(), &["--salvage", "--json"]));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(&place.log(), 0o750);
    for (path, _) in &before {
        set(path, 0o640);
    }
    let repaired = place.read("repair", &["--in-place", "--json"]);
    assert_code(&repaired, SUCCESS);
    let told: Value = serde_json::from_slice(&repaired.stdout).unwrap();
    assert_eq!((&told["repaired"], &told["records"]), (&true.into(), &117.into()));
    assert_eq!(told["lost"].as_array().unwrap().len(), 1);
    let kept = Path::new(told["kept"].as_str().unwrap());
    assert!(kept.ends_with("log.before-repair"));
    for (path, bytes) in before {
        if path.extension().is_some_and(|suffix| suffix == "wal") {
            assert!(fs::read(kept.join(path.file_name().unwrap())).unwrap() == bytes);
        }
    }
    assert_eq!(mode(&place.log()), 0o750);
    assert!(place.contents().iter().all(|(path, _)| mode(path) == 0o640));
    assert_code(&place.read("verify", &[]), SUCCESS);
    assert!(cat(&place.log(), &["--json"]) == salvaged);
    assert_code(&place.append(&[], b"goes on\n"), SUCCESS);
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 2);

    // A sound log is left alone.
    let before = place.contents();
    let again = place.read("repair", &["--in-place"]);
    assert_code(&again, SUCCESS);
    assert!(text(&again.stdout).contains("nothing to repair"), "{again:?}");
    assert!(place.contents() == before);
}

#[test]
fn a_log_in_use_is_not_repaired_in_place() {
    let (place, _) = damaged();
    let before = fs::read_dir(place.log()).unwrap().count();
    let lock = fs::File::options().write(true).open(place.log().join("lock")).unwrap();
    lock.lock().unwrap();
    let refused = place.read("repair", &["--in-place"]);
    assert_code(&refused, TROUBLE);
    assert!(text(&refused.stderr).contains("locked"), "{refused:?}");
    assert_eq!(fs::read_dir(place.log()).unwrap().count(), before);
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 1);
}

/// Damage at the very end that is known to have been durable: no LSN of it is given out again.
#[test]
fn positions_that_were_durable_are_not_used_again() {
    let place = Place::new();
    assert_code(&place.append(&[], b"one\n"), SUCCESS);
    assert_code(&place.append(&[], b"two\n"), SUCCESS);
    let end = place.json("stat")["end"].as_u64().unwrap();
    let two = place.dir.path().join("log/00000000000000000002.wal");
    let mut bytes = fs::read(&two).unwrap();
    bytes[4096 + 64 + 8] ^= 1;
    fs::write(&two, bytes).unwrap();
    let new = place.dir.path().join("new");
    assert_code(&place.read("repair", &["--to", new.to_str().unwrap()]), SUCCESS);
    assert_eq!(cat(&new, &[]), b"one\n");
    let acks = run(wal("append").arg(&new).arg("--ack"), b"three\n");
    let lsn: u64 = text(&acks.stdout).trim().parse().unwrap();
    assert!(lsn >= end - 64, "{lsn}, and the close mark was at {}", end - 64);
}

#[test]
fn a_torn_end_is_left_out_and_said() {
    let place = Place::new();
    let lsns = place.unclosed(false);
    place.flip(lsns[1]);
    let new = place.dir.path().join("new");
    let repaired = place.read("repair", &["--to", new.to_str().unwrap()]);
    assert_code(&repaired, SUCCESS);
    assert!(text(&repaired.stdout).contains("left out: "), "{repaired:?}");
    assert_eq!(cat(&new, &[]), b"one\n");
    assert_eq!(cat(&place.log(), &[]), b"one\n");
}

#[test]
fn two_files_of_one_number_are_beyond_repair() {
    let place = Place::new();
    assert_code(&place.append(&[], b"one\n"), SUCCESS);
    let file = place.log().join("00000000000000000001.wal");
    fs::copy(&file, place.log().join("00000000000000000000.wal")).unwrap();
    let new = place.dir.path().join("new");
    let refused = place.read("repair", &["--to", new.to_str().unwrap()]);
    assert_code(&refused, DAMAGE);
    assert!(text(&refused.stderr).contains("beyond repair"), "{refused:?}");
    assert!(!new.exists());
}

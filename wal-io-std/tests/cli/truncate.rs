//! `truncate`: either end.

use serde_json::Value;

use crate::support::*;

/// 1000 records of 10 KB in batches of 4, in files of 1 MiB.
fn filled() -> Place {
    let place = Place::new();
    let line = format!("{}\n", "x".repeat(9999));
    assert_code(&place.append(&["--batch", "4"], line.repeat(1000).as_bytes()), SUCCESS);
    place
}

fn truncate(place: &Place, args: &[&str]) -> Value {
    let output = place.read("truncate", &[args, &["--json"]].concat());
    assert_code(&output, SUCCESS);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn lsns(place: &Place) -> Vec<u64> {
    let cat = place.read("cat", &["--json"]);
    let lsn = |line: &str| serde_json::from_str::<Value>(line).unwrap()["lsn"].as_u64().unwrap();
    text(&cat.stdout).lines().map(lsn).collect()
}

fn on_disk(place: &Place) -> u64 {
    place.contents().iter().map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn the_oldest_files_are_freed_and_nothing_that_is_wanted_goes() {
    let place = filled();
    let (all, size) = (lsns(&place), on_disk(&place));
    let lsn = all[500].to_string();
    let would = truncate(&place, &["--before", &lsn, "--dry-run"]);
    assert!(lsns(&place) == all, "nothing was done");
    let did = truncate(&place, &["--before", &lsn]);
    for key in ["start", "records", "records_cut", "files_removed", "bytes_freed"] {
        assert_eq!(would[key], did[key], "{key}");
    }
    let left = lsns(&place);
    assert!(left.len() < 700 && left.contains(&all[500]), "{}", left.len());
    assert!(all.ends_with(&left));
    let freed = did["bytes_freed"].as_u64().unwrap();
    assert!(freed >= 3 << 20 && on_disk(&place) < size - freed + (1 << 20));
    assert_code(&place.read("verify", &[]), SUCCESS);

    // There is no whole file in front any more; that leaves no file behind either.
    let files = place.contents().len();
    let again = place.read("truncate", &["--before", &lsn]);
    assert_code(&again, SUCCESS);
    assert!(text(&again.stdout).contains("only whole files go"), "{again:?}");
    assert_eq!(place.contents().len(), files);

    let past = place.read("truncate", &["--before", "999999999999"]);
    assert_code(&past, TROUBLE);
    assert!(text(&past.stderr).contains("past the end of the log"), "{past:?}");
    assert!(lsns(&place) == left);
    let end = did["end"].to_string();
    let would = truncate(&place, &["--before", &end, "--dry-run"]);
    let did = truncate(&place, &["--before", &end]);
    assert_eq!((&would["records"], &did["records"]), (&0.into(), &0.into()));
    assert_eq!(would["files_removed"], did["files_removed"]);
}

#[test]
fn the_newest_records_are_cut_off_for_good_by_whole_batches() {
    let place = filled();
    let all = lsns(&place);
    let refused = place.read("truncate", &["--after", &all[402].to_string()]);
    assert_code(&refused, TROUBLE);
    let said = text(&refused.stderr);
    assert!(said.contains(&format!("--after {} to cut it off", all[400])), "{said}");
    assert!(said.contains("to keep it"), "{said}");
    let refused = place.read("truncate", &["--after", &(all[400] + 3).to_string()]);
    assert_code(&refused, TROUBLE);

    let lsn = all[400].to_string();
    let would = truncate(&place, &["--after", &lsn, "--dry-run"]);
    assert_eq!((&would["records_cut"], &would["records"]), (&600.into(), &400.into()));
    assert!(lsns(&place) == all, "nothing was done");
    let did = truncate(&place, &["--after", &lsn]);
    assert_eq!((&did["records_cut"], &did["records"]), (&600.into(), &400.into()));
    assert!(lsns(&place) == all[..400]);
    assert_code(&place.read("verify", &[]), SUCCESS);
    let acks = place.append(&["--ack"], b"goes on\n");
    let next: u64 = text(&acks.stdout).trim().parse().unwrap();
    assert!(next >= did["next"].as_u64().unwrap() && next > *all.last().unwrap());

    let nothing = truncate(&place, &["--after", &place.json("stat")["end"].to_string()]);
    assert_eq!(nothing["records_cut"], 0);
    let past = place.read("truncate", &["--after", "999999999999"]);
    assert_code(&past, TROUBLE);
    assert!(text(&past.stderr).contains("nothing to cut off"), "{past:?}");
}

#[test]
fn a_log_that_is_in_use_or_corrupt_is_left_alone() {
    let place = Place::new();
    let lsns = place.unclosed(true);
    place.flip(lsns[0]);
    let before = place.contents();
    for end in ["--before", "--after"] {
        let refused = place.read("truncate", &[end, "100"]);
        assert_code(&refused, DAMAGE);
        assert!(text(&refused.stderr).contains("wal repair"), "{refused:?}");
    }
    assert!(place.contents() == before);

    let place = Place::new();
    let lsns = place.unclosed(true);
    let (wal, _) = wal_io_std::open(place.log(), wal_core::Options::default()).unwrap();
    let refused = place.read("truncate", &["--after", &lsns[1].to_string()]);
    assert_code(&refused, TROUBLE);
    assert!(text(&refused.stderr).contains("locked"), "{refused:?}");
    drop(wal);
    truncate(&place, &["--after", &lsns[1].to_string()]);
    assert_eq!(place.read("cat", &[]).stdout, b"one\n");
}

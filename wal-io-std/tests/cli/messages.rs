//! What a user gets to read, and the exit code, wherever something is not as it should be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::support::*;

/// Every command that is given a directory of a log, with what else it needs.
const ON_A_LOG: &[(&str, &[&str])] = &[
    ("cat", &[]),
    ("tail", &[]),
    ("stat", &[]),
    ("verify", &[]),
    ("inspect", &[]),
    ("export", &[]),
    ("repair", &["--to", "repaired"]),
    ("repair", &["--in-place"]),
    ("truncate", &["--before", "0"]),
    ("truncate", &["--after", "100", "--dry-run"]),
];

/// Runs `wal COMMAND DIR ARGS` where only this test is.
fn on(place: &Place, (command, args): (&str, &[&str]), dir: &Path) -> Output {
    run(wal(command).current_dir(place.dir.path()).arg(dir).args(args), b"")
}

/// Asserts that what is said starts with the tool's name and has all `parts`; that nothing is printed;
/// and the code.
#[track_caller]
fn assert_said(output: &Output, code: Option<i32>, parts: &[&str]) {
    assert_code(output, code);
    let said = text(&output.stderr);
    assert!(said.starts_with("wal: ") && said.lines().count() == 1, "{output:?}");
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_place_without_a_log_is_named_with_what_to_do() {
    let place = Place::new();
    let at = |name: &str| place.dir.path().join(name);
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other").join("photo.jpg"), "").unwrap();
    fs::write(at("file"), "").unwrap();
    for &command in ON_A_LOG {
        let missing = on(&place, command, &at("missing"));
        assert_said(&missing, TROUBLE, &["does not exist", "check the path"]);
        let empty = on(&place, command, &at("empty"));
        assert_said(&empty, TROUBLE, &["no log files in", "give the directory of a log"]);
        let other = on(&place, command, &at("other"));
        assert_said(&other, TROUBLE, &["photo.jpg", "give the directory of a log"]);
        let file = on(&place, command, &at("file"));
        assert_said(&file, TROUBLE, &["is a file", "give the directory"]);
    }
    for command in ["append", "import"] {
        let other = on(&place, (command, &[]), &at("other"));
        assert_said(&other, TROUBLE, &["photo.jpg", "one that is empty or does not exist yet"]);
        let file = on(&place, (command, &[]), &at("file"));
        assert_said(&file, TROUBLE, &["is a file"]);
    }
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 3, "nothing was made");
    assert_eq!(fs::read_dir(at("empty")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(at("other")).unwrap().count(), 1);
}

#[test]
fn a_log_file_leads_to_its_directory() {
    let place = Place::new();
    assert_code(&place.append(&[], b"one\n"), SUCCESS);
    let file = place.log().join("00000000000000000001.wal");
    let advice = format!("give the directory of the log: {}", place.log().display());
    for &command in ON_A_LOG {
        assert_said(&on(&place, command, &file), TROUBLE, &[&advice]);
    }
}

#[test]
fn a_newer_format_is_not_taken_for_damage_and_not_touched() {
    let place = Place::new();
    assert_code(&place.append(&[], b"one\n"), SUCCESS);
    let file = place.log().join("00000000000000000001.wal");
    let mut bytes = fs::read(&file).unwrap();
    bytes[8] = 9;
    let crc = wal_core::format::checksum::crc32c(&bytes[..4092]);
    bytes[4092..4096].copy_from_slice(&crc.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    let before = place.contents();
    let commands = ON_A_LOG.iter().copied().filter(|(command, _)| *command != "inspect");
    for command in commands.chain([("append", &[][..])]) {
        let refused = on(&place, command, &place.log());
        assert_said(&refused, TROUBLE, &["format version 9", "use a newer release"]);
    }
    assert!(place.contents() == before);
    let shown = place.read("inspect", &["--at", "64"]);
    assert!(text(&shown.stdout).contains("format version 9"), "{shown:?}");
}

#[test]
fn a_log_in_use_is_read_by_those_who_read_and_refused_to_those_who_write() {
    let place = Place::new();
    assert_code(&place.append(&[], b"one\ntwo\n"), SUCCESS);
    let (wal, _) = wal_io_std::open(place.log(), wal_core::Options::default()).unwrap();
    let wrong = ["--in-place", "--dry-run", "--before"];
    for &(command, args) in
        ON_A_LOG.iter().filter(|(_, args)| !wrong.iter().any(|w| args.contains(w)))
    {
        assert_code(&on(&place, (command, args), &place.log()), SUCCESS);
    }
    for command in [("append", &[][..]), ("truncate", &["--after", "64"])] {
        let refused = on(&place, command, &place.log());
        assert_said(&refused, TROUBLE, &["locked", "wait until the other one is done"]);
    }
    wal.close().unwrap();
}

/// Whoever reads is never told of damage that is only a write under way.
#[test]
fn a_log_that_grows_all_the_time_is_never_called_corrupt() {
    let place = Place::new();
    let options = wal_core::Options::default().segment_size(64 << 10).file_size(256 << 10);
    let (wal, _) = wal_io_std::open(place.log(), options).unwrap();
    wal.append_and_sync(b"first").unwrap();
    // The log ends when this goes, however the test does.
    let (running, ended) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        while ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            wal.append_and_sync(&[0x5a; 300]).unwrap();
        }
    });
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(3) {
        for (command, args) in [("tail", &["-n", "1"][..]), ("verify", &[]), ("export", &[])] {
            assert_code(&on(&place, (command, args), &place.log()), SUCCESS);
        }
    }
    drop(running);
    writer.join().unwrap();
}

#[test]
fn a_corrupt_log_is_named_with_its_place_and_the_ways_out() {
    let place = Place::new();
    let lsns = place.unclosed(true);
    place.flip(lsns[0]);
    for command in [("cat", &[][..]), ("tail", &[]), ("export", &[]), ("append", &[])] {
        let refused = on(&place, command, &place.log());
        let parts = [
            &format!("corruption at LSN {}", lsns[0]),
            "00000000000000000001.wal",
            "offset ",
            "`wal verify`",
            "`wal inspect`",
            "`wal repair`",
        ];
        assert_said(&refused, DAMAGE, &parts);
    }
}

#[test]
fn input_of_any_kind_goes_in_and_comes_out() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"", b""),
        (b"\n", b"\n"),
        (b"no newline", b"no newline\n"),
        (b"\0\xff\xfe\x80 not text\r\n", b"\0\xff\xfe\x80 not text\r\n"),
    ];
    for (input, output) in cases {
        let place = Place::new();
        assert_code(&place.append(&[], input), SUCCESS);
        assert_eq!(place.read("cat", &[]).stdout, *output);
        assert_code(&place.read("verify", &[]), SUCCESS);
        assert_code(&place.read("tail", &[]), SUCCESS);
    }
}

#[test]
fn a_line_too_long_is_refused_by_its_number_and_what_came_before_is_kept() {
    let place = Place::new();
    let mut input = b"first\n".to_vec();
    input.resize(input.len() + (64 << 20), b'x');
    assert_code(&place.append(&[], &input), SUCCESS);
    let place = Place::new();
    input.push(b'x');
    let refused = place.append(&[], &input);
    let parts =
        ["1 records appended and durable", "record 2 of standard input is too long", "split"];
    assert_said(&refused, TROUBLE, &parts);
    assert_eq!(place.read("cat", &[]).stdout, b"first\n");
}

#[test]
fn positions_outside_the_log_are_named_with_its_range() {
    let place = Place::new();
    for _ in 0..3 {
        assert_code(&place.append(&[], b"one\n"), SUCCESS);
    }
    let stat = place.json("stat");
    assert_code(&place.read("truncate", &["--before", &stat["end"].to_string()]), SUCCESS);
    assert_code(&place.append(&[], b"two\n"), SUCCESS);
    let stat = place.json("stat");
    let start = stat["start"].to_string();
    for (command, args) in [("cat", &["--from", "1"][..]), ("tail", &["--from", "1"])] {
        assert_said(&on(&place, (command, args), &place.log()), TROUBLE, &["is gone", &start]);
    }
    let past = on(&place, ("export", &["--to", "99999999"]), &place.log());
    assert_said(&past, TROUBLE, &["past the end", &stat["end"].to_string()]);
    let cat = place.read("cat", &["--from", "99999999"]);
    assert_code(&cat, SUCCESS);
    assert!(text(&cat.stderr).contains("the log ends at LSN"), "{cat:?}");
}

/// Asks for what nobody may do, unless those who run the tests may do everything.
#[test]
fn what_is_forbidden_is_named_with_its_place() {
    let place = Place::new();
    assert_code(&place.append(&[], b"one\n"), SUCCESS);
    let set = |mode| fs::set_permissions(place.log(), fs::Permissions::from_mode(mode)).unwrap();
    set(0o000);
    let is_root = fs::read_dir(place.log()).is_ok();
    if !is_root {
        for &command in ON_A_LOG {
            let refused = on(&place, command, &place.log());
            assert_said(&refused, TROUBLE, &["ermission denied", "check the permissions"]);
        }
        set(0o500);
        let refused = on(&place, ("append", &[]), &place.log());
        assert_said(&refused, TROUBLE, &["ermission denied", "check the permissions"]);
        assert_code(&place.read("cat", &[]), SUCCESS);
    }
    set(0o700);
}

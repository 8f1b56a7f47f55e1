//! The golden logs of every format version (`wal-core/tests/golden`), through the commands that make
//! logs of logs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::*;

fn golden() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wal-core/tests/golden");
    let dirs = |dir: &Path| -> Vec<PathBuf> {
        let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.is_dir()).collect()
    };
    dirs(&root).iter().flat_map(|version| dirs(version)).collect()
}

/// Puts a golden log into a directory as the tool finds it.
fn lay_out(golden: &Path, log: &Path) {
    fs::create_dir(log).unwrap();
    for path in fs::read_dir(golden).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|suffix| suffix == "wal") {
            let number: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            fs::copy(&path, log.join(format!("{number:020}.wal"))).unwrap();
        }
    }
}

#[test]
fn records_of_every_version_are_exported_imported_and_repaired_in_their_places() {
    let all = golden();
    assert!(all.len() >= 12, "{all:?}");
    for golden in all {
        let place = Place::new();
        lay_out(&golden, &place.log());
        let before = place.contents();
        let cat = |dir: &Path| {
            let output = run(wal("cat").arg(dir).arg("--json"), b"");
            assert_code(&output, SUCCESS);
            output.stdout
        };
        let records = cat(&place.log());
        let expected = fs::read_to_string(golden.join("expected.txt")).unwrap();
        let count = expected.lines().filter(|line| line.starts_with("record ")).count();
        assert_eq!(text(&records).lines().count(), count, "{}", golden.display());

        let at = |name: &str| place.dir.path().join(name);
        let (file, new, repaired) = (at("a.walx"), at("new"), at("repaired"));
        assert_code(&place.read("export", &["-o", file.to_str().unwrap()]), SUCCESS);
        assert_code(&run(wal("import").arg(&new).arg(&file), b""), SUCCESS);
        assert_code(&place.read("repair", &["--to", repaired.to_str().unwrap()]), SUCCESS);
        for made in [new, repaired] {
            assert!(cat(&made) == records, "{}", golden.display());
            let output = run(wal("append").arg(&made).args(["--file-size", "1048576"]), b"more\n");
            assert_code(&output, SUCCESS);
            assert!(text(&cat(&made)).starts_with(text(&records)));
        }
        assert!(place.contents() == before, "{}", golden.display());
    }
}

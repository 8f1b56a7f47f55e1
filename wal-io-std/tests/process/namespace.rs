//! Mounts that only one child sees, and that go with it, however it ends.
#![allow(unreachable_pub, reason = "each test target is a crate of its own")]

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Ways into a namespace of one's own: as root, or as the root of a namespace of users.
const WAYS: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

/// A command that runs this program again where it may mount.
///
/// # Errors
///
/// Why there is no such place.
pub fn command() -> Result<Command, String> {
    static WAY: OnceLock<Result<usize, String>> = OnceLock::new();
    let way = WAY.get_or_init(|| {
        let mut why = Vec::new();
        for (index, way) in WAYS.iter().enumerate() {
            let mut attempt = Command::new("unshare");
            attempt.args(*way).args(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/tmp"]);
            match attempt.output() {
                Ok(output) if output.status.success() => return Ok(index),
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    why.push(format!("unshare {} mount: {}", way.join(" "), said.trim()));
                }
                Err(error) => why.push(format!("unshare cannot be run: {error}")),
            }
        }
        Err(format!("cannot mount a small tmpfs: {}", why.join("; ")))
    });
    let way = way.clone()?;
    let itself = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("unshare");
    command.args(WAYS[way]).arg(itself);
    Ok(command)
}

/// Mounts a disk of so many KiB, in the child.
pub fn mount(dir: &Path, kib: u64) {
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
        .arg(dir));
}

/// Makes it read-only.
pub fn make_read_only(dir: &Path) {
    run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(dir));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

//! Help, manual pages, completions, colours.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::support::*;

const COMMANDS: &[&str] = &[
    "append",
    "cat",
    "tail",
    "stat",
    "verify",
    "inspect",
    "repair",
    "truncate",
    "export",
    "import",
    "demo",
    "completions",
    "man",
];

fn ask(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_wal")).args(args).output().unwrap();
    assert_code(&output, SUCCESS);
    assert!(output.stderr.is_empty(), "{output:?}");
    output
}

#[test]
fn every_help_tells_the_exit_codes() {
    let help = ask(&["--help"]).stdout;
    for command in COMMANDS {
        assert!(text(&help).contains(&format!("\n  {command} ")), "{command}");
        let help = ask(&[command, "--help"]).stdout;
        let help = text(&help);
        assert!(help.contains("Exit codes:") && help.contains("1  data is damaged"), "{help}");
    }
    assert!(!text(&help).contains("demo-child"));
}

#[test]
fn every_manual_page_tells_the_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    ask(&["man", "--to", dir.path().to_str().unwrap()]);
    for name in COMMANDS.iter().map(|command| format!("wal-{command}")).chain(["wal".into()]) {
        let page = fs::read(dir.path().join(format!("{name}.1"))).unwrap();
        let page = text(&page);
        assert!(page.contains("Exit codes") && page.contains(".SH NAME"), "{name}: {page}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), COMMANDS.len() + 1);
    let one = ask(&["man", "cat"]).stdout;
    assert!(one == fs::read(dir.path().join("wal-cat.1")).unwrap());
    assert!(text(&one).contains("\\-\\-salvage"));
    let refused = Command::new(env!("CARGO_BIN_EXE_wal")).args(["man", "dog"]).output().unwrap();
    assert_code(&refused, TROUBLE);
}

#[test]
fn completions_are_scripts_that_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ask(&["completions", shell]).stdout;
        for command in COMMANDS {
            assert!(text(&script).contains(command), "{shell}: {command}");
        }
    }
    // Where there is a bash, it takes its script and completes by it.
    let script = ask(&["completions", "bash"]).stdout;
    let test = "\ncomplete -p wal && COMP_WORDS=(wal tr) COMP_CWORD=1 && _wal wal tr wal && echo $COMPREPLY\n";
    let script = format!("{}{test}", text(&script));
    let Ok(bash) = Command::new("bash").args(["-c", &script]).stdin(Stdio::null()).output() else {
        return;
    };
    assert!(text(&bash.stdout).trim_end().ends_with("truncate"), "{bash:?}");
}

/// Colours are for terminals; what is not one gets none, unless it asks.
#[test]
fn pipes_get_no_colours() {
    let place = Place::new();
    let lsns = place.unclosed(true);
    place.flip(lsns[0]);
    let escape = |output: &Output| [&output.stdout[..], &output.stderr].concat().contains(&0x1b);
    for command in ["cat", "stat", "verify", "inspect"] {
        assert!(!escape(&place.read(command, &[])), "{command}");
        let mut forced = wal(command);
        forced.arg(place.log()).env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR");
        assert!(escape(&run(&mut forced, b"")), "{command}");
        assert!(!escape(&run(forced.env("NO_COLOR", "1"), b"")), "{command}");
    }
}

#[test]
fn a_pipe_that_closes_ends_every_command_quietly() {
    let place = Place::new();
    let input = "some line that is long enough to fill a pipe soon\n".repeat(50_000);
    assert_code(&place.append(&[], input.as_bytes()), SUCCESS);
    let commands: &[(&str, &[&str])] = &[
        ("cat", &[]),
        ("cat", &["--json"]),
        ("tail", &["-n", "50000"]),
        ("export", &[]),
        ("inspect", &["--bytes", "1048576"]),
    ];
    for (command, args) in commands {
        let mut child = wal(command).arg(place.log()).args(*args).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_code(&output, SUCCESS);
        assert!(output.stderr.is_empty(), "{command}: {output:?}");
    }
}

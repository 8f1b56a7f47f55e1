//! `wal completions` and `wal man`: made from the same definitions as the commands themselves.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::failure::{Code, Failure, Outcome};
use crate::output::Output;

/// Prints a script that completes the commands and options of `wal` in a shell.
///
/// bash:  wal completions bash > ~/.local/share/bash-completion/completions/wal
/// zsh:   wal completions zsh > ~/.zfunc/_wal  (a directory that $fpath names)
/// fish:  wal completions fish > ~/.config/fish/completions/wal.fish
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Prints the manual page of `wal` or of one of its commands, for `man -l -` to show.
#[derive(clap::Args)]
pub(crate) struct Manual {
    /// The command. Default: `wal` itself.
    #[arg(value_name = "COMMAND", conflicts_with = "to")]
    command: Option<String>,
    /// Write all pages, as `wal.1`, `wal-append.1` and so on, to this directory, which must exist.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(crate) fn completions(args: &Completions, mut command: Command) -> Outcome<Code> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "wal", &mut script);
    print(&script)
}

pub(crate) fn manual(args: &Manual, mut command: Command) -> Outcome<Code> {
    command.build();
    if let Some(dir) = &args.to {
        for (name, page) in pages(&command) {
            write(&dir.join(format!("{name}.1")), &page)?;
        }
        return Ok(Code::Success);
    }
    let page = match &args.command {
        None => page("wal", &command),
        Some(name) => {
            let found =
                command.get_subcommands().find(|found| found.get_name() == name && is_shown(found));
            let none = || {
                let text = format!("there is no command `{name}`; `wal --help` lists them");
                Failure::trouble(text)
            };
            page(&format!("wal-{name}"), found.ok_or_else(none)?)
        }
    };
    print(&page)
}

/// Whether a command is for users, and has a page: `help` is about the others.
fn is_shown(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

/// The name and the text of every page.
fn pages(command: &Command) -> Vec<(String, Vec<u8>)> {
    let shown = command.get_subcommands().filter(|found| is_shown(found));
    let named = shown.map(|found| (format!("wal-{}", found.get_name()), found));
    let all = std::iter::once(("wal".to_owned(), command)).chain(named);
    all.map(|(name, command)| {
        let page = page(&name, command);
        (name, page)
    })
    .collect()
}

fn page(name: &str, command: &Command) -> Vec<u8> {
    let mut page = Vec::new();
    let man = Man::new(command.clone()).title(name).section("1").manual("wal");
    // Writing to memory does not fail.
    let _ = man.render(&mut page);
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman("wal(1), and spec/FORMAT.md and spec/EXPORT.md in the sources of wal.")]);
    let _ = roff.to_writer(&mut page);
    page
}

fn write(path: &Path, page: &[u8]) -> Outcome<()> {
    let written = fs::File::create(path).and_then(|mut file| file.write_all(page));
    written.map_err(|error| Failure::system("write", path, &error))
}

fn print(bytes: &[u8]) -> Outcome<Code> {
    let mut output = Output::new();
    output.write(bytes)?;
    output.finish()?;
    Ok(Code::Success)
}

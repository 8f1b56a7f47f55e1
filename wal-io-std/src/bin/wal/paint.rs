//! Colours, where somebody sees them: on a terminal that wants them (`NO_COLOR` is respected).

use std::io;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// What a piece of text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Doubtful,
    Faint,
    Strong,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Doubtful => AnsiColor::Yellow.on_default(),
            Self::Faint => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }
}

/// Paints text for one stream, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// For standard output.
    pub(crate) fn stdout() -> Self {
        Self { on: AutoStream::choice(&io::stdout()) != ColorChoice::Never }
    }

    /// For standard error.
    pub(crate) fn stderr() -> Self {
        Self { on: AutoStream::choice(&io::stderr()) != ColorChoice::Never }
    }

    pub(crate) fn text(self, tone: Tone, text: &str) -> String {
        if self.on {
            let style = tone.style();
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// Says something on standard error.
pub(crate) fn note(text: &str) {
    eprintln!("{} {text}", Paint::stderr().text(Tone::Strong, "wal:"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_painted_has_escapes() {
        assert_eq!(Paint { on: false }.text(Tone::Bad, "no"), "no");
        assert_eq!(Paint { on: true }.text(Tone::Good, "yes"), "\u{1b}[32myes\u{1b}[0m");
    }
}

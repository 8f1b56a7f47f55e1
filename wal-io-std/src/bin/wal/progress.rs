//! A progress bar on standard error: only on a terminal, and gone when the work is done.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that is cleared when dropped. Updating it costs next to nothing.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar over `total` bytes, or a spinner if the total is not known. `quiet` shows nothing.
    pub(crate) fn bytes(doing: &'static str, total: Option<u64>, quiet: bool) -> Self {
        let template = match total {
            Some(_) => "{msg} {bar:30} {bytes}/{total_bytes} ({bytes_per_sec}, {eta} left)",
            None => "{msg} {spinner} {bytes} ({bytes_per_sec})",
        };
        Self::new(doing, total, template, quiet)
    }

    /// A bar over `total` milliseconds.
    pub(crate) fn millis(total: u64) -> Self {
        Self::new("", Some(total), "{bar:30} {msg}", false)
    }

    fn new(doing: &'static str, total: Option<u64>, template: &str, quiet: bool) -> Self {
        // Nothing is drawn, nor is a thread that ticks started, unless somebody can see it.
        if quiet || !stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if total.is_none() {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self { bar: bar.with_message(doing) }
    }

    /// Moves the bar to `position` of the total.
    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Moves a bar over milliseconds to now, and changes the text beside it.
    pub(crate) fn now(&self, text: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_position(self.bar.elapsed().as_millis() as u64);
            self.bar.set_message(text());
        }
    }

    /// Runs `print`, which writes a line on standard output, above the bar.
    pub(crate) fn above<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

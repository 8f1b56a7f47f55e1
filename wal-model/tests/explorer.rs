//! The explorer, in a real browser: the page opens, steps are taken by clicks, the words can be
//! read. Without Chromium the test says so and passes.
#![allow(clippy::unwrap_used, reason = "a failed helper fails the test")]

mod browser;

use std::io::{BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::json;

use browser::{Browser, Page, Running, line_with};

impl Page {
    /// Clicks the choice with this text, with a mouse, and has the page say what follows. What
    /// moves in the page just then makes a click miss; so there is more than one try.
    fn choose(&mut self, choice: &str, then: &str) {
        let before = self.look_for("location.href");
        for _ in 0..10 {
            let at = self.look_for(&format!(
                "(() => {{
                    const link = [...document.querySelectorAll('ul a')].filter(link =>
                        link.textContent.trim() == '{choice}').pop();
                    if (!link) return null;
                    link.scrollIntoView();
                    const box = link.getBoundingClientRect();
                    return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }};
                }})()"
            ));
            for kind in ["mousePressed", "mouseReleased"].into_iter().filter(|_| !at.is_null()) {
                let (x, y) = (&at["x"], &at["y"]);
                let params =
                    json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
                self.call("Input.dispatchMouseEvent", params);
            }
            let moved = !self.look_for(&format!("location.href != {before}")).is_null();
            if moved && (0..10).any(|_| self.says(then)) {
                return;
            }
            assert!(!moved, "{choice} does not lead to {then}");
        }
        panic!("{choice} cannot be clicked: {}", self.look_for("document.body.innerText"));
    }
}

#[test]
fn steps_are_clicked_and_words_are_read() {
    let Some(browser) = Browser::start() else {
        // Past what a test that passes is not shown to say.
        writeln!(std::io::stderr(), "skipped: no chromium").unwrap();
        return;
    };
    let explorer = Command::new(env!("CARGO_BIN_EXE_wal-model"))
        .args(["explore", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn();
    let mut explorer = Running(explorer.unwrap());
    // Kept open, so that both can go on talking.
    let mut said = BufReader::new(explorer.0.stdout.take().unwrap());
    let url = line_with(&mut said, "http://127.0.0.1:");
    let mut page = browser.open(&url);
    page.choose("Init 0", "segment 0: tail gen 0 pos 64 (open)  stripes [0]  fill 0  gate SHUT");
    assert!(page.says("segment 1: tail gen 1 pos 129 (closed)  stripes [0]  fill QUEUED"));
    // Load `current`, add to the tail.
    for from in ["Current", "Add { seen: 0"] {
        page.choose("writer 0 steps", &format!("writer 0 steps from {from}"));
    }
    assert!(page.says("segment 0: tail gen 0 pos 128 (open)"));
    assert!(page.says("writer 0: call 0 (Append): Base { seen: 0, sequence: 0, at: 64"));
    let elsewhere: Vec<_> = page.requests.iter().filter(|asked| !asked.starts_with(&url)).collect();
    assert!(elsewhere.is_empty(), "asked of others: {elsewhere:?}");
    assert!(page.requests.iter().any(|asked| asked.contains("/.states/0/")));
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_wal-model"))
        .args(["explore", "--port", &port])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on port"));
}

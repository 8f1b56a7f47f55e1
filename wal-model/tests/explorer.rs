//! The explorer, in a real browser: the page opens, steps are taken by clicks, the words can be
//! read. Without Chromium the test says so and passes.
#![allow(clippy::unwrap_used, reason = "a failed helper fails the test")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// How long a browser may take over one thing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A child that ends with the test, whatever becomes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the first of the lines that contains `marker` says from there to the next space.
fn line_with(lines: &mut impl BufRead, marker: &str) -> String {
    let line = lines.lines().find_map(|line| line.ok().filter(|line| line.contains(marker)));
    let line = line.unwrap_or_else(|| panic!("nobody says {marker}"));
    line[line.find(marker).unwrap()..].split(' ').next().unwrap().to_owned()
}

fn chromium() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    })
}

/// A page, driven over the DevTools protocol.
struct Page {
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    id: u64,
    /// What the page has asked for.
    requests: Vec<String>,
}

impl Page {
    fn open(devtools: &str, url: &str) -> Self {
        let authority = devtools.trim_start_matches("ws://").split('/').next().unwrap();
        let stream = TcpStream::connect(authority).unwrap();
        // A browser that has stopped answering fails the test.
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(devtools, stream).unwrap();
        let mut page = Self { socket, session: None, id: 0, requests: Vec::new() };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = page.call("Target.attachToTarget", attach);
        page.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        page.call("Network.enable", json!({}));
        page.call("Page.navigate", json!({ "url": url }));
        page
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let mut message = json!({ "id": self.id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        let begun = Instant::now();
        loop {
            // Other messages keep coming, whatever becomes of the answer.
            assert!(begun.elapsed() < PATIENCE, "no answer to {message}");
            let reply = self.socket.read().unwrap().into_text().unwrap();
            let mut reply: Value = serde_json::from_str(&reply).unwrap();
            if reply["method"] == "Network.requestWillBeSent" {
                let url = reply["params"]["request"]["url"].as_str().unwrap();
                self.requests.push(url.to_owned());
            }
            if reply["id"] == self.id {
                assert!(reply.get("error").is_none(), "{method}: {reply}");
                return reply["result"].take();
            }
        }
    }

    /// Waits until `condition` is something in the page and returns it, or null after a second or
    /// two. Looks whenever the page changes.
    fn look_for(&mut self, condition: &str) -> Value {
        let expression = format!(
            "new Promise(done => {{
                const look = () => {{
                    const found = {condition};
                    if (found) done(found);
                    return found;
                }};
                if (look()) return;
                const watch = new MutationObserver(() => look() && watch.disconnect());
                watch.observe(document, {{
                    subtree: true, childList: true, characterData: true, attributes: true
                }});
                setTimeout(() => done(null), 2000);
            }})"
        );
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", params);
        assert!(result.get("exceptionDetails").is_none(), "{condition}: {result}");
        result["result"]["value"].clone()
    }

    fn says(&mut self, text: &str) -> bool {
        let condition = format!("document.body && document.body.innerText.includes('{text}')");
        !self.look_for(&condition).is_null()
    }

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

fn browser(name: &str, profile: &Path) -> Running {
    let child = Command::new(name)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg("--remote-debugging-port=0")
        .arg(format!("--user-data-dir={}", profile.display()))
        .stderr(Stdio::piped())
        .spawn();
    Running(child.unwrap())
}

#[test]
fn steps_are_clicked_and_words_are_read() {
    let Some(name) = chromium() else {
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
    let profile = tempfile::tempdir().unwrap();
    let mut browser = browser(name, profile.path());
    let mut said = BufReader::new(browser.0.stderr.take().unwrap());
    let devtools = line_with(&mut said, "ws://");

    let mut page = Page::open(&devtools, &url);
    page.choose("Init 0", "segment 0: tail gen 0 pos 64 (open)  fill 0  gate SHUT");
    assert!(page.says("segment 1: tail gen 1 pos 129 (closed)  fill QUEUED"));
    // Load `current`, look at the tail, add to it.
    for from in ["Current", "Tail { seen: 0 }", "Add { seen: 0"] {
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

//! A real browser, driven over the DevTools protocol.
#![allow(dead_code, reason = "each test target uses a part of this")]
#![allow(unreachable_pub, reason = "each test target is a crate of its own")]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

/// How long a browser may take over one thing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A child that ends with the test, whatever becomes of it.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the first of the lines that contains `marker` says from there to the next space.
pub fn line_with(lines: &mut impl BufRead, marker: &str) -> String {
    let line = lines.lines().find_map(|line| line.ok().filter(|line| line.contains(marker)));
    let line = line.unwrap_or_else(|| panic!("nobody says {marker}"));
    line[line.find(marker).unwrap()..].split(' ').next().unwrap().to_owned()
}

/// A page, driven over the DevTools protocol.
pub struct Page {
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    id: u64,
    /// What the page has asked for.
    pub requests: Vec<String>,
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

    pub fn call(&mut self, method: &str, params: Value) -> Value {
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
    pub fn look_for(&mut self, condition: &str) -> Value {
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

    pub fn says(&mut self, text: &str) -> bool {
        let condition = format!("document.body && document.body.innerText.includes('{text}')");
        !self.look_for(&condition).is_null()
    }
}

/// A browser that shows nothing on a screen.
pub struct Browser {
    running: Running,
    devtools: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; `None` if none is installed.
    pub fn start() -> Option<Self> {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let name = names.into_iter().find(|name| {
            let output = Command::new(name).arg("--version").output();
            output.is_ok_and(|output| output.status.success())
        })?;
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new(name)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stderr(Stdio::piped())
            .spawn();
        let mut running = Running(child.unwrap());
        // Kept open, so that it can go on talking.
        let said = running.0.stderr.as_mut().unwrap();
        let devtools = line_with(&mut BufReader::new(said), "ws://");
        Some(Self { running, devtools, _profile: profile })
    }

    /// Opens a page.
    pub fn open(&self, url: &str) -> Page {
        Page::open(&self.devtools, url)
    }
}

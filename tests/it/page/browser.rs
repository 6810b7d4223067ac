//! A real browser without a window, driven as the W3C standard for that says.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A session of Chromium. It ends with the test.
pub(super) struct Browser {
    driver: Child,
    at: SocketAddr,
    session: String,
}

impl Browser {
    pub(super) fn open() -> Self {
        // It takes a free port of one family, and ends where that is not free in the other too.
        let (driver, at) = (0..50).find_map(|_| start()).expect("chromedriver does not start");
        let mut browser = Self { driver, at, session: String::new() };
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        }}});
        let session = browser.call("POST", "/session", &wanted);
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut value: Value =
            serde_json::from_slice(&self.send(method, path, &body.to_string()).unwrap()).unwrap();
        let value = value["value"].take();
        assert!(value["error"].is_null(), "{method} {path}: {value}");
        value
    }

    fn send(&self, method: &str, path: &str, body: &str) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.at)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.at,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        body_of(stream)
    }

    pub(super) fn visit(&self, address: &str) {
        self.call("POST", &format!("{}/url", self.session), &json!({"url": address}));
    }

    /// What this body of a function returns in the page.
    pub(super) fn run(&self, script: &str) -> Value {
        let body = json!({"script": script, "args": []});
        self.call("POST", &format!("{}/execute/sync", self.session), &body)
    }

    /// Waits until this expression is true in the page; gives back what it is.
    pub(super) fn until(&self, expression: &str) -> Value {
        let script = format!(
            "const done = arguments[0];
             const look = () => {{ const is = ({expression}); if (is) {{ clearInterval(timer); done(is); }} }};
             const timer = setInterval(look, 20);"
        );
        let body = json!({"script": script, "args": []});
        self.call("POST", &format!("{}/execute/async", self.session), &body)
    }

    /// Presses keys, one after the other.
    pub(super) fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|act| json!({"type": act, "value": key})))
            .collect();
        let body = json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]});
        self.call("POST", &format!("{}/actions", self.session), &body);
    }

    /// Asks Chromium itself, by its own protocol.
    pub(super) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.call("POST", &format!("{}/goog/cdp/execute", self.session), &body)
    }

    /// What the page complained of since it was last asked.
    pub(super) fn complaints(&self) -> Value {
        self.call("POST", &format!("{}/se/log", self.session), &json!({"type": "browser"}))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Also when the test failed: nobody else ends the browser.
        if !self.session.is_empty() {
            drop(self.send("DELETE", &self.session, ""));
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

fn start() -> Option<(Child, SocketAddr)> {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
    let mut driver = command.spawn().unwrap();
    let lines = BufReader::new(driver.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let line = lines.into_iter().find(|line| line.contains("successfully on port "));
    let Some(line) = line else {
        driver.wait().unwrap();
        return None;
    };
    let port: u16 = line.rsplit("on port ").next().unwrap().trim_end_matches('.').parse().unwrap();
    Some((driver, SocketAddr::from(([127, 0, 0, 1], port))))
}

/// The driver keeps a connection open whatever it is asked.
fn body_of(stream: TcpStream) -> io::Result<Vec<u8>> {
    let mut answer = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        answer.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body)?;
    Ok(body)
}

pub(super) const TAB: &str = "\u{e004}";
pub(super) const ENTER: &str = "\u{e007}";

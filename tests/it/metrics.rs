//! Metrics: every code has a row, no stranger makes a label, and Prometheus understands all of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use doorward::refusal::Refusal;
use serde_json::Value;

use crate::cli::{Guard, block_on, doorward, said};
use crate::support::{ALICE, Hall, Set, Visitor, has, prefixed};

fn configuration(set: &Set, metrics: &str) -> String {
    let audit = set.path("audit");
    fs::create_dir_all(&audit).unwrap();
    let dry_run = set.write("tried.toml", (set.tables("") + ALICE).as_bytes());
    format!(
        "[server]\ndry_run = \"{}\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n{metrics}\n{}{ALICE}",
        dry_run.display(),
        set.tables("")
    )
}

/// Where the numbers are.
fn outlet(guard: &Guard) -> SocketAddr {
    let line = guard.report().iter().find(|line| line.contains("http://")).unwrap();
    let at = line.split("http://").nth(1).unwrap().strip_suffix("/metrics").unwrap();
    at.parse().unwrap()
}

/// Sends these bytes, and gives back everything that is answered.
fn ask(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The server may have had enough before the end.
    drop(stream.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    String::from_utf8(answer).unwrap()
}

fn get(at: SocketAddr, path: &str, headers: &str) -> String {
    ask(at, &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n{headers}\r\n"))
}

/// The page in one of both formats.
fn page(at: SocketAddr, accept: &str) -> String {
    let answer = get(at, "/metrics", &format!("Accept: {accept}\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    body.to_owned()
}

fn row(page: &str, name: &str) -> u64 {
    let line =
        page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no {name} in {page}"))
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

async fn visit(set: &Set, at: SocketAddr) {
    let alice = Visitor::new(set, Some(&set.client("alice")));
    alice.say(at, &prefixed(b"hi")).await.unwrap();
    drop(Visitor::new(set, None).say(at, b"").await);
}

#[test]
fn what_happens_is_counted_by_service_room_and_code() {
    let set = Set::new();
    let mut guard = Guard::start(&set, &configuration(&set, ""));
    let at = outlet(&guard);
    let before = page(at, "text/plain");
    for refusal in Refusal::ALL {
        let (room, code) = (refusal.room(), refusal.code());
        for metric in ["refused", "would_refuse"] {
            let name = format!(
                "doorward_{metric}_total{{service=\"echo\",room=\"{room}\",code=\"{code}\"}}"
            );
            assert_eq!(row(&before, &name), 0, "{name}");
        }
    }
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    block_on(async {
        for _ in 0..3 {
            visit(&set, guard.address()).await;
        }
        let mut open = alice.enter(guard.address()).await.unwrap();
        crate::reload::alive(&mut open).await;
        let during = page(at, "text/plain");
        assert_eq!(row(&during, "doorward_sessions{service=\"echo\"}"), 1);
        assert_eq!(row(&during, "doorward_seats_taken{of=\"members\"}"), 1);
        assert_eq!(row(&during, "doorward_permitted_total{service=\"echo\"}"), 4);
        assert!(row(&during, "doorward_frames_total{service=\"echo\"}") >= 4);
        assert!(row(&during, "doorward_handshake_seconds_count") >= 4);
    });
    let refused = "doorward_refused_total{service=\"echo\",room=\"handshake\",code=\"handshake.no-certificate\"}";
    let after = page(at, "text/plain");
    assert_eq!(row(&after, refused), 3);
    assert_eq!(row(&after, "doorward_seats{of=\"strangers\"}"), 512);
    assert_eq!(row(&after, "doorward_config_stale"), 0);
    fs::write(set.path("doorward.toml"), "x").unwrap();
    guard.signal("HUP");
    guard.hear("kept: ");
    let stale = page(at, "text/plain");
    assert_eq!(row(&stale, "doorward_config_stale"), 1);
    assert_eq!(row(&stale, "doorward_reloads_total{result=\"refused\"}"), 1);
    guard.stop();
}

#[test]
fn sums_never_get_less_while_sessions_end() {
    let set = Set::new();
    let guard = Guard::start(&set, &configuration(&set, ""));
    let (at, door) = (outlet(&guard), guard.address());
    let alice = Visitor::new(&set, Some(&set.client("alice")));
    std::thread::scope(|scope| {
        let visits = scope.spawn(|| {
            block_on(async {
                for _ in 0..60 {
                    alice.say(door, &prefixed(b"hello")).await.unwrap();
                }
            });
        });
        let mut last = [0; 3];
        while !visits.is_finished() {
            let page = page(at, "text/plain");
            let names = [
                "doorward_received_bytes_total",
                "doorward_sent_bytes_total",
                "doorward_frames_total",
            ];
            let now = names.map(|name| row(&page, &format!("{name}{{service=\"echo\"}}")));
            assert!(now.iter().zip(last).all(|(now, last)| *now >= last), "{last:?} {now:?}");
            last = now;
        }
    });
    let page = page(at, "text/plain");
    assert_eq!(row(&page, "doorward_received_bytes_total{service=\"echo\"}"), 60 * 9);
}

#[test]
fn no_stranger_makes_a_label() {
    let set = Set::new();
    let guard = Guard::start(&set, &configuration(&set, ""));
    let at = outlet(&guard);
    let labels = |page: &str| -> BTreeSet<String> {
        let row = |line: &str| line.split(' ').next().unwrap().to_owned();
        page.lines().filter(|line| !line.starts_with('#')).map(row).collect()
    };
    let before = labels(&page(at, "text/plain"));
    let hostile = set.sign(&set.draft("alice").common_name(b"evil\"} 1\nforged{x=\"y"));
    block_on(async {
        drop(Visitor::new(&set, Some(&hostile)).say(guard.address(), b"").await);
        drop(Visitor::new(&set, Some(&set.client("mallory"))).say(guard.address(), b"").await);
        let mut plain = Visitor::new(&set, None).knock(guard.address()).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut plain, b"GET /\"evil HTTP/1.1\r\n\r\n")
            .await
            .unwrap();
    });
    assert_eq!(labels(&page(at, "text/plain")), before);
}

#[test]
fn strangers_other_hosts_and_broken_requests_get_no_numbers() {
    let set = Set::new();
    let config = configuration(&set, "allow = [\"127.0.0.1\"]\nnames = [\"guard.internal\"]");
    let mut guard = Guard::start(&set, &config);
    let at = outlet(&guard);
    let status = |request: &str| ask(at, request).lines().next().unwrap_or_default().to_owned();
    let with_host = |host: &str| status(&format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(with_host("guard.internal:9464"), "HTTP/1.1 200 OK");
    assert_eq!(with_host("evil.test"), "HTTP/1.1 421 Misdirected Request");
    assert_eq!(status("GET /metrics HTTP/1.0\r\n\r\n"), "HTTP/1.0 421 Misdirected Request");
    assert_eq!(
        status(&format!("GET /other HTTP/1.1\r\nHost: {at}\r\n\r\n")),
        "HTTP/1.1 404 Not Found"
    );
    assert_eq!(
        status(&format!("POST /metrics HTTP/1.1\r\nHost: {at}\r\nContent-Length: 0\r\n\r\n")),
        "HTTP/1.1 405 Method Not Allowed"
    );
    let long = format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert!(!status(&long).contains("200"));
    let many = format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert!(!status(&many).contains("200"));
    // Another address of this machine is not in allow.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
    socket.connect(&at.into()).unwrap();
    let mut stranger = TcpStream::from(socket);
    drop(stranger.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes()));
    let mut heard = Vec::new();
    drop(stranger.read_to_end(&mut heard));
    assert!(heard.is_empty(), "a stranger reads along");
    // Whoever says nothing is cut, and nobody waits for it.
    let mut silent = TcpStream::connect(at).unwrap();
    assert_eq!(with_host("localhost"), "HTTP/1.1 200 OK");
    silent.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    silent.read_to_end(&mut heard).unwrap();
    guard.stop();
}

#[test]
fn the_bind_policy_holds_for_the_numbers_too() {
    let set = Set::new();
    let config = configuration(&set, "")
        .replace("listen = \"127.0.0.1:0\"\n\n", "listen = \"0.0.0.0:9464\"\n\n");
    let file = set.write("doorward.toml", config.as_bytes());
    for verb in ["check", "serve"] {
        let (code, out, err) =
            said(&doorward(Path::new("."), &[verb, "--config", file.to_str().unwrap()]));
        assert!(code == 3 && format!("{out}{err}").contains("bind.outside-scope"), "{out}{err}");
    }
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = config.replace("0.0.0.0:9464", &held.local_addr().unwrap().to_string());
    let file = set.write("doorward.toml", taken.as_bytes());
    let (code, _, err) =
        said(&doorward(Path::new("."), &["serve", "--config", file.to_str().unwrap()]));
    assert!(code == 4 && err.contains("bind.in-use"), "{err}");
}

/// The names of all metrics on a page.
fn names(page: &str) -> BTreeSet<String> {
    let name = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
    page.lines().filter(|line| !line.starts_with('#')).map(name).collect()
}

/// Every word that looks like a metric.
fn mentioned(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("doorward_")).map(str::to_owned).collect()
}

fn manual(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    let text = fs::read_to_string(&path).unwrap();
    (path, text)
}

/// What the dashboard asks for, with its variables filled in.
fn expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&manual("grafana.json").1).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let filled = |text: &str| {
        ["$job", "$instance", "$service"].iter().fold(
            text.replace("$__rate_interval", "5s").replace("$__range", "1h"),
            |text, variable| text.replace(variable, ".*"),
        )
    };
    let found: Vec<_> = targets.map(|target| filled(target["expr"].as_str().unwrap())).collect();
    assert!(found.len() > 12);
    found
}

#[test]
fn the_manual_the_dashboard_and_the_alerts_name_what_is_there() {
    let set = Set::new();
    let guard = Guard::start(&set, &configuration(&set, ""));
    let there = names(&page(outlet(&guard), "text/plain"));
    let manual_rows: BTreeSet<_> = mentioned(&manual("metrics.md").1);
    for name in &there {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let family = family.unwrap_or(name);
        assert!(manual_rows.contains(family), "docs/metrics.md has no row for {family}");
    }
    let asked = expressions().join("\n") + &manual("alerts.yml").1;
    for name in mentioned(&asked) {
        assert!(there.contains(&name), "nothing is called {name}");
    }
    for name in manual_rows {
        assert!(there.iter().any(|there| there.starts_with(&name)), "nothing is called {name}");
    }
}

fn promtool(args: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn promtool_finds_nothing_wrong_in_the_page_and_the_alerts() {
    if !has("promtool") {
        return;
    }
    let set = Set::new();
    let guard = Guard::start(&set, &configuration(&set, ""));
    block_on(visit(&set, guard.address()));
    let text = page(outlet(&guard), "text/plain");
    assert_eq!(promtool(&["check", "metrics"], &text), (true, String::new()));
    let broken = promtool(&["check", "metrics"], &text.replacen("counter", "conuter", 1));
    assert!(!broken.0, "promtool is awake");
    let alerts = manual("alerts.yml").0.display().to_string();
    let (good, said) = promtool(&["check", "rules", &alerts], "");
    assert!(good && said.contains("10 rules found"), "{said}");
}

/// A Prometheus of the test's own. It ends with the test.
struct Prometheus {
    child: Child,
    at: SocketAddr,
}

impl Prometheus {
    fn start(set: &Set, target: SocketAddr) -> Self {
        let alerts = manual("alerts.yml").0.display().to_string();
        let config = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n\
             rule_files: [{alerts:?}]\n\
             scrape_configs: [{{job_name: doorward, static_configs: [{{targets: [\"{target}\"]}}]}}]\n"
        );
        let file = set.write("prometheus.yml", config.as_bytes());
        // It cannot be asked which port it chose, so it gets one on an address that no other test uses.
        let at = TcpListener::bind("127.0.78.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", set.path("tsdb").display()))
            .arg(format!("--web.listen-address={at}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, at }
    }

    /// What its API answers; none while it starts.
    fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.at).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.at);
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    fn query(&self, expression: &str) -> Option<Value> {
        let query = expression
            .bytes()
            .fold("/api/v1/query?query=".to_owned(), |query, byte| query + &format!("%{byte:02X}"));
        self.ask(&query)
    }

    /// Asks until it knows an answer.
    fn value(&self, expression: &str) -> String {
        for _ in 0..600 {
            let answer = self.query(expression).unwrap_or_default();
            if let Some(value) = answer["data"]["result"][0]["value"][1].as_str() {
                return value.to_owned();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no answer to {expression}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Only the process this test started.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_real_prometheus_scrapes_it_and_understands_dashboard_and_alerts() {
    if !has("prometheus") {
        return;
    }
    let set = Set::new();
    let guard = Guard::start(&set, &configuration(&set, ""));
    block_on(visit(&set, guard.address()));
    let prometheus = Prometheus::start(&set, outlet(&guard));
    assert_eq!(prometheus.value("doorward_permitted_total{service=\"echo\"} > 0"), "1");
    assert_eq!(prometheus.value("up{job=\"doorward\"}"), "1");
    let days = prometheus.value("min(doorward_valid_until_timestamp_seconds - time()) / 86400");
    assert!(days.parse::<f64>().unwrap() > 0.5, "{days}");
    assert_eq!(prometheus.value("doorward_refused_total{code=\"handshake.no-certificate\"}"), "1");
    let targets = prometheus.ask("/api/v1/targets").unwrap();
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");
    for expression in expressions() {
        let answer = prometheus.query(&expression).unwrap();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
    }
    let rules = prometheus.ask("/api/v1/rules").unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), 10);
    assert!(rules.iter().all(|rule| rule["health"] != "err"), "{rules:?}");
    // It asks for OpenMetrics first; the other format has been checked by promtool.
    let metadata = prometheus.ask("/api/v1/targets/metadata?metric=doorward_build_info").unwrap();
    let metadata = metadata.to_string()
        + &prometheus.ask("/api/v1/metadata?metric=doorward_build").unwrap().to_string();
    assert!(metadata.contains("info"), "{metadata}");
}

#[test]
fn openmetrics_is_written_to_who_asks_for_it() {
    let set = Set::new();
    let guard = Guard::start(&set, &configuration(&set, ""));
    let at = outlet(&guard);
    let answer = get(
        at,
        "/metrics",
        "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n",
    );
    let lower = answer.to_ascii_lowercase();
    for header in [
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'",
    ] {
        assert!(lower.contains(header), "{answer}");
    }
    assert!(answer.ends_with("# EOF\n"));
    assert!(!page(at, "text/plain").contains("# EOF"));
    assert_eq!(names(&page(at, "text/plain")), names(&page(at, "application/openmetrics-text")));
}

#[tokio::test]
async fn the_last_hour_is_remembered_in_samples() {
    let set = Set::new();
    let hall = Hall::of(&configuration(&set, ""));
    let audit = hall.audit();
    // Unless the server has begun already.
    audit.remember(std::time::SystemTime::now(), std::time::Instant::now());
    visit(&set, hall.address("echo")).await;
    let later = std::time::Instant::now() + Duration::from_secs(11);
    while audit.totals().refused.is_empty() {
        tokio::task::yield_now().await;
    }
    audit.remember(std::time::SystemTime::now(), later);
    let history = audit.history();
    let sum = |of: fn(&doorward::metrics::Sample) -> u64| history.iter().map(of).sum::<u64>();
    assert_eq!(sum(|sample| sample.permitted), 1, "{history:?}");
    assert_eq!((sum(|sample| sample.refused[2]), sum(|sample| sample.handshakes)), (1, 1));
    assert!(history.iter().any(|sample| sample.median.is_some_and(|micros| micros > 0)));
}

//! The status page: who may look, and what a browser makes of it, also of what an attacker put into it.

mod browser;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use doorward::pki::RawName;
use doorward::refusal::Refusal;
use serde_json::{Value, json};

use crate::cli::{Guard, block_on, doorward, said};
use crate::support::{ALICE, Set, Visitor, has, prefixed};
use browser::{Browser, ENTER, TAB};

fn configuration(set: &Set) -> String {
    format!("[status]\nlisten = \"127.0.0.1:0\"\n{}{ALICE}", set.tables(""))
}

/// Where the page is, and its token.
fn page(guard: &Guard) -> (SocketAddr, String) {
    let line = guard.report().iter().find(|line| line.trim().starts_with("status ")).unwrap();
    let (at, token) = line.split("http://").nth(1).unwrap().split_once("/#").unwrap();
    (at.parse().unwrap(), token.to_owned())
}

fn whole_address(guard: &Guard) -> String {
    let (at, token) = page(guard);
    format!("http://{at}/#{token}")
}

/// Sends these bytes; gives back the head of the answer and the rest.
fn ask(at: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    drop(stream.write_all(request.as_bytes()));
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

fn get(at: SocketAddr, path: &str, headers: &str) -> (String, String) {
    ask(at, &format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n{headers}\r\n"))
}

#[test]
fn only_who_has_the_token_learns_what_is_going_on() {
    let set = Set::new();
    let mut guard = Guard::start(&set, &configuration(&set));
    let (at, token) = page(&guard);
    block_on(async {
        let alice = Visitor::new(&set, Some(&set.client("alice")));
        alice.say(guard.address(), &prefixed(b"hi")).await.unwrap();
        drop(Visitor::new(&set, None).say(guard.address(), b"").await);
    });
    assert_eq!(token.len(), 64);
    let status = |headers: &str| get(at, "/state", headers).0.lines().next().unwrap().to_owned();
    let wrong = token.replace(|c: char| c.is_ascii_digit(), "a");
    for headers in ["", "Authorization: Bearer \r\n", &format!("Authorization: Bearer {wrong}\r\n")]
    {
        assert_eq!(status(headers), "HTTP/1.1 401 Unauthorized", "{headers}");
    }
    let basic = format!("Authorization: Basic {token}\r\nCookie: token={token}\r\n");
    assert_eq!(status(&basic), "HTTP/1.1 401 Unauthorized");
    // Not in the address either, which ends in logs and histories.
    assert!(get(at, &format!("/state?token={token}"), "").0.starts_with("HTTP/1.1 401"));
    let locked = get(at, "/state", "").1;
    assert!(!locked.contains("alice") && locked.contains("printed at start"), "{locked}");
    let (head, body) = get(at, "/state", &format!("Authorization: Bearer {token}\r\n"));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let state: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(state["status"]["refused"]["handshake.no-certificate"], 1);
    assert_eq!(state["status"]["arrived"][0]["name"], "dns:alice.client.internal");
    assert!(state["history"].is_array());
    // Another start has another token.
    guard.stop();
    let again = Guard::start(&set, &configuration(&set));
    assert_ne!(page(&again).1, token);
}

#[test]
fn other_hosts_and_broken_requests_get_nothing() {
    let set = Set::new();
    let guard = Guard::start(&set, &configuration(&set));
    let (at, token) = page(&guard);
    let token = format!("Authorization: Bearer {token}\r\n");
    let status = |request: &str| ask(at, request).0.lines().next().unwrap_or_default().to_owned();
    // A page elsewhere whose name was made to point here, as DNS rebinding does it, even with the token.
    let rebound = format!("GET /state HTTP/1.1\r\nHost: evil.test\r\n{token}\r\n");
    assert_eq!(status(&rebound), "HTTP/1.1 421 Misdirected Request");
    let changing =
        format!("POST /state HTTP/1.1\r\nHost: {at}\r\n{token}Content-Length: 0\r\n\r\n");
    assert_eq!(status(&changing), "HTTP/1.1 405 Method Not Allowed");
    let long =
        format!("GET /state HTTP/1.1\r\nHost: {at}\r\n{token}X: {}\r\n\r\n", "x".repeat(100_000));
    assert!(!status(&long).contains("200"));
    assert!(get(at, "/../state", &token).0.starts_with("HTTP/1.1 404"));
    for path in ["/", "/page.js", "/page.css", "/reasons"] {
        let (head, body) = get(at, path, "");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "x-frame-options: DENY",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "cache-control: no-store",
        ] {
            assert!(head.contains(header), "{path} lacks {header}: {head}");
        }
        assert!(!head.contains("access-control"), "{head}");
        let own = body.replace("http://www.w3.org/2000/svg", "");
        assert!(!own.contains("://") && !own.contains("innerHTML"), "{path} asks for something");
    }
    let reasons: Value = serde_json::from_str(&get(at, "/reasons", "").1).unwrap();
    let codes: Vec<_> = reasons.as_array().unwrap().iter().map(|reason| &reason["code"]).collect();
    assert_eq!(codes, Refusal::ALL.iter().map(|refusal| refusal.code()).collect::<Vec<_>>());
}

#[test]
fn the_bind_policy_holds_for_the_page_too() {
    let set = Set::new();
    let config = configuration(&set).replace("127.0.0.1:0\"\n[", "0.0.0.0:9443\"\n[");
    let file = set.write("doorward.toml", config.as_bytes());
    for verb in ["check", "serve"] {
        let (code, out, err) =
            said(&doorward(&set.path(""), &[verb, "--config", file.to_str().unwrap()]));
        assert!(code == 3 && format!("{out}{err}").contains("bind.outside-scope"), "{out}{err}");
    }
}

/// What a test with a browser needs.
fn can_browse() -> bool {
    has("chromedriver") && has("chromium")
}

#[test]
fn a_browser_shows_a_refused_visitor_within_a_second_at_the_right_room() {
    if !can_browse() {
        return;
    }
    let set = Set::new();
    let guard = Guard::start(&set, &configuration(&set));
    let browser = Browser::open();
    browser.visit(&whole_address(&guard));
    browser.until("!document.getElementById('main').hidden");
    // The token is neither in the address any more, nor in the history.
    assert_eq!(browser.run("return location.hash"), "");
    assert_eq!(browser.run("return document.querySelectorAll('#hall li').length"), 7);
    let mallory = set.sign(&set.draft("mallory"));
    let mut soon = false;
    // Where the machine is busy one may come late, but not each of five.
    for visit in 1..=5 {
        block_on(async {
            let mallory = Visitor::new(&set, Some(&mallory));
            drop(mallory.say(guard.address(), &prefixed(b"hi")).await);
        });
        let shown = format!("document.querySelector('#visits li[data-visit=\"{visit}\"]')");
        let late = browser.until(&format!(
            "{shown} && [Date.now() - Date.parse({shown}.querySelector('time').dateTime)]"
        ));
        soon |= late[0].as_f64().unwrap() < 1000.0;
        let told = browser.run(&format!(
            "const item = {shown}; return [item.dataset.code, item.querySelector('.walk').getAttribute('aria-label'), item.querySelector('.walk').textContent]"
        ));
        assert_eq!(told, json!(["identity.not-permitted", "stopped at identity", "✓✓✓✗··"]));
    }
    assert!(soon, "no refusal was shown within a second");
    let room = "document.querySelector('#room-identity .count').textContent";
    assert_eq!(browser.until(&format!("{room} === '✗ 5' && {room}")), "✗ 5");
    let news = "document.getElementById('news').textContent";
    let news = browser.until(&format!("{news}.includes('identity') && {news}"));
    assert!(news.as_str().unwrap().contains("was stopped at identity"), "{news}");
    block_on(async {
        let alice = Visitor::new(&set, Some(&set.client("alice")));
        let mut inside = alice.enter(guard.address()).await.unwrap();
        crate::reload::alive(&mut inside).await;
        let row = "document.querySelector('#sessions tbody').textContent";
        browser.until(&format!("{row}.includes('dns:alice.client.internal (1)')"));
        browser.until("document.querySelector('#room-inside .count').textContent === '✓ 1'");
    });
    assert_eq!(browser.complaints(), json!([]));
}

#[test]
fn what_an_attacker_writes_into_a_certificate_stays_text() {
    if !can_browse() {
        return;
    }
    let set = Set::new();
    let guard = Guard::start(&set, &configuration(&set));
    let browser = Browser::open();
    browser.visit(&whole_address(&guard));
    let markup = "<img src=x onerror=\"window.owned=1\"><script>owned=1</script>";
    let names = [RawName::Uri(format!("a:{markup}").into_bytes())];
    let hostile = set.sign(&set.draft("mallory").names(&names).common_name(markup.as_bytes()));
    block_on(async {
        let hostile = Visitor::new(&set, Some(&hostile));
        drop(hostile.say(guard.address(), &prefixed(b"hi")).await);
    });
    browser.until("document.querySelector('#visits li')");
    browser.run("document.querySelector('#visits summary').click()");
    let seen = browser.run("return document.querySelector('#visits').textContent");
    assert!(seen.as_str().unwrap().contains("<img src=x"), "{seen}");
    let drawn = "return [document.querySelectorAll('#visits img, #visits script').length, typeof window.owned]";
    assert_eq!(browser.run(drawn), json!([0, "undefined"]));
    // And were it drawn as markup, the policy of the page would not let it run.
    browser.run(&format!("document.body.insertAdjacentHTML('beforeend', {})", json!(markup)));
    browser.until("document.querySelector('body > img')");
    let blocked = browser.complaints();
    assert!(blocked.to_string().contains("Content Security Policy"), "{blocked}");
    assert_eq!(browser.run("return typeof window.owned"), "undefined");
}

#[test]
fn a_browser_without_the_token_is_asked_for_it() {
    if !can_browse() {
        return;
    }
    let set = Set::new();
    let mut guard = Guard::start(&set, &configuration(&set));
    let (at, token) = page(&guard);
    let browser = Browser::open();
    browser.visit(&format!("http://{at}/"));
    browser.until("!document.getElementById('ask').hidden");
    assert_eq!(browser.run("return document.getElementById('main').hidden"), true);
    browser.press(&format!("wrong{ENTER}"));
    browser.until("document.getElementById('wrong').textContent.includes('not the token')");
    browser.press(&format!("{token}{ENTER}"));
    browser.until("!document.getElementById('main').hidden");
    // Loaded again it is still known in this tab; a server that is gone is told.
    browser.visit(&format!("http://{at}/"));
    browser.until("!document.getElementById('main').hidden");
    guard.stop();
    browser.until("document.getElementById('state').textContent.includes('No answer')");
}

#[test]
fn keyboard_screen_reader_light_and_dark() {
    if !can_browse() {
        return;
    }
    let set = Set::new();
    let guard = Guard::start(&set, &configuration(&set));
    block_on(async {
        drop(Visitor::new(&set, None).say(guard.address(), b"").await);
    });
    let browser = Browser::open();
    browser.visit(&whole_address(&guard));
    browser.until("document.querySelector('#visits li')");
    let mut steps = 0;
    while browser.run("return document.activeElement.tagName") != "SUMMARY" {
        browser.press(TAB);
        steps += 1;
        assert!(steps < 10, "a visitor is not reached by keyboard");
    }
    browser.press(ENTER);
    browser.until("document.querySelector('#visits details').open");
    let told = browser.run("return document.querySelector('#visits dl').textContent");
    assert!(told.as_str().unwrap().contains("doorward explain handshake.no-certificate"), "{told}");
    browser.devtools("Accessibility.enable", &json!({}));
    let tree = browser.devtools("Accessibility.getFullAXTree", &json!({}));
    let named: Vec<String> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| format!("{} {}", node["role"]["value"], node["name"]["value"]))
        .collect();
    for expected in [
        "\"heading\" \"The hallway\"",
        "\"image\" \"stopped at handshake\"",
        "\"image\" \"Refusals: ",
        "\"image\" \"Latency: ",
        "\"status\" ",
        "\"region\" \"Bans\"",
    ] {
        assert!(named.iter().any(|node| node.starts_with(expected)), "no {expected}: {named:?}");
    }
    let mut papers = Vec::new();
    for scheme in ["light", "dark"] {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.devtools("Emulation.setEmulatedMedia", &media);
        let worst = browser.run(CONTRAST);
        assert!(
            worst[0].as_f64().unwrap() >= 4.5,
            "{scheme}: {worst} is hard to read (WCAG 2.2, 1.4.3)"
        );
        papers.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(papers[0], papers[1]);
}

/// The lowest contrast of a text on its background (WCAG 2.2), and which text that is.
const CONTRAST: &str = r"
    const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = (colour) => parts(colour).slice(0, 3).map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const behind = (element) => {
        for (let one = element; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (parts(colour)[3] !== 0) return colour;
        }
    };
    let worst = [99, ''];
    for (const element of document.querySelectorAll('main *, header *')) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !element.checkVisibility()) continue;
        const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 200)];
    }
    return worst;";

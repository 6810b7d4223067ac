//! A page for programs and people of the operator: the smallest HTTP there can be, and everything in it bounded.
//!
//! One request a connection, GET or HEAD, no body. Whoever comes from elsewhere than it may, or asks for another host than
//! this one, is refused before anything is answered.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    HeaderName, HeaderValue, REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::address::AddressGate;
use crate::backoff::Backoff;
use crate::peer::PeerAddr;

/// Who may read a page, and under which names it is known.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    /// From where.
    pub(crate) allow: Arc<AddressGate>,
    /// Names in the Host header that are this page's, besides addresses and `localhost`. Without this check, a web page
    /// that a reader visits could have its own name lead here, and read on.
    pub(crate) names: Arc<[String]>,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// The formats that the reader takes; empty where it does not say.
    pub(crate) accept: String,
    /// The token that the reader shows, if any.
    pub(crate) token: Option<String>,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What it is, and its text.
    Page(&'static str, String),
    /// There is no such page.
    Missing,
    /// It is not for this reader, for the want of a token.
    Locked,
}

/// Answers on a socket until it is dropped.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    readers: Readers,
    answer: impl Fn(Asked) -> F + Send + Sync + 'static,
) where
    F: Future<Output = Answer> + Send,
{
    let answer = Arc::new(answer);
    let seats = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let mut backoff = Backoff::new(SHORTEST_WAIT, LONGEST_WAIT);
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(reader) => reader,
            Err(error) => {
                tracing::debug!(%error, "a page cannot be asked for now");
                sleep(backoff.next_wait()).await;
                continue;
            }
        };
        backoff.reset();
        if let Err(refused) = readers.allow.judge(PeerAddr::new(from)) {
            // Strangers would fill the log.
            tracing::debug!(%from, %refused, "a page is not for this address");
            continue;
        }
        let (answer, names) = (Arc::clone(&answer), Arc::clone(&readers.names));
        tokio::spawn(async move {
            // Whoever takes too long has had its turn.
            drop(timeout(DEADLINE, converse(stream, &names, &*answer)).await);
            drop(seat);
        });
    }
}

async fn converse<F: Future<Output = Answer>>(
    stream: TcpStream,
    names: &[String],
    answer: &impl Fn(Asked) -> F,
) {
    let reply = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(respond(&request, names, answer).await)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .max_buf_size(LONGEST_HEADER)
        .max_headers(MOST_HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), reply);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a page was not asked for properly");
    }
}

async fn respond<B, F: Future<Output = Answer>>(
    request: &Request<B>,
    names: &[String],
    answer: &impl Fn(Asked) -> F,
) -> Response<Full<Bytes>> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if !header(HOST).is_some_and(|host| is_ours(host, names)) {
        let why = "this page is not known under that host; add its name to names of its table\n";
        return page(StatusCode::MISDIRECTED_REQUEST, PLAIN, why.to_owned());
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response =
            page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let asked = Asked {
        path: request.uri().path().to_owned(),
        accept: header(ACCEPT).unwrap_or_default().to_owned(),
        token: header(AUTHORIZATION).and_then(|text| text.strip_prefix(BEARER)).map(str::to_owned),
    };
    match answer(asked).await {
        Answer::Page(kind, text) => page(StatusCode::OK, kind, text),
        Answer::Missing => page(StatusCode::NOT_FOUND, PLAIN, "there is no such page\n".to_owned()),
        Answer::Locked => {
            let why = "the token is missing or not this server's; it is in the line that was printed at start\n";
            let mut response = page(StatusCode::UNAUTHORIZED, PLAIN, why.to_owned());
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
    }
}

fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(OWN_FILES_ONLY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    let own = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(own, HeaderValue::from_static("same-origin"));
    response
}

/// Whether a Host header can mean this server: an address, `localhost`, or a name it is known by.
fn is_ours(host: &str, names: &[String]) -> bool {
    let is_address = |text: &str| {
        let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        bracketed.map_or(text.parse::<IpAddr>().is_ok(), |text| text.parse::<Ipv6Addr>().is_ok())
    };
    if is_address(host) {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        Some(_) => return false,
        None => host,
    };
    is_address(name)
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// A page may load its own script and style and ask its own server, and nothing else may happen in it or around it.
const OWN_FILES_ONLY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// RFC 6750, 2.1.
const BEARER: &str = "Bearer ";
const PLAIN: &str = "text/plain; charset=utf-8";
/// A few collectors of numbers, and a person.
const MOST_AT_ONCE: usize = 16;
/// A request and its answer take milliseconds; a slow link takes seconds.
const DEADLINE: Duration = Duration::from_secs(10);
const HEADER_DEADLINE: Duration = Duration::from_secs(5);
/// The least that the library takes; a request of Prometheus has 300 bytes.
const LONGEST_HEADER: usize = 8 * 1024;
const MOST_HEADERS: usize = 32;
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// How many descriptors a page takes at the most.
pub(crate) const DESCRIPTORS: usize = MOST_AT_ONCE + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_localhost_and_own_names_are_ours() {
        let names = ["guard.internal".to_owned()];
        let ours = [
            "127.0.0.1",
            "127.0.0.1:9464",
            "[::1]:9464",
            "[::1]",
            "::1",
            "localhost",
            "LocalHost:1",
            "guard.internal:9464",
        ];
        for host in ours {
            assert!(is_ours(host, &names), "{host}");
        }
        let foreign = [
            "",
            "evil.test",
            "evil.test:9464",
            "localhost.evil.test",
            "127.0.0.1.evil.test",
            "127.0.0.1:x",
            "guard.internal:",
            "[guard.internal]",
            "localhost:99999",
            "@localhost",
            "localhost ",
        ];
        for host in foreign {
            assert!(!is_ours(host, &names), "{host}");
        }
    }

    #[test]
    fn what_is_not_asked_for_properly_is_refused() {
        let answer = |asked: Asked| async move {
            match (asked.path.as_str(), asked.token.as_deref()) {
                ("/x", _) | ("/locked", Some("key")) => Answer::Page("text/plain", "y".to_owned()),
                ("/locked", _) => Answer::Locked,
                _ => Answer::Missing,
            }
        };
        let ask = |request: hyper::http::request::Builder| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let request = request.body(()).unwrap();
            runtime.block_on(respond(&request, &[], &answer)).status().as_u16()
        };
        let status = |method: &str, path: &str, host: Option<&str>| {
            let request = Request::builder().method(method).uri(path);
            ask(host.into_iter().fold(request, |request, host| request.header("host", host)))
        };
        let locked = |token: &str| {
            let request = Request::builder().uri("/locked").header("host", "localhost");
            ask(request.header("authorization", token))
        };
        assert_eq!((locked("Bearer key"), locked("Bearer KEY"), locked("key")), (200, 401, 401));
        assert_eq!(status("GET", "/x", Some("localhost")), 200);
        assert_eq!(status("HEAD", "/x", Some("127.0.0.1")), 200);
        assert_eq!(status("GET", "/y", Some("localhost")), 404);
        assert_eq!(status("POST", "/x", Some("localhost")), 405);
        assert_eq!(status("GET", "/x", Some("evil.test")), 421);
        assert_eq!(status("GET", "/x", None), 421);
    }
}

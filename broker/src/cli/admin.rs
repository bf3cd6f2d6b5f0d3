//! The command line's side of the admin endpoint: fetches the ledger's page over HTTP.
//!
//! One GET per question, on a connection of its own, with a bound on what is read. Nothing else of
//! HTTP is needed, so that no client library is.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use super::error::{CliError, Result};
use super::limits::ADMIN_ANSWER_BYTES_MAX;
use super::options::Server;
use crate::edge::ledger_page::LedgerPage;

/// An admin endpoint, as `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminUrl(Server);

impl FromStr for AdminUrl {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let server = rest.strip_suffix('/').unwrap_or(rest).parse();
        server.map(Self).map_err(|_| {
            format!("`{text}` is no admin endpoint; write http://HOST:PORT, like the ready line's")
        })
    }
}

impl std::fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

impl AdminUrl {
    /// The ledger, with the buckets of its histograms.
    pub fn ledger(&self, timeout: Duration) -> Result<LedgerPage> {
        let answer = self.get("/ledger?buckets=1", timeout).map_err(|error| {
            CliError::failed(format!(
                "{self}: {error}; --admin-url must be the admin= of the broker's ready line"
            ))
        })?;
        serde_json::from_slice(&answer)
            .map_err(|error| CliError::failed(format!("{self}/ledger: not a ledger: {error}")))
    }

    fn get(&self, path: &str, timeout: Duration) -> std::result::Result<Vec<u8>, String> {
        let told = |error: std::io::Error| error.to_string();
        let address = (self.0.host.as_str(), self.0.port);
        let mut addresses = address.to_socket_addrs().map_err(told)?;
        let address = addresses.next().ok_or("the host has no address")?;
        let mut stream = TcpStream::connect_timeout(&address, timeout).map_err(told)?;
        stream.set_read_timeout(Some(timeout)).map_err(told)?;
        let host = &self.0;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(told)?;
        let mut answer = Vec::new();
        stream.take(ADMIN_ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(told)?;
        body(answer)
    }
}

/// The body of a good answer.
fn body(mut answer: Vec<u8>) -> std::result::Result<Vec<u8>, String> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("not an HTTP answer")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap_or("no status");
    if status != "200" {
        return Err(format!("it answers {status}"));
    }
    let body = answer.split_off(end + 4);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            value.trim().parse::<usize>().ok()
        } else {
            None
        }
    });
    match length {
        Some(length) if length == body.len() => Ok(body),
        Some(_) => Err("its answer was cut".to_owned()),
        None => Err("its answer has no length".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read_with_and_without_a_scheme() {
        for text in ["http://127.0.0.1:9644", "127.0.0.1:9644", "http://127.0.0.1:9644/"] {
            let url: AdminUrl = text.parse().expect(text);
            assert_eq!(url.to_string(), "http://127.0.0.1:9644");
        }
        for text in ["", "https://a:1", "http://a", "9644"] {
            assert!(text.parse::<AdminUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_cut_or_refused_answer_is_an_error() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_vec();
        assert_eq!(body(good.clone()), Ok(b"{}".to_vec()));
        assert!(body(good[..good.len() - 1].to_vec()).is_err());
        let refused = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
        assert_eq!(body(refused), Err("it answers 404".to_owned()));
        assert!(body(b"SSH-2.0".to_vec()).is_err());
    }
}

//! How to reach a cluster: the options every command shares that speaks the wire.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A broker's address as a user writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port, not 0.
    pub port: u16,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no server; write HOST:PORT, like 127.0.0.1:9092");
        let (host, port) = match text.strip_prefix('[') {
            // IPv6 in brackets.
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
                (host, rest.strip_prefix(':').ok_or_else(wrong)?)
            }
            None => text.split_once(':').ok_or_else(wrong)?,
        };
        let port = port.parse::<u16>().ok().filter(|&port| port > 0).ok_or_else(wrong)?;
        if host.is_empty() || host.chars().any(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where the cluster is and how long to wait for it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub struct Connect {
    /// Brokers to ask first, with commas between; any one that answers is enough
    #[arg(
        long,
        short = 'b',
        env = "CORELANE_BOOTSTRAP",
        default_value = "127.0.0.1:9092",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub bootstrap: Vec<Server>,
    /// How long one connection attempt may take
    #[arg(long, default_value_t = 5_000, value_name = "MS", value_parser = milliseconds)]
    pub connect_timeout_ms: u32,
    /// How long one operation may take, retries included
    #[arg(long, default_value_t = 30_000, value_name = "MS", value_parser = milliseconds)]
    pub timeout_ms: u32,
}

/// Milliseconds that fit the fields of requests.
pub fn milliseconds(text: &str) -> Result<u32, String> {
    let number = text.parse::<u32>().ok().filter(|&ms| ms > 0 && i32::try_from(ms).is_ok());
    number.ok_or_else(|| format!("write milliseconds from 1 to {}", i32::MAX))
}

impl Connect {
    /// Bound of one connection attempt.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms.into())
    }

    /// Bound of one operation.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.into())
    }

    /// The same for the field of a request.
    pub fn request_timeout_ms(&self) -> i32 {
        i32::try_from(self.timeout_ms).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_read_and_print() {
        for text in ["localhost:9092", "10.0.0.1:1", "[::1]:65535"] {
            assert_eq!(
                text.parse::<Server>().map(|server| server.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in
            ["", "localhost", ":9092", "a:", "a:0", "a:65536", "::1:9092", "[::1]9092", "a b:1"]
        {
            assert!(text.parse::<Server>().is_err_and(|why| why.contains("HOST:PORT")), "{text}");
        }
    }
}

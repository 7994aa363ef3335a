//! `tieout healthcheck`: asks a running server whether it is alive; for containers without any other client.
//!
//! A few lines of HTTP/1.1 on a plain socket. Easy to get wrong: it must end, whatever the other side does; one
//! deadline covers connecting, asking and reading.
use crate::config::{Config, Overrides};
use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Time for the whole question.
const WITHIN: Duration = Duration::from_secs(3);
/// Longest answer that is looked at.
const MAX_ANSWER: u64 = 64 * 1024;

/// Whom to ask.
#[derive(clap::Args, Debug)]
pub struct HealthcheckArgs {
    /// Full address to ask, such as http://127.0.0.1:2000/api/ready; by default the health of the server that TIEOUT_LISTEN
    /// describes
    #[arg(long)]
    url: Option<String>,
}

/// 0 when the answer is 200, else 1 and the reason on standard error.
pub fn run(arguments: &HealthcheckArgs) -> ExitCode {
    match target(arguments.url.as_deref())
        .and_then(|(address, path)| ask(&address, &path).map_err(|e| format!("{address}{path}: {e}")))
    {
        Ok(200) => ExitCode::SUCCESS,
        Ok(status) => fail(&format!("answered {status}")),
        Err(reason) => fail(&reason),
    }
}

fn fail(reason: &str) -> ExitCode {
    super::output::complain(&format!("tieout: not healthy: {reason}"));
    ExitCode::FAILURE
}

/// Authority and path to ask.
fn target(url: Option<&str>) -> Result<(String, String), String> {
    let Some(url) = url else {
        let config = Config::load(&Overrides::default()).map_err(|error| error.to_string())?;
        return Ok((reachable(config.listen).to_string(), "/api/health".into()));
    };
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("{url:?} does not begin with http://"))?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = if path.is_empty() { "/api/health" } else { path };
    let authority = if authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    Ok((authority, path.into()))
}

/// A server on every address is asked over loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn ask(authority: &str, path: &str) -> io::Result<u16> {
    let deadline = Instant::now() + WITHIN;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let address = authority.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while !answer.contains(&b'\n') && (answer.len() as u64) < MAX_ANSWER {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut chunk)? {
            0 => break,
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.trim().parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "that is no HTTP answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_authority_and_path() {
        let of = |url| target(Some(url)).unwrap();
        assert_eq!(of("http://127.0.0.1:2000"), ("127.0.0.1:2000".into(), "/api/health".into()));
        assert_eq!(of("http://[::1]:1/api/ready"), ("[::1]:1".into(), "/api/ready".into()));
        assert_eq!(of("http://tieout/x"), ("tieout:80".into(), "/x".into()));
        assert!(target(Some("https://tieout")).is_err());
    }
}

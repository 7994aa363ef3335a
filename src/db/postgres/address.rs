//! A `database_url` of PostgreSQL, read and checked once.
//!
//! It leaves connecting to the connector. Two things are easy to get wrong: the driver knows no `sslmode=verify-full` and no
//! `sslrootcert`, so both are taken out here; and no message may show the password.
use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Where a PostgreSQL is and how its identity is checked. Shown without its password.
#[derive(Clone)]
pub struct Address {
    pub(super) config: Config,
    pub(super) trust: Trust,
}

/// Whom a TLS connection believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Anybody: encrypted, where it is encrypted, against listeners alone.
    Anybody,
    /// A server whose certificate one of these signed, for the name that was asked for.
    SignedBy(PathBuf),
}

/// Why a text is no address of a PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the database URL cannot be used: {0}")]
pub struct BadAddress(pub(super) String);

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(url: &str) -> Result<Self, BadAddress> {
        let bad = |reason: String| BadAddress(reason);
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(bad("it must begin with postgres://".into()));
        }
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let mut mode = None;
        let mut root = None;
        let mut others = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| bad(format!("the value of {name} is not UTF-8 when decoded")))?;
            match name {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => root = Some(PathBuf::from(value.into_owned())),
                _ => others.push(pair),
            }
        }
        let plain = if others.is_empty() { place.to_owned() } else { format!("{place}?{}", others.join("&")) };
        // The driver's messages name what is wrong with a part, never its value.
        let mut config: Config = plain.parse().map_err(|error| bad(super::super::error::with_sources(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(bad("it names no host".into()));
        }
        let (tls, trust) = match (mode.as_deref(), root) {
            (None, None) if config.get_hosts().iter().all(is_here) => (SslMode::Disable, Trust::Anybody),
            (Some("disable"), None) => (SslMode::Disable, Trust::Anybody),
            (None | Some("prefer"), None) => (SslMode::Prefer, Trust::Anybody),
            (Some("require"), None) => (SslMode::Require, Trust::Anybody),
            (Some("verify-full"), Some(root)) => (SslMode::Require, Trust::SignedBy(root)),
            (Some("verify-full"), None) => {
                let system = "/etc/ssl/certs/ca-certificates.crt";
                return Err(bad(format!("sslmode=verify-full needs sslrootcert=FILE, such as sslrootcert={system}")));
            }
            (None | Some("disable" | "prefer" | "require"), Some(_)) => {
                return Err(bad("sslrootcert is looked at with sslmode=verify-full alone".into()));
            }
            (Some(other), _) => {
                let known = "disable, prefer, require, verify-full";
                return Err(bad(format!("sslmode={other} is none of {known}")));
            }
        };
        config.ssl_mode(tls);
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // After a failover the old primary may still answer, read-only.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { config, trust })
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let ports = self.config.get_ports();
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
            let comma = if at > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().or(self.config.get_user()).unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address, String> {
        url.parse().map_err(|error: BadAddress| error.to_string())
    }

    #[test]
    fn it_is_shown_without_its_password() {
        let address = read("postgres://ana:se%40cret@db.example:6432/books?sslmode=require").unwrap();
        assert_eq!(address.to_string(), "postgres://db.example:6432/books");
        assert!(!format!("{address:?}").contains("cret"));
        for bad in
            ["postgres://ana:secret@db:none/books", "postgres://ana:secret@db/books?what=ever", "mysql://a:secret@h/d"]
        {
            let error = read(bad).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_connection_that_leaves_the_machine_is_encrypted_where_the_server_can() {
        let mode = |url| read(url).unwrap().config.get_ssl_mode();
        assert_eq!(mode("postgres://ana@localhost/books"), SslMode::Disable);
        assert_eq!(mode("postgres://ana@127.0.0.1/books"), SslMode::Disable);
        assert_eq!(mode("postgres://ana@%2Frun%2Fpostgresql/books"), SslMode::Disable);
        assert_eq!(mode("postgres://ana@db.example/books"), SslMode::Prefer);
        assert_eq!(mode("postgres://ana@localhost/books?sslmode=require"), SslMode::Require);
    }

    #[test]
    fn whom_to_trust_is_said_whole_or_refused() {
        let full =
            read("postgres://ana@db/books?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem&connect_timeout=3").unwrap();
        assert_eq!(full.trust, Trust::SignedBy("/etc/ca.pem".into()));
        assert_eq!(full.config.get_ssl_mode(), SslMode::Require);
        for (url, word) in [
            ("postgres://ana@db/books?sslmode=verify-full", "sslrootcert=FILE"),
            ("postgres://ana@db/books?sslrootcert=/etc/ca.pem", "verify-full alone"),
            ("postgres://ana@db/books?sslmode=allow", "none of disable"),
            ("postgres:///books", "host"),
        ] {
            let error = read(url).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}

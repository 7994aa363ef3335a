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
        // Parted at the wrong place, the rest of a password would be taken for a host and shown.
        let escape =
            "an `@`, `/`, `?` or `#` in the user's name or the password must be written as %40, %2F, %3F or %23";
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        let before_path = authority.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.matches('@').count() > 1 || authority.contains('@') && !before_path.contains('@') {
            return Err(bad(escape.into()));
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
        if config.get_hosts().len() > 1
            && !matches!(config.get_ports().len(), 0 | 1)
            && config.get_ports().len() != config.get_hosts().len()
        {
            return Err(bad("it has another number of ports than of hosts".into()));
        }
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

impl Address {
    /// One configuration a host, in the order in which they are tried.
    pub(super) fn hosts(&self) -> Vec<Config> {
        let all = &self.config;
        let (hosts, addresses, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
        let alone = |(at, host): (usize, &Host)| {
            let mut one = Config::new();
            match host {
                Host::Tcp(name) => one.host(name),
                Host::Unix(path) => one.host_path(path),
            };
            addresses.get(at).map(|address| one.hostaddr(*address));
            ports.get(at).or(ports.first()).map(|port| one.port(*port));
            all.get_user().map(|user| one.user(user));
            all.get_password().map(|password| one.password(password));
            all.get_dbname().map(|name| one.dbname(name));
            all.get_options().map(|options| one.options(options));
            all.get_application_name().map(|name| one.application_name(name));
            all.get_connect_timeout().map(|time| one.connect_timeout(*time));
            all.get_tcp_user_timeout().map(|time| one.tcp_user_timeout(*time));
            all.get_keepalives_interval().map(|time| one.keepalives_interval(time));
            all.get_keepalives_retries().map(|times| one.keepalives_retries(times));
            one.keepalives(all.get_keepalives()).keepalives_idle(all.get_keepalives_idle());
            one.ssl_mode(all.get_ssl_mode()).ssl_negotiation(all.get_ssl_negotiation());
            one.channel_binding(all.get_channel_binding()).target_session_attrs(all.get_target_session_attrs());
            one
        };
        hosts.iter().enumerate().map(alone).collect()
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
        for unescaped in ["se@cret", "se?cret", "se/cret", "se#cret", "@cret", "cret@"] {
            let error = read(&format!("postgres://ana:{unescaped}@db/books?sslmode=verify-full")).unwrap_err();
            assert!(error.contains("%40") && !error.contains("cret"), "{unescaped}: {error}");
        }
    }

    #[test]
    fn each_host_is_tried_by_itself_with_all_that_was_said() {
        let address = read("postgres://ana:s%40crt@one:1,two:2/books?sslmode=require&options=-c%20a%3Db").unwrap();
        let hosts = address.hosts();
        assert_eq!(hosts.iter().map(|host| host.get_ports()[0]).collect::<Vec<_>>(), [1, 2]);
        for host in hosts {
            assert_eq!((host.get_user(), host.get_dbname()), (Some("ana"), Some("books")));
            assert_eq!(host.get_password(), Some(&b"s@crt"[..]));
            assert_eq!((host.get_options(), host.get_ssl_mode()), (Some("-c a=b"), SslMode::Require));
            assert_eq!(host.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
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

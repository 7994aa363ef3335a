//! Where a Redis is, and how one gets in: what an address says, and a connection to it.
//!
//! Leaves what is said over the connection to `session` and `topology`. Easy to get wrong: an address holds a password;
//! only [`Server::name`], host and port, may be shown.
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    TlsCertificates,
    aio::{AsyncPushSender, MultiplexedConnection},
    io::tcp::TcpSettings,
};
use std::{fs, time::Duration};
use tokio::time::timeout;

/// A server and the way in.
#[derive(Clone)]
pub(in crate::cluster) struct Server {
    info: ConnectionInfo,
    /// PEM text of the authorities to trust in place of the system's.
    authorities: Option<Vec<u8>>,
}

impl Server {
    /// Reads `redis[s]://[user][:password@]host[:port][?sslrootcert=FILE]`. A database number is passed over: channels
    /// belong to a server, not to one of its databases.
    ///
    /// # Errors
    /// What is wrong, without a word of the address.
    pub(in crate::cluster) fn parse(url: &str) -> Result<Self, String> {
        let mut url = redis::parse_redis_url(url.trim())
            .filter(|url| ["redis", "rediss"].contains(&url.scheme()))
            .ok_or("expected redis://[user][:password@]host[:port], or rediss:// for TLS")?;
        if url.fragment().is_some() {
            return Err("what follows # is not understood; a certificate is always verified".into());
        }
        let mut file = None;
        for (key, value) in url.query_pairs() {
            match &*key {
                "sslrootcert" if url.scheme() == "rediss" => file = Some(value.into_owned()),
                "sslrootcert" => return Err("sslrootcert needs rediss://".into()),
                _ => return Err("after ? only sslrootcert=FILE is understood".into()),
            }
        }
        url.set_query(None);
        // Its errors name the part at fault and no text of it, now that there is no query.
        let info = url.into_connection_info().map_err(|error| error.to_string())?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_db(0);
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
        let authorities = match file {
            Some(path) => Some(fs::read(&path).map_err(|error| format!("cannot read sslrootcert {path}: {error}"))?),
            None => None,
        };
        let server = Self { info, authorities };
        server.client().map(|_| server).map_err(|error| format!("sslrootcert: {error}"))
    }

    /// Another node of the same cluster, with the same way in.
    pub(super) fn at(&self, host: &str, port: u16) -> Self {
        let addr = match self.info.addr() {
            ConnectionAddr::TcpTls { .. } => {
                ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host.to_owned(), port),
        };
        Self { info: self.info.clone().set_addr(addr), authorities: self.authorities.clone() }
    }

    /// Host and port, for people.
    pub(super) fn name(&self) -> String {
        self.info.addr().to_string()
    }

    /// The host alone.
    pub(super) fn host(&self) -> &str {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host,
            _ => "",
        }
    }

    /// A connection that has said hello. Commands on it take at most `within`; what the server says unasked goes to
    /// `pushed`, and so does the connection's end.
    ///
    /// # Errors
    /// Why there is none, within `within`.
    pub(super) async fn connect(
        &self,
        within: Duration,
        pushed: impl AsyncPushSender,
    ) -> Result<MultiplexedConnection, String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(within))
            .set_response_timeout(Some(within))
            .set_push_sender(pushed);
        let client = self.client().map_err(|error| error.to_string())?;
        // The name lookup, TLS and the hello are in this limit too.
        match timeout(within, client.get_multiplexed_async_connection_with_config(&config)).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(self.hint(error.to_string(), error.is_timeout())),
            Err(_) => Err(self.hint(format!("no connection within {within:?}"), true)),
        }
    }

    /// Why there is no connection, with what is likely behind it where TLS is spoken.
    fn hint(&self, reason: String, timed_out: bool) -> String {
        let tls = matches!(self.info.addr(), ConnectionAddr::TcpTls { .. });
        if tls && timed_out {
            return format!("{reason}: the TLS handshake was not answered; a server without TLS needs redis://");
        }
        // webpki's word for it.
        if tls && reason.contains("CaUsedAsEndEntity") {
            return format!(
                "{reason}: the server's certificate is that of a certificate authority (CA:TRUE), and cannot be a server's"
            );
        }
        reason
    }

    fn client(&self) -> redis::RedisResult<Client> {
        match &self.authorities {
            Some(pem) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) };
                Client::build_with_tls(self.info.clone(), certificates)
            }
            None => Client::open(self.info.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let server = Server::parse("redis://user:s3cret@redis.example:7000/3").unwrap();
        assert_eq!(server.name(), "redis.example:7000");
        assert_eq!((server.at("10.0.0.2", 7001).name(), server.host()), ("10.0.0.2:7001".into(), "redis.example"));
        assert_eq!(server.info.redis_settings().password(), Some("s3cret"));
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_it() {
        for (url, word) in [
            ("", "expected redis://"),
            ("s3cret", "expected redis://"),
            ("http://:s3cret@host", "expected redis://"),
            ("redis://:s3cret@", "expected redis://"),
            ("redis://:s3cret@host:99999", "expected redis://"),
            ("redis://:s3cret@host/?sslrootcert=/x", "needs rediss"),
            ("rediss://:s3cret@host/?sslrootcert=/none", "cannot read sslrootcert /none"),
            ("rediss://:s3cret@host/?verify=no", "only sslrootcert"),
            ("rediss://:s3cret@host/#insecure", "always verified"),
            ("redis://:s3cret@0.0.0.0", "wildcard"),
        ] {
            let reason = Server::parse(url).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert!(reason.contains(word) && !reason.contains("s3cret"), "{url}: {reason}");
        }
    }
}

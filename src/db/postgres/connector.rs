//! New connections to a PostgreSQL: TLS as the address asks, and set up as every connection of ours must be.
//!
//! It leaves pooling to the pool. The one thing easy to get wrong: a server that stops answering without closing anything
//! is only noticed by limits of our own, so every connection has them on both sides.
use super::super::error::with_sources;
use super::address::{Address, BadAddress, Trust};
use super::socket::{self, Socket};
use super::wire::{Line, Message, Reading, Wire};
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_postgres::config::{SslMode, SslNegotiation, TargetSessionAttrs};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a TCP connection to one address may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long one host may take for a connection that can be used, TLS and log-in included: a server may accept, and then
/// never say a word.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged before the connection counts as broken.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Limits that the server keeps for us, beside the one of a statement: a wait for a lock, and a transaction that we forgot,
/// each end with an error instead of holding others up.
const LIMITS: &str = "SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '30s'; \
                      SET client_min_messages = warning; \
                      SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// Asked with the limits: the server's process, whether it can be written to, and when the process began.
const WHO: &str = "SELECT pg_backend_pid(), current_setting('transaction_read_only'), \
                   (SELECT (extract(epoch FROM backend_start) * 1000000)::bigint FROM pg_stat_activity \
                   WHERE pid = pg_backend_pid())";

/// The stream below TLS, if there is any.
type Below = Wire<Socket>;
type MakeTls = MakeRustlsConnect;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody is reached.
    #[error("error connecting to server: {0}")]
    Unreachable(std::io::Error),
    /// The driver's or the server's word.
    #[error(transparent)]
    Refused(#[from] tokio_postgres::Error),
    /// The server's certificate is one that signs others, which no host may show.
    #[error(
        "the server's certificate is that of a certificate authority (CA:TRUE), as `openssl req -x509` makes it, and cannot \
         be a server's: make one for the server, signed by it, and name the authority's in sslrootcert"
    )]
    CertificateOfAuthority,
    /// It answers, and takes no writes.
    #[error("the server takes no writes (transaction_read_only is on)")]
    ReadOnly,
    /// Not a word.
    #[error("the server took the connection and did not answer in {OPEN_TIMEOUT:?}")]
    Silent,
    /// diesel cannot use it.
    #[error(transparent)]
    Unusable(#[from] diesel::ConnectionError),
}

/// What is done with what the server says by itself.
pub(crate) type Hearer = Arc<dyn Fn(&str) + Send + Sync>;

/// A connection, and what is known of it from its bytes.
pub(crate) struct Linked<C> {
    connection: C,
    line: Arc<Line>,
}

impl<C> Linked<C> {
    /// What its bytes say.
    pub(crate) fn line(&self) -> &Arc<Line> {
        &self.line
    }

    /// The connection itself.
    pub(crate) fn parts(self) -> (C, Arc<Line>) {
        (self.connection, self.line)
    }

    /// Both as one again.
    pub(crate) fn of((connection, line): (C, Arc<Line>)) -> Self {
        Self { connection, line }
    }
}

impl<C> Deref for Linked<C> {
    type Target = C;
    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C> DerefMut for Linked<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    address: Address,
    tls: MakeTls,
    setup: String,
    /// Which host answered last.
    host: Arc<AtomicUsize>,
}

impl Connector {
    /// Reads the root certificates, if there are any to read. The server lists the connections under the process's name.
    pub(crate) fn new(mut address: Address, statement_timeout: Duration, process: &str) -> Result<Self, BadAddress> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| BadAddress(with_sources(&error)))?;
        let config = match &address.trust {
            Trust::SignedBy(file) => builder.with_root_certificates(roots(file)?),
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))),
        };
        address
            .config
            .application_name(name_of(process))
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(UNACKNOWLEDGED)
            .tcp_user_timeout(UNACKNOWLEDGED);
        let setup = format!("SET statement_timeout = {}; {LIMITS}", statement_timeout.as_millis().max(1));
        let tls = MakeRustlsConnect::new(config.with_no_client_auth());
        Ok(Self { address, tls, setup, host: Arc::default() })
    }

    /// The limits of an ordinary connection, as statements.
    pub(crate) fn setup(&self) -> &str {
        &self.setup
    }

    /// Where it connects to.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// A connection of the bare driver to the first host that answers and can be written to, beginning with the one that did
    /// the last time. What the server says by itself is given to `hearer`, which is dropped when the connection ends.
    pub(crate) async fn client(&self, hearer: Option<Hearer>) -> Result<Linked<Client>, ConnectError> {
        let mut refused = ConnectError::Silent;
        // Each by itself: a host that answers nothing must not use up the time of the next.
        let hosts = self.address.hosts();
        let first = self.host.load(Ordering::Relaxed);
        for at in (first..hosts.len()).chain(0..first) {
            match in_time(self.open(&hosts[at], hearer.clone())).await {
                Ok(opened) => {
                    self.host.store(at, Ordering::Relaxed);
                    return Ok(opened);
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// A connection for diesel.
    pub(crate) async fn diesel(&self) -> Result<Linked<AsyncPgConnection>, ConnectError> {
        self.for_diesel(self.client(None).await?).await
    }

    /// The same, on a connection that is there.
    pub(super) async fn for_diesel(&self, client: Linked<Client>) -> Result<Linked<AsyncPgConnection>, ConnectError> {
        let (client, line) = client.parts();
        let made = async { Ok(AsyncPgConnection::try_from(client).await?) };
        Ok(Linked::of((in_time(made).await?, line)))
    }

    /// A connection to this one host, driven by a task that ends with the client.
    async fn open(&self, host: &Config, hearer: Option<Hearer>) -> Result<Linked<Client>, ConnectError> {
        let (socket, name) = socket::connect(host).await.map_err(ConnectError::Unreachable)?;
        let line = Arc::new(Line::default());
        let below = Wire::new(socket, below(host), line.clone());
        let tls = <MakeTls as MakeTlsConnect<Below>>::make_tls_connect(&mut self.tls.clone(), &name);
        let tls = tls.map_err(|error| ConnectError::Unreachable(std::io::Error::other(error)))?;
        let (client, mut connection) = host.connect_raw(below, Above(tls, line.clone())).await.map_err(refused)?;
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(message) = messages.next().await {
                match (message, &hearer) {
                    (Ok(AsyncMessage::Notification(notice)), Some(hear)) => hear(notice.payload()),
                    (Ok(_), _) => {}
                    // Whoever uses the client is told that it is closed.
                    (Err(error), _) => {
                        return log::debug!("a connection to PostgreSQL ended error={}", with_sources(&error));
                    }
                }
            }
        });
        let said = client.simple_query(&format!("{}; {WHO}", self.setup)).await?;
        let row = said.iter().find_map(|part| if let SimpleQueryMessage::Row(row) = part { Some(row) } else { None });
        if host.get_target_session_attrs() == TargetSessionAttrs::ReadWrite
            && row.and_then(|row| row.get(1)) == Some("on")
        {
            return Err(ConnectError::ReadOnly);
        }
        let began = row.and_then(|row| row.get(2)?.parse().ok()).unwrap_or_default();
        line.set_process(row.and_then(|row| row.get(0)?.parse().ok()).unwrap_or_default(), began);
        Ok(Linked { connection: client, line })
    }
}

/// What passes below TLS: all of it, where there is none.
fn below(host: &Config) -> Reading {
    match (host.get_ssl_mode(), host.get_ssl_negotiation()) {
        (SslMode::Disable, _) => Reading::Messages(Message::default()),
        (_, SslNegotiation::Direct) => Reading::Nothing,
        _ => Reading::Negotiation,
    }
}

/// TLS whose content is read as well.
struct Above(<MakeTls as MakeTlsConnect<Below>>::TlsConnect, Arc<Line>);

impl TlsConnect<Below> for Above {
    type Stream = Wire<<MakeTls as MakeTlsConnect<Below>>::Stream>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, std::io::Result<Self::Stream>>;

    fn connect(self, stream: Below) -> Self::Future {
        let Self(tls, line) = self;
        let encrypted = tls.connect(stream);
        async move { Ok(Wire::new(encrypted.await?, Reading::Messages(Message::default()), line)) }.boxed()
    }
}

fn refused(error: tokio_postgres::Error) -> ConnectError {
    // webpki's word for it; rustls passes it on as an error of its own that says nothing else.
    if with_sources(&error).contains("CaUsedAsEndEntity") {
        return ConnectError::CertificateOfAuthority;
    }
    ConnectError::Refused(error)
}

/// What a server that works does in no time.
async fn in_time<T>(done: impl Future<Output = Result<T, ConnectError>>) -> Result<T, ConnectError> {
    tokio::time::timeout(OPEN_TIMEOUT, done).await.unwrap_or(Err(ConnectError::Silent))
}

/// What the server calls the connections of a process, so that whoever takes its jobs over can end them.
pub(crate) fn name_of(process: &str) -> String {
    format!("tieout {process}")
}

fn roots(file: &Path) -> Result<RootCertStore, BadAddress> {
    let bad = |reason: String| BadAddress(format!("sslrootcert {}: {reason}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| bad(error.to_string()))? {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("there is no certificate in it".into()));
    }
    Ok(roots)
}

/// Believes any certificate, as `sslmode=require` means: the traffic is hidden, the server is not proved. That the server has
/// the key of its certificate is still checked.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

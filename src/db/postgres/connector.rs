//! New connections to a PostgreSQL: TLS as the address asks, and set up as every connection of ours must be.
//!
//! It leaves pooling to the pool. The one thing easy to get wrong: a server that stops answering without closing anything
//! is only noticed by limits of our own, so every connection has them on both sides.
use super::super::error::with_sources;
use super::address::{Address, BadAddress, Trust};
use diesel_async::AsyncPgConnection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Socket};
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

/// What a connection speaks through.
type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The driver's or the server's word.
    #[error(transparent)]
    Refused(#[from] tokio_postgres::Error),
    /// Not a word.
    #[error("the server took the connection and did not answer in {OPEN_TIMEOUT:?}")]
    Silent,
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    address: Address,
    tls: MakeRustlsConnect,
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
        Ok(Self { address, tls: MakeRustlsConnect::new(config.with_no_client_auth()), setup, host: Arc::default() })
    }

    /// The limits of an ordinary connection, as statements.
    pub(crate) fn setup(&self) -> &str {
        &self.setup
    }

    /// Where it connects to.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The first host that answers and can be written to, beginning with the one that did the last time.
    async fn open(&self) -> Result<(Client, Connection<Socket, Stream>), ConnectError> {
        let mut refused = ConnectError::Silent;
        // Each by itself: a host that answers nothing must not use up the time of the next.
        let hosts = self.address.hosts();
        let first = self.host.load(Ordering::Relaxed);
        for at in (first..hosts.len()).chain(0..first) {
            match in_time(hosts[at].connect(self.tls.clone())).await {
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
    pub(crate) async fn diesel(&self) -> diesel::ConnectionResult<AsyncPgConnection> {
        use diesel::ConnectionError::BadConnection;
        use diesel_async::SimpleAsyncConnection as _;
        let (client, connection) = self.open().await.map_err(|error| BadConnection(with_sources(&error)))?;
        let set_up = async {
            let mut connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
            connection.batch_execute(&self.setup).await.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            Ok(connection)
        };
        let silent = |_elapsed| Err(BadConnection(ConnectError::Silent.to_string()));
        tokio::time::timeout(OPEN_TIMEOUT, set_up).await.unwrap_or_else(silent)
    }

    /// A connection of the bare driver that the caller drives, to hear what the server says by itself.
    pub(crate) async fn listening(&self) -> Result<(Client, Connection<Socket, Stream>), ConnectError> {
        self.open().await
    }

    /// A connection of the bare driver, whose task ends with the client.
    pub(crate) async fn client(&self) -> Result<Client, ConnectError> {
        let (client, connection) = self.open().await?;
        tokio::spawn(async move {
            // Whoever uses the client is told the same; here it only matters that somebody is.
            if let Err(error) = connection.await {
                log::debug!("a connection to PostgreSQL ended error={}", with_sources(&error));
            }
        });
        in_time(client.batch_execute(&self.setup)).await?;
        Ok(client)
    }
}

/// What a server that works does in no time.
async fn in_time<T>(done: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, ConnectError> {
    match tokio::time::timeout(OPEN_TIMEOUT, done).await {
        Ok(done) => Ok(done?),
        Err(_elapsed) => Err(ConnectError::Silent),
    }
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

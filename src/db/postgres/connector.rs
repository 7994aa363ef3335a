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
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a new connection may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long sent bytes may stay unacknowledged before the connection counts as broken.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Limits that the server keeps for us: a statement, a wait for a lock, and a transaction that we forgot, each end with
/// an error instead of holding others up.
const SETUP: &str = "SET statement_timeout = '30s'; SET lock_timeout = '5s'; \
                     SET idle_in_transaction_session_timeout = '30s'; SET client_min_messages = warning; \
                     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3";

/// What a connection speaks through.
type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    address: Address,
    tls: MakeRustlsConnect,
}

impl Connector {
    /// Reads the root certificates, if there are any to read. The server lists the connections under the process's name.
    pub(crate) fn new(mut address: Address, process: &str) -> Result<Self, BadAddress> {
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
        Ok(Self { address, tls: MakeRustlsConnect::new(config.with_no_client_auth()) })
    }

    /// Where it connects to.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    async fn open(&self) -> Result<(Client, Connection<Socket, Stream>), tokio_postgres::Error> {
        self.address.config.connect(self.tls.clone()).await
    }

    /// A connection for diesel.
    pub(crate) async fn diesel(&self) -> diesel::ConnectionResult<AsyncPgConnection> {
        use diesel_async::SimpleAsyncConnection as _;
        let refused = |error: tokio_postgres::Error| diesel::ConnectionError::BadConnection(with_sources(&error));
        let (client, connection) = self.open().await.map_err(refused)?;
        let mut connection = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
        connection.batch_execute(SETUP).await.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }

    /// A connection of the bare driver that the caller drives, to hear what the server says by itself.
    pub(crate) async fn listening(&self) -> Result<(Client, Connection<Socket, Stream>), tokio_postgres::Error> {
        self.open().await
    }

    /// A connection of the bare driver, whose task ends with the client.
    pub(crate) async fn client(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.open().await?;
        tokio::spawn(async move {
            // Whoever uses the client is told the same; here it only matters that somebody is.
            if let Err(error) = connection.await {
                log::debug!("a connection to PostgreSQL ended error={}", with_sources(&error));
            }
        });
        client.batch_execute(SETUP).await?;
        Ok(client)
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

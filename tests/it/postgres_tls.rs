//! TLS to PostgreSQL: what each `sslmode` proves, and what is said when the proof fails.
//! Leaves reading the URL to its own tests. Easy to get wrong: a mode that encrypts and checks nobody looks as good as one
//! that checks, until somebody listens in.
use crate::store_support::wait_status;
use crate::support::postgres::{Postgres, connect};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::time::Duration;
use tieout::db::{Options, Status, Store};

/// A certificate authority of our own.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), Issuer::new(params, key))
}

/// A server with a certificate for `localhost` alone, and the authority's certificate in a file.
async fn server() -> (Postgres, String, std::path::PathBuf) {
    let mut server = Postgres::start();
    let url = server.database().await;
    let (root, authority) = authority();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &authority).unwrap();
    let certificate = server.file("server.crt", &certificate.pem());
    let key = server.file("server.key", &key.serialize_pem());
    let root = server.file("root.crt", &root);
    server.kill();
    let setting = |name: &str, path: &std::path::Path| format!("{name}={}", path.display());
    server.restart(&["ssl=on", &setting("ssl_cert_file", &certificate), &setting("ssl_key_file", &key)]);
    (server, url, root)
}

fn start(url: &str) -> Store {
    let mut options = Options::postgres(url.parse().expect("an address"));
    options.probe_interval = Duration::from_millis(200);
    Store::start(options).unwrap()
}

async fn encrypted(url: &str) -> bool {
    let (client, _task) = connect(url).await;
    let asked = "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                 WHERE a.application_name LIKE 'tieout %' AND a.datname = current_database()";
    client.query_one(asked, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_proves_what_it_says() {
    let (server, url, root) = server().await;
    let root = root.display().to_string();
    let named = url.replace("127.0.0.1", "localhost");
    for (url, hidden) in [
        (url.clone(), false),
        (format!("{url}?sslmode=prefer"), true),
        (format!("{url}?sslmode=require"), true),
        (format!("{named}?sslmode=verify-full&sslrootcert={root}"), true),
    ] {
        let store = start(&url);
        wait_status(&store, "ready", Status::is_ready).await;
        assert_eq!(encrypted(&server.url("test_0")).await, hidden, "{url}");
        store.stop().await;
    }
    // The certificate is for another name than the one that was asked for.
    let store = start(&format!("{url}?sslmode=verify-full&sslrootcert={root}"));
    let status = wait_status(&store, "down", |status| matches!(status, Status::Down { .. })).await;
    assert!(status.reason().unwrap().contains("not valid for name"), "{status:?}");
    store.stop().await;
    // Somebody else signed it.
    let (other, _) = authority();
    let other = server.file("other.crt", &other).display().to_string();
    let store = start(&format!("{named}?sslmode=verify-full&sslrootcert={other}"));
    let status = wait_status(&store, "down", |status| matches!(status, Status::Down { .. })).await;
    assert!(status.reason().unwrap().contains("invalid peer certificate"), "{status:?}");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_certificate_is_that_of_an_authority_is_told_what_to_make_instead() {
    let mut server = Postgres::start();
    let url = server.database().await.replace("127.0.0.1", "localhost");
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = server.file("server.crt", &params.self_signed(&key).unwrap().pem()).display().to_string();
    let key = server.file("server.key", &key.serialize_pem()).display().to_string();
    server.kill();
    server.restart(&["ssl=on", &format!("ssl_cert_file={certificate}"), &format!("ssl_key_file={key}")]);
    let store = start(&format!("{url}?sslmode=verify-full&sslrootcert={certificate}"));
    let status = wait_status(&store, "down", |status| matches!(status, Status::Down { .. })).await;
    let reason = status.reason().unwrap();
    assert!(reason.contains("CA:TRUE") && reason.contains("sslrootcert"), "{reason}");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_encrypt_is_refused_where_it_must_and_used_where_it_may() {
    let url = Postgres::shared().database().await;
    let store = start(&format!("{url}?sslmode=require"));
    let status = wait_status(&store, "down", |status| matches!(status, Status::Down { .. })).await;
    assert!(status.reason().unwrap().contains("TLS"), "{status:?}");
    store.stop().await;
    let store = start(&format!("{url}?sslmode=prefer"));
    wait_status(&store, "ready", Status::is_ready).await;
    store.stop().await;
    let error = Store::start(Options::postgres(
        format!("{url}?sslmode=verify-full&sslrootcert=/nowhere/ca.pem").parse().unwrap(),
    ));
    let error = error.expect_err("a start without its root certificate").to_string();
    assert!(error.contains("/nowhere/ca.pem") && error.contains("No such file"), "{error}");
}

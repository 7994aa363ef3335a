//! The relay over TLS: in to a server whose certificate is good, and not a word to any other.
use std::path::Path;
use std::process::Command;

use tieout::cluster::{Channel, Link};

use crate::relay_support::{Replica, options};
use crate::support::process::free_address;
use crate::support::redis::Redis;
use crate::support::{LONG, within};

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output().expect("openssl is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority in `NAME.pem`.
fn authority(dir: &Path, name: &str) {
    let (key, pem, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
    openssl(dir, &[&["req", "-x509"], &KEY[..], &["-keyout", &key, "-out", &pem, "-subj", &subject]].concat());
}

#[tokio::test]
async fn a_server_without_tls_is_named_as_the_cause_where_tls_is_asked_for() {
    let server = Redis::start();
    let replica = Replica::start(&options("a", &[&format!("rediss://127.0.0.1:{}", server.port)]));
    let mut link = replica.relay.link();
    let told = |link: &Link| format!("{link:?}").contains("TLS");
    within(LONG, "the reason", link.wait_for(told)).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_an_authority_is_named_as_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    // As the shortest recipe for a certificate makes it: good for the name, and marked CA:TRUE.
    let names = ["-addext", "subjectAltName=IP:127.0.0.1", "-subj", "/CN=redis"];
    let files = ["-keyout", "server.key", "-out", "server.pem"];
    openssl(dir.path(), &[&["req", "-x509"], &KEY[..], &files, &names].concat());
    let [certificate, key] = ["server.pem", "server.key"].map(|name| dir.path().join(name).display().to_string());
    let port = free_address().port();
    let tls = ["--tls-port", &port.to_string(), "--tls-auth-clients", "no"];
    let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &certificate];
    let _server = Redis::start_with(&[&files[..], &tls].concat());
    let replica = Replica::start(&options("a", &[&format!("rediss://127.0.0.1:{port}?sslrootcert={certificate}")]));
    let mut link = replica.relay.link();
    let told = |link: &Link| format!("{link:?}").contains("CA:TRUE");
    within(LONG, "the reason", link.wait_for(told)).await.unwrap();
}

#[tokio::test]
async fn a_server_is_used_over_tls_when_its_certificate_is_good_and_not_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    authority(dir.path(), "ours");
    authority(dir.path(), "other");
    let request = ["-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=redis"];
    let names = ["-addext", "subjectAltName=IP:127.0.0.1"];
    openssl(dir.path(), &[&["req"], &KEY[..], &request, &names].concat());
    let signed = ["x509", "-req", "-in", "server.csr", "-CA", "ours.pem", "-CAkey", "ours.key", "-CAcreateserial"];
    openssl(dir.path(), &[&signed[..], &["-copy_extensions", "copy", "-out", "server.pem"]].concat());

    let port = free_address().port();
    let (certificate, key, ours) = (path("server.pem"), path("server.key"), path("ours.pem"));
    let files = ["--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file", &ours];
    let tls = ["--tls-port", &port.to_string(), "--tls-auth-clients", "no", "--requirepass", "s3same"];
    let _server = Redis::start_with(&[&files[..], &tls].concat());

    let address = |end: &str| format!("rediss://:s3same@127.0.0.1:{port}{end}");
    let trusting = address(&format!("?sslrootcert={ours}"));
    let [a, mut b] = ["a", "b"].map(|name| Replica::start(&options(name, &[&trusting])));
    a.up().await;
    b.up().await;
    b.hears(&a, Channel::All).await;

    for url in [address(&format!("?sslrootcert={}", path("other.pem"))), address("")] {
        let c = Replica::start(&options("c", &[&url]));
        let mut link = c.relay.link();
        let told = |link: &Link| format!("{link:?}").contains("certificate");
        let reason = format!("{:?}", within(LONG, "the reason", link.wait_for(told)).await.unwrap());
        assert!(!reason.contains("s3same"), "{reason}");
    }
}

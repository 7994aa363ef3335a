//! Uploads: raw or multipart, whole or not at all, under their limits.
use crate::http_support::{TestApp, eventually};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const CSV: &str = "id,amount,date\n1,10.50,2025-01-31\n2,11.50,2025-02-01\n";

#[tokio::test(flavor = "multi_thread")]
async fn raw_and_multipart_uploads_of_the_same_bytes_are_one_source() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let raw = app.upload(&project, CSV).await;
    assert_eq!(raw.status, 201, "{}", raw.text);
    let source = raw.json();
    let hash: String = Sha256::digest(CSV).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&source["sha256"], &source["bytes"]), (&json!(hash), &json!(CSV.len())));
    let kinds: Vec<_> = source["columns"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
    assert_eq!(kinds[1..], ["money", "date"]);
    assert!(source["columns"][0].get("sketch").is_none(), "only the engine reads sketches");

    let part = reqwest::multipart::Part::text(CSV).file_name("C:\\Users\\me\\b.csv");
    let form = reqwest::multipart::Form::new().part("file", part).text("name", "bank");
    let path = format!("/api/v1/projects/{project}/sources");
    let same = app.send(app.client.post(app.url(&path)).multipart(form)).await;
    assert_eq!((same.status, &same.json()["id"]), (200, &source["id"]), "{}", same.text);
    assert_eq!(app.uploads(), [source["id"].as_str().unwrap()], "one file for one source");
    let listed = app.get(&path).await;
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 1);
    assert!(listed.header("x-tieout-position").contains(':'), "a snapshot has a position");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_file_is_lost_gets_it_back_when_the_same_bytes_are_uploaded_again() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let source = app.upload(&project, CSV).await.json()["id"].as_str().unwrap().to_owned();
    let file = app.data().join("uploads").join(&source);
    std::fs::remove_file(&file).unwrap();
    let again = app.upload(&project, CSV).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &json!(source)), "{}", again.text);
    assert_eq!(app.uploads(), [source.as_str()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), CSV);
    // Also one that is there, and was changed on the disk.
    std::fs::write(&file, CSV.replace("10.50", "10.51")).unwrap();
    assert_eq!(app.upload(&project, CSV).await.status, 200);
    assert_eq!((std::fs::read_to_string(&file).unwrap().as_str(), app.uploads().len()), (CSV, 1));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_csv_is_refused_with_its_place_and_leaves_nothing() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let twice = app.upload(&project, "a,a\n1,2\n").await.problem(422, "invalid_file");
    assert_eq!((&twice["errors"][0]["file"], &twice["errors"][0]["line"]), (&json!("f.csv"), &json!(1)), "{twice}");
    app.upload(&project, "").await.problem(422, "invalid_file");
    app.upload(&project, b"\x00\x01\x02binary\n".to_vec()).await.problem(422, "invalid_file");
    assert_eq!(app.uploads(), [] as [&str; 0]);
    let missing = "01890000-0000-7000-8000-000000000000";
    app.upload(missing, CSV).await.problem(404, "not_found");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_past_its_limit_is_answered_whether_its_length_is_declared_or_not() {
    let app = TestApp::start(&[("max_upload_bytes", "64KiB"), ("max_columns", "3")]).await;
    let project = app.project().await;
    let big = format!("id,amount\n{}", "1,2.00\n".repeat(100_000));
    let declared = app.upload(&project, big.clone()).await;
    assert_eq!(declared.problem(413, "limit_exceeded")["limit"], "max_upload_bytes");
    let chunks: Vec<io::Result<Bytes>> = big.as_bytes().chunks(8192).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let streamed = app.upload(&project, reqwest::Body::wrap_stream(stream::iter(chunks))).await;
    assert_eq!(streamed.problem(413, "limit_exceeded")["limit"], "max_upload_bytes");
    let wide = app.upload(&project, "a,b,c,d\n1,2,3,4\n").await;
    assert_eq!(wide.problem(413, "limit_exceeded")["limit"], "max_columns");
    eventually("the part files to be gone", || app.uploads().is_empty()).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_or_stands_still_leaves_nothing() {
    let app = TestApp::start(&[("transfer_idle_timeout", "300ms")]).await;
    let project = app.project().await;
    let head = format!(
        "POST /api/v1/projects/{project}/sources HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nid,amount\n"
    );
    let mut broken = TcpStream::connect(app.address()).await.unwrap();
    broken.write_all(head.as_bytes()).await.unwrap();
    eventually("the part file", || app.uploads().iter().any(|name| name.ends_with(".part"))).await;
    drop(broken);
    eventually("the part file of a broken upload to be gone", || app.uploads().is_empty()).await;

    let stalled = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"id,amount\n"))]).chain(stream::pending());
    let answer = app.upload(&project, reqwest::Body::wrap_stream(stalled)).await;
    assert_eq!(answer.problem(408, "timeout")["limit"], "transfer_idle_timeout");
    eventually("the part file of a stalled upload to be gone", || app.uploads().is_empty()).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_past_the_limit_of_transfers_are_told_so() {
    let app = TestApp::start(&[("max_transfers", "1")]).await;
    let project = app.project().await;
    let mut first = TcpStream::connect(app.address()).await.unwrap();
    let head = format!(
        "POST /api/v1/projects/{project}/sources HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\nid,amount\n"
    );
    first.write_all(head.as_bytes()).await.unwrap();
    eventually("the first upload to begin", || !app.uploads().is_empty()).await;
    let second = app.upload(&project, CSV).await;
    assert_eq!(second.problem(503, "limit_exceeded")["limit"], "max_transfers");
    drop(first);
    eventually("the first upload to end", || app.uploads().is_empty()).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_keeps_its_place_for_as_long_as_it_is_still_read() {
    let app = TestApp::start(&[("max_transfers", "1")]).await;
    let project = app.project().await;
    let mut refused = TcpStream::connect(app.address()).await.unwrap();
    let form = "--XX\r\ncontent-disposition: form-data; name=\"colour\"\r\n\r\nred";
    let head = format!(
        "POST /api/v1/projects/{project}/sources HTTP/1.1\r\nhost: localhost\r\n\
         content-type: multipart/form-data; boundary=XX\r\ncontent-length: 100000\r\n\r\n{form}"
    );
    refused.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    refused.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 400");
    let second = app.upload(&project, CSV).await;
    assert_eq!(second.problem(503, "limit_exceeded")["limit"], "max_transfers");
    drop(refused);
    let mut status = 503;
    let deadline = tokio::time::Instant::now() + crate::http_support::PATIENCE;
    while status == 503 && tokio::time::Instant::now() < deadline {
        status = app.upload(&project, CSV).await.status;
    }
    assert_eq!(status, 201, "the place is given back");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_whose_fields_or_head_are_too_many_or_too_long_is_refused_by_name() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let path = app.url(&format!("/api/v1/projects/{project}/sources"));
    let names = reqwest::multipart::Form::new().text("name", "a").text("name", "b").text("file", CSV);
    let twice = app.send(app.client.post(&path).multipart(names)).await.problem(400, "bad_request");
    assert!(twice["detail"].as_str().unwrap().contains("two fields `name`"), "{twice}");
    let long = format!("--XX\r\ncontent-disposition: form-data; name=\"file\"\r\nx: {}", "a".repeat(200_000));
    for body in [long.clone(), format!("{}{long}", "\r\n".repeat(50_000))] {
        let request = app.client.post(&path).header("content-type", "multipart/form-data; boundary=XX").body(body);
        let refused = app.send(request).await;
        assert_eq!(refused.problem(413, "limit_exceeded")["limit"], "multipart_head_bytes");
    }
    assert_eq!(app.uploads(), [] as [&str; 0]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_suggested_and_checked_against_both_files() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let left = app.upload(&project, CSV).await.json()["id"].clone();
    let right = app.upload(&project, CSV.replace("id,amount,date", "ref,total,day")).await.json()["id"].clone();
    let (l, r) = (left.as_str().unwrap(), right.as_str().unwrap());
    let path = format!("/api/v1/projects/{project}/suggested-rules?left={l}&right={r}");
    let suggested = app.get(&path).await;
    assert_eq!(suggested.status, 200, "{}", suggested.text);
    let suggested = suggested.json();
    assert_eq!((&suggested["left_id"], &suggested["right_id"]), (&json!("id"), &json!("ref")));
    app.get(&format!("{path}&left_id=nope")).await.problem(422, "invalid_rules");

    let jobs = format!("/api/v1/projects/{project}/jobs");
    let mut rules = suggested["rules"].clone();
    rules["compare"][0]["right"] = json!("gone");
    let refused = app.post(&jobs, json!({"left": left, "right": right, "rules": rules})).await;
    assert!(refused.problem(422, "invalid_rules")["detail"].as_str().unwrap().contains("gone"));
    let unknown = app.post(&jobs, json!({"left": left, "right": right, "rules": {"compar": []}})).await;
    assert_eq!(unknown.problem(422, "invalid_rules")["errors"][0]["path"], "compar");
    let made = app.post(&jobs, json!({"left": left, "right": right})).await;
    assert_eq!((made.status, &made.json()["state"]), (201, &json!("created")), "{}", made.text);
    assert_eq!((&made.json()["left_id"], &made.json()["right_id"]), (&json!("id"), &json!("ref")));
    app.stop().await;
}

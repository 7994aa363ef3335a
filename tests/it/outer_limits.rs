//! Past a limit the caller is told which one, and the connection lives on.
use reqwest::{Body, Method};
use serde_json::{Value, json};

use crate::support::{Answer, Api, LONG, Options, Run, Sample, Server, Socket, http::text};

#[tokio::test]
async fn an_upload_past_a_limit_gets_413_with_the_name_of_the_limit() {
    let options = Options::default().env("TIEOUT_MAX_UPLOAD_BYTES", 64 * 1024).env("TIEOUT_MAX_COLUMNS", 5);
    let options = options.env("TIEOUT_MAX_ROWS", 1000).env("TIEOUT_MAX_FIELD_BYTES", 1000);
    let server = Server::start(options).await;
    let api = server.api();
    let project = api.project("limits").await;
    let upload = |body: String| async { api.upload(&project, "x.csv", body).await };

    refused(upload("a,b\n".to_owned() + &"1,2\n".repeat(20_000)).await, 413, "max_upload_bytes");
    refused(upload("a,b,c,d,e,f\n1,2,3,4,5,6\n".into()).await, 413, "max_columns");
    refused(upload("a,b\n".to_owned() + &"1,2\n".repeat(1001)).await, 413, "max_rows");
    let long = format!("a,b\n1,2\n3,{}\n", "x".repeat(1001));
    let seen = refused(upload(long).await, 413, "max_field_bytes");
    assert!(text(&seen, "detail").contains("x.csv, line 3, column \"b\""), "{seen}");
    // Up to the limit it is fine.
    upload(format!("a,b\n1,{}\n", "x".repeat(1000))).await.expect(201);
    upload("a,b\n".to_owned() + &"1,2\n".repeat(1000)).await.expect(201);

    // Also when nobody says beforehand how long the body is.
    let pieces = (0..200).map(|_| Ok::<_, std::io::Error>("1,2\n".repeat(256)));
    let body = Body::wrap_stream(futures_util::stream::iter(pieces));
    refused(api.upload(&project, "stream.csv", body).await, 413, "max_upload_bytes");
    let sources = api.get(&format!("/api/v1/projects/{project}/sources")).await.expect(200);
    assert_eq!(sources["items"].as_array().map(Vec::len), Some(2), "what was refused left nothing: {sources}");
    let uploads = std::fs::read_dir(server.data().join("uploads")).map(|dir| dir.count()).unwrap_or(0);
    assert!(uploads <= 2, "{uploads} files for two sources");
}

#[tokio::test]
async fn a_body_past_the_limit_gets_413() {
    let server = Server::start(Options::default().env("TIEOUT_MAX_BODY_BYTES", 2048)).await;
    let answer = server.api().post("/api/v1/projects", json!({"name": "x".repeat(3000)})).await;
    refused(answer, 413, "max_body_bytes");
    server.api().project("still there").await;
}

#[tokio::test]
async fn more_open_jobs_than_allowed_get_503_and_can_be_started_later() {
    let server = Server::start(Options::default().env("TIEOUT_MAX_OPEN_JOBS", 1)).await;
    let first = Run::prepare(&server.api(), &Sample::new(20_000, 71)).await;
    let second = Run::prepare(&server.api(), &Sample::new(50, 72)).await;
    first.start().await;
    first.at_work(LONG).await;
    let answer = second.api.post(&second.path("/start"), json!({})).await;
    assert!(answer.header("retry-after").is_some());
    refused(answer, 503, "max_open_jobs");
    first.api.post(&first.path("/cancel"), json!({})).await.expect(202);
    first.reaches("cancelled", LONG).await;
    second.start().await;
    second.completed(LONG).await;
}

#[tokio::test]
async fn more_sockets_than_allowed_are_told_the_limit_and_the_others_stay() {
    let server = Server::start(Options::default().env("TIEOUT_MAX_SOCKETS", 2)).await;
    let project = server.api().project("sockets").await;
    let mut first = server.socket().await;
    let second = server.socket().await;
    let (error, ended) = Socket::refused_at(server.addr, "/ws").await;
    assert_eq!((&error["limit"], ended.code), (&json!("max_sockets"), Some(4409)), "{error}");
    first.join(&project, None).await;
    second.close().await;
    crate::support::eventually(LONG, "a place to be free again", || async {
        let mut socket = Socket::try_open(server.addr, &[]).await?;
        let first = socket.next().await.map_err(|ended| ended.why)?;
        if first["Error"].is_object() {
            return Err(first.to_string());
        }
        socket.join(&project, None).await;
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_is_no_request_of_ours_is_a_problem_with_a_code() {
    let server = Server::start(Options::default()).await;
    let api = server.api();
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    api.get("/api/v1/nothing").await.expect_problem(404, "not_found");
    api.get(&format!("/api/v1/projects/{nobody}")).await.expect_problem(404, "not_found");
    api.get(&format!("/api/v1/jobs/{nobody}/results")).await.expect_problem(404, "not_found");
    for path in ["/api/v1/projects/no-uuid", "/api/v1/projects?limit=many"] {
        let answer = api.get(path).await;
        assert!([400, 404].contains(&answer.status), "{path}: {} {}", answer.status, answer.text);
    }
    let put = api.send(api.request(Method::PUT, "/api/v1/projects")).await.unwrap();
    assert_eq!(put.header("allow"), Some("GET,HEAD,POST"));
    put.expect_problem(405, "method_not_allowed");
    for body in [json!({}), json!({"name": 5}), json!({"name": ""}), json!({"name": "x", "colour": "red"})] {
        let answer = api.post("/api/v1/projects", body.clone()).await;
        assert!([400, 422].contains(&answer.status), "{body}: {} {}", answer.status, answer.text);
        assert!(!text(&answer.json(), "detail").is_empty());
    }
    bad_uploads(&api).await;
}

async fn bad_uploads(api: &Api) {
    let project = api.project("bad").await;
    for bytes in [&b""[..], b"\x00\x01\x02\x03binary", b"only a header\n"] {
        let answer = api.upload(&project, "x.csv", bytes.to_vec()).await;
        let fine = answer.status == 201 && bytes.starts_with(b"only");
        assert!(fine || [400, 415, 422].contains(&answer.status), "{bytes:?}: {} {}", answer.status, answer.text);
    }
}

fn refused(answer: Answer, status: u16, limit: &str) -> Value {
    let seen = answer.expect_problem(status, "limit_exceeded");
    assert_eq!(seen["limit"], limit, "{seen}");
    seen
}

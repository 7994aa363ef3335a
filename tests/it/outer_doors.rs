//! Who gets in: Host and Origin on loopback, the bearer token elsewhere.
use std::{fs, net::SocketAddr, time::Duration};

use reqwest::Method;
use serde_json::json;

use crate::support::{Api, LONG, Options, SHORT, Server, Socket};

#[tokio::test]
async fn a_rebound_name_does_not_reach_a_loopback_server() {
    let server = Server::start(Options::default()).await;
    let api = server.api();
    for path in ["/api/v1/projects", "/", "/metrics"] {
        let request = api.request(Method::GET, path).header("host", "attacker.example");
        let answer = api.send(request).await.unwrap();
        assert!([403, 421].contains(&answer.status), "{path}: {} {}", answer.status, answer.text);
    }
    for host in [format!("localhost:{}", server.addr.port()), format!("[::1]:{}", server.addr.port())] {
        let request = api.request(Method::GET, "/api/v1/projects").header("host", &host);
        assert_eq!(api.send(request).await.unwrap().status, 200, "{host} is a loopback name");
    }
    let refusal = Socket::try_open(server.addr, &[("host", "attacker.example")]).await.err().expect("refused");
    assert!(refusal.starts_with("403") || refusal.starts_with("421"), "{refusal}");
}

#[tokio::test]
async fn a_foreign_page_can_neither_ask_nor_open_a_websocket() {
    let server = Server::start(Options::default()).await;
    let api = server.api();
    for origin in ["https://attacker.example", "null", "http://127.0.0.1:1"] {
        let request =
            api.request(Method::POST, "/api/v1/projects").header("origin", origin).json(&json!({"name": "x"}));
        api.send(request).await.unwrap().expect_problem(403, "forbidden");
        let refusal = Socket::try_open(server.addr, &[("origin", origin)]).await.err().expect("refused");
        assert!(refusal.starts_with("403"), "{origin}: {refusal}");
    }
    let own = format!("http://{}", server.addr);
    Socket::try_open(server.addr, &[("origin", &own)]).await.expect("our own page opens a WebSocket").close().await;
    assert!(api.get("/api/v1/projects").await.expect(200)["items"].as_array().unwrap().is_empty(), "nothing was made");
}

#[tokio::test]
async fn elsewhere_than_loopback_a_token_is_required_on_all_but_the_health_checks() {
    let server =
        Server::start(Options::default().everywhere().env("TIEOUT_TOKEN", "secret-token-for-this-test-and-no-other"))
            .await;
    let api = server.api();
    api.get("/api/health").await.expect(200);
    assert_eq!(api.get("/api/ready").await.expect(200), json!({ "status": "ready" }), "no detail without a token");
    let guess = api.clone().with_token("secret-token-for-this-tesu").get("/api/ready").await.expect(200);
    assert_eq!(guess, json!({ "status": "ready" }), "nor with a wrong one");
    let told = api.clone().with_token("secret-token-for-this-test").get("/api/ready").await.expect(200);
    assert_eq!(told["checks"]["store"]["state"], "ready", "{told}");
    for path in ["/api/v1/projects", "/metrics"] {
        let answer = api.get(path).await;
        assert!(answer.header("www-authenticate").is_some_and(|h| h.starts_with("Bearer")), "{path} says how");
        answer.expect_problem(401, "unauthorized");
    }
    api.clone()
        .with_token("secret-token-for-this-test-and-no-othes")
        .get("/api/v1/projects")
        .await
        .expect_problem(401, "unauthorized");
    api.with_token("secret-token-for-this-test-and-no-other").get("/api/v1/projects").await.expect(200);
    assert!(!server.log().contains("secret-token-for-this-test-and-no-other"), "a given token is never logged");
}

#[tokio::test]
async fn without_a_given_token_one_is_made_kept_and_printed_once() {
    let mut server = Server::start(Options::default().everywhere()).await;
    let token = token_on_disk(&server);
    assert!(token.len() >= 32, "{} characters", token.len());
    assert_eq!(server.log().matches(&token).count(), 1, "printed once");
    server.api().with_token(&token).get("/api/v1/projects").await.expect(200);
    server.kill();
    server.spawn();
    server.ready().await;
    assert_eq!(token_on_disk(&server), token, "kept");
    assert!(!server.log().contains(&token), "not printed again");
    server.api().with_token(&token).get("/api/v1/projects").await.expect(200);
}

#[tokio::test]
async fn a_websocket_authenticates_with_its_first_message() {
    const TOKEN: &str = "secret-token-for-this-test-and-no-other";
    let server = Server::start(Options::default().everywhere().env("TIEOUT_TOKEN", TOKEN)).await;
    let project = Api::with_token(server.api(), TOKEN).project("p").await;

    let mut good = server.socket().await;
    let reply = good.ask("Auth", json!({"token": TOKEN})).await;
    assert!(reply["AuthSuccess"].is_object(), "{reply}");
    good.join(&project, None).await;

    let mut early = server.socket().await;
    let reply = early.ask("JoinProject", json!({"project_id": project})).await;
    assert_eq!(reply["Error"]["code"], "AUTH_ERROR", "nothing before Auth: {reply}");

    let mut wrong = server.socket().await;
    wrong.send_text(json!({"Auth": {"token": "guess"}}).to_string()).await;
    assert_eq!(wrong.ended(SHORT).await.code, Some(4401));

    let mut silent = server.socket().await;
    assert_eq!(silent.ended(LONG).await.code, Some(4408), "nobody waits for ever");
}

#[tokio::test]
async fn the_healthcheck_command_tells_health() {
    let mut server = Server::start(Options::default()).await;
    let check = |addr: SocketAddr| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tieout"));
        command.arg("healthcheck").env("TIEOUT_LISTEN", addr.to_string());
        async move { tokio::time::timeout(Duration::from_secs(20), command.output()).await.unwrap().unwrap() }
    };
    let output = check(server.addr).await;
    assert!(output.status.success(), "{output:?}");
    server.kill();
    assert!(!check(server.addr).await.status.success(), "nobody listens");
}

/// The one token file of the data directory.
fn token_on_disk(server: &Server) -> String {
    let path = server.data().join("token");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

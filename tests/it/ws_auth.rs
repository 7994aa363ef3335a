//! Who is who on a live connection: roles, the end of a proof and its renewal, tickets.
use crate::http_support::TestApp;
use crate::support::{Options, SHORT, Server, Socket};
use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use std::net::SocketAddr;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A file with the secret of signed tokens, as an editor leaves it.
pub(crate) fn secret_file() -> tempfile::NamedTempFile {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), [SECRET, b"\n"].concat()).unwrap();
    secret
}

/// An app that takes signed tokens.
pub(crate) async fn app_with(settings: &[(&'static str, &str)]) -> (TestApp, tempfile::NamedTempFile) {
    let (keyed, secret) = keyed();
    let mut all: Vec<(&'static str, &str)> = keyed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend_from_slice(settings);
    (TestApp::start(&all).await, secret)
}

/// The settings of one that takes signed tokens.
pub(crate) fn keyed() -> ([(&'static str, String); 1], tempfile::NamedTempFile) {
    let secret = secret_file();
    ([("jwt_secret_file", secret.path().to_str().unwrap().to_owned())], secret)
}

/// A real server that takes signed tokens.
pub(crate) async fn server_with(options: Options) -> (Server, tempfile::NamedTempFile) {
    let secret = secret_file();
    let options = options.arg("--jwt-secret-file").arg(secret.path().to_str().unwrap());
    (Server::start(options).await, secret)
}

/// A socket to `address` that has said who it is, and the server's word on that.
pub(crate) async fn authenticated_at(address: SocketAddr, token: &str) -> (Socket, Value) {
    let mut socket = Socket::open(address).await;
    let reply = socket.ask("Auth", json!({ "token": token })).await;
    assert!(reply["AuthSuccess"].is_object(), "{reply}");
    (socket, reply["AuthSuccess"].clone())
}

/// A token of this user that lapses after so many seconds.
pub(crate) fn token(user: &str, role: &str, seconds: i64) -> String {
    let claims = json!({ "sub": user, "role": role, "exp": get_current_timestamp() as i64 + seconds });
    tieout::http::signatures::install();
    encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

/// A socket that has said who it is.
pub(crate) async fn authenticated(app: &TestApp, token: &str) -> (Socket, Value) {
    authenticated_at(app.address(), token).await
}

/// A project that an owner has made.
pub(crate) async fn project(app: &TestApp) -> String {
    let request = app.client.post(app.url("/api/v1/projects")).bearer_auth(token("olga", "owner", 600));
    let made = app.send(request.json(&json!({ "name": "p" }))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_is_known_by_name_and_may_what_its_role_may() {
    let (app, _secret) = app_with(&[]).await;
    let project = project(&app).await;
    app.get("/api/v1/projects").await.problem(401, "unauthorized");
    let get = |token: String| app.send(app.client.get(app.url("/api/v1/projects")).bearer_auth(token));
    assert_eq!(get(token("vera", "viewer", 600)).await.status, 200);
    let old = get(token("vera", "viewer", -600)).await.problem(401, "token_expired");
    assert!(old["expired_at_ms"].as_i64().is_some(), "{old}");
    let post = |path: String, token: String, body: Value| {
        app.send(app.client.post(app.url(&path)).bearer_auth(token).json(&body))
    };
    let claims = format!("/api/v1/projects/{project}/claims");
    let refused = post(claims.clone(), token("vera", "viewer", 600), json!({ "entity_id": "m1" }))
        .await
        .problem(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("reviewer"), "the role that it takes: {refused}");
    post("/api/v1/projects".into(), token("rita", "reviewer", 600), json!({ "name": "q" }))
        .await
        .problem(403, "forbidden");
    let claimed = post(claims, token("rita", "reviewer", 600), json!({ "entity_id": "m1" })).await;
    assert_eq!(claimed.json()["user_id"], "rita", "{}", claimed.text);

    let (mut vera, hello) = authenticated(&app, &token("vera", "viewer", 600)).await;
    assert_eq!((&hello["user_id"], &hello["role"]), (&json!("vera"), &json!("viewer")));
    let joined = vera.ask("JoinProject", json!({ "project_id": project })).await;
    assert_eq!(joined["ProjectJoined"]["role"], "viewer", "{joined}");
    let (mut rita, _) = authenticated(&app, &token("rita", "reviewer", 600)).await;
    let joined = rita.ask("JoinProject", json!({ "project_id": project })).await;
    assert_eq!(joined["ProjectJoined"]["role"], "reviewer", "{joined}");
    let said = json!({ "project_id": project, "action": "cursor", "data": { "user_id": "olga" } });
    assert_eq!(vera.ask("Collaboration", said.clone()).await["Error"]["code"], "FORBIDDEN");
    rita.ask("Collaboration", said).await;
    let heard = vera.wait(SHORT, "what rita said", |m| m["Collaboration"]["action"] == "cursor").await;
    assert_eq!(heard["Collaboration"]["user_id"], "rita", "the server's word");
    vera.close().await;
    rita.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_warned_before_its_token_lapses_and_lives_on_with_a_new_one() {
    let (app, _secret) = app_with(&[("auth_warning", "10m"), ("auth_grace", "60s"), ("jwt_leeway", "10s")]).await;
    let project = project(&app).await;
    // Lapsed already, within the leeway: warned, still connected, and asked for a new token before anything else.
    let (mut ana, hello) = authenticated(&app, &token("ana", "viewer", -1)).await;
    let expires = hello["expires_at_ms"].as_i64().unwrap();
    let warning = ana.wait(SHORT, "the warning", |m| m["AuthExpiring"].is_object()).await;
    assert_eq!(warning["AuthExpiring"]["expires_at_ms"], expires);
    assert_eq!(warning["AuthExpiring"]["close_at_ms"], expires + 60_000);
    let join = json!({ "project_id": project });
    assert_eq!(ana.ask("JoinProject", join.clone()).await["Error"]["code"], "TOKEN_EXPIRED");
    assert_eq!(
        ana.ask("Auth", json!({ "token": "guess" })).await["Error"]["code"],
        "AUTH_ERROR",
        "refused, not closed"
    );
    let renewed = ana.ask("Auth", json!({ "token": token("ana", "reviewer", 3_600) })).await;
    assert_eq!(renewed["AuthSuccess"]["role"], "reviewer", "{renewed}");
    let joined = ana.ask("JoinProject", join).await;
    assert_eq!(joined["ProjectJoined"]["role"], "reviewer", "the new role counts: {joined}");
    // Another user's token is no renewal.
    let other = ana.ask("Auth", json!({ "token": token("bob", "owner", 3_600) })).await;
    assert_eq!(other["Error"]["code"], "AUTH_ERROR", "{other}");
    assert_eq!(ana.ended(SHORT).await.code, Some(4403));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_lapses_unrenewed_ends_its_connection() {
    let (app, _secret) = app_with(&[("auth_grace", "0s"), ("jwt_leeway", "0s")]).await;
    let mut late = Socket::open(app.address()).await;
    let reply = late.ask("Auth", json!({ "token": token("ana", "viewer", -60) })).await;
    assert_eq!(reply["Error"]["code"], "TOKEN_EXPIRED", "{reply}");
    assert_eq!(late.ended(SHORT).await.code, Some(4401));
    let (mut ana, _) = authenticated(&app, &token("ana", "viewer", 2)).await;
    ana.wait(SHORT, "the warning", |m| m["AuthExpiring"].is_object()).await;
    assert_eq!(ana.ended(SHORT).await.code, Some(4401));
    app.stop().await;
}

//! An app inside the test process, on a free port and a data directory of its own.
//!
//! Leaves real processes and signals to the outer-door tests. Easy to get wrong: an app that is dropped instead of
//! stopped leaves its actor thread; `stop` also proves that everything ends.
use serde_json::Value;
use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};
use tempfile::TempDir;
use tieout::{
    app::App,
    cluster::{LocalBus, Relay, ReplicaId},
    config::{Config, Overrides},
};

/// Longest wait of these tests for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestApp {
    app: App,
    home: TempDir,
    pub client: reqwest::Client,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The problem body of a refusal with this status and code.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let body = self.json();
        assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()), "{body}");
        assert_eq!(body["request_id"], self.header("x-request-id"), "{body}");
        body
    }
}

impl TestApp {
    /// Starts with these settings on top of the defaults and waits until the store is ready.
    pub(crate) async fn start(settings: &[(&'static str, &str)]) -> Self {
        Self::start_on(settings, Relay::local(&LocalBus::new(), ReplicaId::new("test"))).await
    }

    /// As a replica on this relay, with a store of its own all the same.
    pub(crate) async fn start_on(settings: &[(&'static str, &str)], relay: Relay) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut values = BTreeMap::from([
            ("listen", "127.0.0.1:0".to_owned()),
            ("data_dir", home.path().join("data").to_str().unwrap().to_owned()),
        ]);
        if settings.iter().all(|(name, _)| *name != "database_url") {
            values.extend(crate::support::database_url().map(|url| ("database_url", url)));
        }
        values.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let config = Config::load_from(&Overrides { config: None, values }, &|_| None).unwrap();
        let app = App::start_on(config, relay).await.unwrap();
        assert!(app.state().store.ready_within(PATIENCE).await, "the store did not become ready");
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { app, home, client }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.app.address()
    }

    /// The realtime layer, for what it can only be asked inside the process.
    pub(crate) fn realtime(&self) -> &tieout::actors::hub::Realtime {
        &self.app.state().realtime
    }

    /// Who this is among the replicas on its relay.
    pub(crate) fn replica(&self) -> ReplicaId {
        self.realtime().replica()
    }

    /// The janitor, to have it sweep now.
    pub(crate) fn janitor(&self) -> &tieout::actors::janitor::Janitor {
        self.app.janitor()
    }

    /// The store, to see whether it is there.
    pub(crate) fn store(&self) -> &tieout::db::Store {
        &self.app.state().store
    }

    /// The data directory.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.home.path().join("data")
    }

    /// Live connections.
    pub(crate) fn connections(&self) -> usize {
        self.app.state().realtime.connections()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub(crate) fn uploads(&self) -> Vec<String> {
        files(&self.home.path().join("data/uploads"))
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.client.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.client.post(self.url(path)).json(&body)).await
    }

    /// A fresh project's id.
    pub(crate) async fn project(&self) -> String {
        let made = self.post("/api/v1/projects", serde_json::json!({ "name": "p" })).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// Uploads bytes as they are.
    pub(crate) async fn upload(&self, project: &str, bytes: impl Into<reqwest::Body>) -> Answer {
        let path = format!("/api/v1/projects/{project}/sources?filename=f.csv");
        self.send(self.client.post(self.url(&path)).body(bytes)).await
    }

    /// Stops it; every task, actor and connection must end by itself.
    pub(crate) async fn stop(self) {
        drop(self.client);
        assert!(self.app.stop().await.clean, "something did not end by itself");
    }
}

fn files(folder: &Path) -> Vec<String> {
    let Ok(listing) = std::fs::read_dir(folder) else { return Vec::new() };
    // The mark and the trash are no uploads.
    let names = listing.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// Waits until `done` holds.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::task::yield_now().await;
    }
}

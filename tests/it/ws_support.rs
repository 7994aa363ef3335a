//! What the WebSocket tests share: a server of nothing but `/ws` over a real store, hub and socket, and a client.
use futures_util::{SinkExt, StreamExt};
use http::Request;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tieout::actors::hub::{Mode, Options, Realtime};
use tieout::actors::rooms::Limits;
use tieout::db::{DurableEvent, projects};
use tieout::http::live::ws::{Door, SUBPROTOCOL, Upgrading, upgrade};
use tieout::protocol::ids::ProjectId;
use tieout::protocol::principal::{BadToken, Principal};
use tieout::runtime::Runtime;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, protocol::frame::CloseFrame},
};
use tokio_util::task::TaskTracker;

use crate::store_support::TestStore;

/// How long a condition may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The token that the test server takes.
pub(crate) const TOKEN: &str = "sesame";

/// A server of one route.
pub(crate) struct WsServer {
    pub store: TestStore,
    pub runtime: Runtime,
    pub realtime: Realtime,
    pub address: SocketAddr,
    pub tracker: TaskTracker,
    known: bool,
}

impl WsServer {
    pub(crate) async fn new() -> Self {
        Self::with(true, Limits { inbound_rate: 0, ..Limits::default() }).await
    }

    /// `known`: callers need no token.
    pub(crate) async fn with(known: bool, limits: Limits) -> Self {
        let store = TestStore::new().await;
        let runtime = Runtime::builder().name("ws-test").start().expect("the runtime starts");
        let options = Options { threads: 3, limits, ..Options::default() };
        let realtime = Realtime::start(Mode::On, &runtime, store.store.clone(), options).await.expect("the hub starts");
        let tracker = TaskTracker::new();
        let verify = |token: &str| match token {
            TOKEN => Ok(Principal::local_owner().into()),
            _ => Err(BadToken::Invalid("it is not the test's".into())),
        };
        let door = Door { realtime: realtime.clone(), tracker: tracker.clone(), verify: Arc::new(verify) };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(accept(listener, door, known));
        Self { store, runtime, realtime, address, tracker, known }
    }

    /// A new project.
    pub(crate) async fn project(&self) -> ProjectId {
        projects::create(&self.store.store, "room").await.expect("a project").value.id
    }

    /// Commit a durable event without publishing it.
    pub(crate) async fn commit(&self, project: ProjectId, name: &str) -> DurableEvent {
        projects::rename(&self.store.store, project, name).await.expect("renamed").event.expect("an event")
    }

    /// Commit and publish.
    pub(crate) async fn change(&self, project: ProjectId, name: &str) -> u64 {
        let event = self.commit(project, name).await;
        let off = event.off;
        self.realtime.publish(event);
        off
    }

    pub(crate) async fn client(&self) -> Client {
        let mut client = Client::open(self.address).await;
        if self.known {
            let hello = client.message().await;
            assert!(hello["AuthSuccess"]["conn"].is_string(), "who is known is told so first of all: {hello}");
        }
        client
    }

    pub(crate) async fn joined(&self, project: ProjectId) -> (Client, Value) {
        let mut client = self.client().await;
        let joined = client.join(project, None).await;
        (client, joined)
    }
}

pub(crate) async fn accept(listener: TcpListener, door: Door, known: bool) {
    while let Ok((stream, _)) = listener.accept().await {
        let door = door.clone();
        tokio::spawn(async move {
            let upgrading = Arc::new(OnceLock::new());
            let upgraded = upgrading.clone();
            let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                let (door, upgraded) = (door.clone(), upgraded.clone());
                async move {
                    let grant = known.then(|| Principal::local_owner().into());
                    let answer = upgrade(&mut request.map(axum::body::Body::new), grant, door).await;
                    let mut answer = answer.unwrap_or_else(|refused| {
                        let body = axum::body::Body::from(refused.code);
                        http::Response::builder().status(refused.status).body(body).expect("a response")
                    });
                    if let Some(rest) = answer.extensions_mut().remove::<Upgrading>() {
                        upgraded.get_or_init(|| rest);
                    }
                    Ok::<_, Infallible>(answer)
                }
            });
            let builder = Builder::new(TokioExecutor::new());
            // A client that goes away is the other side's business.
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
            if let Some(upgrading) = upgrading.get() {
                Upgrading::clone(upgrading).run().await;
            }
        });
    }
}

/// One client.
pub(crate) struct Client {
    pub socket: WebSocketStream<TcpStream>,
    next: u64,
}

impl Client {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let (client, chosen) = Self::offering(address, Some(SUBPROTOCOL)).await;
        assert_eq!(chosen.as_deref(), Some(SUBPROTOCOL));
        client
    }

    /// Opens with this offer of subprotocols; also gives what the server chose.
    pub(crate) async fn offering(address: SocketAddr, offer: Option<&str>) -> (Self, Option<String>) {
        let stream = TcpStream::connect(address).await.expect("connects");
        let mut request = format!("ws://{address}/ws").into_client_request().expect("a request");
        if let Some(offer) = offer {
            request.headers_mut().insert("sec-websocket-protocol", offer.parse().expect("a header"));
        }
        match client_async(request, stream).await {
            Ok((socket, answer)) => {
                let chosen = answer.headers().get("sec-websocket-protocol");
                (Self { socket, next: 0 }, chosen.map(|name| name.to_str().expect("a name").to_owned()))
            }
            Err(error) => panic!("upgrades: {error}"),
        }
    }

    pub(crate) async fn send(&mut self, value: Value) {
        self.send_text(&value.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("sends");
    }

    /// The next message, or the close frame.
    pub(crate) async fn next(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            let message = tokio::time::timeout(DEADLINE, self.socket.next()).await.expect("waited for a message");
            match message {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    pub(crate) async fn message(&mut self) -> Value {
        self.next().await.expect("a message, not a close")
    }

    /// The next message that `wanted` accepts; others are dropped.
    pub(crate) async fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.message().await;
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Ask and get the reply; what comes before it is dropped.
    pub(crate) async fn ask(&mut self, name: &str, body: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(json!({"id": id, name: body})).await;
        self.wait(|message| message["re"] == id).await
    }

    pub(crate) async fn join(&mut self, project: ProjectId, since: Option<(&str, u64)>) -> Value {
        let mut body = json!({"project_id": project});
        if let Some((ep, off)) = since {
            body["since"] = json!({"ep": ep, "off": off});
        }
        let reply = self.ask("JoinProject", body).await;
        assert!(reply["ProjectJoined"].is_object(), "joining was answered {reply}");
        reply["ProjectJoined"].clone()
    }

    /// The offsets of durable events up to and with `last`.
    pub(crate) async fn offsets_until(&mut self, last: u64) -> Vec<u64> {
        let mut seen = Vec::new();
        while seen.last() != Some(&last) {
            let message = self.message().await;
            if let Some(off) = message["off"].as_u64() {
                seen.push(off);
            }
        }
        seen
    }

    /// The close frame; what comes before it is dropped.
    pub(crate) async fn closed(&mut self) -> Option<CloseFrame> {
        loop {
            if let Err(frame) = self.next().await {
                return frame;
            }
        }
    }
}

//! A balancer as small as one can be: a TCP proxy that gives each new connection to the next replica that is ready.
//! Leaves connections that are open alone, as a real one does. Easy to get wrong: a replica that is frozen answers no check;
//! each look has a limit.
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Api, eventually};

/// Time between two looks at a replica.
const EVERY: Duration = Duration::from_millis(50);
/// How long a replica may take to say that it is ready, or to take a connection.
const WITHIN: Duration = Duration::from_millis(500);

/// A running balancer; it ends with the value, and every connection through it.
pub(crate) struct Balancer {
    pub addr: SocketAddr,
    ready: Arc<Ready>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Ready {
    now: RwLock<BTreeSet<SocketAddr>>,
    next: AtomicUsize,
}

impl Balancer {
    /// In front of these replicas, which need not run yet.
    pub(crate) async fn start(replicas: &[SocketAddr]) -> Balancer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let ready = Arc::new(Ready::default());
        let mut tasks = JoinSet::new();
        for replica in replicas {
            tasks.spawn(watch(*replica, ready.clone()));
        }
        tasks.spawn(serve(listener, ready.clone()));
        Balancer { addr, ready, _tasks: tasks }
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(format!("http://{}", self.addr))
    }

    /// Waits until so many replicas get new connections.
    pub(crate) async fn has_ready(&self, replicas: usize, limit: Duration) {
        eventually(limit, &format!("{replicas} replicas to be ready"), || async {
            let now = self.ready.now.read().expect("nobody panics with it").len();
            if now == replicas { Ok(()) } else { Err(format!("{now} are")) }
        })
        .await;
    }
}

impl Ready {
    fn set(&self, replica: SocketAddr, ready: bool) {
        let mut now = self.now.write().expect("nobody panics with it");
        if ready {
            now.insert(replica)
        } else {
            now.remove(&replica)
        };
    }

    /// All that are ready, the one whose turn it is first.
    fn in_turn(&self) -> Vec<SocketAddr> {
        let now = self.now.read().expect("nobody panics with it");
        let first = self.next.fetch_add(1, Ordering::Relaxed) % now.len().max(1);
        now.iter().cycle().skip(first).take(now.len()).copied().collect()
    }
}

async fn watch(replica: SocketAddr, ready: Arc<Ready>) {
    let api = Api::new(format!("http://{replica}"));
    loop {
        let answer = tokio::time::timeout(WITHIN, api.try_get("/api/ready")).await;
        ready.set(replica, matches!(answer, Ok(Ok(answer)) if answer.status == 200));
        tokio::time::sleep(EVERY).await;
    }
}

async fn serve(listener: TcpListener, ready: Arc<Ready>) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted.expect("a listening socket accepts");
                open.spawn(pass(client, ready.in_turn()));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

/// Whoever can't be given to a replica is hung up on.
async fn pass(mut client: TcpStream, replicas: Vec<SocketAddr>) {
    for replica in replicas {
        if let Ok(Ok(mut server)) = tokio::time::timeout(WITHIN, TcpStream::connect(replica)).await {
            client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).expect("a connected socket takes it");
            // How it ends is between the two.
            copy_bidirectional(&mut client, &mut server).await.ok();
            return;
        }
    }
}

//! One life of one connection to Redis: hear the wanted channels, send what is queued, and prove again and again that a
//! message of our own comes back.
//!
//! Leaves coming back after a loss to `node`. Easy to get wrong: a connection that is open proves nothing. The server may
//! be frozen, the network gone, or the server now a replica, whose messages reach nobody else; the probe finds all three.
use super::inbox::dropped;
use super::node::{MAX_QUEUED, Node, Outgoing, Shared};
use redis::{Cmd, Pipeline, PushInfo, PushKind, Value, aio::MultiplexedConnection, cmd};
use std::{collections::HashSet, future::pending, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{Instant, sleep_until, timeout},
};

/// Subscriptions in one round trip.
const SUBSCRIBE_AT_ONCE: usize = 512;
/// What a connection may say about itself before it is listened to: an end, an echo, channels taken away. More of it says
/// nothing new.
const MAX_HEARD: usize = 16;

/// Bytes of messages in one round trip: what takes longer to send keeps probes from coming back in time.
const MAX_BATCH_BYTES: usize = 1 << 20;
/// After channels were taken away: for this long the cluster is asked who has them now.
const TAKEN_AGAIN: Duration = Duration::from_secs(1);

/// How a connection was lost.
#[derive(Debug)]
pub(super) struct Lost {
    /// For people.
    pub(super) reason: String,
    /// Whether messages had got through before.
    pub(super) was_up: bool,
}

/// What the connection says of itself.
enum Heard {
    /// It has ended.
    End,
    /// The probe with this number has come back.
    Echo(u64),
    /// The server no longer has a channel that we want: its slot has moved.
    Taken,
}

struct Session<'a> {
    node: &'a Node,
    shared: &'a Shared,
    connection: MultiplexedConnection,
    was_up: bool,
    /// Number of the latest probe, when it was sent, and whether it is still under way.
    probe: u64,
    probed: Instant,
    waiting: bool,
    /// When it must be back, or else the next one is sent.
    due: Instant,
    /// When channels that the server has taken away are asked for again.
    again: Option<Instant>,
}

/// Serves the node until it is stopped or the connection is lost.
///
/// # Errors
/// How it was lost.
pub(super) async fn run(node: &Arc<Node>, shared: &Arc<Shared>, queue: &mut Receiver<Outgoing>) -> Result<(), Lost> {
    let (hear, mut heard) = mpsc::channel(MAX_HEARD);
    let pushed = {
        let (node, shared) = (node.clone(), shared.clone());
        move |info: PushInfo| {
            take(&node, &shared, &hear, info);
            Ok::<(), ()>(())
        }
    };
    let connect = node.server.connect(shared.answer_within, pushed);
    let connected = tokio::select! {
        () = node.stop.cancelled() => return Ok(()),
        connected = connect => connected,
    };
    let connection = connected.map_err(|reason| Lost { reason, was_up: false })?;
    let now = Instant::now();
    let mut session = Session {
        node,
        shared,
        connection,
        was_up: false,
        probe: 0,
        probed: now,
        waiting: false,
        due: now,
        again: None,
    };
    let served = session.serve(queue, &mut heard).await;
    served.map_err(|reason| Lost { reason, was_up: session.was_up })
}

/// Something that the server says unasked, or its answer to a subscription.
fn take(node: &Node, shared: &Shared, hear: &Sender<Heard>, info: PushInfo) {
    let heard = match info.kind {
        PushKind::Message | PushKind::SMessage => {
            let Ok([Value::BulkString(name), Value::BulkString(message)]) = <[Value; 2]>::try_from(info.data) else {
                return dropped("unreadable", 1);
            };
            if name != node.probe.as_bytes() {
                return shared.inbox.take(&name, message);
            }
            match std::str::from_utf8(&message).ok().and_then(|number| number.parse().ok()) {
                Some(number) => Heard::Echo(number),
                None => return dropped("unreadable", 1),
            }
        }
        PushKind::Disconnection => Heard::End,
        PushKind::SUnsubscribe => {
            let Some(Value::BulkString(name)) = info.data.first() else { return };
            let mut wanted = node.wanted();
            match std::str::from_utf8(name) {
                Ok(name) if wanted.names.contains(name) && !wanted.leaving.contains(name) => {
                    wanted.taken.insert(name.to_owned());
                    Heard::Taken
                }
                Ok(name) if name == node.probe => Heard::End,
                _ => return,
            }
        }
        _ => return,
    };
    // When it is full the session has reason enough to look already, and finds a lost echo by its time.
    let _ = hear.try_send(heard);
}

impl Session<'_> {
    async fn serve(&mut self, queue: &mut Receiver<Outgoing>, heard: &mut Receiver<Heard>) -> Result<(), String> {
        self.subscribe_all().await?;
        self.node.set_connected(true);
        self.send_probe().await?;
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                // What tells of a loss goes first; a full queue must not keep it from being seen.
                biased;
                () = self.node.stop.cancelled() => {
                    // What was published before the stop is still sent.
                    while queue.try_recv().map(|message| batch.push(message)).is_ok() {}
                    return self.publish(&mut batch).await;
                }
                Some(heard) = heard.recv() => match heard {
                    Heard::End => return Err("the connection was closed".into()),
                    Heard::Taken => {
                        // Whose they are now is found out anew; if it still seems to be this one, it is asked for them again.
                        self.shared.inbox.gap();
                        self.shared.refresh.notify_one();
                        self.again = Some(Instant::now() + TAKEN_AGAIN);
                    }
                    Heard::Echo(number) if number == self.probe && self.waiting => self.echoed(),
                    Heard::Echo(_) => {}
                },
                () = sleep_until(self.due) => {
                    if self.waiting {
                        return Err(format!("a message of our own did not come back within {:?}", self.shared.answer_within));
                    }
                    self.send_probe().await?;
                }
                () = at(self.again) => {
                    self.again = None;
                    self.subscribe_taken().await?;
                }
                () = self.node.told.notified() => self.subscribe_changed().await?,
                _ = queue.recv_many(&mut batch, MAX_QUEUED) => {
                    self.node.taken(&batch);
                    while !batch.is_empty() {
                        let mut bytes = 0;
                        let fits = batch.iter().take_while(|one| {
                            bytes += one.message.len();
                            bytes <= MAX_BATCH_BYTES
                        });
                        let many = fits.count().max(1);
                        let mut some: Vec<_> = batch.drain(..many).collect();
                        self.publish(&mut some).await?;
                    }
                }
            }
        }
    }

    /// The probe has come back.
    fn echoed(&mut self) {
        self.waiting = false;
        // Counted from here: on a network slower than the period, probes would leave no time for anything else.
        self.due = Instant::now() + self.shared.probe_every;
        metrics::histogram!("tieout_relay_probe_seconds").record(self.probed.elapsed().as_secs_f64());
        if self.was_up {
            return;
        }
        self.was_up = true;
        log::info!("messages between replicas get through redis={}", self.node.part.0);
        self.shared.links.up(&self.node.part);
        // What was sent while nobody heard it for us is lost.
        self.shared.inbox.gap();
    }

    async fn send_probe(&mut self) -> Result<(), String> {
        self.probe += 1;
        self.probed = Instant::now();
        self.waiting = true;
        self.due = self.probed + self.shared.answer_within;
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.add_command(self.publication(&self.node.probe, self.probe.to_string().as_bytes()));
        pipeline.add_command(cmd("ROLE"));
        let answers = self.send(&pipeline, 2).await?;
        let [probe, role] = answers.as_slice() else { return Err("an answer of another kind".into()) };
        refused(probe).map_or(Ok(()), Err)?;
        match role {
            Value::Array(parts) if parts.first() == Some(&Value::BulkString(b"slave".to_vec())) => {
                Err("the server is a replica: what is sent there does not reach the others".into())
            }
            // One that may not be asked for its role is taken at its word.
            _ => Ok(()),
        }
    }

    async fn subscribe_all(&mut self) -> Result<(), String> {
        let mut names: Vec<String> = {
            let mut wanted = self.node.wanted();
            wanted.changed.clear();
            wanted.leaving.clear();
            wanted.taken.clear();
            wanted.names.iter().cloned().collect()
        };
        names.push(self.node.probe.clone());
        self.subscribe(&names, true).await
    }

    /// Brings the subscriptions up to what is wanted now.
    async fn subscribe_changed(&mut self) -> Result<(), String> {
        let (joining, leaving) = {
            let mut wanted = self.node.wanted();
            let changed = std::mem::take(&mut wanted.changed);
            let (joining, leaving): (Vec<_>, Vec<_>) =
                changed.into_iter().partition(|name| wanted.names.contains(name));
            wanted.leaving.extend(leaving.iter().cloned());
            (joining, leaving)
        };
        self.subscribe(&joining, true).await?;
        self.subscribe(&leaving, false).await?;
        self.node.wanted().leaving.clear();
        Ok(())
    }

    /// Asks for what the server has taken away, as far as it is still believed to be there.
    async fn subscribe_taken(&mut self) -> Result<(), String> {
        let names: Vec<String> = {
            let mut wanted = self.node.wanted();
            let taken: HashSet<String> = std::mem::take(&mut wanted.taken);
            taken.into_iter().filter(|name| wanted.names.contains(name)).collect()
        };
        self.subscribe(&names, true).await
    }

    async fn subscribe(&mut self, names: &[String], wanted: bool) -> Result<(), String> {
        let command = match (self.shared.sharded, wanted) {
            (false, true) => "SUBSCRIBE",
            (false, false) => "UNSUBSCRIBE",
            (true, true) => "SSUBSCRIBE",
            (true, false) => "SUNSUBSCRIBE",
        };
        for names in names.chunks(SUBSCRIBE_AT_ONCE) {
            let mut pipeline = Pipeline::with_capacity(names.len());
            for name in names {
                // One name each: on a cluster a command's names must all be in one slot.
                pipeline.cmd(command).arg(name);
            }
            let answers = self.send(&pipeline, names.len()).await?;
            // A server that no longer has a channel refuses to be told so.
            if wanted || !self.shared.sharded {
                answers.iter().find_map(refused).map_or(Ok(()), Err)?;
            }
        }
        Ok(())
    }

    /// Sends all of the batch in one round trip.
    async fn publish(&mut self, batch: &mut Vec<Outgoing>) -> Result<(), String> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut pipeline = Pipeline::with_capacity(batch.len());
        for Outgoing { name, message } in batch.iter() {
            pipeline.add_command(self.publication(name, message));
        }
        let count = batch.len();
        batch.clear();
        let answers = self.send(&pipeline, count).await.inspect_err(|_| dropped("failed", count))?;
        let mut refusals = answers.iter().filter_map(refused);
        let Some(first) = refusals.next() else {
            metrics::counter!("tieout_relay_published_total").increment(count as u64);
            return Ok(());
        };
        let lost = 1 + refusals.count();
        dropped("failed", lost);
        metrics::counter!("tieout_relay_published_total").increment((count - lost) as u64);
        if !self.shared.sharded {
            return Err(first);
        }
        // Of a slot that is on its way to another server; the connection is good for the others.
        log::debug!("messages={lost} were not sent: {first} redis={}", self.node.part.0);
        self.shared.refresh.notify_one();
        Ok(())
    }

    fn publication(&self, name: &str, message: &[u8]) -> Cmd {
        let mut command = cmd(if self.shared.sharded { "SPUBLISH" } else { "PUBLISH" });
        command.arg(name).arg(message);
        command
    }

    /// One round trip, in which each command may fail by itself.
    async fn send(&mut self, pipeline: &Pipeline, count: usize) -> Result<Vec<Value>, String> {
        // The connection's own limit starts when the bytes are handed over, which a full connection may put off.
        match timeout(self.shared.answer_within, self.connection.send_packed_commands(pipeline, 0, count)).await {
            Ok(answers) => answers.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.shared.answer_within)),
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

/// Why the server has refused a command, when it has.
pub(super) fn refused(answer: &Value) -> Option<String> {
    match answer {
        Value::ServerError(error) => Some(format!("refused: {error}")),
        _ => None,
    }
}

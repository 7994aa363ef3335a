//! What the runtime says about actors, as metrics: messages, restarts, dead letters, stalls, mailboxes, the actor thread.
//!
//! The runtime knows nothing of metrics; it calls back, and an actor of our own feels how busy their thread is. Easy to get
//! wrong: actors that are made per job have names of their own, which would be a new line in every metric for ever, so
//! they are counted as one family.
use crate::runtime::{Backoff, Builder, ChildSpec, Event, Handled, OnExhausted, Rejected, Runtime, StartError};
use actix::{Actor, AsyncContext, Context};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;
use uuid::Uuid;

/// One message in so many is timed.
const SAMPLE_EVERY: u32 = 16;
/// How often the actor thread is felt.
const FEEL_EVERY: Duration = Duration::from_secs(1);

/// Handles for one message type of one family of actors.
struct OfMessage {
    queue: Histogram,
    handle: Histogram,
    handled: Counter,
}

#[derive(Default)]
struct Known {
    messages: HashMap<String, HashMap<&'static str, OfMessage>>,
    depths: BTreeMap<String, Gauge>,
}

/// Counts what the runtime calls back with.
#[derive(Default)]
pub struct Meter(Mutex<Known>);

impl Meter {
    /// A meter, and the builder that will call it.
    pub fn attach(builder: Builder) -> (Builder, Arc<Self>) {
        let meter = Arc::new(Self::default());
        let (of_events, of_handled) = (meter.clone(), meter.clone());
        let builder = builder
            .on_event(move |event| of_events.happened(event))
            .on_rejected(rejected)
            .on_handled(SAMPLE_EVERY, move |handled| of_handled.handled(handled));
        (builder, meter)
    }

    /// Begin to feel how busy the actor thread is.
    ///
    /// # Errors
    /// The actor could not start.
    pub async fn start(runtime: &Runtime) -> Result<(), StartError> {
        let spec = ChildSpec::new("meter", |_: &mut Context<Pulse>| Pulse::new())
            .backoff(Backoff { first: FEEL_EVERY, ..Backoff::default() })
            .on_exhausted(OnExhausted::GiveUp);
        runtime.supervise(spec).await.map(drop)
    }

    /// Look at the mailboxes, and at what is stuck. Never waits for an actor.
    pub fn look(&self, runtime: &Runtime) {
        let health = runtime.health();
        let mut depths: BTreeMap<&str, usize> = BTreeMap::new();
        for actor in &health.actors {
            *depths.entry(family(&actor.name)).or_default() += actor.mailbox_depth;
        }
        let mut known = self.known();
        for (actor, gauge) in &known.depths {
            if !depths.contains_key(actor.as_str()) {
                gauge.set(0.0);
            }
        }
        for (actor, depth) in depths {
            let gauge = known.depths.entry(actor.to_owned());
            gauge
                .or_insert_with(|| gauge!("tieout_actor_mailbox_depth", "actor" => actor.to_owned()))
                .set(depth as f64);
        }
        let stuck = health.stalled.map_or(0.0, |stall| stall.for_.as_secs_f64());
        gauge!("tieout_actor_stalled_seconds").set(stuck);
    }

    fn handled(&self, handled: &Handled) {
        let mut known = self.known();
        let actor = family(&handled.actor);
        if !known.messages.contains_key(actor) {
            known.messages.insert(actor.to_owned(), HashMap::new());
        }
        let Some(messages) = known.messages.get_mut(actor) else { return };
        let of = messages.entry(handled.message).or_insert_with(|| OfMessage::new(actor, short(handled.message)));
        of.queue.record(handled.queue_time);
        of.handle.record(handled.handle_time);
        of.handled.increment(u64::from(handled.weight));
    }

    fn happened(&self, event: &Event) {
        match event {
            Event::Panicked(info) => {
                if let Some(message) = info.message {
                    count(&info.actor, short(message), ("tieout_actor_messages_total", "outcome", "panicked"));
                }
            }
            Event::Restarting { actor, reason, .. } => {
                let actor = family(actor).to_owned();
                counter!("tieout_actor_restarts_total", "actor" => actor, "reason" => reason.code()).increment(1);
            }
            Event::Escalated { child, to, .. } => {
                let (actor, to) = (family(child).to_owned(), to.as_deref().unwrap_or("runtime").to_owned());
                counter!("tieout_actor_escalations_total", "actor" => actor, "to" => to).increment(1);
            }
            Event::Rehomed { .. } => counter!("tieout_actor_rehomes_total", "result" => "moved").increment(1),
            Event::NotRehomed { .. } => counter!("tieout_actor_rehomes_total", "result" => "stayed").increment(1),
            Event::DeadLetter { actor, message, reason } => {
                count(actor, short(message), ("tieout_actor_dead_letters_total", "reason", reason));
            }
            Event::Stalled(stall) => {
                let (actor, message) = (family(&stall.actor).to_owned(), short(stall.message));
                counter!("tieout_actor_stalls_total", "actor" => actor, "message" => message).increment(1);
            }
            _ => {}
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is known is only handles; half of them would still be right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rejected(rejected: &Rejected) {
    let Rejected { actor, message, reason } = rejected;
    count(actor, short(message), ("tieout_actor_rejected_total", "reason", reason));
}

impl OfMessage {
    fn new(actor: &str, message: &'static str) -> Self {
        let actor = actor.to_owned();
        Self {
            queue: histogram!("tieout_actor_queue_seconds", "actor" => actor.clone(), "message" => message),
            handle: histogram!("tieout_actor_handle_seconds", "actor" => actor.clone(), "message" => message),
            handled: counter!("tieout_actor_messages_total", "actor" => actor, "message" => message, "outcome" => "handled"),
        }
    }
}

/// Rare things are counted without a handle of their own.
fn count(actor: &str, message: &'static str, (name, label, value): (&'static str, &'static str, &'static str)) {
    let labels = [("actor", family(actor).to_owned()), ("message", message.to_owned()), (label, value.to_owned())];
    counter!(name, &labels).increment(1);
}

/// An actor's name without the id of what it was made for.
fn family(name: &str) -> &str {
    match name.split_once('-') {
        Some((family, rest)) if rest.get(..36).is_some_and(|id| Uuid::parse_str(id).is_ok()) => family,
        _ => name,
    }
}

/// A type's name without its modules.
fn short(path: &'static str) -> &'static str {
    let end = path.find('<').unwrap_or(path.len());
    path[..end].rfind("::").map_or(path, |at| &path[at + 2..])
}

/// Lives on the actor thread and says once a second how busy it was and how late it came.
struct Pulse {
    due: Instant,
    busy: Duration,
    at: Instant,
    lag: Histogram,
    ratio: Gauge,
}

impl Pulse {
    fn new() -> Self {
        let now = Instant::now();
        let (lag, ratio) =
            (histogram!("tieout_actor_arbiter_ping_lag_seconds"), gauge!("tieout_actor_arbiter_busy_ratio"));
        Self { due: now, busy: Duration::ZERO, at: now, lag, ratio }
    }

    fn wind(&mut self, ctx: &mut Context<Self>) {
        self.due = Instant::now() + FEEL_EVERY;
        ctx.run_later(FEEL_EVERY, |pulse, ctx| {
            pulse.feel();
            pulse.wind(ctx);
        });
    }

    fn feel(&mut self) {
        let now = Instant::now();
        self.lag.record(now.saturating_duration_since(self.due));
        let busy = busy();
        let share = busy.saturating_sub(self.busy).as_secs_f64() / now.duration_since(self.at).as_secs_f64();
        self.ratio.set(share.clamp(0.0, 1.0));
        (self.busy, self.at) = (busy, now);
    }
}

/// How long the thread that we are on has been at work.
fn busy() -> Duration {
    Handle::current().metrics().worker_total_busy_duration(0)
}

impl Actor for Pulse {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        (self.busy, self.at) = (busy(), Instant::now());
        self.wind(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::METRICS;
    use metrics_exporter_prometheus::PrometheusBuilder;

    #[test]
    fn actors_of_one_kind_are_one_line() {
        assert_eq!(family("job-01890a5d-ac96-774b-bcce-b302099a8057-3"), "job");
        assert_eq!(family("job-dispatcher"), "job-dispatcher");
        assert_eq!(family("hub"), "hub");
        assert_eq!(short("tieout::actors::hub::messages::Publish"), "Publish");
        assert_eq!(short("a::Wrap<b::Inner>"), "Wrap<b::Inner>");
        assert_eq!(short("plain"), "plain");
    }

    #[test]
    fn what_the_runtime_says_is_counted_under_the_names_of_the_list() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let text = metrics::with_local_recorder(&recorder, || {
            let meter = Meter::default();
            let name: Arc<str> = "job-01890a5d-ac96-774b-bcce-b302099a8057-1".into();
            let (queue_time, handle_time) = (Duration::from_millis(2), Duration::from_millis(3));
            let message = "tieout::Go";
            meter.handled(&Handled { actor: name.clone(), message, queue_time, handle_time, weight: 16 });
            meter.handled(&Handled { actor: name.clone(), message, queue_time, handle_time, weight: 16 });
            meter.happened(&Event::DeadLetter { actor: name.clone(), message, reason: "expired" });
            rejected(&Rejected { actor: name.clone(), message, reason: "mailbox_full" });
            meter.happened(&Event::Stalled(crate::runtime::Stall { actor: name, message, for_: queue_time }));
            recorder.handle().render()
        });
        for line in [
            r#"tieout_actor_messages_total{actor="job",message="Go",outcome="handled"} 32"#,
            r#"tieout_actor_dead_letters_total{actor="job",message="Go",reason="expired"} 1"#,
            r#"tieout_actor_rejected_total{actor="job",message="Go",reason="mailbox_full"} 1"#,
            r#"tieout_actor_stalls_total{actor="job",message="Go"} 1"#,
            r#"tieout_actor_queue_seconds_count{actor="job",message="Go"} 2"#,
            r#"tieout_actor_handle_seconds_count{actor="job",message="Go"} 2"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = line.split(' ').next().unwrap();
            assert!(METRICS.iter().any(|metric| metric.name == name), "{name} is not in the list");
        }
    }
}

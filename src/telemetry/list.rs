//! The one list of metrics: name, kind, unit, labels, and what is counted.
//!
//! docs/METRICS.md is this list as a table. Easy to get wrong: a name is public; dashboards and alerts are built on it.

/// How a metric behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As `/metrics` shows it.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What is counted or measured.
    pub unit: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// One phrase, which is also its help text.
    pub what: &'static str,
}

/// Every metric of the process.
pub const METRICS: &[Metric] = &[
    // HTTP
    Metric {
        name: "tieout_http_requests_total",
        kind: Kind::Counter,
        unit: "requests",
        labels: &["route", "status"],
        what: "answered requests, by route (`none`: no such path) and status",
    },
    Metric {
        name: "tieout_http_request_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: &[],
        what: "from the whole request head to the answer's head",
    },
    Metric {
        name: "tieout_http_connections",
        kind: Kind::Gauge,
        unit: "connections",
        labels: &[],
        what: "open connections, WebSockets not counted",
    },
    Metric {
        name: "tieout_http_refused_total",
        kind: Kind::Counter,
        unit: "connections",
        labels: &[],
        what: "refused at `max_http_connections` or `connections_per_address`",
    },
    Metric {
        name: "tieout_http_cut_total",
        kind: Kind::Counter,
        unit: "ends",
        labels: &["reason"],
        what: "connections, or streams of one, that were ended: `stalled`, the client reads nothing; `flood`, it sends frames that ask for nothing",
    },
    Metric {
        name: "tieout_http_accept_errors_total",
        kind: Kind::Counter,
        unit: "errors",
        labels: &[],
        what: "connections that the system could not hand over, for want of descriptors as a rule",
    },
    // Live connections
    Metric {
        name: "tieout_rt_connections",
        kind: Kind::Gauge,
        unit: "connections",
        labels: &[],
        what: "open WebSockets and event streams",
    },
    Metric { name: "tieout_rt_rooms", kind: Kind::Gauge, unit: "rooms", labels: &[], what: "rooms that the hub keeps" },
    Metric {
        name: "tieout_rt_subscriptions",
        kind: Kind::Gauge,
        unit: "members",
        labels: &[],
        what: "members of all rooms",
    },
    Metric {
        name: "tieout_rt_presence_entries",
        kind: Kind::Gauge,
        unit: "users",
        labels: &[],
        what: "users shown in all rooms, those who have just left included",
    },
    Metric {
        name: "tieout_rt_publish_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &["kind"],
        what: "messages for rooms: `durable` or `collaboration`",
    },
    Metric {
        name: "tieout_rt_publish_deferred_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &[],
        what: "durable messages that the hub could not take and reads from the store",
    },
    Metric {
        name: "tieout_rt_progress_dropped_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &[],
        what: "progress that the hub could not take; the next one replaces it",
    },
    Metric {
        name: "tieout_rt_deliveries_total",
        kind: Kind::Counter,
        unit: "frames",
        labels: &[],
        what: "frames handed to members of rooms",
    },
    Metric {
        name: "tieout_rt_batches_total",
        kind: Kind::Counter,
        unit: "batches",
        labels: &[],
        what: "times that a member was handed frames: one write each, none while its socket is full",
    },
    Metric {
        name: "tieout_rt_fanout_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: &[],
        what: "a shard hands one room's frames to all its members",
    },
    Metric {
        name: "tieout_rt_delivery_lag_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: &[],
        what: "from the commit of a durable message to its place in the order; sampled, at most 100 a second",
    },
    Metric {
        name: "tieout_rt_flush_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: &[],
        what: "bytes that a socket would not take at once: until the last of them was written",
    },
    Metric {
        name: "tieout_rt_queue_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        labels: &["shard"],
        what: "bytes that wait for sockets, looked at once a second",
    },
    Metric {
        name: "tieout_rt_shard_overflow_total",
        kind: Kind::Counter,
        unit: "frames",
        labels: &[],
        what: "frames that a shard's full queue had no place for",
    },
    Metric {
        name: "tieout_rt_shard_panics_total",
        kind: Kind::Counter,
        unit: "panics",
        labels: &[],
        what: "panics of a shard: its connections were closed",
    },
    Metric {
        name: "tieout_rt_slow_total",
        kind: Kind::Counter,
        unit: "steps",
        labels: &["action"],
        what: "steps against clients that read too slowly: `conflate`, `drop_ephemeral`, `resync`, `close`",
    },
    Metric {
        name: "tieout_rt_recover_total",
        kind: Kind::Counter,
        unit: "joins",
        labels: &["source", "result"],
        what: "joins: `fresh`, or asking for what was missed: `recovered` from the `ring` or the `store`, or sent to the `snapshot`",
    },
    Metric {
        name: "tieout_rt_gap_total",
        kind: Kind::Counter,
        unit: "holes",
        labels: &[],
        what: "holes in the order of publications, read from the store",
    },
    Metric {
        name: "tieout_rt_remote_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &["kind", "result"],
        what: "messages of other replicas, `taken` or `dropped`; events that were dropped are read from the store",
    },
    Metric {
        name: "tieout_rt_close_total",
        kind: Kind::Counter,
        unit: "connections",
        labels: &["code"],
        what: "connections that the server closed, by the name of the close code",
    },
    Metric {
        name: "tieout_rt_auth_total",
        kind: Kind::Counter,
        unit: "proofs",
        labels: &["result"],
        what: "`Auth` messages `accepted` and `refused`, and proofs that `expired` without renewal",
    },
    Metric {
        name: "tieout_rt_rate_limited_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &[],
        what: "messages refused at `max_message_rate`",
    },
    Metric {
        name: "tieout_rt_drain_remaining",
        kind: Kind::Gauge,
        unit: "connections",
        labels: &[],
        what: "connections that a stop still has to close",
    },
    // Relay
    Metric {
        name: "tieout_relay_up",
        kind: Kind::Gauge,
        unit: "flag",
        labels: &[],
        what: "1 while messages of our own come back over Redis, else 0; absent without Redis",
    },
    Metric {
        name: "tieout_relay_probe_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: &[],
        what: "from a message to Redis until it came back",
    },
    Metric {
        name: "tieout_relay_published_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &[],
        what: "messages for other replicas that Redis took",
    },
    Metric {
        name: "tieout_relay_received_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &[],
        what: "messages of other replicas",
    },
    Metric {
        name: "tieout_relay_dropped_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &["reason"],
        what: "messages between replicas that reached nobody: Redis `away`, `mail_full`, `queue_full` or `receiver_full`, `failed` on the way, `too_big`, `unreadable`",
    },
    Metric {
        name: "tieout_relay_gaps_total",
        kind: Kind::Counter,
        unit: "gaps",
        labels: &[],
        what: "times that messages of other replicas may have been lost; the store has what matters",
    },
    // Actors
    Metric {
        name: "tieout_actor_mailbox_depth",
        kind: Kind::Gauge,
        unit: "messages",
        labels: &["actor"],
        what: "messages that wait in an actor's mailbox",
    },
    Metric {
        name: "tieout_actor_queue_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: &["actor", "message"],
        what: "from the send to the handler; sampled, one message in 16",
    },
    Metric {
        name: "tieout_actor_handle_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: &["actor", "message"],
        what: "in the handler, an asynchronous one until it returned its future; sampled, one message in 16",
    },
    Metric {
        name: "tieout_actor_messages_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &["actor", "message", "outcome"],
        what: "`handled`, estimated from the samples; `panicked`, exact",
    },
    Metric {
        name: "tieout_actor_restarts_total",
        kind: Kind::Counter,
        unit: "restarts",
        labels: &["actor", "reason"],
        what: "restarts of actors: `panicked`, `stopped_itself`, `start_failed`, `group`, `rehomed`",
    },
    Metric {
        name: "tieout_actor_dead_letters_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &["actor", "message", "reason"],
        what: "accepted and never handled: `stopped`, `overflow`, `expired`, `withdrawn`",
    },
    Metric {
        name: "tieout_actor_rejected_total",
        kind: Kind::Counter,
        unit: "messages",
        labels: &["actor", "message", "reason"],
        what: "refused at the mailbox and given back to the sender, by the error's code",
    },
    Metric {
        name: "tieout_actor_stalls_total",
        kind: Kind::Counter,
        unit: "stalls",
        labels: &["actor", "message"],
        what: "handlers that the watchdog found stuck",
    },
    Metric {
        name: "tieout_actor_rehomes_total",
        kind: Kind::Counter,
        unit: "moves",
        labels: &["result"],
        what: "actors moved off a stuck thread: `moved`, or `stayed` for want of another",
    },
    Metric {
        name: "tieout_actor_escalations_total",
        kind: Kind::Counter,
        unit: "escalations",
        labels: &["actor", "to"],
        what: "restarts used up: `to` a group, or to the `runtime`, which ends the process",
    },
    Metric {
        name: "tieout_actor_stalled_seconds",
        kind: Kind::Gauge,
        unit: "seconds",
        labels: &[],
        what: "how long the handler that is stuck now has been running; 0 when none is",
    },
    Metric {
        name: "tieout_actor_arbiter_busy_ratio",
        kind: Kind::Gauge,
        unit: "ratio",
        labels: &[],
        what: "share of the last second that the actor thread was at work, 0 to 1",
    },
    Metric {
        name: "tieout_actor_arbiter_ping_lag_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: &[],
        what: "how much later than due the actor thread came to a timer, once a second",
    },
    // Store
    Metric {
        name: "tieout_store_up",
        kind: Kind::Gauge,
        unit: "stores",
        labels: &[],
        what: "whether the store serves calls: 1 or 0",
    },
    Metric {
        name: "tieout_store_connections",
        kind: Kind::Gauge,
        unit: "connections",
        labels: &["state"],
        what: "open connections to the database, `idle` or `busy`, at the latest probe",
    },
    Metric {
        name: "tieout_store_waiting",
        kind: Kind::Gauge,
        unit: "callers",
        labels: &[],
        what: "who waits for a connection",
    },
    Metric {
        name: "tieout_store_wait_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        labels: &[],
        what: "how long a caller waited for its connection",
    },
    Metric {
        name: "tieout_store_calls_total",
        kind: Kind::Counter,
        unit: "calls",
        labels: &[],
        what: "calls that got a connection, a transaction each",
    },
    Metric {
        name: "tieout_store_refused_total",
        kind: Kind::Counter,
        unit: "calls",
        labels: &["reason"],
        what: "calls refused: `away` at once, `busy` after 2 s without a connection",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs, path::Path};

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");

    /// Names of metrics in the source, less this list and test code.
    fn used(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                used(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("telemetry/list.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                let names = code.split('"').filter(|word| {
                    word.strip_prefix("tieout_")
                        .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
                });
                found.extend(names.map(str::to_owned));
            }
        }
    }

    #[test]
    fn the_list_is_what_the_source_counts() {
        let mut found = BTreeSet::new();
        used(&Path::new(ROOT).join("src"), &mut found);
        let listed: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
        assert_eq!(listed.len(), METRICS.len(), "a name stands twice");
        let unknown: Vec<_> = found.difference(&listed).collect();
        assert!(unknown.is_empty(), "counted and not listed: {unknown:?}");
        let idle: Vec<_> = listed.difference(&found).collect();
        assert!(idle.is_empty(), "listed and not counted: {idle:?}");
    }

    #[test]
    fn the_page_is_the_list() {
        let page = fs::read_to_string(Path::new(ROOT).join("docs/METRICS.md")).unwrap();
        let row = |metric: &Metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let Metric { name, unit, what, .. } = metric;
            format!("| `{name}` | {} | {unit} | {} | {what} |", metric.kind.name(), labels.join(", "))
        };
        let wanted: Vec<_> = METRICS.iter().map(row).collect();
        let tables = page.split("## What to watch").next().unwrap();
        let written: Vec<_> = tables.lines().filter(|line| line.starts_with("| `tieout_")).collect();
        assert_eq!(written, wanted, "docs/METRICS.md should have these rows:\n{}", wanted.join("\n"));
    }

    #[test]
    fn names_carry_their_unit_and_kind() {
        for Metric { name, kind, unit, .. } in METRICS {
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(*unit == "seconds", name.ends_with("_seconds"), "{name}");
            assert_eq!(*unit == "bytes", name.ends_with("_bytes"), "{name}");
        }
    }
}

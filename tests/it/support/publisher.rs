//! A back end that publishes to a room through faults, each message under a key of its own, and enters into a ledger what it
//! was told. Leaves judging to the ledger. Easy to get wrong: asking again under a new key; here every second request whose
//! outcome is unknown is asked again under the same one, and the others are left unknown.
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Answer, Api};
use crate::fault_ledger::Ledger;

/// How often a request is asked again.
const AGAIN: usize = 20;

/// What the publisher was told, as a row of a table says it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Told {
    /// Requests that were stored at once.
    pub stored: usize,
    /// Requests that were stored after they were asked again.
    pub stored_later: usize,
    /// Answers of 503.
    pub unavailable: usize,
    /// Connections that ended or never came about.
    pub cut: usize,
    /// The longest that any request waited for an answer or an end.
    pub slowest: Duration,
    /// The longest time between two successes: from the fault to the recovery, as a client sees it.
    pub longest_gap: Duration,
    /// The longest time from an answer of 200 until a client that was to see the event had it.
    pub slowest_event: Duration,
}

impl Told {
    /// What two publishers were told, as one.
    pub(crate) fn and(self, other: Told) -> Told {
        Told {
            stored: self.stored + other.stored,
            stored_later: self.stored_later + other.stored_later,
            unavailable: self.unavailable + other.unavailable,
            cut: self.cut + other.cut,
            slowest: self.slowest.max(other.slowest),
            longest_gap: self.longest_gap.max(other.longest_gap),
            slowest_event: self.slowest_event.max(other.slowest_event),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "503 × {}, cut off × {}, slowest answer {}", self.unavailable, self.cut, human(self.slowest))?;
        if self.slowest_event.is_zero() { Ok(()) } else { write!(f, ", slowest event {}", human(self.slowest_event)) }
    }
}

/// A time with two digits: `34 ms`, `2.1 s`.
pub(crate) fn human(time: Duration) -> String {
    match time.as_millis() {
        ms @ ..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// One that is publishing.
pub(crate) struct Publisher {
    stop: CancellationToken,
    task: JoinHandle<Told>,
}

impl Publisher {
    /// Publishes under keys that begin with `name`, one request after the other, at least `every` apart.
    pub(crate) fn start(api: Api, project: &str, name: &str, every: Duration, ledger: &Arc<Ledger>) -> Publisher {
        let stop = CancellationToken::new();
        let (project, name) = (project.to_owned(), name.to_owned());
        let (stopped, ledger) = (stop.clone(), ledger.clone());
        let task = tokio::spawn(async move {
            let mut told = Told::default();
            let mut last = Instant::now();
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for n in 0.. {
                // Only between requests: one that was sent is waited for.
                if stopped.run_until_cancelled(ticks.tick()).await.is_none() {
                    break;
                }
                let tries = if n % 2 == 0 { 1 } else { AGAIN };
                if publish(&api, &project, &format!("{name}-{n}"), tries, &ledger, &mut told).await {
                    told.longest_gap = told.longest_gap.max(last.elapsed());
                    last = Instant::now();
                }
            }
            told.longest_gap = told.longest_gap.max(last.elapsed());
            told
        });
        Publisher { stop, task }
    }

    /// Ends after the request that is under way.
    pub(crate) async fn stop(self) -> Told {
        self.stop.cancel();
        self.task.await.expect("the publisher is told no nonsense")
    }
}

/// Sends one message up to so many times; whether it is known to be stored.
async fn publish(api: &Api, project: &str, key: &str, tries: usize, ledger: &Ledger, told: &mut Told) -> bool {
    let body = json!({ "Notification": { "project_id": project, "level": "info", "message": key } });
    ledger.asked(project, key);
    for attempt in 1..=tries {
        let asked = Instant::now();
        let request = api.request(Method::POST, "/api/realtime/publish").header("idempotency-key", key).json(&body);
        let answer = api.send(request).await;
        told.slowest = told.slowest.max(asked.elapsed());
        match answer {
            Ok(answer) if answer.status == 200 => {
                let sent = answer.json();
                let off = sent["off"].as_u64().unwrap_or_else(|| panic!("no offset in {sent}"));
                ledger.committed(key, sent["ep"].as_str().unwrap_or_default(), off);
                if attempt == 1 {
                    told.stored += 1
                } else {
                    told.stored_later += 1
                }
                return true;
            }
            Ok(answer) if answer.status == 503 => {
                assert_names_a_pause(&answer);
                told.unavailable += 1;
            }
            Ok(answer) if answer.status == 409 => panic!("{key} is asked by nobody else: {}", answer.text),
            Ok(answer) if (400..500).contains(&answer.status) => {
                ledger.refused(key);
                panic!("{} answered {} {}", answer.request, answer.status, answer.text);
            }
            Ok(answer) => panic!("{} answered {} {}", answer.request, answer.status, answer.text),
            Err(_) => told.cut += 1,
        }
        if attempt < tries {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    false
}

/// Whoever is told to come back is told when.
pub(crate) fn assert_names_a_pause(answer: &Answer) {
    let pause = answer.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok());
    assert!(pause.is_some(), "{} answered 503 without Retry-After: {}", answer.request, answer.text);
}

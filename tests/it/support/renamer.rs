//! Somebody who gives a project one name after another through faults, and remembers what was answered: a change of a row with its
//! event, beside the publications. Leaves judging to `missing`, over what the database holds in the end. Easy to get wrong: a
//! change without an answer may be stored; it is no error, but a second time would be.
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Api, publisher::assert_names_a_pause};

/// Least time between two changes.
const EVERY: Duration = Duration::from_millis(50);

/// One who is at it.
pub(crate) struct Renamer {
    stop: CancellationToken,
    task: JoinHandle<Renames>,
}

/// The names that were given.
#[derive(Debug, Default)]
pub(crate) struct Renames {
    /// Answered 200.
    pub stored: Vec<String>,
    /// Answered 503, or not at all.
    pub unknown: Vec<String>,
}

impl Renamer {
    pub(crate) fn start(api: Api, project: &str) -> Renamer {
        let (stop, path) = (CancellationToken::new(), format!("/api/v1/projects/{project}"));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut renames = Renames::default();
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for n in 0.. {
                if stopped.run_until_cancelled(ticks.tick()).await.is_none() {
                    break;
                }
                let name = format!("name {n}");
                let request = api.request(Method::PATCH, &path).json(&json!({ "name": name }));
                match api.send(request).await {
                    Ok(answer) if answer.status == 200 => renames.stored.push(name),
                    Ok(answer) if answer.status == 503 => {
                        assert_names_a_pause(&answer);
                        renames.unknown.push(name);
                    }
                    Ok(answer) => panic!("{} answered {} {}", answer.request, answer.status, answer.text),
                    Err(_) => renames.unknown.push(name),
                }
            }
            renames
        });
        Renamer { stop, task }
    }

    /// Ends after the change that is under way.
    pub(crate) async fn stop(self) -> Renames {
        self.stop.cancel();
        self.task.await.expect("nobody is told nonsense")
    }
}

impl Renames {
    /// What can't be true, given the project's events: a change that was answered is stored once, any other once at most.
    pub(crate) fn broken(&self, events: &[Value]) -> Vec<String> {
        let times = |name: &String| {
            let updates =
                events.iter().map(|event| &event["DataUpdate"]).filter(|update| update["entity"] == "project");
            updates.filter(|update| update["data"]["name"] == *name).count()
        };
        let stored = self.stored.iter().filter(|name| times(name) != 1);
        let unknown = self.unknown.iter().filter(|name| times(name) > 1);
        stored.chain(unknown).map(|name| format!("{name:?} is stored {} times", times(name))).collect()
    }
}

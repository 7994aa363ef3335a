//! One reconciliation through the API: project, two uploads, a job, its states and its results. Leaves what is in them
//! to the test. Easy to get wrong: waiting for `completed` when the job has failed; a terminal state ends every wait.
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde_json::{Value, json};

use super::{Api, LONG, Sample, Socket, eventually, http::text, sample::pairs};

/// A job and what it was made from.
pub(crate) struct Run {
    pub api: Api,
    pub project: String,
    pub left: String,
    pub right: String,
    pub job: String,
}

impl Run {
    /// A project with both files of the sample and a job that has not been started.
    pub(crate) async fn prepare(api: &Api, sample: &Sample) -> Run {
        let project = api.project("outer door").await;
        let left = text(&api.upload(&project, "ledger.csv", sample.ledger.clone()).await.expect(201), "id");
        let right = text(&api.upload(&project, "bank.csv", sample.bank.clone()).await.expect(201), "id");
        let jobs = format!("/api/v1/projects/{project}/jobs");
        let job = api.post(&jobs, json!({"left": left, "right": right})).await.expect(201);
        assert_eq!(job["state"], "created", "a new job: {job}");
        let job = text(&job, "id");
        Run { api: api.clone(), project, left, right, job }
    }

    pub(crate) async fn start(&self) {
        self.api.post(&self.path("/start"), json!({})).await.expect(202);
    }

    pub(crate) async fn state(&self) -> Value {
        self.api.get(&self.path("")).await.expect(200)
    }

    /// Waits until the job has completed; gives it.
    pub(crate) async fn completed(&self, within: Duration) -> Value {
        self.reaches("completed", within).await
    }

    /// Waits until the job is in this state; another terminal state fails at once.
    pub(crate) async fn reaches(&self, wanted: &str, within: Duration) -> Value {
        eventually(within, &format!("the job to be {wanted}"), || async {
            let job = self.api.try_get(&self.path("")).await?.expect(200);
            let state = text(&job, "state");
            let over = ["completed", "failed", "cancelled"].contains(&state.as_str());
            assert!(!over || state == wanted, "the job should be {wanted} and is {job}");
            if state == wanted { Ok(job) } else { Err(job.to_string()) }
        })
        .await
    }

    /// Waits until the job is at work: past the queue and not at its end.
    pub(crate) async fn at_work(&self, within: Duration) -> String {
        eventually(within, "the job to be at work", || async {
            let state = text(&self.api.try_get(&self.path("")).await?.expect(200), "state");
            match state.as_str() {
                "created" | "queued" => Err(state),
                "completed" | "failed" | "cancelled" => panic!("the job was {state} before it was seen at work"),
                _ => Ok(state),
            }
        })
        .await
    }

    /// All result items with this status.
    pub(crate) async fn results(&self, status: &str) -> Vec<Value> {
        self.api.all(&self.path(&format!("/results?status={status}")), 500).await
    }

    /// The pairs that the job found, matched and discrepant.
    pub(crate) async fn pairs(&self) -> BTreeSet<(String, String)> {
        let mut items = self.results("matched").await;
        items.extend(self.results("discrepancy").await);
        pairs(&items)
    }

    /// How often clients were told that the job is over: asks the replica at `addr` for all that ever happened in its project.
    pub(crate) async fn ends_told(&self, addr: SocketAddr, token: Option<&str>) -> usize {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        let mut now = Socket::try_open(addr, &headers).await.expect("a socket opens");
        let head = now.join(&self.project, None).await;
        let mut past = Socket::try_open(addr, &headers).await.expect("a socket opens");
        let joined = past.join(&self.project, Some((&text(&head, "ep"), 0))).await;
        assert_eq!(joined["recovered"], true, "all that happened is kept: {joined}");
        let last = |message: &Value| message["re"].is_null() && message["off"].as_u64() >= head["off"].as_u64();
        if !past.seen.iter().any(last) {
            past.wait(LONG, "the newest event", last).await;
        }
        let ends = past.seen.iter().filter(|message| {
            message["JobProgressUpdate"]["terminal"] == true && message["JobProgressUpdate"]["job_id"] == self.job
        });
        ends.count()
    }

    /// A whole result as it is downloaded.
    pub(crate) async fn export(&self, format: &str, status: &str) -> super::Answer {
        self.api.get(&self.path(&format!("/export?format={format}&status={status}"))).await
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/api/v1/jobs/{}{rest}", self.job)
    }
}

//! Jobs at the HTTP door that need a process's inside to be shown. Leaves whole runs to the outer-door tests. Easy to get
//! wrong: a job that is over when the next request comes makes room for it, so the first one here is large.
use crate::http_support::TestApp;
use crate::jobs_support::files;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_made_to_start_at_once_is_made_and_queued_or_not_at_all() {
    let app = TestApp::start(&[("max_open_jobs", "1")]).await;
    let project = app.project().await;
    let (left, right) = files(20_000);
    let mut ids = Vec::new();
    for content in [left, right] {
        ids.push(app.upload(&project, content).await.json()["id"].clone());
    }
    let path = format!("/api/v1/projects/{project}/jobs");
    let wanted = json!({ "left": ids[0], "right": ids[1], "start": true });
    let made = app.post(&path, wanted.clone()).await;
    assert_eq!((made.status, &made.json()["state"]), (201, &json!("queued")), "{}", made.text);
    for _ in 0..3 {
        let refused = app.post(&path, wanted.clone()).await.problem(503, "limit_exceeded");
        assert_eq!(refused["limit"], "max_open_jobs", "{refused}");
    }
    let listed = app.get(&path).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "a try that was refused left a job behind: {listed}");
    app.stop().await;
}

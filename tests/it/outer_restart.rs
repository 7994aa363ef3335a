//! kill -9 and a new start on the same data: committed work stays, interrupted jobs go on by themselves.
use serde_json::{Value, json};

use crate::support::{LONG, Options, Run, Sample, Server, eventually, http::text, socket::durable};

#[tokio::test]
async fn a_job_killed_half_way_finishes_by_itself_with_the_same_answer() {
    let sample = Sample::new(8_000, 11);
    let mut server = Server::start(Options::default()).await;
    let undisturbed = Run::prepare(&server.api(), &sample).await;
    undisturbed.start().await;
    undisturbed.completed(LONG).await;
    let run = Run::prepare(&server.api(), &sample).await;
    run.start().await;
    run.at_work(LONG).await;

    server.kill();
    server.spawn();
    server.ready().await;

    let job = run.completed(LONG).await;
    assert!(job["attempt"].as_u64() >= Some(2), "a second attempt did it: {job}");
    let (first, second) = (undisturbed.pairs().await, run.pairs().await);
    assert!(first == second, "{} pairs undisturbed, {} after the kill", first.len(), second.len());
    let all = run.results("all").await.len();
    assert_eq!(all, undisturbed.results("all").await.len(), "nothing is published twice");
}

#[tokio::test]
async fn a_job_that_was_paused_stays_so_through_a_kill_and_goes_on_when_it_is_resumed() {
    let sample = Sample::new(20_000, 13);
    let mut server = Server::start(Options::default()).await;
    let run = Run::prepare(&server.api(), &sample).await;
    run.start().await;
    run.at_work(LONG).await;
    let wished = run.api.post(&run.path("/pause"), json!({})).await.expect(202);
    assert!(["pausing", "paused"].contains(&text(&wished, "state").as_str()), "{wished}");
    // Perhaps before it stands still: the wish is stored.
    server.kill();
    server.spawn();
    server.ready().await;
    let paused = run.reaches("paused", LONG).await;
    assert_eq!(paused["finished_at_ms"], Value::Null, "{paused}");
    run.api.post(&run.path("/resume"), json!({})).await.expect(202);
    let job = run.completed(LONG).await;
    assert_eq!(job["attempt"], 2, "{job}");
    assert!(sample.score(&run.pairs().await).f1() >= 0.98);
}

#[tokio::test]
async fn a_job_killed_while_it_writes_its_results_goes_on_from_there_and_says_what_it_would_have_said() {
    let sample = Sample::new(30_000, 14);
    let mut server = Server::start(Options::default()).await;
    let undisturbed = Run::prepare(&server.api(), &sample).await;
    undisturbed.start().await;
    undisturbed.completed(LONG).await;
    let run = Run::prepare(&server.api(), &sample).await;
    run.start().await;
    eventually(LONG, "the job to write its results", || async {
        let now = run.api.try_get(&run.path("/progress")).await?.expect(200);
        assert!(now["state"] != "completed", "it was over before it was seen: {now}");
        let writes = now["phase"] == "publishing" && now["done"].as_u64() > Some(0);
        if writes { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    server.kill();
    // Nobody can find it all a second time.
    for source in [&run.left, &run.right] {
        std::fs::remove_file(server.data().join("uploads").join(source)).expect("the file is there");
    }
    server.spawn();
    server.ready().await;
    let job = run.completed(LONG).await;
    assert_eq!(job["attempt"], 2, "{job}");
    let (first, second) = (undisturbed.results("all").await, run.results("all").await);
    let counts = &job["counts"];
    let total: u64 = ["matched", "discrepancy", "unmatched_left", "unmatched_right"]
        .iter()
        .map(|name| counts[name].as_u64().expect("a count"))
        .sum();
    assert!(second.iter().map(|item| item["ordinal"].as_u64()).eq((0..total).map(Some)), "each result once");
    let other = first.iter().zip(&second).find(|(first, second)| first != second);
    assert!(first.len() == second.len() && other.is_none(), "{} and {}: {other:?}", first.len(), second.len());
}

#[tokio::test]
async fn who_comes_to_a_paused_job_is_not_told_of_its_progress_nor_is_who_was_there() {
    let sample = Sample::new(20_000, 15);
    let server = Server::start(Options::default()).await;
    let run = Run::prepare(&server.api(), &sample).await;
    let mut there = server.socket().await;
    there.join(&run.project, None).await;
    run.start().await;
    let live = |m: &Value| m["JobProgressUpdate"]["terminal"] == false;
    there.wait(LONG, "the job's progress", live).await;
    run.api.post(&run.path("/pause"), json!({})).await.expect(202);
    there.wait(LONG, "the job to stand still", now("paused")).await;
    let mut later = server.socket().await;
    let joined = later.join(&run.project, None).await;
    assert_eq!(joined["jobs"], json!([]), "{joined}");
    // What was held back for who was there would have come by the time that it goes on.
    run.api.post(&run.path("/resume"), json!({})).await.expect(202);
    there.wait(LONG, "the job to go on", now("queued")).await;
    let paused = there.seen.iter().position(now("paused")).expect("it was seen");
    let between = there.seen[paused..].split(now("queued")).next().expect("it was seen");
    assert!(!between.iter().any(live), "{between:?}");
    run.completed(LONG).await;
}

/// That a job's row came into this state.
fn now(state: &'static str) -> impl Fn(&Value) -> bool {
    move |message| message["DataUpdate"]["entity"] == "job" && message["DataUpdate"]["data"]["state"] == state
}

#[tokio::test]
async fn a_job_killed_again_and_again_still_finishes_once() {
    let sample = Sample::new(8_000, 12);
    let mut server = Server::start(Options::default()).await;
    let run = Run::prepare(&server.api(), &sample).await;
    let from = position(&run).await.1;
    run.start().await;
    // One time more and it would be given up.
    for attempt in 1..=2 {
        eventually(LONG, "the next attempt to be at work", || async {
            let job = run.api.try_get(&run.path("")).await?.expect(200);
            let waits = ["created", "queued"].contains(&text(&job, "state").as_str());
            if job["attempt"] == attempt && !waits { Ok(()) } else { Err(job.to_string()) }
        })
        .await;
        server.kill();
        server.spawn();
        server.ready().await;
    }
    let job = run.completed(LONG).await;
    assert_eq!(job["attempt"], 3, "{job}");

    let mut socket = server.socket().await;
    let (ep, off) = position(&run).await;
    socket.join(&run.project, Some((&ep, from))).await;
    while durable(&socket.seen).last().is_none_or(|(_, last, _)| *last < off) {
        socket.wait(LONG, "the events of the project", |m| m["off"].is_u64()).await;
    }
    let completed = |m: &&Value| m["JobProgressUpdate"]["terminal"] == true;
    let terminal: Vec<&Value> = socket.seen.iter().filter(completed).collect();
    assert_eq!(terminal.len(), 1, "one run was published, and said so once: {terminal:?}");
}

#[tokio::test]
async fn what_was_answered_before_a_kill_is_there_after_it() {
    let mut server = Server::start(Options::default()).await;
    let sample = Sample::new(500, 13);
    let run = Run::prepare(&server.api(), &sample).await;
    run.start().await;
    run.completed(LONG).await;
    let mut paths: Vec<String> = vec![
        "/api/v1/projects".into(),
        format!("/api/v1/projects/{}", run.project),
        format!("/api/v1/projects/{}/sources", run.project),
        format!("/api/v1/projects/{}/jobs", run.project),
        run.path("/results?status=all&limit=500"),
        run.path("/export?format=csv&status=all"),
        run.path("/errors"),
    ];
    // Projects made up to the very moment of the kill: what was answered 201 counts.
    for n in 0..20 {
        paths.push(format!("/api/v1/projects/{}", server.api().project(&format!("p{n}")).await));
    }
    let mut before = Vec::new();
    for path in &paths {
        before.push(server.api().get(path).await.text);
    }
    server.kill();
    server.spawn();
    server.ready().await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(server.api().get(path).await.text, before, "{path} after the kill");
    }
}

#[tokio::test]
async fn a_client_that_was_away_during_a_kill_gets_exactly_what_it_missed() {
    let mut server = Server::start(Options::default()).await;
    let api = server.api();
    let project = api.project("history").await;
    let mut socket = server.socket().await;
    socket.join(&project, None).await;
    for n in 0..5 {
        api.upload(&project, &format!("a{n}.csv"), format!("id,amount\n{n},1.00\n")).await.expect(201);
    }
    let seen = socket.wait(LONG, "the fifth event", |m| m["DataUpdate"]["data"]["filename"] == "a4.csv").await;
    let (ep, off) = (text(&seen, "ep"), seen["off"].as_u64().unwrap());
    for n in 5..10 {
        api.upload(&project, &format!("a{n}.csv"), format!("id,amount\n{n},1.00\n")).await.expect(201);
    }
    server.kill();
    server.spawn();
    server.ready().await;
    for n in 10..15 {
        api.upload(&project, &format!("a{n}.csv"), format!("id,amount\n{n},1.00\n")).await.expect(201);
    }
    let mut socket = server.socket().await;
    let joined = socket.join(&project, Some((&ep, off))).await;
    assert_eq!(joined["recovered"], true, "{joined}");
    assert_eq!(joined["ep"], json!(ep), "the epoch is the project's, not the process's");
    socket.wait(LONG, "the last event", |m| m["DataUpdate"]["data"]["filename"] == "a14.csv").await;
    let files: Vec<String> =
        durable(&socket.seen).iter().map(|(_, _, m)| text(&m["DataUpdate"]["data"], "filename")).collect();
    assert_eq!(files, (5..15).map(|n| format!("a{n}.csv")).collect::<Vec<_>>());
    crate::support::socket::assert_gapless("the returning client", &socket.seen, off + 1, off + 10);
}

/// (ep, off) of the project, from the header of its snapshot.
async fn position(run: &Run) -> (String, u64) {
    let answer = run.api.get(&format!("/api/v1/projects/{}", run.project)).await;
    let header = answer.header("x-tieout-position").expect("a snapshot says its position").to_owned();
    let (ep, off) = header.split_once(':').expect("ep:off");
    (ep.to_owned(), off.parse().expect("off is a number"))
}

//! `/metrics` of a server that has been used: what it shows is in the list, and what the list promises is there.
use std::collections::BTreeMap;

use serde_json::json;
use tieout::telemetry::METRICS;

use crate::support::{Api, LONG, Options, Run, SHORT, Sample, Server, eventually};

/// What a used server shows. The rest of the list is counted for what a healthy one does not do (stalls, dead letters).
const SHOWN: &[&str] = &[
    "tieout_http_requests_total",
    "tieout_http_request_seconds",
    "tieout_http_connections",
    "tieout_rt_connections",
    "tieout_rt_rooms",
    "tieout_rt_subscriptions",
    "tieout_rt_publish_total",
    "tieout_rt_deliveries_total",
    "tieout_rt_batches_total",
    "tieout_rt_queue_bytes",
    "tieout_rt_slow_total",
    "tieout_rt_flush_seconds",
    "tieout_rt_fanout_seconds",
    "tieout_rt_delivery_lag_seconds",
    "tieout_rt_recover_total",
    "tieout_rt_gap_total",
    "tieout_rt_presence_entries",
    "tieout_rt_close_total",
    "tieout_rt_auth_total",
    "tieout_rt_rate_limited_total",
    "tieout_actor_mailbox_depth",
    "tieout_actor_queue_seconds",
    "tieout_actor_handle_seconds",
    "tieout_actor_messages_total",
    "tieout_actor_restarts_total",
    "tieout_actor_stalled_seconds",
    "tieout_actor_arbiter_busy_ratio",
    "tieout_actor_arbiter_ping_lag_seconds",
    "tieout_store_up",
    "tieout_store_connections",
    "tieout_store_waiting",
    "tieout_store_wait_seconds",
    "tieout_store_calls_total",
];

/// Name to type, and every line with a value.
async fn scrape(api: &Api) -> (BTreeMap<String, String>, Vec<String>) {
    let text = api.get("/metrics").await.text;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let types = types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
    (types, text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect())
}

fn value(lines: &[String], start: &str) -> f64 {
    let values = lines.iter().filter(|line| line.starts_with(start)).filter_map(|line| line.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
}

#[tokio::test]
async fn a_used_server_shows_every_metric_of_the_list_with_its_type_and_no_other() {
    let server = Server::start(Options::default().hooks()).await;
    let api = server.api();
    let run = Run::prepare(&api, &Sample::new(50, 91)).await;
    let mut socket = server.socket().await;
    socket.join(&run.project, None).await;
    run.start().await;
    run.completed(LONG).await;
    socket.ask("Auth", json!({ "token": "no" })).await;
    let said = json!({ "project_id": run.project, "action": "wave" });
    assert!(socket.ask("Collaboration", said.clone()).await["Collaboration"].is_object());
    api.post("/api/test/panic", json!({ "actor": "hub" })).await.expect(202);
    let again = eventually(SHORT, "the hub to answer again", || async {
        let mut other = server.socket().await;
        other.join(&run.project, None).await;
        Ok::<_, String>(other)
    })
    .await;
    api.post("/api/realtime/disconnect", json!({ "user_id": "owner" })).await.expect(200);
    drop(again);

    let (types, lines) = eventually(LONG, "every metric to show", || async {
        let (types, lines) = scrape(&api).await;
        let missing: Vec<_> = SHOWN.iter().filter(|name| !types.contains_key(**name)).collect();
        if missing.is_empty() { Ok((types, lines)) } else { Err(format!("missing {missing:?}")) }
    })
    .await;
    for (name, kind) in types.iter().filter(|(name, _)| name.starts_with("tieout_")) {
        let metric =
            METRICS.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name} is in no list"));
        assert_eq!(metric.kind.name(), kind, "{name}");
        let of = |line: &&String| line.split(['{', ' ']).next().is_some_and(|full| full.starts_with(name.as_str()));
        let own = lines.iter().filter(of).filter(|line| line.starts_with(&format!("{name}{{")));
        for line in own {
            let labels =
                line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(labels, _)| labels);
            let names = labels.split("\",").filter_map(|pair| pair.split_once('=')).map(|(name, _)| name.trim());
            for label in names.filter(|label| *label != "le") {
                assert!(metric.labels.contains(&label), "{label:?} of {line} is not in the list");
            }
        }
    }
    assert!(value(&lines, r#"tieout_rt_publish_total{kind="durable"}"#) >= 2.0, "{lines:#?}");
    assert!(value(&lines, r#"tieout_rt_publish_total{kind="collaboration"}"#) >= 1.0);
    let (frames, batches) = (value(&lines, "tieout_rt_deliveries_total"), value(&lines, "tieout_rt_batches_total"));
    assert!(frames >= 3.0 && batches >= 1.0 && batches <= frames, "{frames} frames in {batches} batches");
    assert!(value(&lines, r#"tieout_rt_recover_total{source="none",result="fresh"}"#) >= 2.0);
    assert!(value(&lines, r#"tieout_rt_close_total{code="FORBIDDEN"}"#) >= 1.0);
    // On loopback nobody needs a token, and any is taken.
    assert!(value(&lines, r#"tieout_rt_auth_total{result="accepted"}"#) >= 1.0);
    assert_eq!(value(&lines, r#"tieout_actor_restarts_total{actor="hub",reason="panicked"}"#), 1.0);
    assert!(value(&lines, r#"tieout_actor_messages_total{actor="hub""#) >= 1.0);
    assert!(value(&lines, "tieout_actor_arbiter_busy_ratio") <= 1.0);
    assert!(!lines.iter().any(|line| line.contains(&run.job)), "no id is a label: {lines:#?}");
}

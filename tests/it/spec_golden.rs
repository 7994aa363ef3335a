//! One golden frame per message and variant, made by the real encoder, valid against the published schema, read back.
//!
//! `UPDATE_GOLDEN=1` writes the files. A changed file is a changed wire format: clients see it, so a review must.
//! The files also seed the fuzzer of the frame envelope.
use crate::spec_support::{Schemas, closed};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};
use tieout::protocol::{
    ErrorCode, Head, ServerMessage,
    asyncapi::{self, document},
    frame,
    ids::{ConnId, JobId, ProjectId},
    parse,
    schema::{Direction, protocol},
    server::{
        self, AuthExpiring, AuthSuccess, ClaimView, Collaboration, DataUpdate, ErrorBody, JobProgressUpdate,
        Notification, Presence, PresenceDiff, ProjectJoined, ProjectLeft, ResyncRequired,
    },
};

const PROJECT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const JOB: &str = "01890a5d-ac96-774b-bcce-b302099a8058";

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/protocol")
}

fn project() -> ProjectId {
    PROJECT.parse().unwrap()
}

fn progress(terminal: bool) -> JobProgressUpdate {
    let job_id: JobId = JOB.parse().unwrap();
    JobProgressUpdate {
        project_id: project(),
        job_id,
        state: if terminal { "completed" } else { "scoring" }.into(),
        phase: "scoring".into(),
        done: 40,
        total: if terminal { 40 } else { 100 },
        matches: 12,
        rows_per_second: 1250.5,
        eta_seconds: (!terminal).then_some(0.5),
        terminal,
    }
}

/// Every message of the server, in every variant that a client can tell apart.
fn from_the_server() -> BTreeMap<String, Vec<u8>> {
    let reply = Head::reply(Some(7));
    let by = Head { by: Some(ConnId(91)), ..Head::default() };
    let ts = Head { ts: Some(1_767_225_600_123), ..Head::default() };
    let raw = serde_json::value::to_raw_value(&progress(false)).unwrap();
    let presence = Presence { rev: 3, count: 2, users: vec!["ana".into(), "bo".into()], partial: false };
    let crowd = Presence { count: 1_200, partial: true, ..presence.clone() };
    let claims =
        [ClaimView { entity_id: "m-1".into(), user_id: "ana".into(), fence: 2, expires_at_ms: 1_767_225_660_123 }];
    let joined = |recovered, full: bool, presence| {
        ServerMessage::ProjectJoined(ProjectJoined {
            project_id: project(),
            ep: "k3f9",
            off: 1850,
            recovered,
            role: "owner",
            presence,
            jobs: if full { vec![&*raw] } else { Vec::new() },
            claims: if full { &claims } else { &[] },
            degraded: full && !recovered,
        })
    };
    let left = |reason| ServerMessage::ProjectLeft(ProjectLeft { project_id: project(), reason });
    let said = |action, entity_id, leased: Option<(i64, u64)>, data| {
        ServerMessage::Collaboration(Collaboration {
            project_id: project(),
            action,
            entity_id,
            user_id: "ana",
            expires_at_ms: leased.map(|(until, _)| until),
            fence: leased.map(|(_, fence)| fence),
            data,
        })
    };
    let cursor = serde_json::value::to_raw_value(&json!({"x": 1, "y": [2.5, null]})).unwrap();
    let entity = serde_json::value::to_raw_value(&json!({"id": JOB, "state": "created"})).unwrap();
    let update = |action: &'static str, data, url: Option<&str>| DataUpdate {
        project_id: project(),
        entity: "job",
        entity_id: JOB.into(),
        action,
        data,
        url: url.map(Into::into),
    };
    let note = Notification { project_id: project(), level: "warning", message: "a file was replaced" };
    let diff = |joins: &[&str], count, partial| {
        let joins = joins.iter().map(ToString::to_string).collect();
        let diff = PresenceDiff { project_id: project(), rev: 4, joins, leaves: vec![], count, partial };
        ServerMessage::PresenceDiff(diff)
    };
    let known = |expires_at_ms, key: Option<&'static str>| {
        let role = if key.is_some() { "reviewer" } else { "owner" };
        let conn = ConnId(91).to_string();
        ServerMessage::AuthSuccess(AuthSuccess { user_id: "ana", role, conn, expires_at_ms, key })
    };
    let expiring = AuthExpiring { expires_at_ms: 1_767_225_660_123, close_at_ms: 1_767_225_685_123 };
    let resync = |reason| ServerMessage::ResyncRequired(ResyncRequired { project_id: project(), reason });
    let durable = |body: String| server::durable(("k3f9", 1851), 1_767_225_600_123, &body);

    let mut frames = BTreeMap::from([
        ("AuthSuccess", server::encode(reply, &known(None, None))),
        ("AuthSuccess.lapses", server::encode(reply, &known(Some(1_767_225_660_123), None))),
        ("AuthSuccess.stream", server::encode(Head::default(), &known(None, Some("5f02")))),
        ("AuthExpiring", server::encode(Head::default(), &ServerMessage::AuthExpiring(expiring))),
        ("ProjectJoined", server::encode(reply, &joined(true, true, &presence))),
        ("ProjectJoined.fresh", server::encode(Head::default(), &joined(false, false, &presence))),
        ("ProjectJoined.crowd", server::encode(Head::default(), &joined(false, false, &crowd))),
        ("ProjectJoined.degraded", server::encode(Head::default(), &joined(false, true, &presence))),
        ("ProjectLeft", server::encode(reply, &left("left"))),
        ("ProjectLeft.deleted", server::encode(Head::default(), &left("deleted"))),
        ("ProjectLeft.revoked", server::encode(Head::default(), &left("revoked"))),
        ("DataUpdate", durable(update("created", Some(&entity), None).body())),
        ("DataUpdate.deleted", durable(update("deleted", None, None).body())),
        ("DataUpdate.url", durable(update("updated", None, Some("/api/v1/jobs/1")).body())),
        ("Notification", durable(note.body())),
        (
            "Collaboration.traced",
            server::encode(Head { tr: TRACE.parse().ok(), ..by }, &said("wave", None, None, None)),
        ),
        ("Collaboration", server::encode(by, &said("cursor", None, None, Some(&cursor)))),
        (
            "Collaboration.claimed",
            server::encode(
                Head { re: Some(7), ..by },
                &said("claimed", Some("m-1"), Some((1_767_225_660_123, 2)), None),
            ),
        ),
        ("Collaboration.released", server::encode(by, &said("released", Some("m-1"), None, None))),
        ("JobProgressUpdate", server::encode(ts, &ServerMessage::JobProgressUpdate(&progress(false)))),
        ("JobProgressUpdate.terminal", durable(progress(true).body())),
        ("PresenceDiff", server::encode(Head::default(), &diff(&["cy"], 3, false))),
        ("PresenceDiff.crowd", server::encode(Head::default(), &diff(&[], 1_200, true))),
        ("ResyncRequired", server::encode(Head::default(), &resync("slow"))),
        ("ResyncRequired.history", server::encode(Head::default(), &resync("history_replaced"))),
        ("Draining", server::encode(Head::default(), &ServerMessage::Draining { window_ms: 25_000 })),
        ("Status", server::encode(Head::default(), &ServerMessage::Status { degraded: true })),
        ("Status.well", server::encode(Head::default(), &ServerMessage::Status { degraded: false })),
        ("Pong", server::encode(reply, &ServerMessage::Pong {})),
        ("Pong.bare", server::bare_pong()),
    ])
    .into_iter()
    .map(|(name, bytes)| (name.to_owned(), frame::payload(&bytes).to_vec()))
    .collect::<BTreeMap<_, _>>();
    for code in ErrorCode::ALL {
        let word = serde_json::to_value(code).unwrap();
        let mut body = ErrorBody::new(code, "a sentence that names the place");
        body.retry_after_ms = code.retryable().then_some(250);
        body.limit = (code == ErrorCode::LimitExceeded).then_some("rooms_per_connection");
        body.holder = (code == ErrorCode::AlreadyClaimed).then_some("bo");
        let bytes = server::encode(reply, &ServerMessage::Error(body));
        frames.insert(format!("Error.{}", word.as_str().unwrap()), frame::payload(&bytes).to_vec());
    }
    frames
}

/// Every message of a client, as clients write them.
fn from_a_client() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("Auth.request", json!({"id": 1, "Auth": {"token": "sesame"}})),
        ("JoinProject.request", json!({"id": 2, "JoinProject": {"project_id": PROJECT}})),
        (
            "JoinProject.since.request",
            json!({"id": 3, "JoinProject": {"project_id": PROJECT, "since": {"ep": "k3f9", "off": 1841}}}),
        ),
        ("LeaveProject.request", json!({"LeaveProject": {"project_id": PROJECT}})),
        (
            "Collaboration.claim.request",
            json!({"id": 4, "Collaboration": {"project_id": PROJECT, "action": "claim", "entity_id": "m-1"}}),
        ),
        (
            "Collaboration.request",
            json!({"tr": TRACE,
                   "Collaboration": {"project_id": PROJECT, "action": "cursor", "data": {"x": 1, "y": [2.5, null]}}}),
        ),
        ("Ping.request", json!({"id": 5, "Ping": {}})),
        ("Ping.bare.request", json!("Ping")),
    ])
}

/// The message's name: the one capitalised key, or the bare string.
fn name_of(frame: &Value) -> String {
    match frame {
        Value::String(name) => name.clone(),
        Value::Object(members) => {
            let names: Vec<_> = members.keys().filter(|key| key.starts_with(char::is_uppercase)).collect();
            assert_eq!(names.len(), 1, "one message a frame: {frame}");
            names[0].clone()
        }
        other => panic!("not a frame: {other}"),
    }
}

#[test]
fn every_message_of_the_protocol_has_a_golden_frame_that_its_schema_accepts() {
    let bless = std::env::var_os("UPDATE_GOLDEN").is_some();
    let document = document("test", &[]);
    let mut schemas = Schemas::new(closed(document.clone()));
    let mut frames: BTreeMap<String, (Direction, Vec<u8>)> =
        from_the_server().into_iter().map(|(name, bytes)| (name, (Direction::FromServer, bytes))).collect();
    for (name, frame) in from_a_client() {
        frames.insert(name.to_owned(), (Direction::FromClient, frame.to_string().into_bytes()));
    }
    let mut seen = BTreeSet::new();
    for (file, (direction, bytes)) in &frames {
        let path = folder().join(format!("{file}.json"));
        if bless {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
        let golden =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1", path.display()));
        assert_eq!(String::from_utf8_lossy(&golden), String::from_utf8_lossy(bytes), "{file} changed; UPDATE_GOLDEN=1");
        let frame: Value = serde_json::from_slice(bytes).unwrap();
        let message = name_of(&frame);
        assert_eq!(file.split('.').next(), Some(message.as_str()));
        let key = match direction {
            Direction::FromServer => message,
            Direction::FromClient => {
                let text = std::str::from_utf8(bytes).unwrap();
                let parsed = parse(text).unwrap_or_else(|bad| panic!("{file}: the server's parser says {bad}"));
                assert_eq!(parsed.id, frame["id"].as_u64(), "{file}");
                assert!(format!("{:?}", parsed.message).starts_with(&message), "{file} was read as {parsed:?}");
                format!("{message}.request")
            }
        };
        schemas.check(&format!("/components/messages/{key}/payload"), &frame, file);
        seen.insert(key);
    }
    let told: BTreeSet<String> = protocol().messages.iter().map(asyncapi::key).collect();
    assert_eq!(seen, told, "golden frames on the left, messages of the protocol on the right");
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(".json").to_owned())
        .collect();
    assert_eq!(files, frames.into_keys().collect(), "a golden file without a frame is left over");
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let mut schemas = Schemas::new(document("test", &[]));
    for (message, frame) in [
        ("JoinProject", json!({"JoinProject": {"project_id": PROJECT}, "LeaveProject": {"project_id": PROJECT}})),
        ("JoinProject", json!({"JoinProject": {"project_id": "x"}})),
        ("JoinProject", json!({"JoinProject": {"projectId": PROJECT}})),
        ("JoinProject", json!({"id": -1, "JoinProject": {"project_id": PROJECT}})),
        ("Ping", json!({"Ping": {"x": 1}})),
        ("Ping", json!({"ids": 1, "Ping": {}})),
        ("Auth", json!({"Auth": {}})),
        ("Collaboration", json!({"Collaboration": {"project_id": PROJECT, "action": ""}})),
        ("Collaboration", json!({"Collaboration": {"project_id": PROJECT, "action": "x".repeat(201)}})),
        ("Collaboration", json!({"Collaboration": {"project_id": PROJECT, "action": "a", "entity_id": ""}})),
    ] {
        assert!(parse(&frame.to_string()).is_err(), "the parser takes {frame}");
        let pointer = format!("/components/messages/{message}.request/payload");
        assert!(!schemas.accepts(&pointer, &frame), "the schema takes {frame}");
    }
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = document("test", &[]);
    crate::spec_support::references_resolve(&document);
    assert_eq!(document["x-close-codes"].as_array().unwrap().len(), tieout::protocol::CloseCode::ALL.len());
}

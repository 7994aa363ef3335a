//! A stored event as the frame that rooms are sent.
//!
//! Easy to get wrong: an event is encoded here alone, on whatever way it comes, or a client that recovers would see
//! another one than those who were there.
use crate::actors::rooms::room::Event;
use crate::db::DurableEvent;
use crate::db::jobs::JobState;
use crate::protocol::ids::{JobId, ProjectId};
use crate::protocol::server;
use crate::protocol::server::DataUpdate;
use serde::Deserialize;
use std::borrow::Cow;

/// What of a `DataUpdate` is needed to say where its entity is.
#[derive(Deserialize)]
struct Update<'a> {
    project_id: ProjectId,
    #[serde(borrow)]
    entity: Cow<'a, str>,
    entity_id: String,
    #[serde(borrow)]
    action: Cow<'a, str>,
}

/// The event with its frame; a `DataUpdate` of more than `most` bytes names the URL of its entity instead of carrying it. Other events
/// are small by their making.
pub(crate) fn encode(event: &DurableEvent, most: usize) -> Event {
    let DurableEvent { ref ep, off, ts_ms, ref body, .. } = *event;
    let short = if body.len() > most { shortened(body) } else { None };
    let bytes = server::durable((ep, off), ts_ms, short.as_deref().unwrap_or(body));
    Event { off, ts_ms, bytes, ends: halted_job(body), deletes: deletes_project(body) }
}

/// The job that a durable event takes from its runner: terminal progress is the only durable progress, and a job that was paused
/// or went back into the queue is not told of by its runner either.
fn halted_job(body: &str) -> Option<JobId> {
    #[derive(Deserialize)]
    struct Ended {
        job_id: JobId,
    }
    #[derive(Deserialize)]
    struct Changed {
        entity_id: JobId,
        data: Now,
    }
    #[derive(Deserialize)]
    struct Now {
        state: JobState,
    }
    if let Some(json) = body.strip_prefix(r#""JobProgressUpdate":"#) {
        return serde_json::from_str::<Ended>(json).ok().map(|ended| ended.job_id);
    }
    if !begins(body, br#","entity":"job","#) {
        return None;
    }
    let changed: Changed = serde_json::from_str(body.strip_prefix(DATA_UPDATE)?).ok()?;
    (!changed.data.state.is_running()).then_some(changed.entity_id)
}

const DATA_UPDATE: &str = r#""DataUpdate":"#;

/// Whether it reads as the deletion of its project.
fn deletes_project(body: &str) -> bool {
    begins(body, br#","entity":"project","#) && begins(body, br#","action":"deleted","#)
}

/// Whether a change of something is said with these words, as `db::events` writes it, the head of it in its order.
fn begins(body: &str, words: &[u8]) -> bool {
    let head = &body.as_bytes()[..body.len().min(256)];
    body.starts_with(DATA_UPDATE) && memchr::memmem::find(head, words).is_some()
}

fn shortened(body: &str) -> Option<String> {
    let json = body.strip_prefix(r#""DataUpdate":"#)?;
    let Update { project_id, entity, entity_id, action } = serde_json::from_str(json).ok()?;
    let url = match &*entity {
        "source" => format!("/api/v1/sources/{entity_id}"),
        "job" => format!("/api/v1/jobs/{entity_id}"),
        _ => format!("/api/v1/projects/{project_id}"),
    };
    Some(DataUpdate { project_id, entity: &entity, entity_id, action: &action, data: None, url: Some(url) }.body())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame;

    fn sent(body: String, most: usize) -> serde_json::Value {
        let project_id = ProjectId::generate();
        let event = DurableEvent { project_id, ep: "e".into(), off: 7, ts_ms: 5, body };
        serde_json::from_slice(frame::payload(&encode(&event, most).bytes)).unwrap()
    }

    #[test]
    fn a_job_that_no_runner_has_any_more_is_named_whatever_the_event_is_called() {
        let (project_id, job) = (ProjectId::generate(), JobId::generate());
        let ends = |body: String| {
            let event = DurableEvent { project_id, ep: "e".into(), off: 7, ts_ms: 5, body };
            encode(&event, 4_000).ends
        };
        let changed = |state: &str| {
            format!(
                r#""DataUpdate":{{"project_id":"{project_id}","entity":"job","entity_id":"{job}","action":"updated","data":{{"state":"{state}","phase":"{state}","attempt":1}}}}"#
            )
        };
        for (state, ended) in
            [("paused", true), ("queued", true), ("pausing", false), ("ingesting", false), ("cancelling", false)]
        {
            assert_eq!(ends(changed(state)), ended.then_some(job), "{state}");
        }
        assert_eq!(ends(changed("paused").replace(r#""job""#, r#""source""#)), None);
        let terminal =
            format!(r#""JobProgressUpdate":{{"project_id":"{project_id}","job_id":"{job}","terminal":true}}"#);
        assert_eq!(ends(terminal), Some(job));
    }

    #[test]
    fn what_is_too_large_names_where_to_fetch_it() {
        let project = ProjectId::generate();
        let data = "x".repeat(2_000);
        let body = format!(
            r#""DataUpdate":{{"project_id":"{project}","entity":"source","entity_id":"s1","action":"updated","data":"{data}"}}"#
        );
        assert_eq!(sent(body.clone(), 4_000)["DataUpdate"]["data"], data);
        let short = sent(body, 1_000);
        assert_eq!((&short["off"], &short["DataUpdate"]["url"]), (&7.into(), &"/api/v1/sources/s1".into()));
        assert_eq!(short["DataUpdate"]["action"], "updated");
        assert!(short["DataUpdate"]["data"].is_null());
        let quoted = format!(
            r#""DataUpdate":{{"project_id":"{project}","entity":"a\"b","entity_id":"\u0041","action":"x\\","data":"{data}"}}"#
        );
        let short = sent(quoted, 1_000);
        assert_eq!(
            (&short["DataUpdate"]["entity"], &short["DataUpdate"]["entity_id"]),
            (&r#"a"b"#.into(), &"A".into())
        );
        assert!(short["DataUpdate"]["data"].is_null(), "escapes in a name must not keep it long: {short}");
        let note = format!(r#""Notification":{{"message":"{data}"}}"#);
        assert_eq!(sent(note, 1_000)["Notification"]["message"], data);
    }
}

//! Messages a client may send, parsed strictly: the error names the place, and answers the request when it can.
//!
//! It checks form only; membership, rights and rates are the session's. Easy to get wrong: `data` stays raw JSON
//! (borrowed from the frame), it is never parsed and printed again.
use super::{
    envelope,
    error::ErrorCode,
    ids::ProjectId,
    json::{self, Object},
    names::{self, Name},
    trace::Trace,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A position in a project's history: everything up to and including `off` of epoch `ep` is known.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, serde::Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Epoch of the history; changes when the history is replaced.
    pub ep: String,
    /// Offset of the last known durable event.
    pub off: u64,
}

/// One frame from a client.
#[derive(Debug)]
pub struct ClientFrame<'a> {
    /// Request number; the reply carries it as `re`.
    pub id: Option<u64>,
    /// The trace it belongs to.
    pub trace: Option<Trace>,
    /// What is asked.
    pub message: ClientMessage<'a>,
}

/// What a client may ask.
#[derive(Debug, JsonSchema)]
pub enum ClientMessage<'a> {
    /// Authenticate this connection.
    Auth(Auth),
    /// Enter a project's room.
    JoinProject(JoinProject),
    /// Leave it.
    LeaveProject(LeaveProject),
    /// Claim, release, or tell the room something.
    Collaboration(Collaboration<'a>),
    /// Are you there.
    Ping {
        /// The frame was the bare string, so the answer is too.
        #[schemars(skip)]
        bare: bool,
    },
}

/// Body of `Auth`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Bearer token.
    pub token: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth { token: … }")
    }
}

/// Body of `JoinProject`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinProject {
    /// The project.
    pub project_id: ProjectId,
    /// What the client already has; what follows it is sent after `ProjectJoined`.
    #[serde(default, deserialize_with = "json::optional_object")]
    pub since: Option<Position>,
}

/// Body of `LeaveProject`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeaveProject {
    /// The project.
    pub project_id: ProjectId,
}

/// Body of `Collaboration`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Collaboration<'a> {
    /// The project.
    pub project_id: ProjectId,
    /// `claim`, `release`, or a word of the clients' own.
    #[serde(deserialize_with = "names::named")]
    #[schemars(with = "Name")]
    pub action: String,
    /// What it is about.
    #[serde(default, deserialize_with = "names::optionally_named")]
    #[schemars(with = "Option<Name>")]
    pub entity_id: Option<String>,
    /// Anything; goes to the room as it is.
    #[serde(default, borrow, deserialize_with = "json::even_null")]
    pub data: Option<&'a RawValue>,
}

/// A frame that is not one message of this protocol.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text}")]
pub struct BadFrame {
    /// The request it would have been, when that could be read.
    pub id: Option<u64>,
    /// `INVALID_FORMAT`, or `BAD_REQUEST` for a message only the server sends.
    pub code: ErrorCode,
    /// What is wrong, and where.
    pub text: String,
}

const FROM_THE_SERVER: [&str; 13] = [
    "AuthSuccess",
    "AuthExpiring",
    "ProjectJoined",
    "ProjectLeft",
    "DataUpdate",
    "Notification",
    "JobProgressUpdate",
    "MetricsUpdate",
    "PresenceDiff",
    "ResyncRequired",
    "Draining",
    "Status",
    "Error",
];

/// The request number of a frame that is not obeyed, as far as it can be read.
pub fn request_number(text: &str) -> Option<u64> {
    envelope::split(text).id
}

/// Parse one text frame.
///
/// # Errors
/// [`BadFrame`] names the key or the field that is wrong.
pub fn parse(text: &str) -> Result<ClientFrame<'_>, BadFrame> {
    let split = envelope::split(text);
    let id = split.id;
    let bad = |text: String| BadFrame { id, code: ErrorCode::InvalidFormat, text };
    if let Some(defect) = split.defect {
        return Err(bad(defect));
    }
    let trace = split.trace.map(|text| text.parse().map_err(|error| bad(format!("tr: {error}")))).transpose()?;
    let (name, body) = split.message.ok_or_else(|| bad("no message in the frame".to_string()))?;
    let raw = body.map_or("null", RawValue::get);
    let message = match name.as_ref() {
        "Ping" => match raw {
            "null" | "{}" => ClientMessage::Ping { bare: body.is_none() },
            _ => return Err(bad("Ping: takes no fields".to_string())),
        },
        "Auth" => ClientMessage::Auth(fields(&name, raw).map_err(bad)?),
        "JoinProject" => ClientMessage::JoinProject(fields(&name, raw).map_err(bad)?),
        "LeaveProject" => ClientMessage::LeaveProject(fields(&name, raw).map_err(bad)?),
        "Collaboration" => ClientMessage::Collaboration(fields(&name, raw).map_err(bad)?),
        "Pong" => return Err(bad("Pong: only a protocol ping is answered with a pong".to_string())),
        other if FROM_THE_SERVER.contains(&other) => {
            let text = format!("{other}: only the server sends it");
            return Err(BadFrame { id, code: ErrorCode::BadRequest, text });
        }
        other => return Err(bad(format!("unknown message {other:?}"))),
    };
    Ok(ClientFrame { id, trace, message })
}

fn fields<'a, T: Deserialize<'a>>(name: &str, raw: &'a str) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_str(raw);
    match serde_path_to_error::deserialize::<_, Object<T>>(&mut reader) {
        Ok(Object(body)) => Ok(body),
        Err(error) if error.path().iter().next().is_none() => Err(format!("{name}: {}", error.inner())),
        Err(error) => Err(format!("{name}.{error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame, server};

    const PROJECT: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn refusal(text: &str) -> BadFrame {
        parse(text).expect_err("the frame is malformed")
    }

    #[test]
    fn bare_and_wrapped_pings_are_both_valid() {
        assert!(matches!(parse("\"Ping\"").unwrap().message, ClientMessage::Ping { bare: true }));
        let wrapped = parse(r#"{"id":3,"Ping":{}}"#).unwrap();
        assert_eq!(wrapped.id, Some(3));
        assert!(matches!(wrapped.message, ClientMessage::Ping { bare: false }));
    }

    #[test]
    fn a_join_carries_its_position() {
        let text = format!(r#"{{"id":7,"JoinProject":{{"project_id":"{PROJECT}","since":{{"ep":"k3","off":9}}}}}}"#);
        let ClientMessage::JoinProject(join) = parse(&text).unwrap().message else { panic!("not a join") };
        assert_eq!(join.since, Some(Position { ep: "k3".into(), off: 9 }));
    }

    #[test]
    fn two_messages_are_refused_and_both_are_named() {
        let bad = refusal(&format!(r#"{{"id":4,"Ping":{{}},"LeaveProject":{{"project_id":"{PROJECT}"}}}}"#));
        assert_eq!(bad.id, Some(4));
        assert!(bad.text.contains("Ping") && bad.text.contains("LeaveProject"), "{}", bad.text);
    }

    #[test]
    fn every_malformed_frame_names_the_place() {
        for (text, place) in [
            (r#"{"id":1,"ids":2,"Ping":{}}"#, "ids"),
            (r#"{"id":-1,"Ping":{}}"#, "id:"),
            (r#"{"JoinProject":{"project_id":"x"}}"#, "JoinProject"),
            (r#"{"JoinProject":{"projectId":"x"}}"#, "projectId"),
            (r#"{"tr":"x","tr":"y","Ping":{}}"#, "tr: given twice"),
            (r#"{"Jump":{}}"#, "Jump"),
            (r#"{"Ping":{"x":1}}"#, "Ping"),
            (r#"{"tr":"00-1-2-3","Ping":{}}"#, "tr:"),
            ("{}", "no message"),
            ("[1]", "object"),
            ("{\"Ping\":", "JSON"),
            ("\"Join\"", "Join"),
            (r#"{"DataUpdate":{}}"#, "only the server"),
            (r#"{"Auth":["token"]}"#, "Auth: invalid type: sequence, expected an object"),
            (&format!(r#"{{"LeaveProject":["{PROJECT}"]}}"#), "expected an object"),
            (&format!(r#"{{"JoinProject":{{"project_id":"{PROJECT}","since":["k3",9]}}}}"#), "JoinProject.since"),
            (
                &format!(r#"{{"Collaboration":{{"project_id":"{PROJECT}","action":"a\u202eb"}}}}"#),
                "Collaboration.action: has a character that is not seen (U+202E)",
            ),
            (
                &format!(r#"{{"Collaboration":{{"project_id":"{PROJECT}","action":"claim","entity_id":""}}}}"#),
                "Collaboration.entity_id: must have 1 to",
            ),
        ] {
            let bad = refusal(text);
            assert!(bad.text.contains(place), "{text} -> {}", bad.text);
        }
    }

    #[test]
    fn data_passes_through_untouched() {
        let text = format!(
            r#"{{"Collaboration":{{"project_id":"{PROJECT}","action":"cursor","data":{{"b":1.0,"a":[ 1 ],"a":2}}}}}}"#
        );
        let nothing = r#"{"Collaboration":{"project_id":"P","action":"cursor","data":null}}"#.replace('P', PROJECT);
        let ClientMessage::Collaboration(empty) = parse(&nothing).unwrap().message else { panic!("{nothing}") };
        assert_eq!(empty.data.map(RawValue::get), Some("null"), "a null that was said is said on");
        let ClientMessage::Collaboration(said) = parse(&text).unwrap().message else { panic!("not a collaboration") };
        let frame = server::encode(
            server::Head { by: Some(crate::ids::ConnId(91)), ..Default::default() },
            &server::ServerMessage::Collaboration(server::Collaboration {
                project_id: said.project_id,
                action: &said.action,
                entity_id: None,
                user_id: "ana",
                expires_at_ms: None,
                fence: None,
                data: said.data,
            }),
        );
        let text = std::str::from_utf8(frame::payload(&frame)).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"by":"c-91","Collaboration":{{"project_id":"{PROJECT}","action":"cursor","user_id":"ana","data":{{"b":1.0,"a":[ 1 ],"a":2}}}}}}"#
            )
        );
    }

    #[test]
    fn a_frame_without_siblings_is_the_bare_message() {
        let frame = server::encode(server::Head::default(), &server::ServerMessage::Draining { window_ms: 5 });
        assert_eq!(frame::payload(&frame), br#"{"Draining":{"window_ms":5}}"#);
        let frame = server::durable(("k3", 9), 77, r#""Notification":{}"#);
        assert_eq!(frame::payload(&frame), br#"{"ep":"k3","off":9,"ts":77,"Notification":{}}"#);
    }
}

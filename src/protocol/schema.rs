//! Every frame of the protocol as JSON Schema, derived from the very types that are encoded and parsed.
//!
//! A variant of [`ServerMessage`] or [`ClientMessage`] is a message here by itself; nothing lists them a second time
//! but the few words of [`delivery`]. Easy to get wrong: a body may get new fields, so bodies stay open for what a
//! client does not know, while a client's own messages are closed, as the parser is.
use super::{ClientMessage, ServerMessage};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Who sends a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The client.
    FromClient,
    /// The server.
    FromServer,
}

/// One message of the protocol.
#[derive(Clone, Debug)]
pub struct MessageSchema {
    /// Its name, the key in the frame.
    pub name: String,
    /// Who sends it.
    pub direction: Direction,
    /// What it is for, from the type's documentation.
    pub summary: String,
    /// The schema of the whole frame: the message and the siblings it may have.
    pub frame: Value,
}

/// All messages and the definitions that their schemas refer to.
#[derive(Clone, Debug)]
pub struct ProtocolSchema {
    /// The client's messages in their order, then the server's.
    pub messages: Vec<MessageSchema>,
    /// Named schemas, referred to as `#/components/schemas/NAME`.
    pub definitions: Map<String, Value>,
}

/// How the server delivers `message`, and to what it is the answer.
///
/// `None` for a message that is not the server's.
pub fn delivery(message: &str) -> Option<&'static str> {
    Some(match message {
        "AuthSuccess" => "reply: answers `Auth`; unasked, and first of all, where who calls is known already",
        "AuthExpiring" => "control: never dropped",
        "ProjectJoined" => "reply: answers `JoinProject`",
        "ProjectLeft" => "reply: answers `LeaveProject`; without `re` when the server ended the membership",
        "Pong" => "reply: answers `Ping`",
        "Error" => {
            "reply: answers any request, `re` set, those refused for their rate included; without `re` for a frame that named no request"
        }
        "DataUpdate" | "Notification" => "durable: `ep` and `off` set, stored, delivered once and in order",
        "JobProgressUpdate" => "ephemeral, at most four a second per job; durable when `terminal`",
        "Collaboration" => "ephemeral; a reply when it answers a claim or a release",
        "PresenceDiff" => "ephemeral: may be missed, `rev` tells",
        "ResyncRequired" | "Draining" | "Status" => "control: never dropped",
        _ => return None,
    })
}

/// The messages a request may be answered with, `Error` apart.
pub fn replies(request: &str) -> &'static [&'static str] {
    match request {
        "Auth" => &["AuthSuccess"],
        "JoinProject" => &["ProjectJoined"],
        "LeaveProject" => &["ProjectLeft"],
        "Collaboration" => &["Collaboration"],
        "Ping" => &["Pong"],
        _ => &[],
    }
}

/// The protocol, from its types.
pub fn protocol() -> ProtocolSchema {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut reading = settings.clone().for_deserialize().into_generator();
    let mut writing = settings.for_serialize().into_generator();
    let mut messages = variants::<ClientMessage<'_>>(&mut reading, Direction::FromClient);
    messages.extend(variants::<ServerMessage<'_>>(&mut writing, Direction::FromServer));
    let mut definitions = writing.take_definitions(true);
    for (name, schema) in reading.take_definitions(true) {
        // What both sides send (`Collaboration`) has one body each way: the client's gets a name of its own.
        let name = if is_body(&messages, &name) { format!("{name}Request") } else { name };
        definitions.insert(name, schema);
    }
    ProtocolSchema { messages, definitions }
}

fn is_body(messages: &[MessageSchema], name: &str) -> bool {
    messages.iter().any(|message| message.direction == Direction::FromClient && message.name == name)
}

fn variants<T: JsonSchema>(generator: &mut SchemaGenerator, direction: Direction) -> Vec<MessageSchema> {
    let schema = T::json_schema(generator).to_value();
    let variants = schema["oneOf"].as_array().cloned().unwrap_or_default();
    variants.into_iter().flat_map(|variant| message(&variant, direction)).collect()
}

fn message(variant: &Value, direction: Direction) -> Option<MessageSchema> {
    let (name, body) = variant["properties"].as_object()?.iter().next()?;
    let mut body = body.clone();
    if direction == Direction::FromClient {
        if let Some(reference) = body["$ref"].as_str() {
            body["$ref"] = format!("{reference}Request").into();
        } else {
            body["additionalProperties"] = false.into();
        }
    }
    let summary = variant["description"].as_str().unwrap_or_default().to_owned();
    let mut properties = siblings(direction);
    properties.insert(name.clone(), body);
    let object = json!({
        "type": "object", "properties": properties, "required": [name], "additionalProperties": false,
    });
    let frame = match name.as_str() {
        "Ping" | "Pong" => json!({ "oneOf": [{ "const": name, "description": "the bare form" }, object] }),
        _ => object,
    };
    Some(MessageSchema { name: name.clone(), direction, summary, frame })
}

fn siblings(direction: Direction) -> Map<String, Value> {
    let number = |text: &str| json!({ "type": "integer", "minimum": 0, "description": text });
    let listed = match direction {
        Direction::FromClient => json!({
            "id": number("request number; exactly one reply carries it as `re`"),
            "tr": { "type": "string", "description": "W3C trace context" },
        }),
        Direction::FromServer => json!({
            "re": number("the request that this answers"),
            "ep": { "type": "string", "description": "epoch of the project's history; on durable messages" },
            "off": number("offset in that history, gapless; on durable messages"),
            "ts": { "type": "integer", "description": "server time, Unix milliseconds" },
            "tr": { "type": "string", "description": "W3C trace context of what caused it" },
            "by": { "type": "string", "pattern": "^c-[0-9]+$", "description": "the connection that caused it" },
        }),
    };
    listed.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_message_says_how_it_is_delivered_and_every_request_how_it_is_answered() {
        let messages = protocol().messages;
        assert!(messages.len() > 12, "the enums have lost their variants: {messages:?}");
        for message in &messages {
            assert!(!message.summary.is_empty(), "{} has no documentation", message.name);
            match message.direction {
                Direction::FromServer => {
                    assert!(delivery(&message.name).is_some(), "delivery() lacks {}", message.name)
                }
                Direction::FromClient => {
                    assert!(!replies(&message.name).is_empty(), "replies() lacks {}", message.name);
                }
            }
        }
    }
}

//! The AsyncAPI 3 document of the live connections: messages both ways, replies, error codes, close codes, limits.
//!
//! Schemas come from `schema`; this file is the frame around them. Easy to get wrong: AsyncAPI speaks from the
//! server's side, so what a client sends is an operation that the server *receives*.
use super::{
    CloseCode, ErrorCode,
    schema::{self, Direction, MessageSchema},
};
use serde_json::{Map, Value, json};

/// A limit as the document shows it.
#[derive(Clone, Debug)]
pub struct Limit {
    /// The name that errors give it.
    pub name: &'static str,
    /// Its value in this process.
    pub value: u64,
    /// What it bounds and what happens past it.
    pub text: &'static str,
}

/// Ends the keys of messages that clients send.
const REQUEST: &str = ".request";

/// The document of a server of this version with these limits.
pub fn document(version: &str, limits: &[Limit]) -> Value {
    let protocol = schema::protocol();
    let mut schemas = protocol.definitions;
    schemas.insert("CloseReason".into(), close_reason());
    let mut messages = Map::new();
    let mut operations = Map::new();
    for message in &protocol.messages {
        messages.insert(key(message), described(message));
        operations.insert(verb(message), operation(message, &protocol.messages));
    }
    let on_channel: Map<String, Value> =
        messages.keys().map(|key| (key.clone(), json!({ "$ref": format!("#/components/messages/{key}") }))).collect();
    let sent: Map<String, Value> = on_channel
        .iter()
        .filter(|(key, _)| !key.ends_with(REQUEST))
        .map(|(key, one)| (key.clone(), one.clone()))
        .collect();
    let all_sent: Vec<Value> =
        sent.keys().map(|key| json!({ "$ref": format!("#/channels/events/messages/{key}") })).collect();
    operations.insert(
        "sendEvents".into(),
        json!({
            "action": "send",
            "channel": { "$ref": "#/channels/events" },
            "summary": "what a WebSocket is sent",
            "messages": all_sent,
        }),
    );
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tieout realtime",
            "version": version,
            "description": "One JSON object a frame: exactly one message, and optional siblings. Subprotocol tieout.v1+json.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": {
            "ws": {
                "address": "/ws",
                "title": "WebSocket",
                "description": "Text frames. A client that needs a token sends `Auth` first; any other gets `AuthSuccess` unasked. \
                    Requests about one room are done in their order.",
                "messages": on_channel,
                "bindings": { "ws": { "method": "GET", "bindingVersion": "0.1.0" } },
            },
            "events": {
                "address": "/events",
                "title": "Event stream",
                "description": "Server-sent events: each frame is the data of one event, whose id is where the client is in \
                    every room. The first is `AuthSuccess` with a `key`; with it, POST /api/realtime/send says a message.",
                "messages": sent,
            },
        },
        "operations": operations,
        "components": { "messages": messages, "schemas": schemas },
        "x-error-codes": error_codes(),
        "x-close-codes": close_codes(),
        "x-limits": limits.iter().map(|limit| json!({
            "name": limit.name, "value": limit.value, "description": limit.text,
        })).collect::<Vec<_>>(),
    })
}

/// The name of a message within the document: unique though `Collaboration` goes both ways.
pub fn key(message: &MessageSchema) -> String {
    match message.direction {
        Direction::FromClient => format!("{}{REQUEST}", message.name),
        Direction::FromServer => message.name.clone(),
    }
}

fn verb(message: &MessageSchema) -> String {
    match message.direction {
        Direction::FromClient => format!("receive{}", message.name),
        Direction::FromServer => format!("send{}", message.name),
    }
}

fn described(message: &MessageSchema) -> Value {
    let mut described = json!({
        "name": message.name,
        "title": message.name,
        "summary": message.summary,
        "contentType": "application/json",
        "payload": message.frame,
    });
    if message.direction == Direction::FromServer {
        described["description"] = schema::delivery(&message.name).unwrap_or_default().into();
    }
    described
}

fn operation(message: &MessageSchema, all: &[MessageSchema]) -> Value {
    let channel = json!({ "$ref": "#/channels/ws" });
    let on_channel = |key: &str| json!({ "$ref": format!("#/channels/ws/messages/{key}") });
    let messages = [on_channel(&key(message))];
    match message.direction {
        Direction::FromServer => json!({
            "action": "send", "channel": channel, "summary": message.summary, "messages": messages,
        }),
        Direction::FromClient => {
            let listed = schema::replies(&message.name);
            let answers = |name: &str| listed.contains(&name) || name == "Error";
            let replies = all.iter().filter(|m| m.direction == Direction::FromServer && answers(&m.name));
            json!({
                "action": "receive",
                "channel": channel,
                "summary": message.summary,
                "messages": messages,
                "reply": {
                    "channel": channel,
                    "messages": replies.map(|reply| on_channel(&key(reply))).collect::<Vec<_>>(),
                },
            })
        }
    }
}

fn error_codes() -> Vec<Value> {
    ErrorCode::ALL.iter().map(|code| json!({ "code": code, "retryable": code.retryable() })).collect()
}

fn close_codes() -> Vec<Value> {
    let one = |code: &CloseCode| {
        json!({
            "code": code.number(), "name": code.name(), "description": code.meaning(), "reconnect": code.comes_back(),
        })
    };
    CloseCode::ALL.iter().map(one).collect()
}

fn close_reason() -> Value {
    json!({
        "type": "object",
        "description": "the reason text of a close frame",
        "properties": {
            "c": { "enum": CloseCode::ALL.map(CloseCode::name) },
            "retry_ms": { "type": "integer", "minimum": 0, "description": "connect again after this" },
        },
        "required": ["c"],
        "additionalProperties": false,
    })
}

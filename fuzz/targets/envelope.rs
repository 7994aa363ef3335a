//! Frames of a client: whatever the bytes, a message or an error that names the place, and never a broken frame for others.
//!
//! Easy to get wrong: `data` goes to the room as the sender wrote it, so what the parser lets through here is what every
//! member's parser gets.
#![no_main]
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use tieout_protocol::{
    ClientMessage, Head, ServerMessage,
    bare::bare,
    frame,
    ids::ConnId,
    parse,
    server::{self, Collaboration, ErrorBody},
};

type Members<'a> = BTreeMap<String, &'a RawValue>;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse(text) {
        Ok(read) => {
            let object = text.trim_start().starts_with('{');
            if object {
                let members: Members<'_> = serde_json::from_str(text).expect("a frame that was taken is a JSON object");
                let messages = members.keys().filter(|key| key.starts_with(char::is_uppercase)).count();
                assert_eq!(messages, 1, "one message a frame");
                assert!(members.keys().all(|key| key.starts_with(char::is_uppercase) || key == "id" || key == "tr"));
                assert_eq!(read.id.is_some(), members.contains_key("id"));
                assert_eq!(read.trace.is_some(), members.contains_key("tr"));
            } else {
                assert!(matches!(read.message, ClientMessage::Ping { bare: true }), "only a ping may be bare");
            }
            if let ClientMessage::Collaboration(said) = &read.message {
                let message = Collaboration {
                    project_id: said.project_id,
                    action: &said.action,
                    entity_id: said.entity_id.as_deref(),
                    user_id: "ana",
                    expires_at_ms: None,
                    fence: None,
                    data: said.data,
                };
                let message = ServerMessage::Collaboration(message);
                let sent = server::encode(Head { by: Some(ConnId(1)), tr: read.trace, ..Head::default() }, &message);
                let plain = server::encode(Head::default(), &message);
                assert_eq!(bare(&sent), plain, "the bare form is the message alone");
                let members: Members<'_> = serde_json::from_slice(frame::payload(&sent)).expect("the room gets JSON");
                let body: Members<'_> = serde_json::from_str(members["Collaboration"].get()).expect("an object");
                assert_eq!(body.get("data").map(|data| data.get()), said.data.map(RawValue::get), "data is untouched");
            }
        }
        Err(bad) => {
            assert!(!bad.text.is_empty());
            let message = ServerMessage::Error(ErrorBody::new(bad.code, &bad.text));
            let sent = server::encode(Head::reply(bad.id), &message);
            serde_json::from_slice::<Members<'_>>(frame::payload(&sent)).expect("an error is JSON, whatever it quotes");
        }
    }
});

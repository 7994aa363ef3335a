//! The strict envelope: optional siblings around exactly one message key.
//!
//! It splits a frame and leaves the bodies to `client`. Easy to get wrong: serde's `flatten` with an external tag
//! silently accepts two messages in one frame, and drops unknown keys; hence a visitor by hand.
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// A frame taken apart, bodies still raw.
#[derive(Debug, Default)]
pub struct Envelope<'a> {
    /// The client's request number.
    pub id: Option<u64>,
    /// W3C trace context.
    pub trace: Option<Cow<'a, str>>,
    /// Name and raw body of the message; no body for the bare string form.
    pub message: Option<(Cow<'a, str>, Option<&'a RawValue>)>,
    /// What is wrong with the frame, when something is.
    pub defect: Option<String>,
}

/// Take `text` apart. The request number survives a defect that follows it, so that the error can answer it.
pub fn split(text: &str) -> Envelope<'_> {
    let trimmed = text.trim_start();
    if trimmed.starts_with('"') {
        return match serde_json::from_str::<Cow<'_, str>>(text) {
            Ok(name) => Envelope { message: Some((name, None)), ..Envelope::default() },
            Err(error) => defect(format!("not JSON: {error}")),
        };
    }
    if !trimmed.starts_with('{') {
        return defect("a frame is a JSON object with one message, or a bare message name".to_string());
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    match reader.deserialize_map(EnvelopeVisitor) {
        Ok(envelope) => match reader.end() {
            Ok(()) => envelope,
            Err(error) => Envelope { defect: Some(format!("after the frame: {error}")), ..envelope },
        },
        Err(error) => defect(format!("not JSON: {error}")),
    }
}

fn defect<'a>(text: String) -> Envelope<'a> {
    Envelope { defect: Some(text), ..Envelope::default() }
}

/// Whether a key names a message of the protocol, in either direction. Message names are capitalised, siblings are
/// not, so the difference shows without a list.
fn names_a_message(key: &str) -> bool {
    key.starts_with(|first: char| first.is_ascii_uppercase())
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut out = Envelope::default();
        while let Some(CowStr(key)) = map.next_key::<CowStr<'de>>()? {
            let raw: &'de RawValue = map.next_value()?;
            let problem = match key.as_ref() {
                "id" if out.id.is_some() => Some("id: given twice".to_string()),
                "id" => match serde_json::from_str(raw.get()) {
                    Ok(id) => {
                        out.id = Some(id);
                        None
                    }
                    Err(_) => Some("id: must be a whole number from 0 on".to_string()),
                },
                "tr" if out.trace.is_some() => Some("tr: given twice".to_string()),
                "tr" => match serde_json::from_str::<CowStr<'de>>(raw.get()) {
                    Ok(CowStr(trace)) => {
                        out.trace = Some(trace);
                        None
                    }
                    Err(_) => Some("tr: must be a string".to_string()),
                },
                name if names_a_message(name) => match &out.message {
                    Some((first, _)) => Some(format!("two messages in one frame: {first:?} and {name:?}")),
                    None => {
                        out.message = Some((key.clone(), Some(raw)));
                        None
                    }
                },
                other => Some(format!("unknown key {other:?}")),
            };
            out.defect = out.defect.or(problem);
        }
        if out.message.is_none() && out.defect.is_none() {
            out.defect = Some("no message in the frame".to_string());
        }
        Ok(out)
    }
}

/// A string that borrows when it has no escapes.
struct CowStr<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for CowStr<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = CowStr<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(CowStr(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(CowStr(Cow::Owned(text.to_string())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

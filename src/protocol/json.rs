//! JSON that clients send, kept as they wrote it and read as it must stand.
//!
//! Easy to get wrong: serde's derived structs also take an array of their fields' values, and a number that is parsed and
//! printed again loses digits; [`Object`] refuses the one, raw JSON and [`canonical`] avoid the other.
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;
use std::{fmt, marker::PhantomData};

/// Deepest nesting of what clients put into `data`: well within what JSON readers take, whatever their language.
pub const MAX_DEPTH: usize = 100;

/// A value that must stand as an object.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// For `deserialize_with` of an object that may be absent or null.
///
/// # Errors
/// The reader's.
pub fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|given| given.map(|Object(value)| value))
}

/// For `deserialize_with` of raw JSON that may be absent; a `null` that was given is kept.
///
/// # Errors
/// The reader's.
pub fn even_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// How deep arrays and objects nest in valid JSON.
pub fn depth(json: &str) -> usize {
    let (mut now, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// One spelling for all that say the same: without space, members by name; numbers stay as they were written. What can't be
/// read (half of a surrogate pair) stays as it is. Reads each level anew, so give it nothing deeper than [`MAX_DEPTH`].
pub fn canonical(json: &RawValue) -> String {
    let mut out = String::with_capacity(json.get().len());
    write_canonical(json, &mut out);
    out
}

fn write_canonical(json: &RawValue, out: &mut String) {
    let text = json.get();
    let written = match text.as_bytes().first() {
        Some(b'{') => serde_json::from_str(text).map(|Members(mut members)| {
            members.sort_by(|one, other| one.0.cmp(&other.0));
            let write = |out: &mut String, (name, value): &(String, &RawValue)| {
                out.push_str(&serde_json::Value::from(name.as_str()).to_string());
                out.push(':');
                write_canonical(value, out);
            };
            write_list(out, ('{', '}'), &members, write);
        }),
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text)
            .map(|items| write_list(out, ('[', ']'), &items, |out, item| write_canonical(item, out))),
        Some(b'"') => serde_json::from_str::<String>(text)
            .map(|string| out.push_str(&serde_json::Value::from(string).to_string())),
        _ => {
            out.push_str(text);
            Ok(())
        }
    };
    if written.is_err() {
        out.push_str(text);
    }
}

fn write_list<T>(out: &mut String, (open, close): (char, char), items: &[T], mut write: impl FnMut(&mut String, &T)) {
    out.push(open);
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(close);
}

/// All members of an object, a name that stands twice included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: &str) -> String {
        canonical(&RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn the_same_said_otherwise_has_one_spelling_and_numbers_keep_their_digits() {
        let one = said("{ \"b\" : [1.50, 1e2],\r\n\t\"a\" : \"\\u00e9\" }");
        assert_eq!(one, said("{\"a\":\"é\",\"b\":[1.50,1e2]}"));
        assert_ne!(said("[1234567890123456.78]"), said("[1234567890123456.79]"));
        assert_ne!(said(r#"{"a":1,"a":2}"#), said(r#"{"a":3,"a":2}"#), "what stands twice counts twice");
        assert_eq!(said(r#"["\ud800"]"#), r#"["\ud800"]"#);
        let deep = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!((said(&deep), depth(&deep)), (deep.clone(), MAX_DEPTH));
        assert_eq!(depth(r#"{"[[":"\"[[[","a":[]}"#), 2);
    }

    #[test]
    fn an_array_is_not_an_object() {
        #[derive(Deserialize)]
        struct One {
            a: u8,
            #[serde(default, deserialize_with = "even_null")]
            data: Option<Box<RawValue>>,
        }
        let read = |json: &str| {
            serde_json::from_str::<Object<One>>(json)
                .map(|Object(one)| (one.a, one.data.map(|raw| raw.get().to_owned())))
        };
        assert_eq!(read(r#"{"a":1,"data":[ 1.0 ]}"#).unwrap(), (1, Some("[ 1.0 ]".into())));
        assert_eq!(read(r#"{"a":1,"data":null}"#).unwrap(), (1, Some("null".into())));
        assert_eq!(read(r#"{"a":1}"#).unwrap(), (1, None));
        assert!(read("[1,null]").unwrap_err().to_string().contains("expected an object"));
    }
}

//! JSON Lines: one object a line; its keys are the columns.
//!
//! Easy to get wrong: numbers are kept as they are written, because a float would change amounts.
use super::ReadError;
use super::document::{failed, text};
use super::format::{Format, Heading, Input, Sink};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// JSON Lines.
pub(crate) struct JsonLines;

type Object<'a> = BTreeMap<String, &'a RawValue>;

impl Format for JsonLines {
    fn sniff(&self, head: &[u8]) -> bool {
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        let line = head.split(|b| *b == b'\n').next().unwrap_or(head);
        line.starts_with(b"{") && serde_json::from_slice::<Object<'_>>(line).is_ok()
    }

    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let options = file.options;
        let bytes = file.whole()?;
        let (text, encoding) = text(&bytes, options);
        let text = text.trim_start_matches('\u{feff}');
        let lines = || text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let mut names: Vec<String> = Vec::new();
        for object in lines().filter_map(|(_, line)| serde_json::from_str::<Object<'_>>(line).ok()) {
            for name in object.keys().filter(|name| !name.is_empty()) {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            if names.len() > options.limits.max_columns {
                let (name, value) = (options.name.clone(), options.limits.max_columns);
                return Err(ReadError::Limit { name, at: String::new(), limit: "max_columns", value });
            }
        }
        if names.is_empty() {
            return Err(failed(options, String::new(), "no object has a key".into()));
        }
        sink.heading(Heading {
            format: "jsonl".into(),
            encoding: encoding.into(),
            names: names.clone(),
            ..Heading::default()
        })?;
        for (at, line) in lines() {
            let number = at as u64 + 1;
            match serde_json::from_str::<Object<'_>>(line) {
                Ok(object) => {
                    let cells: Vec<String> =
                        names.iter().map(|name| object.get(name).map_or(String::new(), |raw| cell(raw))).collect();
                    let cells: Vec<&str> = cells.iter().map(|cell| cell.trim()).collect();
                    if cells.iter().all(|cell| cell.is_empty()) { sink.blank() } else { sink.row(number, &cells)? }
                }
                Err(error) => sink.bad(number, "", line, &format!("not a JSON object: {error}"))?,
            }
        }
        Ok(())
    }
}

/// A text without its quotes, nothing for null, else the JSON as it stands.
fn cell(raw: &RawValue) -> String {
    match raw.get() {
        "null" => String::new(),
        text if text.starts_with('"') => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
        other => other.to_owned(),
    }
}

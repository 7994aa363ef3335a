//! What the tests of the published contracts share: a JSON Schema validator over one document.
use serde_json::{Value, json};
use std::collections::HashMap;

/// A document whose schemas are compiled when first asked for.
pub(crate) struct Schemas {
    document: Value,
    compiled: HashMap<String, boon::SchemaIndex>,
    schemas: boon::Schemas,
}

/// boon wants a URL; nothing is ever fetched from it.
const AT: &str = "https://tieout.invalid/document.json";

impl Schemas {
    pub(crate) fn new(document: Value) -> Self {
        Self { document, compiled: HashMap::new(), schemas: boon::Schemas::new() }
    }

    /// Whether the schema at this JSON pointer of the document accepts the value.
    pub(crate) fn accepts(&mut self, pointer: &str, value: &Value) -> bool {
        self.verdict(pointer, value).is_ok()
    }

    /// Panics with the place when it does not.
    pub(crate) fn check(&mut self, pointer: &str, value: &Value, what: &str) {
        if let Err(error) = self.verdict(pointer, value) {
            panic!("{what} is not what the document says at {pointer}\n{error}\n{value:#}");
        }
    }

    fn verdict(&mut self, pointer: &str, value: &Value) -> Result<(), String> {
        let index = match self.compiled.get(pointer) {
            Some(index) => *index,
            None => {
                assert!(self.document.pointer(pointer).is_some(), "the document has nothing at {pointer}");
                let mut compiler = boon::Compiler::new();
                compiler.set_default_draft(boon::Draft::V2020_12);
                compiler.enable_format_assertions();
                compiler.add_resource(AT, self.document.clone()).unwrap();
                let place = format!("{AT}#{}", escaped(pointer));
                let index = compiler.compile(&place, &mut self.schemas).unwrap_or_else(|error| panic!("{error:#}"));
                self.compiled.insert(pointer.to_owned(), index);
                index
            }
        };
        self.schemas.validate(value, index).map_err(|error| format!("{error:#}"))
    }
}

/// A JSON pointer as the fragment of a URL.
fn escaped(pointer: &str) -> String {
    pointer.replace('{', "%7B").replace('}', "%7D")
}

/// The document with every object schema closed: what the server sends must be listed, though clients are told to
/// expect more.
pub(crate) fn closed(mut document: Value) -> Value {
    fn close(value: &mut Value) {
        match value {
            Value::Object(members) => {
                if members.contains_key("properties") && !members.contains_key("additionalProperties") {
                    members.insert("additionalProperties".into(), json!(false));
                }
                members.values_mut().for_each(close);
            }
            Value::Array(items) => items.iter_mut().for_each(close),
            _ => {}
        }
    }
    close(&mut document);
    document
}

/// Panics at a `$ref` that points nowhere within the document.
pub(crate) fn references_resolve(document: &Value) {
    fn walk(document: &Value, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').expect("references stay within the document");
                    assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                members.values().for_each(|value| walk(document, value));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(document, value)),
            _ => {}
        }
    }
    walk(document, document);
}

//! The OpenAPI 3.1 document, from the list of routes and the types their handlers take and answer.
//!
//! Leaves what each route says to `router`. Easy to get wrong: a request's schemas are written in place, because the
//! same type may look different in an answer, and the named ones are the answers'.
use super::contract::{Answer, Content, Header, Operation, SchemaOf};
use crate::protocol::names::Name;
use schemars::{
    JsonSchema, SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// RFC 9457, as `http::error` writes it. The named members after `request_id` come with some codes only.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the schema of what `ApiError::render` writes, checked against real answers")]
pub(super) struct Problem {
    /// Always `about:blank`; `code` tells problems apart.
    r#type: String,
    /// The status in words.
    title: String,
    /// The status.
    status: u16,
    /// Machine-readable.
    code: String,
    /// One sentence for people.
    detail: String,
    /// The path that was asked for.
    instance: String,
    /// Also the header `x-request-id`; stands in the server's log.
    request_id: String,
    /// The limit that was passed, by the name of its setting.
    #[schemars(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    /// Who holds the claim.
    #[schemars(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    /// When the token expired, Unix milliseconds.
    #[schemars(skip_serializing_if = "Option::is_none")]
    expired_at_ms: Option<i64>,
    /// When that claim lapses, Unix milliseconds.
    #[schemars(skip_serializing_if = "Option::is_none")]
    expires_at_ms: Option<i64>,
    /// What is wrong with rules or a file, and where.
    #[schemars(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<Place>>,
}

/// A place in rules (`path`) or in a file (`file`, `line`, `column`).
#[derive(JsonSchema)]
#[expect(dead_code, reason = "see `Problem`")]
pub(super) struct Place {
    #[schemars(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The document of these operations; `token` says whether callers must prove who they are.
pub(super) fn document(version: &str, operations: &[Operation], token: bool) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut writing = settings.clone().for_serialize().into_generator();
    let mut reading =
        settings.with(|s| (s.inline_subschemas, s.contract) = (true, Contract::Deserialize)).into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let described = describe(operation, &mut reading, &mut writing);
        let at = paths.entry(operation.path).or_insert_with(|| json!({}));
        at[operation.method.as_str().to_ascii_lowercase()] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Tieout", "version": version, "license": { "name": "MIT OR Apache-2.0" } },
        "servers": [{ "url": "/" }],
        "security": if token { json!([{ "bearer": [] }]) } else { json!([{}, { "bearer": [] }]) },
        "paths": paths,
        "components": {
            "schemas": writing.take_definitions(true),
            "headers": {
                "Position": {
                    "description": "`ep:off` of the last event that the answer knows; join with it as `since`",
                    "schema": { "type": "string", "pattern": "^[^:]+:[0-9]+$" },
                },
                "RetryAfter": { "description": "seconds", "schema": { "type": "integer", "minimum": 1 } },
                "Authenticate": { "description": "how to prove who calls", "schema": { "type": "string" } },
            },
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn describe(operation: &Operation, reading: &mut SchemaGenerator, writing: &mut SchemaGenerator) -> Value {
    let mut parameters = path_parameters(operation.path);
    if let Some(schema) = operation.query {
        parameters.extend(query_parameters(schema, reading));
    }
    parameters.extend(operation.headers.iter().map(header_parameter));
    let mut responses = Map::new();
    for answer in &operation.answers {
        responses.insert(answer.status.to_string(), response(answer, writing));
    }
    let problem = writing.subschema_for::<Problem>().to_value();
    for (status, when) in refusals(operation) {
        let response = responses.entry(status.to_string()).or_insert_with(|| json!({}));
        response["description"] = when.into();
        response["content"]["application/problem+json"] = json!({ "schema": problem });
        match status {
            401 => response["headers"]["WWW-Authenticate"] = json!({ "$ref": "#/components/headers/Authenticate" }),
            429 | 503 => response["headers"]["Retry-After"] = json!({ "$ref": "#/components/headers/RetryAfter" }),
            _ => {}
        }
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if operation.open {
        described["security"] = json!([{}]);
    }
    if let Some(content) = content(&operation.body, reading) {
        described["requestBody"] = json!({ "required": true, "content": content });
    }
    described
}

/// Every problem that an operation may answer, by status: what its contract says goes before what follows from it.
fn refusals(operation: &Operation) -> BTreeMap<u16, String> {
    let mut all = BTreeMap::from([
        (400, "the request can't be understood"),
        (403, "not from that page, or not by this caller"),
        (421, "the host is not a name of this server"),
        (500, "the server failed; its log has the cause under `request_id`"),
        (503, "away for now, or a limit of the server is reached"),
    ]);
    if !operation.open {
        all.insert(401, "a token is needed, or this one is wrong");
    }
    if operation.path.contains('{') {
        all.insert(404, "there is no such thing");
    }
    if matches!(operation.body, Content::Json(_)) {
        all.extend([
            (413, "the body is too large"),
            (415, "the body is not declared as JSON"),
            (422, "the body does not fit"),
        ]);
    }
    let mut all: BTreeMap<u16, String> = all.into_iter().map(|(status, when)| (status, when.to_owned())).collect();
    let mut own: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for (status, when) in &operation.refusals {
        own.entry(*status).or_default().push(when);
    }
    all.extend(own.into_iter().map(|(status, when)| (status, when.join("; or "))));
    all
}

fn header_parameter(header: &Header) -> Value {
    let mut schema = json!({ "type": "string" });
    if let Some(most) = header.most_chars {
        (schema["minLength"], schema["maxLength"]) = (1.into(), most.into());
    }
    if let Some(pattern) = header.pattern {
        schema["pattern"] = pattern.into();
    }
    json!({ "name": header.name, "in": "header", "required": false, "description": header.text, "schema": schema })
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let one = |name: &str| {
        let schema = match name {
            "id" => json!({ "type": "string", "format": "uuid" }),
            // What bears no name can't have been claimed, and is not found.
            _ => json!({ "type": "string", "minLength": 1 }),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    };
    names.map(one).collect()
}

fn query_parameters(schema: SchemaOf, reading: &mut SchemaGenerator) -> Vec<Value> {
    let schema = schema(reading).to_value();
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let one = |(name, schema): (&String, &Value)| {
        json!({
            "name": name,
            "in": "query",
            "required": required.iter().any(|other| other == name.as_str()),
            "schema": not_null(schema.clone()),
        })
    };
    schema["properties"].as_object().into_iter().flatten().map(one).collect()
}

/// What may be absent is so by not being there; a query string has no null.
fn not_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            schema["type"] = kind.clone();
        }
    }
    if let Some(choices) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        choices.retain(|choice| choice["type"] != "null");
        if let [choice] = choices.as_slice() {
            return choice.clone();
        }
    }
    schema
}

fn response(answer: &Answer, writing: &mut SchemaGenerator) -> Value {
    let status = http::StatusCode::from_u16(answer.status).ok();
    let mut response = json!({ "description": status.and_then(|s| s.canonical_reason()).unwrap_or_default() });
    if let Some(content) = content(&answer.content, writing) {
        response["content"] = content;
    }
    if answer.position {
        response["headers"] = json!({ "X-Tieout-Position": { "$ref": "#/components/headers/Position" } });
    }
    response
}

fn content(content: &Content, generator: &mut SchemaGenerator) -> Option<Value> {
    match content {
        Content::Empty => None,
        Content::Json(schema) => Some(json!({ "application/json": { "schema": schema(generator) } })),
        Content::Raw(kinds) => {
            Some(kinds.iter().map(|kind| ((*kind).to_owned(), raw(kind))).collect::<Map<_, _>>().into())
        }
    }
}

/// What of a body that is not JSON can be said by a schema.
fn raw(kind: &str) -> Value {
    match kind {
        "multipart/form-data" => {
            let file = json!({ "type": "string", "format": "binary", "minLength": 1 });
            let mut name = <Name>::json_schema(&mut SchemaGenerator::default());
            // In a form everything is text, and which characters come through is the encoder's affair as well.
            name.remove("type");
            name.remove("pattern");
            let properties = json!({ "file": file, "name": name });
            let form = json!({ "type": "object", "properties": properties, "required": ["file"], "additionalProperties": false });
            json!({ "schema": form })
        }
        "application/json" => json!({ "schema": { "type": "object" } }),
        // Bytes have no type that a schema knows.
        _ => json!({}),
    }
}

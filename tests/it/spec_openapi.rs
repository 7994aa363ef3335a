//! `/openapi.json` against the running server: the same routes, and every answer as the document says.
//!
//! A route and its contract are made by one call, so what is checked here is that nothing is routed elsewhere, and that
//! what handlers really answer fits, objects closed: a member that the document does not list is a failure.
use crate::{
    http_support::{Answer, TestApp},
    spec_support::{Schemas, closed, references_resolve},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path};

/// A running server and the document it published; every answer is held against it.
struct Checked {
    app: TestApp,
    document: Value,
    schemas: Schemas,
    driven: BTreeSet<String>,
}

impl Checked {
    async fn start(settings: &[(&'static str, &str)]) -> Self {
        let app = TestApp::start(settings).await;
        let document = app.get("/openapi.json").await.json();
        let schemas = Schemas::new(closed(document.clone()));
        Self { app, document, schemas, driven: BTreeSet::new() }
    }

    /// Sends, and checks the answer against the operation `METHOD /template`.
    async fn ask(&mut self, operation: &str, request: reqwest::RequestBuilder, status: u16) -> Value {
        let answer = self.app.send(request).await;
        assert_eq!(answer.status, status, "{operation}: {}", answer.text);
        self.check(operation, &answer);
        serde_json::from_str(&answer.text).unwrap_or_default()
    }

    async fn get(&mut self, template: &str, path: &str, status: u16) -> Value {
        let request = self.app.client.get(self.app.url(path));
        self.ask(&format!("get {template}"), request, status).await
    }

    async fn post(&mut self, template: &str, path: &str, body: Value, status: u16) -> Value {
        let request = self.app.client.post(self.app.url(path)).json(&body);
        self.ask(&format!("post {template}"), request, status).await
    }

    fn check(&mut self, operation: &str, answer: &Answer) {
        let (method, template) = operation.split_once(' ').unwrap();
        let at = format!("/paths/{}/{method}/responses", template.replace('~', "~0").replace('/', "~1"));
        let responses = self.document.pointer(&at).unwrap_or_else(|| panic!("the document lacks {operation}"));
        let status = answer.status.to_string();
        let described = responses.get(&status);
        let kind = answer.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap());
        let kind = kind.split(';').next().unwrap_or_default();
        let described = described.unwrap_or_else(|| panic!("{operation} answered {status}, which its contract lacks"));
        if answer.status >= 400 && kind == "application/problem+json" {
            let problem = format!("{at}/{status}/content/application~1problem+json/schema");
            return self.schemas.check(&problem, &answer.json(), &format!("{operation} {status}"));
        }
        self.driven.insert(operation.to_owned());
        let position = described.pointer("/headers/X-Tieout-Position").is_some();
        assert_eq!(answer.headers.contains_key("x-tieout-position"), position, "X-Tieout-Position of {operation}");
        let Some(contents) = described.get("content") else {
            return assert_eq!(answer.text, "", "{operation} {status} has a body");
        };
        assert!(contents.get(kind).is_some(), "{operation} answered {kind:?}, not {contents}");
        if kind == "application/json" {
            let at = format!("{at}/{status}/content/{}/schema", kind.replace('/', "~1"));
            self.schemas.check(&at, &answer.json(), &format!("{operation} {status}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_answers_are_what_the_document_says() {
    let mut server = Checked::start(&[("max_upload_bytes", "4096")]).await;
    references_resolve(&server.document);
    for path in ["/api/health", "/api/ready", "/openapi.json", "/asyncapi.json", "/metrics"] {
        server.get(path, path, 200).await;
    }
    let projects = "/api/v1/projects";
    let made = server.post(projects, projects, json!({"name": "books"}), 201).await;
    let project = format!("{projects}/{}", made["id"].as_str().unwrap());
    let one = "/api/v1/projects/{id}";
    server.get(projects, projects, 200).await;
    server.get(one, &project, 200).await;
    let rename = server.app.client.patch(server.app.url(&project)).json(&json!({"name": "ledgers"}));
    server.ask("patch /api/v1/projects/{id}", rename, 200).await;

    let sources = (format!("{one}/sources"), format!("{project}/sources"));
    let left = upload(
        &mut server,
        &sources,
        "id,date,amount\na,2026-01-02,10.00\nb,2026-01-03,20.50\nc,2026-01-04,oops\n",
        201,
    )
    .await;
    let right = upload(&mut server, &sources, "ref,booked,value\na,2026-01-02,10.00\nd,2026-01-09,7.25\n", 201).await;
    upload(&mut server, &sources, "ref,booked,value\na,2026-01-02,10.00\nd,2026-01-09,7.25\n", 200).await;
    upload(&mut server, &sources, "", 422).await;
    upload(&mut server, &sources, &"x".repeat(5000), 413).await;
    server.get(&sources.0, &sources.1, 200).await;
    let source = format!("/api/v1/sources/{left}");
    server.get("/api/v1/sources/{id}", &source, 200).await;
    let rules = format!("{project}/suggested-rules?left={left}&right={right}");
    let suggested = server.get(&format!("{one}/suggested-rules"), &rules, 200).await;
    let jobs = (format!("{one}/jobs"), format!("{project}/jobs"));
    server.post(&jobs.0, &jobs.1, json!({"left": left, "right": right, "rules": {"compare": 1}}), 422).await;
    run_a_job(&mut server, &jobs, json!({"left": left, "right": right, "rules": suggested["rules"]})).await;

    let claims = (format!("{one}/claims"), format!("{project}/claims"));
    server.post(&claims.0, &claims.1, json!({"entity_id": "m-1"}), 200).await;
    server.post(&claims.0, &claims.1, json!({"entity_id": ""}), 422).await;
    let release = server.app.client.delete(server.app.url(&format!("{project}/claims/m-1")));
    server.ask("delete /api/v1/projects/{id}/claims/{entity_id}", release, 204).await;
    server.post(&claims.0, &claims.1, json!({"entity_id": "a\u{202e}b"}), 422).await;
    let socket = server.app.client.get(server.app.url("/ws"));
    server.ask("get /ws", socket, 426).await;
    talk(&mut server, made["id"].as_str().unwrap()).await;

    let delete = |server: &Checked, path: &str| server.app.client.delete(server.app.url(path));
    let spare = upload(&mut server, &sources, "id\n1\n", 201).await;
    let request = delete(&server, &format!("/api/v1/sources/{spare}"));
    server.ask("delete /api/v1/sources/{id}", request, 204).await;
    let request = delete(&server, &project);
    server.ask("delete /api/v1/projects/{id}", request, 204).await;
    server.get(one, &project, 404).await;
    server.get(projects, "/api/v1/projects?limit=x", 400).await;

    let documented: BTreeSet<String> = operations(&server.document).collect();
    let missed: Vec<_> = documented.difference(&server.driven).filter(|o| *o != "get /ws").collect();
    assert!(missed.is_empty(), "no answer of these was checked: {missed:?}");
    server.app.stop().await;
}

async fn upload(server: &mut Checked, (template, path): &(String, String), bytes: &str, status: u16) -> String {
    let url = server.app.url(&format!("{path}?filename=f.csv"));
    let request = server.app.client.post(url).body(bytes.to_owned());
    let made = server.ask(&format!("post {template}"), request, status).await;
    made["id"].as_str().unwrap_or_default().to_owned()
}

/// What belongs to live connections and is asked over plain HTTP.
async fn talk(server: &mut Checked, project: &str) {
    let ticket = server.post("/api/realtime/ticket", "/api/realtime/ticket", json!({}), 200).await;
    let url = format!("/events?project={project}&ticket={}", ticket["ticket"].as_str().unwrap());
    let mut stream = server.app.client.get(server.app.url(&url)).send().await.unwrap();
    assert_eq!(
        (stream.status().as_u16(), &stream.headers()["content-type"]),
        (200, &"text/event-stream; charset=utf-8".parse().unwrap())
    );
    let mut read = String::new();
    let hello: Value = loop {
        read.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().expect("the stream goes on")).unwrap());
        let mut data = read
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .filter_map(|line| line.strip_prefix("data: "));
        if let Some(line) = data.next() {
            break serde_json::from_str(line).unwrap();
        }
    };
    let (conn, key) = (&hello["AuthSuccess"]["conn"], &hello["AuthSuccess"]["key"]);
    let send = "/api/realtime/send";
    server.post(send, send, json!({"conn": conn, "key": key, "message": {"Ping": {}}}), 202).await;
    server.post(send, send, json!({"conn": conn, "key": "x", "message": {"Ping": {}}}), 404).await;
    server.driven.insert("get /events".into());
    server.get("/events", "/events?project=x", 404).await;
    let disconnect = "/api/realtime/disconnect";
    server.post(disconnect, disconnect, json!({"user_id": "nobody"}), 200).await;
    server.post(disconnect, disconnect, json!({"user_id": ""}), 422).await;
    let publish = "/api/realtime/publish";
    let note = json!({"Notification": {"project_id": project, "level": "info", "message": "hello"}});
    let told = server.post(publish, publish, note, 200).await;
    assert!(told["ep"].is_string() && told["off"].is_u64(), "{told}");
    let wave = json!({"Collaboration": {"project_id": project, "action": "wave"}});
    let told = server.post(publish, publish, wave, 200).await;
    assert_eq!((&told["ep"], told["ts"].is_i64()), (&Value::Null, true), "{told}");
    server.post(publish, publish, json!({"Ping": {}}), 422).await;
}

/// Pauses a job before it is over, which the smallest of jobs may be first: then another one is tried.
async fn pause_a_job(server: &mut Checked, (template, path): (&str, &str), body: &Value) {
    let one = "/api/v1/jobs/{id}";
    for _ in 0..50 {
        let made = server.post(template, path, body.clone(), 201).await;
        let job = format!("/api/v1/jobs/{}", made["id"].as_str().unwrap());
        server.post(&format!("{one}/start"), &format!("{job}/start"), json!({}), 202).await;
        let request = server.app.client.post(server.app.url(&format!("{job}/pause"))).json(&json!({}));
        let answer = server.app.send(request).await;
        server.check(&format!("post {one}/pause"), &answer);
        if answer.status != 202 {
            continue;
        }
        let deadline = tokio::time::Instant::now() + crate::http_support::PATIENCE;
        loop {
            let now = server.get(one, &job, 200).await;
            match now["state"].as_str().unwrap() {
                "paused" => {
                    server.post(&format!("{one}/resume"), &format!("{job}/resume"), json!({}), 202).await;
                    return;
                }
                "pausing" => assert!(tokio::time::Instant::now() < deadline, "waited in vain for the pause: {now}"),
                _ => panic!("paused and then: {now}"),
            }
        }
    }
    panic!("no job of fifty could be paused");
}

/// Through every answer that a job can give.
async fn run_a_job(server: &mut Checked, (template, path): &(String, String), body: Value) {
    let preview = server.post(&format!("{template}/preview"), &format!("{path}/preview"), body.clone(), 200).await;
    assert_eq!((&preview["rules"], &preview["inferred"]), (&body["rules"], &json!(false)), "{preview}");
    let made = server.post(template, path, body.clone(), 201).await;
    server.get(template, path, 200).await;
    let one = "/api/v1/jobs/{id}";
    let job = format!("/api/v1/jobs/{}", made["id"].as_str().unwrap());
    let export = format!("{one}/export");
    server.get(&export, &format!("{job}/export"), 409).await;
    server.post(&format!("{one}/start"), &format!("{job}/start"), json!({}), 202).await;
    let deadline = tokio::time::Instant::now() + crate::http_support::PATIENCE;
    loop {
        let now = server.get(one, &job, 200).await;
        server.get(&format!("{one}/progress"), &format!("{job}/progress"), 200).await;
        match now["state"].as_str().unwrap() {
            "completed" => break,
            "failed" | "cancelled" => panic!("{now}"),
            _ => assert!(tokio::time::Instant::now() < deadline, "waited in vain for the job: {now}"),
        }
    }
    let all = server.get(&format!("{one}/results"), &format!("{job}/results"), 200).await;
    assert!(all["items"].as_array().unwrap().len() > 1, "{all}");
    let errors = server.get(&format!("{one}/errors"), &format!("{job}/errors"), 200).await;
    assert!(!errors["items"].as_array().unwrap().is_empty(), "{errors}");
    server.get(&export, &format!("{job}/export"), 200).await;
    server.get(&export, &format!("{job}/export?format=jsonl"), 200).await;
    pause_a_job(server, (template, path), &body).await;
    let other = server.post(template, path, body, 201).await;
    let other = format!("/api/v1/jobs/{}", other["id"].as_str().unwrap());
    for what in ["pause", "resume"] {
        server.post(&format!("{one}/{what}"), &format!("{other}/{what}"), json!({}), 409).await;
    }
    server.post(&format!("{one}/cancel"), &format!("{other}/cancel"), json!({}), 202).await;
    for job in [job, other] {
        let request = server.app.client.delete(server.app.url(&job));
        server.ask("delete /api/v1/jobs/{id}", request, 204).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_names_its_errors_and_every_text_its_bounds() {
    let server = Checked::start(&[]).await;
    for (path, methods) in server.document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let (what, responses) = (format!("{method} {path}"), operation["responses"].as_object().unwrap());
            assert!(!responses.contains_key("default"), "{what}: a default hides what it does not name");
            let mut needed = vec!["400", "403", "421", "500", "503"];
            needed.extend(operation["security"].is_null().then_some("401"));
            needed.extend(path.contains('{').then_some("404"));
            let body = &operation["requestBody"]["content"];
            needed.extend(if body.is_null() { &[][..] } else { &["413", "422"] });
            for status in needed {
                let problem = responses.get(status).map(|response| &response["content"]["application/problem+json"]);
                assert!(problem.is_some_and(|problem| problem["schema"].is_object()), "{what} lacks {status}");
            }
            for parameter in operation["parameters"].as_array().unwrap() {
                let name = parameter["name"].as_str().unwrap();
                let nulls = parameter["schema"].as_object().unwrap().values().filter(|value| value.is_null()).count();
                assert_eq!(nulls, 0, "{what} {name}: no keyword of a schema is null");
                // Read leniently, or looked up as they are.
                if !["traceparent", "Last-Event-ID", "last_event_id", "ticket", "entity_id"].contains(&name) {
                    bounded(&parameter["schema"], &format!("{what} {name}"));
                }
            }
            if let Some(json) = body.get("application/json") {
                // What rules are is the engine's to say; the sentence in `message` is any frame.
                let mut schema = json["schema"].clone();
                schema["properties"].as_object_mut().map(|members| members.remove("rules"));
                bounded(&schema, &what);
            }
        }
    }
    server.app.stop().await;
}

/// Every text and number that a client gives has its bounds.
fn bounded(schema: &Value, what: &str) {
    let is =
        |kind: &str| schema["type"] == kind || schema["type"].as_array().is_some_and(|all| all.contains(&kind.into()));
    if is("string") {
        let by_word = ["format", "enum", "const"].iter().any(|word| schema.get(word).is_some());
        assert!(by_word || (schema["minLength"].is_u64() && schema["maxLength"].is_u64()), "{what}: {schema}");
    }
    if is("integer") || is("number") {
        assert!(schema["minimum"].is_number() && schema["maximum"].is_number(), "{what}: {schema}");
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        bounded(member, &format!("{what}.{name}"));
    }
    for word in ["oneOf", "anyOf", "allOf"] {
        for one in schema[word].as_array().into_iter().flatten() {
            bounded(one, what);
        }
    }
    if schema["items"].is_object() {
        bounded(&schema["items"], &format!("{what}[]"));
    }
}

/// `get /path` of every operation of the document.
fn operations(document: &Value) -> impl Iterator<Item = String> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_and_the_router_have_the_same_methods() {
    let server = Checked::start(&[]).await;
    let listed: BTreeSet<String> = operations(&server.document).collect();
    for path in server.document["paths"].as_object().unwrap().keys() {
        let url =
            server.app.url(&path.replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057").replace("{entity_id}", "e"));
        for method in ["get", "post", "put", "patch", "delete"] {
            let name = method.to_uppercase().parse().unwrap();
            // The body is not read: that of an event stream has no end.
            let answer = server.app.client.request(name, &url).send().await.unwrap();
            assert_eq!(answer.status() != 405, listed.contains(&format!("{method} {path}")), "{method} {path}");
        }
    }
    server.app.stop().await;
}

#[test]
fn nothing_is_routed_past_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let mut routed = Vec::new();
    for path in files(&folder) {
        let text = std::fs::read_to_string(&path).unwrap();
        let count = text.matches(".route(").count() + text.matches(".nest(").count() + text.matches(".merge(").count();
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        routed.extend((count > 0).then_some((name, count)));
    }
    routed.sort();
    // The table's own line; the files of the page; the pipeline's method of the same name.
    let known =
        [("contract.rs", 1), ("pipeline.rs", 2), ("router.rs", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(routed, known, "a route belongs into the table of router.rs");
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_written_reference_names_every_route_and_every_message() {
    let server = Checked::start(&[]).await;
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/API.md");
    let reference = std::fs::read_to_string(reference).unwrap();
    for operation in operations(&server.document) {
        let (method, path) = operation.split_once(' ').unwrap();
        let method = method.to_uppercase();
        let ends = ['`', '?'].map(|end| format!("{path}{end}"));
        let named = reference.lines().any(|line| line.contains(&method) && ends.iter().any(|end| line.contains(end)));
        assert!(named, "docs/API.md has no line with {method} and `{path}`");
    }
    let asyncapi = server.app.get("/asyncapi.json").await.json();
    let limits = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/LIMITS.md");
    let limits = std::fs::read_to_string(limits).unwrap();
    for limit in asyncapi["x-limits"].as_array().unwrap() {
        let name = limit["name"].as_str().unwrap().trim_end_matches("_ms");
        assert!(limits.contains(&format!("`{name}`")), "docs/LIMITS.md does not name `{name}`");
    }
    for message in asyncapi["components"]["messages"].as_object().unwrap().values() {
        let name = message["name"].as_str().unwrap();
        let named = ["`", " "].iter().any(|end| reference.contains(&format!("`{name}{end}")));
        assert!(named, "docs/API.md does not name the message `{name}`");
    }
    for code in asyncapi["x-close-codes"].as_array().unwrap() {
        let number = code["code"].as_u64().unwrap();
        assert!(number < 4000 || reference.contains(&number.to_string()), "docs/API.md lacks close code {number}");
    }
    for code in asyncapi["x-error-codes"].as_array().unwrap() {
        let word = code["code"].as_str().unwrap();
        assert!(reference.contains(&format!("`{word}`")), "docs/API.md lacks the error code `{word}`");
    }
    server.app.stop().await;
}

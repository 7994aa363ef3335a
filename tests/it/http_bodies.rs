//! Bodies that are JSON of the wrong shape, names that mislead, and paths that are none: one kind of answer for all.
use crate::{http_support::TestApp, support::Socket};
use serde_json::{Value, json};

/// The value with one object in it, at `at` in document order, as the array of its members' values. None past the last.
fn with_array(value: &Value, at: &mut usize) -> Option<Value> {
    match value {
        Value::Object(members) if *at == 0 => {
            *at = usize::MAX;
            Some(members.values().cloned().collect())
        }
        Value::Object(members) => {
            *at -= 1;
            members.iter().find_map(|(name, member)| {
                let changed = with_array(member, at)?;
                let mut members = members.clone();
                members.insert(name.clone(), changed);
                Some(Value::Object(members))
            })
        }
        Value::Array(items) => items.iter().enumerate().find_map(|(n, item)| {
            let changed = with_array(item, at)?;
            let mut items = items.clone();
            items[n] = changed;
            Some(Value::Array(items))
        }),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_array_in_place_of_an_object_is_refused_wherever_it_stands() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let one = format!("/api/v1/projects/{project}");
    let file = app.upload(&project, "id,amount\n1,10.00\n2,11.00\n").await.json()["id"].clone();
    let query = format!("left={0}&right={0}", file.as_str().unwrap());
    let mut rules = app.get(&format!("{one}/suggested-rules?{query}")).await.json()["rules"].clone();
    rules["block"] = json!([{ "on": [{ "left": "id", "right": "id" }] }]);
    let bodies = [
        ("POST", "/api/v1/projects".to_owned(), json!({ "name": "p" })),
        ("PATCH", one.clone(), json!({ "name": "p" })),
        ("POST", format!("{one}/jobs"), json!({ "left": file, "right": file, "rules": rules })),
        ("POST", format!("{one}/claims"), json!({ "entity_id": "m" })),
        ("POST", "/api/realtime/disconnect".into(), json!({ "user_id": "nobody" })),
        ("POST", "/api/realtime/send".into(), json!({ "conn": "c-1", "key": "k", "message": "Ping" })),
    ];
    let messages = [
        json!({ "Notification": { "project_id": project, "level": "info", "message": "m" } }),
        json!({ "DataUpdate": { "project_id": project, "entity": "e", "entity_id": "1", "action": "a" } }),
        json!({ "Collaboration": { "project_id": project, "action": "a" } }),
    ];
    let messages = messages.map(|message| ("POST", "/api/realtime/publish".to_owned(), message));
    for (method, path, body) in bodies.into_iter().chain(messages) {
        let send = |body: &Value| app.send(app.client.request(method.parse().unwrap(), app.url(&path)).json(body));
        let whole = send(&body).await;
        assert!(whole.status < 300 || path.ends_with("send"), "{method} {path} {body}: {}", whole.text);
        let mut changed = 0;
        while let Some(bad) = with_array(&body, &mut { changed }) {
            assert_eq!(send(&bad).await.status, 422, "{method} {path} {bad}");
            changed += 1;
        }
        assert!(changed > 0);
    }
    let mut socket = Socket::open(app.address()).await;
    for (message, body) in [
        ("JoinProject", json!([project])),
        ("JoinProject", json!({ "project_id": project, "since": ["e", 1] })),
        ("LeaveProject", json!([project])),
        ("Collaboration", json!([project, "wave"])),
    ] {
        let reply = socket.ask(message, body).await;
        assert_eq!(reply["Error"]["code"], "INVALID_FORMAT", "{message}: {reply}");
    }
    socket.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_message_comes_alone() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let one = json!({ "project_id": project, "level": "info", "message": "m" });
    let refused = |body: String| {
        let request = app.client.post(app.url("/api/realtime/publish")).header("content-type", "application/json");
        app.send(request.body(body))
    };
    for second in ["Notification", "Collaboration", "Nonsense", "id"] {
        let two = format!(r#"{{"Notification":{one},"{second}":{one}}}"#);
        let problem = refused(two).await.problem(422, "invalid");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("one message a request") && detail.contains(second), "{detail}");
    }
    refused("{}".into()).await.problem(422, "invalid");
    refused(r#""Notification""#.into()).await.problem(422, "invalid");
    let problem = refused(format!(r#"{{"Nonsense":{one}}}"#)).await.problem(422, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("Nonsense"), "{problem}");
    refused(format!(r#"{{"Notification":{one}}} x"#)).await.problem(400, "bad_request");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_field_is_named_with_its_place() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let body = json!({ "DataUpdate": { "project_id": project, "entity": "", "entity_id": "1", "action": "a" } });
    let problem = app.post("/api/realtime/publish", body).await.problem(422, "invalid");
    assert!(problem["detail"].as_str().unwrap().contains("DataUpdate.entity: must have 1 to 200"), "{problem}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_that_name_nothing_are_problems_like_all_others() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    for (method, path) in [
        ("DELETE", "/api/v1/projects/nope/claims/x".to_owned()),
        ("DELETE", "/api/v1/projects/null/claims/0".into()),
        ("DELETE", format!("/api/v1/projects/{project}/claims/%FF")),
        ("DELETE", format!("/api/v1/projects/{project}/claims/nobody%20has%20it")),
        ("GET", "/api/v1/projects/%FF".into()),
        ("GET", "/api/v1/jobs/%00/results".into()),
    ] {
        app.send(app.client.request(method.parse().unwrap(), app.url(&path))).await.problem(404, "not_found");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_has_characters_that_are_not_seen() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let one = format!("/api/v1/projects/{project}");
    for name in ["invoice\u{202e}fdp.exe", "\u{200b}", "a\u{2028}b", "a\u{2066}b", "\u{3164}", "ow\u{200d}ner", "a\0b"]
    {
        app.post("/api/v1/projects", json!({ "name": name })).await.problem(422, "invalid");
        app.send(app.client.patch(app.url(&one)).json(&json!({ "name": name }))).await.problem(422, "invalid");
        app.post(&format!("{one}/claims"), json!({ "entity_id": name })).await.problem(422, "invalid");
        let update = json!({ "project_id": project, "entity": "e", "entity_id": name, "action": "a" });
        app.post("/api/realtime/publish", json!({ "DataUpdate": update })).await.problem(422, "invalid");
        let upload = app.client.post(app.url(&format!("{one}/sources"))).query(&[("name", name)]).body("id\n1\n");
        app.send(upload).await.problem(400, "bad_request");
        let part = reqwest::multipart::Part::text("id\n1\n").file_name("f.csv");
        let form = reqwest::multipart::Form::new().text("name", name).part("file", part);
        let upload = app.client.post(app.url(&format!("{one}/sources"))).multipart(form);
        app.send(upload).await.problem(422, "invalid");
    }
    let upload =
        app.client.post(app.url(&format!("{one}/sources"))).query(&[("filename", "in\u{202e}voice\u{200b}.csv")]);
    let made = app.send(upload.body("id\n1\n")).await;
    assert_eq!((made.status, &made.json()["filename"]), (201, &json!("invoice.csv")), "{}", made.text);
    assert_eq!(made.json()["name"], "invoice.csv");
    let mut socket = Socket::open(app.address()).await;
    socket.join(&project, None).await;
    for name in ["a\u{202e}b", "\u{200b}"] {
        let claim = json!({ "project_id": project, "action": "claim", "entity_id": name });
        assert_eq!(socket.ask("Collaboration", claim).await["Error"]["code"], "INVALID_FORMAT", "{name:?}");
    }
    let persian = json!({ "project_id": project, "action": "claim", "entity_id": "می\u{200c}خواهم" });
    socket.ask("Collaboration", persian).await["Collaboration"]["fence"].as_u64().expect("granted");
    socket.close().await;
    app.stop().await;
}

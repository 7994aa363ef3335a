//! The list of routes, each with its contract.
//!
//! Leaves what comes before a route to `pipeline`, and the document made of the contracts to `openapi`. Easy to get
//! wrong: a route added outside of this list has no contract, and no problem body for a wrong method.
use super::{
    console,
    contract::{Table, does},
    error::ApiError,
    routes::{
        claims, disconnect, events, export, health,
        jobs::{self, JobView},
        metrics, preview,
        projects::{self, Ordinal, Page, Paging},
        publish, realtime, results, rules,
        sources::{self, SourceView},
        specs, test_hooks, ws,
    },
    state::AppState,
};
use crate::db::{projects::Project, results::RowProblem};
use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, MatchedPath, OriginalUri, Request},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use http::StatusCode;
use std::sync::Arc;

/// Every route of the server.
pub(super) fn routes(state: AppState) -> Router {
    let (mut router, operations) = table(state.config.test_hooks).finish();
    for path in console::paths() {
        router =
            router.route(path, get(async |request: Request| console::serve(request.uri().path(), request.headers())));
    }
    router
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_such_path)
        // Each body has its own limit: `max_body_bytes` in `extract`, `max_upload_bytes` in `upload`.
        .layer(DefaultBodyLimit::disable())
        .route_layer(from_fn(name_route))
        .layer(Extension(Arc::new(specs::Specs::new(operations))))
        .with_state(state)
}

/// The routes and their contracts. The files of the page are no part of the API.
fn table(hooks: bool) -> Table {
    let table = of_realtime(server(Table::new()));
    let table = of_sources_and_jobs(of_projects(table));
    if hooks {
        table
            .post(
                "/api/test/panic",
                test_hooks::panic,
                does("testPanic", "breaks a part of the server").takes::<test_hooks::Victim>().empty(202),
            )
            .post(
                "/api/test/stall",
                test_hooks::stall,
                does("testStall", "blocks the actor thread").takes::<test_hooks::Stall>().empty(202),
            )
    } else {
        table
    }
}

fn server(table: Table) -> Table {
    const JSON: &[&str] = &["application/json"];
    table
        .get(
            "/api/health",
            health::health,
            does("health", "whether the process can answer").json::<health::Alive>(200).open(),
        )
        .get(
            "/api/ready",
            health::ready,
            does("ready", "whether to send it traffic")
                .json::<health::Readiness>(200)
                .json::<health::Readiness>(503)
                .open(),
        )
        .get("/openapi.json", specs::openapi, does("openapi", "this document").raw(200, JSON))
        .get("/asyncapi.json", specs::asyncapi, does("asyncapi", "the messages of /ws").raw(200, JSON))
        .get("/metrics", metrics::metrics, does("metrics", "figures for Prometheus").raw(200, &["text/plain"]))
}

fn of_realtime(table: Table) -> Table {
    table
        .get(
            "/ws",
            ws::open,
            does("socket", "opens a WebSocket; /asyncapi.json says what is spoken")
                .query::<ws::SocketQuery>()
                .empty(101)
                .refuses(401, "the ticket or the token is wrong")
                .refuses(426, "the request is not a WebSocket's")
                .open(),
        )
        .get(
            "/events",
            events::open,
            does("events", "the same messages as server-sent events")
                .query::<events::EventsQuery>()
                .headers(events::HEADERS)
                .raw(200, &["text/event-stream"])
                .refuses(401, "the ticket or the token is wrong, or there is none")
                .refuses(404, "a project's id is none")
                .refuses(422, "more projects than `rooms_per_connection`")
                .open(),
        )
        .post(
            "/api/realtime/ticket",
            realtime::ticket,
            does("ticket", "issues a single-use ticket for one live connection")
                .json::<realtime::Ticket>(200)
                .refuses(429, "the caller has `tickets_per_user` unused ones"),
        )
        .post(
            "/api/realtime/send",
            realtime::send,
            does("send", "says a message for an event stream's client; the answer comes on the stream")
                .takes::<realtime::Sent>()
                .empty(202)
                .refuses(404, "the caller has no such event stream"),
        )
        .post(
            "/api/realtime/disconnect",
            disconnect::disconnect,
            does("disconnect", "sends a user away, from one project or altogether")
                .takes::<disconnect::Disconnect>()
                .json::<disconnect::SentAway>(200),
        )
        .post(
            "/api/realtime/publish",
            publish::publish,
            does("publish", "publishes a message to a room, once per Idempotency-Key")
                .headers(publish::HEADERS)
                .takes::<publish::Publication>()
                .json::<publish::Sent>(200)
                .refuses(404, "there is no such project")
                .refuses(409, "the key is being used for a request to another project")
                .refuses(422, "the body does not fit")
                .refuses(422, "the key was used for another request"),
        )
}

fn of_projects(table: Table) -> Table {
    const FILE: &[&str] = &["multipart/form-data", "text/csv", "application/octet-stream"];
    table
        .get(
            "/api/v1/projects",
            projects::list,
            does("listProjects", "projects, oldest first").query::<Paging>().json::<Page<Project>>(200),
        )
        .post(
            "/api/v1/projects",
            projects::create,
            does("createProject", "makes a project")
                .takes::<projects::Named>()
                .json::<Project>(201)
                .refuses(429, "the limit `projects` is reached"),
        )
        .get(
            "/api/v1/projects/{id}",
            projects::get,
            does("getProject", "one project").json::<Project>(200).positioned(),
        )
        .patch(
            "/api/v1/projects/{id}",
            projects::rename,
            does("renameProject", "gives it another name").takes::<projects::Named>().json::<Project>(200),
        )
        .delete(
            "/api/v1/projects/{id}",
            projects::delete,
            does("deleteProject", "deletes it with all it has").empty(204),
        )
        .get(
            "/api/v1/projects/{id}/sources",
            sources::list,
            does("listSources", "the project's sources").query::<Paging>().json::<Page<SourceView>>(200).positioned(),
        )
        .post(
            "/api/v1/projects/{id}/sources",
            sources::upload,
            does("uploadSource", "uploads a file; 200 when the project has these bytes already")
                .query::<sources::UploadQuery>()
                .takes_raw(FILE)
                .json::<SourceView>(201)
                .json::<SourceView>(200)
                .refuses(408, "nothing more of the file arrived in time")
                .refuses(413, "the file passes a limit of bytes, rows, columns or field length")
                .refuses(422, "the file can't be read as a table")
                .refuses(429, "the limit `sources_per_project` is reached")
                .refuses(429, "the caller or the address has its share of the transfers: `transfers_per_user`")
                .refuses(507, "the data directory is full"),
        )
        .get(
            "/api/v1/projects/{id}/suggested-rules",
            rules::suggest,
            does("suggestRules", "rules inferred from both files")
                .query::<rules::Suggestion>()
                .json::<rules::Suggested>(200)
                .refuses(422, "a source is not in this project, or lacks the column"),
        )
        .get(
            "/api/v1/projects/{id}/jobs",
            jobs::list,
            does("listJobs", "the project's jobs").query::<Paging>().json::<Page<JobView>>(200).positioned(),
        )
        .post(
            "/api/v1/projects/{id}/jobs",
            jobs::create,
            does("createJob", "makes a job; rules are inferred when absent")
                .takes::<jobs::NewJobBody>()
                .json::<JobView>(201)
                .refuses(422, "the body does not fit")
                .refuses(422, "the rules don't fit the files, or a source is not in this project")
                .refuses(429, "the limit `jobs_per_project` is reached"),
        )
        .post(
            "/api/v1/projects/{id}/jobs/preview",
            preview::preview,
            does("previewJob", "what a job would make of two files; nothing is stored")
                .takes::<preview::PreviewBody>()
                .json::<preview::Preview>(200)
                .refuses(422, "the body does not fit")
                .refuses(422, "the rules don't fit the files, or a source is not in this project"),
        )
        .post(
            "/api/v1/projects/{id}/claims",
            claims::claim,
            does("claim", "takes an exception, or renews it")
                .takes::<claims::Wanted>()
                .json::<claims::Granted>(200)
                .refuses(409, "somebody else has it")
                .refuses(429, "the limit `claims_per_project` is reached"),
        )
        .delete(
            "/api/v1/projects/{id}/claims/{entity_id}",
            claims::release,
            does("release", "gives it back").empty(204),
        )
}

fn of_sources_and_jobs(table: Table) -> Table {
    table
        .get("/api/v1/sources/{id}", sources::get, does("getSource", "one source").json::<SourceView>(200))
        .delete(
            "/api/v1/sources/{id}",
            sources::delete,
            does("deleteSource", "deletes it, unless a job uses it").empty(204).refuses(409, "a job uses it"),
        )
        .get("/api/v1/jobs/{id}", jobs::get, does("getJob", "one job").json::<JobView>(200))
        .delete(
            "/api/v1/jobs/{id}",
            jobs::delete,
            does("deleteJob", "deletes it, unless it runs").empty(204).refuses(409, "it runs"),
        )
        .post(
            "/api/v1/jobs/{id}/start",
            jobs::start,
            does("startJob", "queues it").json::<JobView>(202).refuses(409, "it was started before"),
        )
        .post(
            "/api/v1/jobs/{id}/cancel",
            jobs::cancel,
            does("cancelJob", "stops it").json::<JobView>(202).refuses(409, "it has ended"),
        )
        .post(
            "/api/v1/jobs/{id}/pause",
            jobs::pause,
            does("pauseJob", "makes it stand still; what it finished is kept")
                .json::<JobView>(202)
                .refuses(409, "it is not started, is being cancelled, or has ended"),
        )
        .post(
            "/api/v1/jobs/{id}/resume",
            jobs::resume,
            does("resumeJob", "queues a paused job, which goes on with what it finished")
                .json::<JobView>(202)
                .refuses(409, "it was not paused, or is not yet"),
        )
        .get(
            "/api/v1/jobs/{id}/progress",
            jobs::progress,
            does("getProgress", "how far it is").json::<jobs::ProgressView>(200),
        )
        .get(
            "/api/v1/jobs/{id}/results",
            results::list,
            does("listResults", "its results with both sides' records")
                .query::<results::Selection>()
                .json::<results::Results>(200)
                .positioned(),
        )
        .get(
            "/api/v1/jobs/{id}/errors",
            results::errors,
            does("listRowErrors", "rows that could not be read")
                .query::<Paging<Ordinal>>()
                .json::<Page<RowProblem>>(200)
                .positioned(),
        )
        .get(
            "/api/v1/jobs/{id}/export",
            export::export,
            does("exportResults", "the whole result as a download")
                .query::<export::Selection>()
                .raw(200, &["text/csv", "application/jsonl"])
                .refuses(409, "it has no results yet")
                .refuses(422, "`safe` was given with JSON Lines")
                .refuses(429, "the caller or the address has its share of the transfers: `transfers_per_user`"),
        )
}

/// Tells the pipeline which route answered: a metric by path would have a line per id.
async fn name_route(route: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(route);
    response
}

async fn no_such_path(OriginalUri(uri): OriginalUri) -> impl IntoResponse {
    ApiError::not_found(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(request: Request) -> impl IntoResponse {
    let detail = format!("{} is not possible at {}", request.method(), request.uri().path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

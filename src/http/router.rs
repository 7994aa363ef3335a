//! The list of routes, each with its contract.
//!
//! Leaves what comes before a route to `pipeline`, and the document made of the contracts to `openapi`. Easy to get
//! wrong: a route added outside of this list has no contract, and no problem body for a wrong method.
use super::{
    console,
    contract::{Table, operation},
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
                operation("testPanic", "Make a part of the server panic").takes::<test_hooks::Victim>().empty(202),
            )
            .post(
                "/api/test/stall",
                test_hooks::stall,
                operation("testStall", "Block the actor thread for a while").takes::<test_hooks::Stall>().empty(202),
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
            operation("health", "Liveness: the process answers").json::<health::Alive>(200).open(),
        )
        .get(
            "/api/ready",
            health::ready,
            operation("ready", "Readiness: whether to send traffic here")
                .json::<health::Readiness>(200)
                .json::<health::Readiness>(503)
                .open(),
        )
        .get("/openapi.json", specs::openapi, operation("openapi", "This document").raw(200, JSON))
        .get(
            "/asyncapi.json",
            specs::asyncapi,
            operation("asyncapi", "The AsyncAPI document: the messages of /ws and /events").raw(200, JSON),
        )
        .get(
            "/metrics",
            metrics::metrics,
            operation("metrics", "Metrics in the format of Prometheus").raw(200, &["text/plain"]),
        )
}

fn of_realtime(table: Table) -> Table {
    table
        .get(
            "/ws",
            ws::open,
            operation("socket", "Open a WebSocket; /asyncapi.json describes the messages")
                .query::<ws::SocketQuery>()
                .empty(101)
                .refuses(401, "the ticket or the token is invalid")
                .refuses(426, "the request is not a WebSocket handshake")
                .open(),
        )
        .get(
            "/events",
            events::open,
            operation("events", "Open an event stream: the messages of the WebSocket as server-sent events")
                .query::<events::EventsQuery>()
                .headers(events::HEADERS)
                .raw(200, &["text/event-stream"])
                .refuses(401, "the ticket or the token is invalid or missing")
                .refuses(404, "one of the projects is not an id")
                .refuses(422, "more projects than `rooms_per_connection`")
                .open(),
        )
        .post(
            "/api/realtime/ticket",
            realtime::ticket,
            operation("ticket", "Issue a single-use ticket for one live connection")
                .json::<realtime::Ticket>(200)
                .refuses(429, "the caller is at the limit `tickets_per_user` of unused tickets"),
        )
        .post(
            "/api/realtime/send",
            realtime::send,
            operation("send", "Send a message on behalf of an event stream; the reply arrives on the stream")
                .takes::<realtime::Sent>()
                .empty(202)
                .refuses(404, "the caller has no such event stream"),
        )
        .post(
            "/api/realtime/disconnect",
            disconnect::disconnect,
            operation("disconnect", "Disconnect a user from one project or from all")
                .takes::<disconnect::Disconnect>()
                .json::<disconnect::SentAway>(200),
        )
        .post(
            "/api/realtime/publish",
            publish::publish,
            operation("publish", "Publish a message to a room, once per Idempotency-Key")
                .headers(publish::HEADERS)
                .takes::<publish::Publication>()
                .json::<publish::Sent>(200)
                .refuses(404, "there is no such project")
                .refuses(409, "the key is being used for a request to another project")
                .refuses(422, "the body does not match the schema")
                .refuses(422, "the key was used for a different request"),
        )
}

fn of_projects(table: Table) -> Table {
    const FILE: &[&str] = &["multipart/form-data", "text/csv", "application/octet-stream"];
    table
        .get(
            "/api/v1/projects",
            projects::list,
            operation("listProjects", "List projects, oldest first").query::<Paging>().json::<Page<Project>>(200),
        )
        .post(
            "/api/v1/projects",
            projects::create,
            operation("createProject", "Create a project")
                .takes::<projects::Named>()
                .json::<Project>(201)
                .refuses(429, "the limit `projects` is reached"),
        )
        .get(
            "/api/v1/projects/{id}",
            projects::get,
            operation("getProject", "Get a project").json::<Project>(200).positioned(),
        )
        .patch(
            "/api/v1/projects/{id}",
            projects::rename,
            operation("renameProject", "Rename a project").takes::<projects::Named>().json::<Project>(200),
        )
        .delete(
            "/api/v1/projects/{id}",
            projects::delete,
            operation("deleteProject", "Delete a project with its sources, jobs and results").empty(204),
        )
        .get(
            "/api/v1/projects/{id}/sources",
            sources::list,
            operation("listSources", "List the sources of a project")
                .query::<Paging>()
                .json::<Page<SourceView>>(200)
                .positioned(),
        )
        .post(
            "/api/v1/projects/{id}/sources",
            sources::upload,
            operation(
                "uploadSource",
                "Upload a file as a source; 200 when the project already has a source with these bytes",
            )
            .query::<sources::UploadQuery>()
            .takes_raw(FILE)
            .json::<SourceView>(201)
            .json::<SourceView>(200)
            .refuses(408, "the upload made no progress within the time limit")
            .refuses(413, "the file is above a limit of bytes, rows, columns or field length")
            .refuses(422, "the file cannot be read as a table")
            .refuses(429, "the limit `sources_per_project` is reached")
            .refuses(429, "the user or address is at the limit `transfers_per_user`")
            .refuses(507, "the data directory is full"),
        )
        .get(
            "/api/v1/projects/{id}/suggested-rules",
            rules::suggest,
            operation("suggestRules", "Suggest rules for two sources")
                .query::<rules::Suggestion>()
                .json::<rules::Suggested>(200)
                .refuses(422, "a source is not in this project, or lacks the column"),
        )
        .get(
            "/api/v1/projects/{id}/jobs",
            jobs::list,
            operation("listJobs", "List the jobs of a project")
                .query::<Paging>()
                .json::<Page<JobView>>(200)
                .positioned(),
        )
        .post(
            "/api/v1/projects/{id}/jobs",
            jobs::create,
            operation("createJob", "Create a job; without rules, they are inferred")
                .takes::<jobs::NewJobBody>()
                .json::<JobView>(201)
                .refuses(422, "the body does not match the schema")
                .refuses(422, "the rules do not match the files, or a source is not in this project")
                .refuses(429, "the limit `jobs_per_project` is reached"),
        )
        .post(
            "/api/v1/projects/{id}/jobs/preview",
            preview::preview,
            operation("previewJob", "Preview how two sources would be read and compared; nothing is stored")
                .takes::<preview::PreviewBody>()
                .json::<preview::Preview>(200)
                .refuses(422, "the body does not match the schema")
                .refuses(422, "the rules do not match the files, or a source is not in this project"),
        )
        .post(
            "/api/v1/projects/{id}/claims",
            claims::claim,
            operation("claim", "Claim an exception, or renew the claim")
                .takes::<claims::Wanted>()
                .json::<claims::Granted>(200)
                .refuses(409, "another user holds the claim")
                .refuses(429, "the limit `claims_per_project` is reached"),
        )
        .delete(
            "/api/v1/projects/{id}/claims/{entity_id}",
            claims::release,
            operation("release", "Release a claim").empty(204),
        )
}

fn of_sources_and_jobs(table: Table) -> Table {
    table
        .get("/api/v1/sources/{id}", sources::get, operation("getSource", "Get a source").json::<SourceView>(200))
        .delete(
            "/api/v1/sources/{id}",
            sources::delete,
            operation("deleteSource", "Delete a source that no job uses")
                .empty(204)
                .refuses(409, "a job uses the source"),
        )
        .get("/api/v1/jobs/{id}", jobs::get, operation("getJob", "Get a job").json::<JobView>(200))
        .delete(
            "/api/v1/jobs/{id}",
            jobs::delete,
            operation("deleteJob", "Delete a job that is not running").empty(204).refuses(409, "the job is running"),
        )
        .post(
            "/api/v1/jobs/{id}/start",
            jobs::start,
            operation("startJob", "Start a job").json::<JobView>(202).refuses(409, "the job was already started"),
        )
        .post(
            "/api/v1/jobs/{id}/cancel",
            jobs::cancel,
            operation("cancelJob", "Cancel a job").json::<JobView>(202).refuses(409, "the job has ended"),
        )
        .post(
            "/api/v1/jobs/{id}/pause",
            jobs::pause,
            operation("pauseJob", "Pause a job; completed work is kept")
                .json::<JobView>(202)
                .refuses(409, "the job is not started, is being cancelled, or has ended"),
        )
        .post(
            "/api/v1/jobs/{id}/resume",
            jobs::resume,
            operation("resumeJob", "Resume a paused job from its completed work")
                .json::<JobView>(202)
                .refuses(409, "the job is not paused, or is still pausing"),
        )
        .get(
            "/api/v1/jobs/{id}/progress",
            jobs::progress,
            operation("getProgress", "Get the progress of a job").json::<jobs::ProgressView>(200),
        )
        .get(
            "/api/v1/jobs/{id}/results",
            results::list,
            operation("listResults", "List the results of a job with the records of both sides")
                .query::<results::Selection>()
                .json::<results::Results>(200)
                .positioned(),
        )
        .get(
            "/api/v1/jobs/{id}/errors",
            results::errors,
            operation("listRowErrors", "List the rows that could not be read")
                .query::<Paging<Ordinal>>()
                .json::<Page<RowProblem>>(200)
                .positioned(),
        )
        .get(
            "/api/v1/jobs/{id}/export",
            export::export,
            operation("exportResults", "Download all results of a job")
                .query::<export::Selection>()
                .raw(200, &["text/csv", "application/jsonl"])
                .refuses(409, "the job has no results yet")
                .refuses(422, "`safe` was given with JSON Lines")
                .refuses(429, "the user or address is at the limit `transfers_per_user`"),
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

//! `/api/v1/projects/{id}/sources` and `/api/v1/sources/{id}`: uploaded files and what their columns look like.
use super::projects::{Page, Paging};
use crate::actors::jobs::MADE_BY;
use crate::db::sources::{NewSource, Source};
use crate::db::{StoreError, projects, sources};
use crate::http::auth::Caller;
use crate::http::connection::shares::Peer;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::{Id, Query};
use crate::http::state::AppState;
use crate::http::transfers::Kind;
use crate::http::{position, upload};
use crate::protocol::ids::{ProjectId, SourceId};
use crate::protocol::names::{Name, Text};
use crate::protocol::principal::{Action, Resource, authorise};
use crate::reconcile::{ColumnProfile, Profile, Reading};
use axum::{
    Json,
    extract::{Extension, Request, State},
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UploadQuery {
    /// What the source is called; its file's name by default.
    name: Option<Name>,
    /// What the file of a raw body is called.
    filename: Option<Text<MAX_FILENAME_CHARS>>,
}

/// Longest name of a file that is taken; what is kept of it is shorter.
const MAX_FILENAME_CHARS: usize = 1_024;

pub(in crate::http) async fn upload(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Extension(peer): Extension<Peer>,
    Id(project): Id<ProjectId>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> ApiResult<Response> {
    authorise(&caller, Action::Write, Resource::Project(project))?;
    // Before the body: nobody should send gigabytes to a project that is not there.
    projects::get(&app.store, project).await?;
    let place = app.transfer(&caller, peer, Kind::Upload)?;
    let received = upload::receive(&app, request, query.filename.map(|name| name.to_string()), place).await?;
    let id = received.file.id;
    let new = NewSource {
        id,
        project_id: project,
        name: query
            .name
            .map(Name::into_inner)
            .or(received.name)
            .filter(|name| !name.trim().is_empty())
            .unwrap_or(received.filename.clone()),
        filename: received.filename,
        format: received.file.profile.reading.format.clone(),
        bytes: received.file.bytes,
        sha256: received.file.sha256,
        columns: stored(&received.file.profile)?,
    };
    let (store, data_dir) = (app.store.clone(), app.config.data_dir.clone());
    let made = app.commit(async move {
        let made = sources::create(&store, new).await;
        match &made {
            Ok(made) if made.value.created => {}
            Ok(made) => upload::give_to(&data_dir, id, made.value.source.id).await,
            // The row may be there though nobody could say so: the janitor takes the file when it is not.
            Err(StoreError::Unavailable { .. } | StoreError::Internal(_)) => {}
            Err(_refused) => upload::remove(&data_dir, id).await,
        }
        made
    });
    let made = made.await?;
    let status = if made.created { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/api/v1/sources/{}", made.source.id);
    Ok((status, [(header::LOCATION, location)], Json(shown(made.source))).into_response())
}

pub(in crate::http) async fn list(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(project): Id<ProjectId>,
    Query(paging): Query<Paging>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Read, Resource::Project(project))?;
    let page = sources::list(&app.store, project, paging.after().as_deref(), paging.limit()).await?;
    let items = page.items.into_iter().map(shown).collect();
    Ok(position::at(page.position.as_ref(), Page { items, next: page.next }))
}

pub(in crate::http) async fn get(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<SourceId>,
) -> ApiResult<Json<SourceView>> {
    let source = sources::get(&app.store, id).await?;
    authorise(&caller, Action::Read, Resource::Project(source.project_id))?;
    Ok(Json(shown(source)))
}

pub(in crate::http) async fn delete(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<SourceId>,
) -> ApiResult<StatusCode> {
    let source = sources::get(&app.store, id).await?;
    authorise(&caller, Action::Write, Resource::Project(source.project_id))?;
    let store = app.store.clone();
    app.commit(async move { sources::delete(&store, id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A profile as it is kept: with the version that made it, for a run uses it when it is of that version itself.
fn stored(profile: &Profile) -> ApiResult<Value> {
    let mut kept = serde_json::to_value(profile).map_err(|error| ApiError::internal(error.to_string()))?;
    kept[sources::MADE_BY_KEY] = MADE_BY.into();
    Ok(kept)
}

/// A source of this project with its profile.
pub(super) async fn profiled(app: &AppState, project: ProjectId, id: SourceId) -> ApiResult<Profile> {
    // Named in a body or a query: that it is nowhere is no 404, which would speak of the project in the path.
    let source = match sources::get(&app.store, id).await {
        Ok(source) if source.project_id == project => source,
        Ok(_) | Err(StoreError::NotFound) => {
            return Err(ApiError::invalid(format!("source {id} is not in this project")));
        }
        Err(error) => return Err(error.into()),
    };
    serde_json::from_value(source.columns)
        .map_err(|error| ApiError::internal(format!("the stored profile of source {id}: {error}")))
}

/// The column names of a source, in file order.
pub(super) async fn column_names(app: &AppState, id: SourceId) -> ApiResult<Vec<String>> {
    Ok(sources::get(&app.store, id).await?.column_names())
}

/// A source as the API shows it: the profile's columns without the sketches that only the engine reads.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct SourceView {
    id: SourceId,
    project_id: ProjectId,
    name: String,
    /// What the uploader's file was called.
    filename: String,
    format: String,
    bytes: u64,
    /// Lower-case hex.
    sha256: String,
    /// Records stored from it; null until a job has read it.
    rows: Option<u64>,
    /// Rows that could not be read; null until a job has read it.
    errors: Option<u64>,
    #[schemars(with = "Option<char>")]
    delimiter: Value,
    #[schemars(with = "Option<String>")]
    encoding: Value,
    /// What was understood of the file.
    #[schemars(with = "Option<Reading>")]
    reading: Value,
    #[schemars(with = "Vec<ColumnProfile>")]
    columns: Value,
    state: &'static str,
    created_at_ms: i64,
}

fn shown(source: Source) -> SourceView {
    let mut profile = source.columns;
    let mut part = |name: &str| profile.get_mut(name).map(Value::take);
    let (delimiter, encoding, columns) = (part("delimiter"), part("encoding"), part("columns"));
    let reading = part("reading");
    let mut columns = columns.unwrap_or(profile);
    for column in columns.as_array_mut().into_iter().flatten() {
        if let Some(column) = column.as_object_mut() {
            column.remove("sketch");
        }
    }
    SourceView {
        id: source.id,
        project_id: source.project_id,
        name: source.name,
        filename: source.filename,
        format: source.format,
        bytes: source.bytes,
        sha256: source.sha256,
        rows: source.rows,
        errors: source.errors,
        delimiter: delimiter.unwrap_or_default(),
        encoding: encoding.unwrap_or_default(),
        reading: reading.unwrap_or_default(),
        columns,
        state: source.state,
        created_at_ms: source.created_at_ms,
    }
}

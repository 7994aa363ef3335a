//! `/api/v1/projects/{id}/jobs/preview`: what a job would make of two files, without making it.
//!
//! Leaves inferring to `reconcile` and the checks of rules to `rules`. Easy to get wrong: it reads the profiles that were made at
//! upload and no file; a job without rules of its own compares what the whole of both files shows to be the same, which may
//! leave a comparison out.
use super::{
    rules::{self, ColumnName},
    sources::profiled,
};
use crate::{
    db::projects,
    http::{
        auth::Caller,
        error::ApiResult,
        extract::{Id, JsonBody},
        state::AppState,
    },
    protocol::{
        ids::{ProjectId, SourceId},
        principal::{Action, Resource, authorise},
    },
    reconcile::{Profile, Reading, RuleSet},
};
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PreviewBody {
    left: SourceId,
    right: SourceId,
    #[schemars(with = "Option<crate::reconcile::RuleSet>")]
    rules: Option<Value>,
    left_id: Option<ColumnName>,
    right_id: Option<ColumnName>,
}

/// What a job would compare.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct Preview {
    /// What was understood of the left file.
    left: Understood,
    /// What was understood of the right file.
    right: Understood,
    /// The comparisons are inferred, not given.
    inferred: bool,
    /// What a job would be made with.
    rules: RuleSet,
}

/// One file.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct Understood {
    /// Rows seen at upload.
    rows: u64,
    /// Column that names a row; null when its line does.
    id_column: Option<String>,
    /// How it was read at upload.
    reading: Reading,
    /// Columns that are compared, in the order of the rules.
    compared: Vec<String>,
    /// Columns that are not.
    left_out: Vec<String>,
}

pub(in crate::http) async fn preview(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(project): Id<ProjectId>,
    JsonBody(body): JsonBody<PreviewBody>,
) -> ApiResult<Json<Preview>> {
    authorise(&caller, Action::Read, Resource::Project(project))?;
    projects::get(&app.store, project).await?;
    let left = profiled(&app, project, body.left).await?;
    let right = profiled(&app, project, body.right).await?;
    let inferred = body.rules.is_none();
    let rules = rules::complete(body.rules, (&left, body.left_id), (&right, body.right_id))?;
    let of = |pick: fn(&crate::reconcile::Compare) -> &String| rules.compare.iter().map(pick).cloned().collect();
    let left = understood(left, rules.left_id.clone(), of(|compare| &compare.left));
    let right = understood(right, rules.right_id.clone(), of(|compare| &compare.right));
    Ok(Json(Preview { left, right, inferred, rules }))
}

fn understood(profile: Profile, id_column: Option<String>, compared: Vec<String>) -> Understood {
    let names = profile.columns.into_iter().map(|column| column.name);
    let left_out = names.filter(|name| !compared.contains(name)).collect();
    Understood { rows: profile.rows_seen, id_column, reading: profile.reading, compared, left_out }
}

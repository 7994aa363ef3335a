//! `/api/v1/projects/{id}/suggested-rules`, and the checks of rules that a job is made with.
//!
//! Leaves inferring to `reconcile`. Easy to get wrong: rules are checked against both files before a job exists, so
//! that a mistyped column is told to the one who typed it, and not to the log of a run.
use super::sources::profiled;
use crate::{
    db::projects,
    http::{
        auth::Caller,
        error::{ApiError, ApiResult},
        extract::{Id, Query},
        state::AppState,
    },
    protocol::{
        ids::{ProjectId, SourceId},
        names::Text,
        principal::{Action, Resource, authorise},
    },
    reconcile::{Profile, RuleSet, Side, infer_rules},
};
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Suggestion {
    left: SourceId,
    right: SourceId,
    left_id: Option<ColumnName>,
    right_id: Option<ColumnName>,
}

/// A column, by what the file calls it.
pub(super) type ColumnName = Text<1_024>;

/// Rules inferred from two files.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct Suggested {
    /// Column that names a left row.
    left_id: Option<String>,
    /// Column that names a right row.
    right_id: Option<String>,
    rules: RuleSet,
}

pub(in crate::http) async fn suggest(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(project): Id<ProjectId>,
    Query(query): Query<Suggestion>,
) -> ApiResult<Json<Suggested>> {
    authorise(&caller, Action::Read, Resource::Project(project))?;
    projects::get(&app.store, project).await?;
    let left = profiled(&app, project, query.left).await?;
    let right = profiled(&app, project, query.right).await?;
    let rules = complete(None, (&left, query.left_id), (&right, query.right_id))?;
    Ok(Json(Suggested { left_id: rules.left_id.clone(), right_id: rules.right_id.clone(), rules }))
}

/// The rules of a job: given or inferred, with both id columns settled and every column present.
pub(super) fn complete(
    given: Option<Value>,
    (left, left_id): (&Profile, Option<ColumnName>),
    (right, right_id): (&Profile, Option<ColumnName>),
) -> ApiResult<RuleSet> {
    let (left_id, right_id) = (left_id.map(|name| name.to_string()), right_id.map(|name| name.to_string()));
    present(left, Side::Left, left_id.as_deref())?;
    present(right, Side::Right, right_id.as_deref())?;
    let infer = || infer_rules(left, right, left_id.as_deref(), right_id.as_deref());
    let mut rules = match given {
        Some(value) => {
            let rules = RuleSet::from_value(value.clone())?;
            let read = serde_json::to_value(&rules).map_err(|error| ApiError::internal(error.to_string()))?;
            if let Some(path) = array_for_object(&value, &read) {
                let detail = format!("rules{path}: an object is needed, not an array");
                return Err(ApiError::invalid(detail).code("invalid_rules"));
            }
            // Rules without a comparison only say how the files are read.
            if rules.compare.is_empty() { RuleSet { compare: infer().compare, ..rules } } else { rules }
        }
        None => infer(),
    };
    rules.left_id = left_id.or(rules.left_id).or_else(|| left.id_column().map(str::to_owned));
    rules.right_id = right_id.or(rules.right_id).or_else(|| right.id_column().map(str::to_owned));
    // A file that is read otherwise than it was profiled may have other columns; the run checks those.
    let (check_left, check_right) = (rules.left.is_empty(), rules.right.is_empty());
    let columns = |side: Side| {
        let id = if side == Side::Left { &rules.left_id } else { &rules.right_id };
        let compared = rules.compare.iter().map(move |c| if side == Side::Left { &c.left } else { &c.right });
        id.iter().chain(compared).cloned().collect::<Vec<_>>()
    };
    for (check, profile, side) in [(check_left, left, Side::Left), (check_right, right, Side::Right)] {
        for column in columns(side).iter().filter(|_| check) {
            present(profile, side, Some(column))?;
        }
    }
    Ok(rules)
}

/// Where an array was given for what was read as an object; serde takes one for a struct.
fn array_for_object(given: &Value, read: &Value) -> Option<String> {
    match (given, read) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Array(given), Value::Array(read)) => {
            let mut pairs = given.iter().zip(read).enumerate();
            pairs.find_map(|(at, (given, read))| array_for_object(given, read).map(|path| format!("[{at}]{path}")))
        }
        (Value::Object(given), Value::Object(read)) => given.iter().find_map(|(name, given)| {
            read.get(name).and_then(|read| array_for_object(given, read)).map(|path| format!(".{name}{path}"))
        }),
        _ => None,
    }
}

fn present(profile: &Profile, side: Side, column: Option<&str>) -> ApiResult<()> {
    match column.filter(|name| profile.column(name).is_none()) {
        None => Ok(()),
        Some(missing) => {
            let known: Vec<_> = profile.columns.iter().map(|column| column.name.as_str()).collect();
            let (side, known) = (side.as_str(), known.join(", "));
            Err(ApiError::invalid(format!("the {side} file has no column {missing:?}; it has {known}"))
                .code("invalid_rules"))
        }
    }
}

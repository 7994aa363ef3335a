//! The rule set: which columns are compared how, and what a result must reach. JSON or TOML, same names.
//!
//! This file is the format and its checks; what a rule does to a pair is `compare`, where pairs come from is
//! `candidates`. Unknown keys are refused and every error begins with the path in the file, because a rule that is
//! silently ignored makes wrong matches.
use crate::formats::ReadOptions;
use crate::outcome::Side;
use crate::reading::SideReading;
use crate::table::ColumnType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Comparisons a rule set may have: a pattern packs four bits for each into one word.
pub(crate) const MAX_COMPARISONS: usize = 16;

/// A rule is wrong; `path` says where in the file.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("rules: {path}: {reason}")]
pub struct RuleError {
    /// e.g. `compare[2].tolerance`
    pub path: String,
    /// What is wrong there.
    pub reason: String,
}

impl RuleError {
    pub(crate) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }
}

/// How two files are reconciled.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSet {
    /// Format version, 1.
    #[serde(default = "one")]
    pub version: u32,
    /// Column that names a left row; the first unique one by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_id: Option<String>,
    /// Column that names a right row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_id: Option<String>,
    /// How the left file is read; what is left out is recognised.
    #[serde(default, skip_serializing_if = "SideReading::is_empty")]
    pub left: SideReading,
    /// How the right file is read.
    #[serde(default, skip_serializing_if = "SideReading::is_empty")]
    pub right: SideReading,
    /// The comparisons; inferred from the files when there is none.
    #[serde(default)]
    pub compare: Vec<Compare>,
    /// Where candidate pairs come from; derived from the comparisons when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub block: Vec<Block>,
    /// How comparisons become a probability.
    #[serde(default)]
    pub model: Model,
    /// Choosing among candidates.
    #[serde(default)]
    pub assign: Assign,
    /// One-to-many and many-to-one groups.
    #[serde(default)]
    pub sums: Sums,
    /// What is decided without a person.
    #[serde(default)]
    pub states: States,
    /// Bounds on the work.
    #[serde(default)]
    pub limits: RunLimits,
}

/// What a comparison does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompareKind {
    /// Equal after normalisation (case, accents, punctuation).
    Exact,
    /// Amounts, equal within `tolerance` or `percent`.
    Tolerance,
    /// Dates: the right one at most `before_days` before and `after_days` after the left one.
    Window,
    /// The shorter text (a reference, a name) is found in the longer one.
    Contains,
    /// Texts alike: edit distance for codes, Jaro-Winkler for names, weighted words for long text.
    Fuzzy,
}

impl CompareKind {
    /// The name as it appears in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Tolerance => "tolerance",
            Self::Window => "window",
            Self::Contains => "contains",
            Self::Fuzzy => "fuzzy",
        }
    }
}

/// How text is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By what the columns hold.
    #[default]
    Auto,
    /// References and numbers: edit distance.
    Code,
    /// A few words: word by word, typos allowed.
    Name,
    /// Many words: overlap weighted by rarity.
    Words,
}

/// One comparison.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// What it does.
    pub kind: CompareKind,
    /// What explanations call it; the left column's name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Column of the left file.
    pub left: String,
    /// Column of the right file.
    pub right: String,
    /// `exact` only: pairs that differ are no candidates at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require: bool,
    /// `tolerance` only: largest difference that still counts as equal, a decimal text such as `"0.05"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<String>,
    /// `tolerance` only: the same as a percentage of the left amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// `window` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_days: Option<u32>,
    /// `window` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_days: Option<u32>,
    /// `contains` and `fuzzy` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Bits of evidence for full agreement; needed by the `weighted` model, refused by the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agree: Option<f64>,
    /// Bits of evidence against, for full disagreement, as a negative number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagree: Option<f64>,
}

impl Compare {
    /// A comparison with defaults.
    pub fn new(kind: CompareKind, left: &str, right: &str) -> Self {
        Self {
            kind,
            label: None,
            left: left.to_owned(),
            right: right.to_owned(),
            require: false,
            tolerance: None,
            percent: None,
            before_days: None,
            after_days: None,
            method: None,
            agree: None,
            disagree: None,
        }
    }

    /// What explanations call it.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.left)
    }
}

/// One source of candidate pairs: rows that share every key, and whose dates are near.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The keys, at least one.
    pub on: Vec<BlockKey>,
    /// Dates that must be near.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<BlockWindow>,
}

/// What of a value is a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The whole value.
    #[default]
    Value,
    /// Each word.
    Token,
    /// Each two neighbouring words.
    Pair,
    /// The value without punctuation, and each run of digits in it without leading zeros.
    Code,
    /// The first four letters or digits.
    Prefix,
}

/// One key of a block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockKey {
    /// Column of the left file.
    pub left: String,
    /// Column of the right file.
    pub right: String,
    /// What of the value is the key.
    #[serde(default)]
    pub by: By,
}

/// Dates near enough to be candidates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockWindow {
    /// Date column of the left file.
    pub left: String,
    /// Date column of the right file.
    pub right: String,
    /// Days the right date may be earlier.
    pub before_days: u32,
    /// Days the right date may be later.
    pub after_days: u32,
}

/// How comparisons become a probability.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Weights learnt from the data without labels (Fellegi and Sunter, by expectation maximisation).
    #[default]
    FellegiSunter,
    /// Weights by hand: `agree` and `disagree` of every comparison.
    Weighted,
}

/// Choosing among candidates.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Assign {
    /// Smallest probability of a match.
    pub floor: f64,
    /// Bits by which the best candidate must beat the next for `auto`.
    pub margin: f64,
}

impl Default for Assign {
    fn default() -> Self {
        Self { floor: 0.5, margin: 1.0 }
    }
}

/// One-to-many and many-to-one groups whose amounts add up.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sums {
    /// Look for them at all.
    pub enabled: bool,
    /// Most parts of a group that is searched for, 2 to 12; a shared key ties any number.
    pub max_parts: usize,
    /// Days between a part and its total.
    pub window_days: u32,
    /// Search steps per total; a search that ends here is counted in the summary.
    pub node_budget: u32,
}

impl Default for Sums {
    fn default() -> Self {
        Self { enabled: true, max_parts: 12, window_days: 7, node_budget: 50_000 }
    }
}

/// What is decided without a person.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct States {
    /// Smallest probability of state `auto`.
    pub auto: f64,
}

impl Default for States {
    fn default() -> Self {
        Self { auto: 0.95 }
    }
}

/// Bounds on the work of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunLimits {
    /// Candidate pairs per row, on average, above which a rule set is refused as a cross product.
    pub max_pairs_per_row: u32,
    /// Rows of one block above which it is split.
    pub max_block_rows: u32,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { max_pairs_per_row: 500, max_block_rows: 256 }
    }
}

fn one() -> u32 {
    1
}

const KEYS: [&str; 12] = [
    "version", "left_id", "right_id", "left", "right", "compare", "block", "model", "assign", "sums", "states",
    "limits",
];

impl RuleSet {
    /// Defaults and no comparison.
    pub(crate) fn empty() -> Self {
        Self {
            version: 1,
            left_id: None,
            right_id: None,
            left: SideReading::default(),
            right: SideReading::default(),
            compare: Vec::new(),
            block: Vec::new(),
            model: Model::default(),
            assign: Assign::default(),
            sums: Sums::default(),
            states: States::default(),
            limits: RunLimits::default(),
        }
    }

    /// Reads rules from JSON text.
    ///
    /// # Errors
    /// Not JSON, an unknown key, a wrong value; with its path.
    pub fn from_json(text: &str) -> Result<Self, RuleError> {
        let value = serde_json::from_str(text).map_err(|e| RuleError::new("(file)", format!("not JSON: {e}")))?;
        Self::from_value(value)
    }

    /// Reads rules from TOML text.
    ///
    /// # Errors
    /// As [`RuleSet::from_json`].
    pub fn from_toml(text: &str) -> Result<Self, RuleError> {
        let value = toml::from_str(text)
            .map_err(|e| RuleError::new("(file)", format!("not TOML: {}", e.to_string().trim().replace('\n', " "))))?;
        Self::from_value(value)
    }

    /// Reads rules from JSON or TOML text, whichever it is.
    ///
    /// # Errors
    /// As [`RuleSet::from_json`].
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.trim_start().starts_with('{') { Self::from_json(text) } else { Self::from_toml(text) }
    }

    /// Reads rules from a JSON value, section by section so that errors know where they are.
    ///
    /// # Errors
    /// As [`RuleSet::from_json`].
    pub fn from_value(value: Value) -> Result<Self, RuleError> {
        let Value::Object(mut map) = value else {
            return Err(RuleError::new("(file)", "not an object"));
        };
        if let Some(unknown) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
            // A path names a place, which an empty key does not.
            let (path, what) =
                if unknown.is_empty() { ("(file)", "an empty key") } else { (&**unknown, "unknown key") };
            return Err(RuleError::new(path, format!("{what}; known are {}", KEYS.join(", "))));
        }
        let rules = Self {
            version: section(&mut map, "version")?.unwrap_or(1),
            left_id: section(&mut map, "left_id")?,
            right_id: section(&mut map, "right_id")?,
            left: section(&mut map, "left")?.unwrap_or_default(),
            right: section(&mut map, "right")?.unwrap_or_default(),
            compare: list(&mut map, "compare")?,
            block: list(&mut map, "block")?,
            model: section(&mut map, "model")?.unwrap_or_default(),
            assign: section(&mut map, "assign")?.unwrap_or_default(),
            sums: section(&mut map, "sums")?.unwrap_or_default(),
            states: section(&mut map, "states")?.unwrap_or_default(),
            limits: section(&mut map, "limits")?.unwrap_or_default(),
        };
        // Rules may say no more than how the files are read: what is compared is then inferred.
        if rules.compare.is_empty() && !(rules.left.is_empty() && rules.right.is_empty()) {
            rules.left.validate("left")?;
            rules.right.validate("right")?;
            return Ok(rules);
        }
        rules.validate()?;
        Ok(rules)
    }

    /// The types the rules give columns of one side: compared as amounts or dates, they must be read as such.
    pub fn column_types(&self, side: Side) -> std::collections::BTreeMap<String, ColumnType> {
        let typed = |c: &Compare| {
            let kind = match c.kind {
                CompareKind::Tolerance => ColumnType::Money,
                CompareKind::Window => ColumnType::Date,
                _ => return None,
            };
            Some((if side == Side::Left { c.left.clone() } else { c.right.clone() }, kind))
        };
        self.compare.iter().filter_map(typed).collect()
    }

    /// Puts into the options of a side what the rules say about reading it; what the options say already stays.
    pub fn reading(&self, side: Side, options: &mut ReadOptions) {
        let (reading, id) = match side {
            Side::Left => (&self.left, &self.left_id),
            Side::Right => (&self.right, &self.right_id),
        };
        options.types = self.column_types(side);
        options.reading = options.reading.or(reading);
        options.id_column = options.id_column.take().or_else(|| options.reading.id.clone()).or_else(|| id.clone());
    }

    /// Checks what types cannot: ranges, and options that belong to another kind.
    ///
    /// # Errors
    /// The first thing that is wrong, with its path.
    pub fn validate(&self) -> Result<(), RuleError> {
        let fail = |path: &str, reason: &str| Err(RuleError::new(path, reason));
        if self.version != 1 {
            return fail("version", "only version 1 is known");
        }
        self.left.validate("left")?;
        self.right.validate("right")?;
        if self.compare.is_empty() {
            return fail("compare", "at least one comparison is needed");
        }
        if self.compare.len() > MAX_COMPARISONS {
            return Err(RuleError::new("compare", format!("more than {MAX_COMPARISONS} comparisons")));
        }
        for (at, compare) in self.compare.iter().enumerate() {
            compare.validate(&format!("compare[{at}]"), self.model)?;
        }
        for (at, block) in self.block.iter().enumerate() {
            if block.on.is_empty() {
                return Err(RuleError::new(format!("block[{at}].on"), "at least one key is needed"));
            }
        }
        if !(0.0..1.0).contains(&self.assign.floor) {
            return fail("assign.floor", "a probability from 0 to below 1 is needed");
        }
        if !(self.assign.margin >= 0.0 && self.assign.margin.is_finite()) {
            return fail("assign.margin", "a number of bits from 0 is needed");
        }
        if !(0.0..=1.0).contains(&self.states.auto) {
            return fail("states.auto", "a probability from 0 to 1 is needed");
        }
        if !(2..=12).contains(&self.sums.max_parts) {
            return fail("sums.max_parts", "2 to 12 parts");
        }
        if self.limits.max_pairs_per_row == 0 {
            return fail("limits.max_pairs_per_row", "at least 1");
        }
        if self.limits.max_block_rows == 0 {
            return fail("limits.max_block_rows", "at least 1");
        }
        Ok(())
    }
}

fn section<T: serde::de::DeserializeOwned>(map: &mut Map<String, Value>, key: &str) -> Result<Option<T>, RuleError> {
    let Some(value) = map.remove(key).filter(|value| !value.is_null()) else { return Ok(None) };
    serde_json::from_value(value).map(Some).map_err(|e| RuleError::new(key, e.to_string()))
}

fn list<T: serde::de::DeserializeOwned>(map: &mut Map<String, Value>, key: &str) -> Result<Vec<T>, RuleError> {
    let Some(value) = map.remove(key) else { return Ok(Vec::new()) };
    let Value::Array(items) = value else { return Err(RuleError::new(key, "a list is needed")) };
    let parse = |(at, item)| {
        serde_json::from_value(item)
            .map_err(|e: serde_json::Error| RuleError::new(format!("{key}[{at}]"), e.to_string()))
    };
    items.into_iter().enumerate().map(parse).collect()
}

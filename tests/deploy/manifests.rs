//! The files that are checked, and reading them. Leaves every judgement to the checks. Easy to get wrong: a key that is
//! not there reads as null and an empty text; a check must treat that as a failure.
use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

/// What is wrong, in words with the file's name.
#[derive(Default)]
pub(crate) struct Report {
    pub problems: Vec<String>,
}

impl Report {
    pub(crate) fn expect(&mut self, holds: bool, otherwise: impl Into<String>) {
        if !holds {
            self.problems.push(otherwise.into());
        }
    }
}

/// Path inside the repository to text.
#[derive(Clone)]
pub(crate) struct Files(pub BTreeMap<String, String>);

impl Files {
    pub(crate) fn of_the_repository() -> Files {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Files(BTreeMap::new());
        for name in ["Dockerfile", "compose.yaml", ".gitignore", "docs/METRICS.md", "src/http/router.rs"] {
            files.read(root, Path::new(name));
        }
        files.walk(root, Path::new("deploy"));
        files
    }

    fn walk(&mut self, root: &Path, folder: &Path) {
        for entry in fs::read_dir(root.join(folder)).expect("the folder is readable").flatten() {
            let path = folder.join(entry.file_name());
            // What secrets.sh made on this machine is nobody's business.
            if path.ends_with("compose/secrets") {
                continue;
            }
            if root.join(&path).is_dir() { self.walk(root, &path) } else { self.read(root, &path) }
        }
    }

    fn read(&mut self, root: &Path, path: &Path) {
        let text = fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.0.insert(path.to_string_lossy().into_owned(), text);
    }

    pub(crate) fn text(&self, path: &str) -> &str {
        self.0.get(path).unwrap_or_else(|| panic!("there is no file {path}"))
    }

    /// The only document of a file.
    pub(crate) fn yaml(&self, path: &str, found: &mut Report) -> Value {
        serde_saphyr::from_str(self.text(path)).unwrap_or_else(|error| {
            found.problems.push(format!("{path} is no YAML with one document: {error}"));
            Value::Null
        })
    }
}

/// The texts of a list; of a map, its keys.
pub(crate) fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::Object(map) => map.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The items of a list that need not be there.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The text at a place; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, place: &str) -> &'a str {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

/// Seconds of a time such as `60s` or `1m`; none when it is no time.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    text.parse::<tieout::config::Seconds>().ok().map(|time| time.0.as_secs())
}

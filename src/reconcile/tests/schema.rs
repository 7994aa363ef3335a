//! The published schemas are those of the code, and hold for what it writes. `UPDATE_GOLDEN=1` writes them.
use serde_json::Value;
use std::path::{Path, PathBuf};
use tieout_reconcile::schema::{DedupeSummaryFile, SummaryFile, dedupe_summary_schema, rules_schema, summary_schema};
use tieout_reconcile::{ReadOptions, Unattended, dedupe, dedupe_summary_json, read};

fn repository(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(of)
}

#[test]
fn the_published_schemas_are_what_the_code_gives() {
    let schemas = [
        ("rules.json", rules_schema()),
        ("summary.json", summary_schema()),
        ("dedupe_summary.json", dedupe_summary_schema()),
    ];
    for (name, schema) in schemas {
        let path = repository("docs/schema").join(name);
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(published, text, "docs/schema/{name}");
    }
}

#[test]
fn every_summary_has_what_the_schema_says_and_nothing_else() {
    let mut cases = 0;
    for case in std::fs::read_dir(repository("tests/golden/reconcile")).unwrap() {
        let path = case.unwrap().path().join("expected/summary.json");
        let written: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let read: SummaryFile =
            serde_json::from_value(written.clone()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(serde_json::to_value(read).unwrap(), written, "{}", path.display());
        cases += 1;
    }
    assert!(cases >= 14, "the golden folders are gone");
}

#[test]
fn every_summary_of_one_file_has_what_the_schema_says_and_nothing_else() {
    for name in ["bank.csv", "ledger.csv"] {
        let path = repository("examples/data").join(name);
        let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let table = read(file, None, &ReadOptions::default(), &Unattended).unwrap();
        let written = dedupe_summary_json(&dedupe(&table, None, &Unattended).unwrap(), &table);
        let read: DedupeSummaryFile = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), written, "{name}");
    }
}

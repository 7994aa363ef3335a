//! Golden folders: two small files in, the five output files out, byte for byte and at one and two threads.
//!
//! `UPDATE_GOLDEN=1 cargo test reconcile_golden` writes what the engine says now; read the difference before you commit it.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use tieout::reconcile::{ReadOptions, RuleSet, Side, Table, Unattended, infer_rules, profile, read, report, run};

fn load(path: &Path, rules: Option<&RuleSet>, side: Side) -> Table {
    let id_column = rules.and_then(|r| if side == Side::Left { r.left_id.clone() } else { r.right_id.clone() });
    let types = rules.map(|r| r.column_types(side)).unwrap_or_default();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let options = ReadOptions { name, id_column, types, ..ReadOptions::default() };
    let profile = profile(File::open(path).unwrap(), &options).unwrap();
    read(File::open(path).unwrap(), Some(&profile), &options, &Unattended).unwrap()
}

fn outputs(case: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let rules = fs::read_to_string(case.join("rules.toml")).ok().map(|text| RuleSet::parse(&text).unwrap());
    let left = load(&case.join("left.csv"), rules.as_ref(), Side::Left);
    let right = load(&case.join("right.csv"), rules.as_ref(), Side::Right);
    let rules =
        rules.unwrap_or_else(|| infer_rules(&left.profile, &right.profile, left.id_column(), right.id_column()));
    let outcome = run(&left, &right, &rules, &Unattended).unwrap();
    let mut all = BTreeMap::from([
        ("matches.csv", Vec::new()),
        ("unmatched_left.csv", Vec::new()),
        ("unmatched_right.csv", Vec::new()),
        ("errors.csv", Vec::new()),
        ("summary.json", Vec::new()),
    ]);
    report::write_matches_csv(all.get_mut("matches.csv").unwrap(), &outcome, &left, &right).unwrap();
    for (name, side) in [("unmatched_left.csv", Side::Left), ("unmatched_right.csv", Side::Right)] {
        report::write_unmatched_csv(all.get_mut(name).unwrap(), &outcome, side, &left, &right).unwrap();
    }
    report::write_errors_csv(all.get_mut("errors.csv").unwrap(), &left, &right).unwrap();
    let summary = report::summary_json(&outcome, &left, &right);
    *all.get_mut("summary.json").unwrap() =
        format!("{}\n", serde_json::to_string_pretty(&summary).unwrap()).into_bytes();
    all
}

#[test]
fn every_golden_case_gives_the_expected_files_at_one_and_two_threads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reconcile");
    let mut cases = 0;
    for case in fs::read_dir(root).unwrap() {
        let case = case.unwrap().path();
        cases += 1;
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for (name, actual) in pool.install(|| outputs(&case)) {
                let path = case.join("expected").join(name);
                if std::env::var_os("UPDATE_GOLDEN").is_some() {
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(&path, &actual).unwrap();
                }
                let expected = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                let (expected, actual) = (String::from_utf8_lossy(&expected), String::from_utf8_lossy(&actual));
                assert_eq!(expected, actual, "{} at {threads} threads", path.display());
            }
        }
    }
    assert!(cases >= 4, "the golden folders are gone");
}

//! Golden folders: two small files in, the output files out, byte for byte and at one and two threads.
//!
//! `UPDATE_GOLDEN=1 cargo test reconcile_golden` writes what the engine says now; read the difference before you commit it.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use tieout::reconcile::{
    ReadOptions, RuleSet, Side, Table, Unattended, profile, read, report, run, run_inferred, settle,
};

fn load(path: &Path, rules: Option<&RuleSet>, side: Side) -> Table {
    let id_column = rules.and_then(|r| if side == Side::Left { r.left_id.clone() } else { r.right_id.clone() });
    let types = rules.map(|r| r.column_types(side)).unwrap_or_default();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let options = ReadOptions { name, id_column, types, ..ReadOptions::default() };
    let profile = profile(File::open(path).unwrap(), &options).unwrap();
    read(File::open(path).unwrap(), Some(&profile), &options, &Unattended).unwrap()
}

fn outputs(case: &Path) -> BTreeMap<String, Vec<u8>> {
    let rules = fs::read_to_string(case.join("rules.toml")).ok().map(|text| RuleSet::parse(&text).unwrap());
    let mut left = load(&case.join("left.csv"), rules.as_ref(), Side::Left);
    let mut right = load(&case.join("right.csv"), rules.as_ref(), Side::Right);
    settle(&mut left, &mut right, rules.as_ref(), &Unattended).unwrap();
    let outcome = match &rules {
        Some(rules) => run(&left, &right, rules, &Unattended).unwrap(),
        None => run_inferred(&left, &right, &Unattended).unwrap(),
    };
    let folder = tempfile::tempdir().unwrap();
    report::write_all(|name| File::create(folder.path().join(name)), report::Cells::Exact, &outcome, &left, &right)
        .unwrap();
    let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())).collect()
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

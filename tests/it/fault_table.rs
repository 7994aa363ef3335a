//! The table of docs/RELIABILITY.md, row by row, as the fault tests measure it. Leaves gathering the rows to `./test faults`.
//! Easy to get wrong: tests run in processes of their own, so each row is a file of its own.
use std::{env, fs, path::PathBuf, time::Duration};

use crate::{
    fault_ledger::Verdict,
    support::publisher::{Told, human},
};

/// One fault and what came of it.
pub(crate) struct Row<'a> {
    /// What was done to what.
    pub fault: &'a str,
    /// What clients were told meanwhile.
    pub client: &'a Told,
    /// Whether what they were told is true.
    pub ledger: &'a Verdict,
    /// From the end of the fault (the server is back) until a client's request succeeded again.
    pub recovery: Duration,
}

/// Files a row; `name` orders the table, such as `10-postgres-killed`. A row of an unsound ledger is not filed: the test fails.
pub(crate) fn report(name: &str, row: &Row<'_>) {
    row.ledger.assert_sound();
    let folder = env::var_os("TIEOUT_FAULT_TABLE").map_or_else(default_folder, PathBuf::from);
    fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let line = line(row);
    fs::write(folder.join(format!("{name}.row")), format!("{line}\n")).expect("a row is written");
    println!("{line}");
}

fn default_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("faults")
}

fn line(row: &Row<'_>) -> String {
    assert!(!row.fault.contains('|'), "a cell has no bar in it");
    format!("| {} | {} | {} | {} |", row.fault, row.client, row.ledger, human(row.recovery))
}

#[test]
fn a_row_says_what_was_seen_and_a_false_one_is_not_filed() {
    let told = Told { unavailable: 12, cut: 1, slowest: Duration::from_millis(2_040), ..Told::default() };
    let mut ledger = Verdict { acknowledged: 90, unknown: 2, unknown_stored: 1, ..Verdict::default() };
    let row = Row { fault: "the store killed", client: &told, ledger: &ledger, recovery: Duration::from_millis(310) };
    assert_eq!(
        line(&row),
        "| the store killed | 503 × 12, cut off × 1, slowest answer 2.0 s | 90 acknowledged, 2 unknown (1 of them stored): \
         none lost, none twice, no hole | 310 ms |"
    );
    ledger.broken.push("k is lost".into());
    let row = Row { fault: "the store killed", client: &told, ledger: &ledger, recovery: Duration::ZERO };
    let refused = std::panic::catch_unwind(|| report("00-never", &row));
    assert!(refused.is_err(), "a false row fails its test");
}

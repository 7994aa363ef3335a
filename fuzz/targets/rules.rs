//! Rules: refused with their path, or bound to two small tables and run to an outcome whose figures add up.
//!
//! Easy to get wrong: rules that validate must also plan and run; whatever cannot work has to be an error with a path, not a
//! panic in a job.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::{collections::BTreeSet, sync::OnceLock};
use tieout_reconcile::{ReadOptions, RuleSet, RunError, Side, Table, Unattended, read, run};

const LEFT: &str = "id,day,total,buyer,memo\nA1,2024-03-01,10.00,anna,inv 7001\nA2,2024-03-02,20.00,bob,\n\
    A3,2024-03-03,30.00,carl smith,inv 7003\nA4,2024-03-04,30.00,dora,x\nA5,2024-03-04,,dora,x\n";
const RIGHT: &str = "id,day,total,buyer,memo\nP1,2024-03-02,10.04,ANNA,7001\nP2,2024-03-02,20.50,BOB,\n\
    P3,2024-03-05,30.00,dora,\nP4,2024-03-04,60.00,carl,inv 7003 and 7004\nP5,,5.00,,\n";

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let rules = match RuleSet::parse(text) {
        Ok(rules) => rules,
        Err(error) => return assert!(!error.path.is_empty() && !error.reason.is_empty(), "{error:?}"),
    };
    rules.validate().expect("what was parsed is valid");
    let stored = serde_json::to_string(&rules).expect("rules are stored as JSON");
    assert_eq!(RuleSet::from_json(&stored).as_ref(), Ok(&rules), "and read back: {stored}");
    for side in [Side::Left, Side::Right] {
        rules.column_types(side);
    }
    static TABLES: OnceLock<(Table, Table)> = OnceLock::new();
    let (left, right) = TABLES.get_or_init(|| {
        let table = |text: &str| {
            let id_column = Some("id".to_owned());
            read(text.as_bytes(), None, &ReadOptions { id_column, ..ReadOptions::default() }, &Unattended)
        };
        (table(LEFT).expect("a good file"), table(RIGHT).expect("a good file"))
    });
    match run(left, right, &rules, &Unattended) {
        Ok(outcome) => {
            assert!(outcome.matches.iter().all(|found| (0.0..=1.0).contains(&found.probability)), "{outcome:?}");
            let places = outcome.matches.iter().flat_map(|found| found.lines.iter().map(|line| (line.side, line.row)));
            let places: BTreeSet<_> = places.chain(outcome.breaks.iter().map(|lone| (lone.side, lone.row))).collect();
            assert_eq!(places.len(), left.len() + right.len(), "every row is in a match or a break: {outcome:?}");
        }
        Err(RunError::Cancelled) => panic!("nobody cancelled"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

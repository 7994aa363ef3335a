//! Promises of the engine on made data: wrong rules, bad rows, cancellation, large equal blocks, equal results at any
//! thread count.
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tieout::reconcile::{
    BreakKind, Compare, CompareKind, MatchState, Outcome, Phase, Progress, ReadError, ReadOptions, RuleSet, RunError,
    Side, Table, Unattended, infer_from_tables, read, run,
};

fn table(name: &str, csv: &str) -> Table {
    let options = ReadOptions { name: name.into(), ..ReadOptions::default() };
    read(csv.as_bytes(), None, &options, &Unattended).unwrap()
}

fn inferred(left: &Table, right: &Table) -> RuleSet {
    infer_from_tables(left, right, &Unattended).unwrap().0
}

/// `rows` payments with references; the right side books a day later and some rows differ.
fn payments(rows: usize) -> (Table, Table) {
    let (mut left, mut right) =
        ("id,date,amount,currency,reference\n".to_owned(), "key,booked,amount,currency,text\n".to_owned());
    for i in 0..rows {
        let (day, amount) = (1 + i % 27, 100 + (i * 7919) % 90_000);
        writeln!(left, "L{i},2024-01-{day:02},{amount}.{:02},EUR,INV-{i:06}", i % 100).unwrap();
        if i % 10 != 3 {
            let amount = if i % 50 == 7 { amount - 1 } else { amount };
            writeln!(right, "R{i},2024-01-{:02},{amount}.{:02},EUR,payment INV-{i:06}", day + 1, i % 100).unwrap();
        }
    }
    (table("left.csv", &left), table("right.csv", &right))
}

fn pairs(outcome: &Outcome, left: &Table, right: &Table) -> Vec<(String, String)> {
    let id = |table: &Table, row: Option<u32>| table.id(row.unwrap() as usize).into_owned();
    let rows = outcome.matches.iter().map(|m| (m.rows(Side::Left).next(), m.rows(Side::Right).next()));
    rows.map(|(l, r)| (id(left, l), id(right, r))).collect()
}

#[test]
fn every_row_is_in_exactly_one_match_or_break() {
    let (left, right) = payments(2_000);
    let outcome = run(&left, &right, &inferred(&left, &right), &Unattended).unwrap();
    for (side, table) in [(Side::Left, &left), (Side::Right, &right)] {
        let mut seen = vec![0; table.len()];
        outcome.matches.iter().flat_map(|m| m.rows(side)).for_each(|row| seen[row as usize] += 1);
        outcome.breaks.iter().filter(|b| b.side == side).for_each(|b| seen[b.row as usize] += 1);
        assert!(seen.iter().all(|count| *count == 1), "{side:?}");
    }
    let right_pairs = pairs(&outcome, &left, &right).iter().filter(|(l, r)| l[1..] == r[1..]).count();
    assert_eq!(outcome.matches.len(), right_pairs);
    assert!(right_pairs >= 1_795, "{right_pairs} of 1800");
    assert!(outcome.summary.discrepancy >= 35, "the rows that are one short: {}", outcome.summary.discrepancy);
}

#[test]
fn the_outcome_is_the_same_at_one_and_two_threads() {
    let (left, right) = payments(3_000);
    let rules = inferred(&left, &right);
    let at = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&left, &right, &rules, &Unattended).unwrap())
    };
    assert!(at(1) == at(2));
}

#[test]
fn rules_that_imply_a_cross_product_are_refused_with_the_estimate() {
    let mut left = "id,currency\n".to_owned();
    (0..3_000).for_each(|i| writeln!(left, "{i},EUR").unwrap());
    let (left, right) = (table("left.csv", &left), table("right.csv", &left));
    let rules =
        RuleSet { compare: vec![Compare::new(CompareKind::Exact, "currency", "currency")], ..inferred(&left, &right) };
    let error = run(&left, &right, &rules, &Unattended).unwrap_err();
    assert!(matches!(error, RunError::CrossProduct { pairs: 9_000_000, .. }), "{error}");
    assert!(error.to_string().contains("9000000 pairs"), "{error}");
}

#[test]
fn a_rule_for_a_missing_column_or_a_wrong_type_names_its_place() {
    let (left, right) = payments(20);
    let with = |compare| RuleSet { compare: vec![compare], ..inferred(&left, &right) };
    let error = |compare| run(&left, &right, &with(compare), &Unattended).unwrap_err().to_string();
    let missing = error(Compare::new(CompareKind::Exact, "reference", "no such"));
    assert!(
        missing.contains("compare[0].right") && missing.contains("\"no such\"") && missing.contains("right.csv"),
        "{missing}"
    );
    let wrong = error(Compare::new(CompareKind::Tolerance, "reference", "amount"));
    assert!(wrong.contains("compare[0].left") && wrong.contains("does not hold amounts"), "{wrong}");
}

#[test]
fn thousands_of_rows_of_one_amount_are_told_apart_without_comparing_all_with_all() {
    let mut csv = "id,date,amount,text\n".to_owned();
    // Two rows of each text, so that no text settles a row.
    (0..4_000).for_each(|i| writeln!(csv, "{i},2024-05-05,10.00,monthly fee C{:05}", i / 2).unwrap());
    let (left, right) = (table("left.csv", &csv), table("right.csv", &csv));
    let outcome = run(&left, &right, &inferred(&left, &right), &Unattended).unwrap();
    assert!(outcome.summary.pairs_compared < 4_000 * 300, "{}", outcome.summary.pairs_compared);
    assert!(outcome.summary.blocks_split > 0, "a split block is counted");
    assert!(outcome.matches.len() >= 3_900, "{} of 4000", outcome.matches.len());
}

#[test]
fn equal_rows_match_by_their_lowest_id_and_the_rest_are_duplicates() {
    let mut left = "id,date,amount,reference\n".to_owned();
    (0..40).for_each(|i| writeln!(left, "A{i:02},2024-05-{:02},{}.50,INV-{i:04}", 1 + i % 28, 100 + i * 13).unwrap());
    let right = left.clone().replace('A', "B");
    left.push_str("A99,2024-05-06,165.50,INV-0005\n");
    let (left, right) = (table("left.csv", &left), table("right.csv", &right));
    let outcome = run(&left, &right, &inferred(&left, &right), &Unattended).unwrap();
    assert!(pairs(&outcome, &left, &right).contains(&("A05".into(), "B05".into())));
    let lonely = &outcome.breaks[0];
    assert_eq!((lonely.kind, left.id(lonely.row as usize).as_ref()), (BreakKind::Duplicate, "A99"));
    let doubted = outcome.matches.iter().find(|m| m.rows(Side::Left).next() == Some(5)).unwrap();
    assert_eq!(doubted.state, MatchState::Review, "a rival as good leaves the choice to a person");
}

#[test]
fn a_handful_of_rows_is_matched_although_there_is_nothing_to_learn_from() {
    let left = table("left.csv", "id,amount,date\n1,10.00,2024-01-01\n2,12.50,2024-01-03\n");
    let right = table("right.csv", "id,amount,date\na,10.00,2024-01-01\nb,12.50,2024-01-04\nc,99.00,2024-01-09\n");
    let outcome = run(&left, &right, &inferred(&left, &right), &Unattended).unwrap();
    assert_eq!(pairs(&outcome, &left, &right), [("1".into(), "a".into()), ("2".into(), "b".into())]);
    assert!(outcome.matches.iter().all(|m| m.state == MatchState::Auto), "{:?}", outcome.matches);
}

#[test]
fn rows_that_are_all_the_same_settle_each_other_for_review() {
    let same = |rows: usize| format!("date,amount,text\n{}", "2024-01-01,10.00,FEE\n".repeat(rows));
    let (left, right) = (table("left.csv", &same(40)), table("right.csv", &same(300)));
    let outcome = run(&left, &right, &inferred(&left, &right), &Unattended).unwrap();
    assert_eq!((outcome.matches.len(), outcome.summary.unmatched_right), (40, 260));
    assert!(outcome.matches.iter().all(|m| m.state == MatchState::Review && m.probability > 0.5));
}

#[test]
fn cancelling_in_any_phase_ends_the_run_within_200_ms() {
    let (left, right) = payments(6_000);
    let rules = inferred(&left, &right);
    for phase in
        [Phase::Indexing, Phase::Scoring, Phase::Training, Phase::Assigning, Phase::Summing, Phase::Classifying]
    {
        let since = AtomicU64::new(0);
        let start = Instant::now();
        let control = |progress: Progress| {
            if progress.phase != phase {
                return ControlFlow::Continue(());
            }
            since.fetch_max(start.elapsed().as_micros() as u64, Ordering::SeqCst);
            ControlFlow::Break(())
        };
        assert_eq!(run(&left, &right, &rules, &control).unwrap_err(), RunError::Cancelled, "{phase:?}");
        let asked = Duration::from_micros(since.load(Ordering::SeqCst));
        assert!(start.elapsed() - asked < Duration::from_millis(200), "{phase:?}");
    }
}

#[test]
fn classifying_checks_for_a_cancellation_from_its_beginning_to_its_end() {
    let (left, right) = payments(6_000);
    let rules = inferred(&left, &right);
    let run_until = |check: u64| {
        let checks = AtomicU64::new(0);
        let control = |progress: Progress| match progress.phase == Phase::Classifying {
            true if checks.fetch_add(1, Ordering::SeqCst) == check => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let outcome = run(&left, &right, &rules, &control);
        (outcome.err(), checks.into_inner())
    };
    let (none, all) = run_until(u64::MAX);
    assert_eq!(none, None);
    assert!(all >= 8, "pairs, explanations, groups, breaks, candidates and the end: {all}");
    for check in 0..all {
        assert_eq!(run_until(check).0, Some(RunError::Cancelled), "check {check} of {all}");
    }
}

#[test]
fn progress_of_a_phase_rises_to_its_total() {
    let (left, right) = payments(2_000);
    let done = AtomicU64::new(0);
    let control = |progress: Progress| {
        if progress.phase == Phase::Scoring {
            assert_eq!(progress.total, 2_000);
            done.fetch_max(progress.done, Ordering::SeqCst);
        }
        ControlFlow::Continue(())
    };
    run(&left, &right, &inferred(&left, &right), &control).unwrap();
    assert_eq!(done.into_inner(), 2_000);
}

#[test]
fn a_bad_row_is_reported_with_line_column_and_value_and_the_rest_goes_on() {
    let csv = "id,date,amount\n1,2024-01-01,1.00\n2,2024-02-30,2.00\n3,2024-01-03,x\n4,2024-01-04\n\"5\n\",2024-01-05,5.00\n6,bad,6.00\n";
    let read_with = |strict| {
        let options = ReadOptions { name: "bank.csv".into(), strict, ..ReadOptions::default() };
        read(csv.as_bytes(), None, &options, &Unattended)
    };
    let table = read_with(false).unwrap();
    assert_eq!((table.len(), table.error_count), (2, 4));
    let seen: Vec<(u64, &str, &str)> =
        table.errors.iter().map(|e| (e.line, e.column.as_str(), e.value.as_str())).collect();
    // The quoted line break makes row 5 end on line 7.
    assert_eq!(seen, [(3, "date", "2024-02-30"), (4, "amount", "x"), (5, "", "4,2024-01-04"), (8, "date", "bad")]);
    let error = read_with(true).unwrap_err().to_string();
    assert!(["bank.csv", "line 3", "\"date\"", "2024-02-30"].iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn an_id_column_that_repeats_a_value_is_refused_with_both_lines() {
    let options = ReadOptions { name: "x.csv".into(), id_column: Some("id".into()), ..ReadOptions::default() };
    let error = read("id,a\n1,x\n2,y\n1,z\n".as_bytes(), None, &options, &Unattended).unwrap_err();
    assert!(matches!(error, ReadError::IdRepeated { line: 4, first_line: 2, .. }), "{error}");
}

#[test]
fn files_that_share_nothing_match_nothing_and_empty_files_are_fine() {
    let (left, right) = (table("l.csv", "id,a\n1,x\n"), table("r.csv", "id,a\n"));
    let outcome = run(&left, &right, &inferred(&left, &right), &Unattended).unwrap();
    assert_eq!((outcome.matches.len(), outcome.breaks.len()), (0, 1));
}

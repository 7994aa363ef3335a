//! The promises of a run that hold for any two files: what `auto` means, a file against itself, order, sides.
mod support;

use proptest::prelude::*;
use std::collections::BTreeSet;
use support::{Sample, ids, matched, run_both, states, table};
use tieout_reconcile::{MatchState, Side};

/// Rows of a small file: some columns tell rows apart, some do not, some rows are there twice.
fn rows() -> impl Strategy<Value = Vec<Vec<String>>> {
    let cell = prop_oneof![
        "[a-c]{1,2}",
        "[0-9]{1,3}\\.[0-9]{2}",
        "(2026-0[1-9]-[0-2][1-8])",
        Just(String::new()),
        "(INV|RE)-[0-9]{3}",
        "[A-D][a-d]{2,4} (GmbH|Ltd) [a-f]{2,3}",
    ];
    (1_usize..5).prop_flat_map(move |width| {
        prop::collection::vec(prop::collection::vec(cell.clone(), width..=width), 1..14).prop_flat_map(|rows| {
            let repeated = rows.clone();
            prop::collection::vec(0..repeated.len(), 0..4).prop_map(move |again| {
                let mut rows = rows.clone();
                rows.extend(again.into_iter().map(|at| repeated[at].clone()));
                rows
            })
        })
    })
}

fn csv(rows: &[Vec<String>]) -> String {
    let header: Vec<String> = (0..rows[0].len()).map(|at| format!("c{at}")).collect();
    let mut out = header.join(",") + "\n";
    rows.iter().for_each(|row| out += &format!("\"{}\"\n", row.join("\",\"")));
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]
    #[test]
    fn a_file_against_itself_in_any_order_is_wholly_matched(
        (rows, shuffled) in rows().prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle()))
    ) {
        let (left, right) = (table("left", &csv(&rows)), table("right", &csv(&shuffled)));
        let outcome = run_both(&left, &right);
        let readable = left.len();
        prop_assert_eq!(right.len(), readable);
        let pairs: usize = outcome.matches.iter().map(|m| m.rows(Side::Left).count()).sum();
        prop_assert_eq!(pairs, readable, "{:?}", outcome.breaks);
    }

    #[test]
    fn a_pair_whose_amounts_differ_is_never_auto(seed in 0_u64..1_000, altered in prop::collection::btree_set(0_usize..30, 1..6)) {
        let sample = Sample::new(seed, 30).with_raised_amounts(&altered);
        let (left, right) = sample.tables();
        let outcome = run_both(&left, &right);
        for found in outcome.matches.iter().filter(|m| m.state == MatchState::Auto) {
            let (l, r) = (ids(&left, found, Side::Left), ids(&right, found, Side::Right));
            let raised = altered.iter().any(|at| r.contains(&format!("B{at}")));
            prop_assert!(!raised, "{l:?} {r:?}: {}", found.said.explanation);
        }
    }

    #[test]
    fn the_order_of_rows_changes_no_pair_state_or_match_id(seed in 0_u64..1_000) {
        let sample = Sample::new(seed, 40);
        let (left, right) = sample.tables();
        let (other_left, other_right) = sample.shuffled(seed + 1).tables();
        prop_assert_eq!(states(&left, &right), states(&other_left, &other_right));
    }

    #[test]
    fn swapped_sides_give_the_swapped_pairs_and_states(seed in 0_u64..1_000) {
        let (left, right) = Sample::new(seed, 40).tables();
        let there: BTreeSet<_> = states(&left, &right).into_iter().map(|(l, r, state, _)| (l, r, state)).collect();
        let back: BTreeSet<_> = states(&right, &left).into_iter().map(|(r, l, state, _)| (l, r, state)).collect();
        prop_assert_eq!(there, back);
    }

    /// The slow obvious matcher of files whose references are whole: equal references belong together.
    #[test]
    fn whole_references_give_the_pairs_that_looking_for_each_one_gives(seed in 0_u64..1_000, rows in 5_usize..60) {
        let (left, right) = Sample::new(seed, rows).tables();
        let reference = |cell: &str| cell.chars().filter(char::is_ascii_digit).collect::<String>();
        let mut obvious = BTreeSet::new();
        for l in 0..left.len() {
            for r in 0..right.len() {
                let text = right.cell(r, 3);
                if text.split(' ').any(|word| reference(word) == reference(left.cell(l, 3)) && word.starts_with("INV")) {
                    obvious.insert((left.id(l).into_owned(), right.id(r).into_owned()));
                }
            }
        }
        prop_assert_eq!(matched(&left, &right, &run_both(&left, &right)), obvious);
    }
}

#[test]
fn amounts_that_were_not_understood_keep_every_pair_from_auto_and_the_run_says_so() {
    let sample = Sample::new(7, 30);
    let (left, _) = sample.tables();
    let unread = table("bank", &sample.right_with_amounts(|amount| format!("#{amount}#")));
    let outcome = run_both(&left, &unread);
    assert!(outcome.matches.iter().all(|m| m.state != MatchState::Auto), "{:?}", outcome.summary);
    assert!(outcome.comparing.warnings.iter().any(|w| w.contains("amounts")), "{:?}", outcome.comparing);
}

#[test]
fn a_row_whose_candidate_agrees_in_everything_is_never_missing() {
    let mut left = "id,date,amount,text\n".to_owned();
    let mut right = left.clone();
    for at in 0..60 {
        left += &format!("L{at},2026-03-02,40.00,INV-{}\n", 1000 + at);
        right += &format!("B{at},2026-03-03,40.00,payment INV-{} thanks\n", 1059 - at);
    }
    let (left, right) = (table("left", &left), table("right", &right));
    assert_eq!(run_both(&left, &right).summary.matches, 60);
}

#[test]
fn two_rows_that_agree_in_nothing_are_no_match_even_when_there_are_no_others() {
    let (left, right) = (table("left", "id,amount\n1,-5.00\n"), table("right", "id,amount\n9,100.00\n"));
    assert_eq!(run_both(&left, &right).summary.matches, 0);
}

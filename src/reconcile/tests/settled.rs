//! Rows that a key settles before candidates are looked for: nothing else of a run may show it.
mod support;

use support::{Sample, matched, run_both, states, table};
use tieout_reconcile::{BreakKind, Side};

/// More pairs than are compared one by one.
const ROWS: usize = 400;

#[test]
fn a_row_that_is_left_over_is_shown_beside_the_settled_one_it_resembles() {
    let sample = Sample::new(5, ROWS);
    let seventh: Vec<&str> = sample.left.lines().nth(8).unwrap().split(',').collect();
    let left = table("ledger", &format!("{}LX,{},{},,\n", sample.left, seventh[1], seventh[2]));
    let right = table("bank", &sample.right);
    let outcome = run_both(&left, &right);
    assert!(matched(&left, &right, &outcome).contains(&("L7".into(), "B7".into())));
    let lonely = outcome.breaks.iter().find(|b| b.side == Side::Left && left.id(b.row as usize) == "LX").unwrap();
    assert_eq!(lonely.kind, BreakKind::Outbid);
    assert_eq!(right.id(lonely.related.unwrap() as usize), "B7");
}

#[test]
fn a_key_whose_amount_differs_settles_nothing() {
    let altered = [3, 17, 250].into_iter().collect();
    let (left, right) = Sample::new(6, ROWS).with_raised_amounts(&altered).tables();
    let found = states(&left, &right);
    for at in altered {
        let pair = found.iter().find(|(l, _, _, _)| *l == format!("L{at}"));
        assert!(
            pair.is_some_and(|(_, r, state, _)| *r == format!("B{at}") && *state == "discrepancy"),
            "{at}: {pair:?}"
        );
    }
}

#[test]
fn order_and_sides_change_nothing_of_what_is_settled() {
    let sample = Sample::new(7, ROWS);
    let (left, right) = sample.tables();
    let found = states(&left, &right);
    assert_eq!(found.len(), ROWS);
    let (shuffled_left, shuffled_right) = sample.shuffled(3).tables();
    assert_eq!(states(&shuffled_left, &shuffled_right), found);
    let swapped: std::collections::BTreeSet<_> =
        states(&right, &left).into_iter().map(|(l, r, state, _)| (r, l, state)).collect();
    assert_eq!(swapped, found.into_iter().map(|(l, r, state, _)| (l, r, state)).collect());
}

//! What groups are found, and when they are for review.
mod support;

use support::{Sample, ids, matched, outcome, state_of};
use tieout_reconcile::{BreakKind, MatchKind, MatchState, Side};

/// Thirty ordinary payments, and more rows on both sides.
fn with(left: &str, right: &str) -> (String, String) {
    let sample = Sample::new(3, 30);
    (sample.left + left, sample.right + right)
}

#[test]
fn any_number_of_rows_under_one_reference_add_up() {
    let mut left = String::new();
    let mut total = 0;
    for at in 0..17 {
        left += &format!("T{at},2026-03-02,{}.50,BATCH-710,Guest {at}\n", 10 + at);
        total += (10 + at) * 100 + 50;
    }
    let right = format!("P0,2026-03-03,{}.{:02},card settlement BATCH-710\n", total / 100, total % 100);
    let (left, right) = with(&left, &right);
    let (left, right, outcome) = outcome(&left, &right);
    let pairs = matched(&left, &right, &outcome);
    assert_eq!(pairs.iter().filter(|(_, r)| r == "P0").count(), 17, "{pairs:?}");
}

#[test]
fn a_sum_with_a_second_answer_is_for_review_and_names_it() {
    let left = "G0,2026-03-10,100.37,CUST-9911,Hollow Oak Carpentry\nG1,2026-03-11,201.54,CUST-9911,Hollow Oak Carpentry\n\
                G2,2026-03-12,140.91,CUST-9911,Hollow Oak Carpentry\nG3,2026-03-13,161.00,CUST-9911,Hollow Oak Carpentry\n";
    let (left, right) = with(left, "BT,2026-03-13,301.91,HOLLOW OAK CARPENTRY CUST-9911\n");
    let (left, _, outcome) = outcome(&left, &right);
    let group = outcome.matches.iter().find(|m| m.kind == MatchKind::ManyToOne).expect("one of the two sums");
    assert_eq!(group.state, MatchState::Review);
    assert!(
        group.said.explanation.contains("would add up as well"),
        "{} {:?}",
        group.said.explanation,
        ids(&left, group, Side::Left)
    );
}

#[test]
fn a_sum_whose_parts_are_named_is_no_choice() {
    let left: String =
        (0..5).map(|at| format!("G{at},2026-03-10,100.00,INV-8800{at},Hollow Oak Carpentry\n")).collect();
    let right = "BT,2026-03-12,300.00,HOLLOW OAK CARPENTRY INV-88001 INV-88002 INV-88004\n";
    let (left, right) = with(&left, right);
    let (left, right, outcome) = outcome(&left, &right);
    let pairs = matched(&left, &right, &outcome);
    let parts: Vec<&str> = pairs.iter().filter(|(_, r)| r == "BT").map(|(l, _)| l.as_str()).collect();
    assert_eq!(parts, ["G1", "G2", "G4"]);
}

#[test]
fn a_credit_note_counts_against_its_invoice() {
    let left =
        "G0,2026-03-10,500.00,INV-88001,Hollow Oak Carpentry\nG1,2026-03-11,-120.25,INV-88001,Hollow Oak Carpentry\n";
    let (left, right) = with(left, "BT,2026-03-12,379.75,HOLLOW OAK CARPENTRY INV-88001\n");
    let (left, right, outcome) = outcome(&left, &right);
    let pairs = matched(&left, &right, &outcome);
    assert_eq!(pairs.iter().filter(|(_, r)| r == "BT").count(), 2, "{pairs:?}");
}

#[test]
fn a_payout_less_its_fee_is_a_discrepancy_that_names_the_fee() {
    let left = "G0,2026-03-10,500.00,PO-88001,Hollow Oak\nG1,2026-03-10,300.00,PO-88001,Elm Street\nG2,2026-03-10,200.00,PO-88001,Pinecrest\n";
    let (left, right) = with(left, "BT,2026-03-12,970.10,PAYOUT PO-88001\n");
    let (left, _, outcome) = outcome(&left, &right);
    let (found, state) = state_of(&outcome, &left, "G1").expect("the group");
    assert_eq!((found.kind, state), (MatchKind::ManyToOne, MatchState::Discrepancy), "{}", found.said.explanation);
    assert!(found.said.explanation.contains("29.90"), "{}", found.said.explanation);
}

#[test]
fn two_invoices_paid_by_two_transfers_are_one_group() {
    let left = "G0,2026-03-27,16870.90,INV-88000,Hollow Oak\nG1,2026-03-27,7222.00,INV-88003,Hollow Oak\n";
    let right = "P0,2026-03-28,10325.52,HOLLOW OAK INV-88000 INV-88003\nP1,2026-03-28,13767.38,HOLLOW OAK INV-88000 INV-88003\n";
    let (left, right) = with(left, right);
    let (left, _, outcome) = outcome(&left, &right);
    let (found, _) = state_of(&outcome, &left, "G0").expect("the group");
    assert_eq!(found.kind, MatchKind::ManyToMany, "{}", found.said.explanation);
}

#[test]
fn a_charge_and_its_reversal_are_named_as_contra() {
    let left = "id,date,amount,text\nL0,2026-03-01,245.00,charge\nL1,2026-03-02,-245.00,reversal\nL2,2026-03-03,245.00,charge\n\
                L3,2026-03-04,-245.00,reversal\nL4,2026-03-05,245.00,charge\n";
    let (left, _, outcome) = outcome(left, "id,date,amount,text\nB0,2026-03-01,245.00,charge\n");
    let contra = outcome.breaks.iter().filter(|b| b.kind == BreakKind::Contra).count();
    assert_eq!((outcome.matches.len(), contra), (1, 4), "{:?}", outcome.breaks);
    assert_eq!(ids(&left, &outcome.matches[0], Side::Left), ["L0"]);
}

#[test]
fn equal_payments_that_recur_under_other_texts_are_paired_by_day_for_review() {
    let left: String =
        (0..4).map(|at| format!("R{at},2026-03-{:02},-500.00,,Harbour Street Rentals\n", 1 + 7 * at)).collect();
    let right: String = (0..4).map(|at| format!("S{at},2026-03-{:02},-500.00,SO 4471 HSR PTY\n", 2 + 7 * at)).collect();
    let (left, right) = with(&left, &right);
    let (left, right, outcome) = outcome(&left, &right);
    let pairs = matched(&left, &right, &outcome);
    for at in 0..4 {
        assert!(pairs.contains(&(format!("R{at}"), format!("S{at}"))), "{pairs:?}");
        assert_eq!(state_of(&outcome, &left, &format!("R{at}")).map(|found| found.1), Some(MatchState::Review));
    }
}

#[test]
fn equal_amounts_of_unrelated_payees_are_left_alone() {
    let names = ["Cinema Rex", "Pharmacy Two", "Book Cave", "Bike Hut"];
    let others = ["PARKING CITY", "MUSEUM EAST", "ZOO NORTH", "GYM FIT"];
    let left: String = (0..4).map(|at| format!("U{at},2026-03-{},48.15,,{}\n", 10 + at, names[at])).collect();
    let right: String = (0..4).map(|at| format!("V{at},2026-03-{},48.15,{}\n", 11 + at, others[at])).collect();
    let (left, right) = with(&left, &right);
    let (left, right, outcome) = outcome(&left, &right);
    assert_eq!(matched(&left, &right, &outcome).len(), 30);
}

#[test]
fn one_named_row_vouches_for_others_of_its_counterparty_and_they_are_for_review() {
    let left = "G0,2026-03-10,111.99,INV-88001,Hollow Oak Carpentry\nG1,2026-03-11,300.00,INV-88002,Hollow Oak Carpentry\n\
                G2,2026-03-11,3600.00,INV-88003,Hollow Oak Carpentry\nG3,2026-03-11,75.40,INV-88004,Hollow Oak Carpentry\n\
                G4,2026-03-11,300.00,INV-88005,Larch Dairy\n";
    let (left, right) = with(left, "BT,2026-03-13,4011.99,transfer INV-88001\n");
    let (left, right, outcome) = outcome(&left, &right);
    let pairs = matched(&left, &right, &outcome);
    let parts: Vec<&str> = pairs.iter().filter(|(_, r)| r == "BT").map(|(l, _)| l.as_str()).collect();
    assert_eq!(parts, ["G0", "G1", "G2"]);
    let group = outcome.matches.iter().find(|m| m.kind == MatchKind::ManyToOne).expect("the three");
    assert_eq!(group.state, MatchState::Review);
    assert!(
        group.said.explanation.contains("not named itself, by its") && group.said.explanation.contains("G1 + G2"),
        "{}",
        group.said.explanation
    );
}

#[test]
fn rows_that_share_a_counterparty_are_no_group_without_the_row_that_is_named() {
    let left = "G0,2026-03-10,111.99,INV-88001,Hollow Oak Carpentry\nG1,2026-03-11,300.00,INV-88002,Hollow Oak Carpentry\n\
                G2,2026-03-11,3600.00,INV-88003,Hollow Oak Carpentry\n";
    let (left, right) = with(left, "BT,2026-03-13,3900.00,transfer INV-88001\n");
    let (_, _, outcome) = outcome(&left, &right);
    assert!(!outcome.matches.iter().any(|m| m.kind == MatchKind::ManyToOne), "{:?}", outcome.matches);
}

#[test]
fn a_row_that_another_total_names_is_vouched_for_by_nobody() {
    let left =
        "G0,2026-03-10,111.99,INV-88001,Hollow Oak Carpentry\nG1,2026-03-11,300.00,INV-88002,Hollow Oak Carpentry\n";
    let grouped = |right: &str| {
        let (left, right) = with(left, right);
        let (_, _, outcome) = outcome(&left, &right);
        outcome.matches.iter().any(|m| m.kind == MatchKind::ManyToOne)
    };
    assert!(grouped("P0,2026-03-11,411.99,transfer INV-88001\n"));
    assert!(!grouped("P0,2026-03-11,411.99,transfer INV-88001\nP1,2026-03-12,500.00,transfer INV-88002\n"));
}

#[test]
fn what_vouches_does_not_depend_on_the_order_of_rows() {
    let rows = [
        "G0,2026-03-10,111.99,INV-88001,Hollow Oak Carpentry",
        "G1,2026-03-11,301.13,INV-88002,Hollow Oak Carpentry",
        "G2,2026-03-11,3600.00,INV-88003,Hollow Oak Carpentry",
    ];
    let right = "BT,2026-03-13,4013.12,transfer INV-88001 and INV-88002\n";
    let mut seen = Vec::new();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let left: String = order.iter().map(|at| format!("{}\n", rows[*at])).collect();
        let (left, right) = with(&left, right);
        let (left, right, outcome) = outcome(&left, &right);
        let mut parts: Vec<_> = matched(&left, &right, &outcome).into_iter().filter(|(_, r)| r == "BT").collect();
        parts.sort();
        let group = outcome.matches.iter().find(|m| m.kind == MatchKind::ManyToOne).expect("a group");
        seen.push((parts, group.state, format!("{:.9}", group.probability)));
    }
    assert_eq!(seen[0].0.len(), 3, "{seen:?}");
    assert!(seen.iter().all(|other| *other == seen[0]), "{seen:?}");
}

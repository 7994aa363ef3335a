//! Which columns are compared with which, and which are not.
mod support;

use std::fmt::Write as _;
use support::{Sample, matched, outcome, random, table};
use tieout_reconcile::{Compare, CompareKind, RuleSet, Side, Unattended, infer_from_tables, run};

fn left_out(left: &str, right: &str, side: Side, column: &str) -> Option<String> {
    let (_, comparing) = infer_from_tables(&table("left", left), &table("right", right), &Unattended).unwrap();
    comparing.left_out.into_iter().find(|out| out.side == side && out.column == column).map(|out| out.reason)
}

#[test]
fn the_column_that_names_rows_is_compared_like_any_other() {
    let sample = Sample::new(5, 60);
    // The invoice is the ledger's only key, and the bank has none.
    let drop = |text: &str, columns: &[usize]| -> String {
        let line = |line: &str| {
            let cells: Vec<&str> =
                line.split(',').enumerate().filter(|(at, _)| !columns.contains(at)).map(|(_, c)| c).collect();
            cells.join(",") + "\n"
        };
        text.lines().map(line).collect()
    };
    let (left, right) = (drop(&sample.left, &[0]), drop(&sample.right, &[0]));
    let (left, _, outcome) = outcome(&left, &right);
    assert_eq!(left.id_column(), Some("reference"));
    assert_eq!(outcome.summary.auto, 60, "{:?}", outcome.comparing);
}

#[test]
fn a_due_date_is_no_value_date_and_a_balance_is_not_compared() {
    let (mut left, mut right) = (
        "entry,date,due_date,amount,balance,reference\n".to_owned(),
        "txn,value_date,amount,balance,text\n".to_owned(),
    );
    let mut random = random(9);
    let (mut ours, mut theirs) = (1_000_000, 5_000_000);
    for at in 0..30 {
        let (day, cents) = (1 + random(9), 1_000 + random(90_000) as i64);
        (ours, theirs) = (ours + cents, theirs + cents);
        let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
        writeln!(left, "L{at},2026-03-{day:02},2026-04-{day:02},{},{},INV-{}", money(cents), money(ours), 700 + at)
            .unwrap();
        writeln!(right, "B{at},2026-03-{:02},{},{},paid INV-{}", day + 1, money(cents), money(theirs), 700 + at)
            .unwrap();
    }
    assert_eq!(left_out(&left, &right, Side::Left, "balance").as_deref(), Some("running balance"));
    assert!(left_out(&left, &right, Side::Left, "due_date").is_some());
    let (_, _, outcome) = outcome(&left, &right);
    assert_eq!((outcome.summary.auto, outcome.summary.discrepancy), (30, 0), "{:?}", outcome.comparing);
}

#[test]
fn running_numbers_and_the_columns_of_an_earlier_run_are_no_evidence() {
    let sample = Sample::new(11, 40).shuffled(3);
    let number = |text: &str| -> String {
        text.lines()
            .enumerate()
            .map(|(at, line)| if at == 0 { format!("no,{line}\n") } else { format!("{at},{line}\n") })
            .collect()
    };
    let (left, right) = (number(&sample.left), number(&sample.right));
    assert!(left_out(&left, &right, Side::Left, "no").is_some());
    let (left, right, found) = outcome(&left, &right);
    assert!(left.len() == 40 && found.summary.matches == 40, "{:?}", found.comparing);
    drop(right);
    let own =
        "left_id,line,reason,related_id,date,amount\nx,2,missing,,2026-03-01,48.15\ny,3,missing,,2026-03-09,12.00\n";
    let other =
        "right_id,line,reason,related_id,date,amount\nz,2,missing,,2026-03-01,48.15\nw,3,missing,,2026-03-09,19.00\n";
    assert_eq!(left_out(own, other, Side::Right, "line").as_deref(), Some("written by an earlier run"));
}

#[test]
fn a_key_that_every_row_has_matches_every_row_at_any_size() {
    for rows in [5, 8, 12, 40, 100, 300] {
        let keys = |reverse: bool| -> String {
            let order: Vec<usize> = if reverse { (0..rows).rev().collect() } else { (0..rows).collect() };
            order.iter().fold("k,x\n".to_owned(), |all, at| all + &format!("ORD{},{at}\n", 7_000 + at))
        };
        let (left, right) = (table("left", &keys(false)), table("right", &keys(true)));
        let rules = RuleSet {
            compare: vec![Compare::new(CompareKind::Exact, "k", "k")],
            ..infer_from_tables(&left, &right, &Unattended).unwrap().0
        };
        let outcome = run(&left, &right, &rules, &Unattended).unwrap();
        assert_eq!(outcome.summary.matches, rows as u64, "{rows} rows");
    }
}

#[test]
fn zeros_that_fill_up_a_number_do_not_matter() {
    let left: String =
        (0..40).fold("cheque,amount\n".into(), |all, at| all + &format!("{:06},{}.50\n", 700 + 3 * at, 10 + at));
    let right: String =
        (0..40).rev().fold("cheque,amount\n".into(), |all, at| all + &format!("{},{}.50\n", 700 + 3 * at, 10 + at));
    let (left, right, outcome) = outcome(&left, &right);
    assert_eq!(matched(&left, &right, &outcome).len(), 40);
}

#[test]
fn names_meet_across_spellings_and_scripts_when_nothing_else_tells_rows_apart() {
    let names = [
        ("Müller Bäckerei", "MUELLER BAECKEREI"),
        ("Schröder Söhne", "SCHROEDER SOEHNE"),
        ("Løvås Fisk", "LOEVAAS FISK"),
        ("Weiß Elektro", "WEISS ELEKTRO"),
        ("Иванов Сергей", "IVANOV SERGEY"),
        ("Петрова Анна", "PETROVA ANNA"),
        ("Лебедев Юрий", "LEBEDEV YURIY"),
        ("Abbott, Anna", "ANNA ABBOTT"),
        ("Kowalski, Jan", "JAN KOWALSKI"),
        ("Юрьев Денис", "YUREV DENIS"),
    ];
    let mut left = "id,date,amount,name\n".to_owned();
    let mut right = "id,date,amount,text\n".to_owned();
    for week in 0..4 {
        for (at, (here, there)) in names.iter().enumerate() {
            writeln!(left, "L{week}{at},2026-03-{:02},150.00,\"{here}\"", 2 + 7 * week).unwrap();
            writeln!(right, "B{week}{at},2026-03-{:02},150.00,GUTSCHRIFT {there}", 3 + 7 * week).unwrap();
        }
    }
    let (left, right, outcome) = outcome(&left, &right);
    let pairs = matched(&left, &right, &outcome);
    assert!(pairs.iter().all(|(l, r)| l[1..] == r[1..]), "{pairs:?}");
    assert_eq!(pairs.len(), 40);
}

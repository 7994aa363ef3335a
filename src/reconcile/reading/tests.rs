//! What is understood of small files, alone and beside the other side, through the outer door.
use crate::{ColumnRole, NO_AMOUNT, ReadOptions, SideReading, Table, Typed, Unattended, profile, read, settle};
use std::fmt::Write;

fn with(csv: &str, reading: SideReading) -> Table {
    let options = ReadOptions { reading, ..ReadOptions::default() };
    read(csv.as_bytes(), None, &options, &Unattended).unwrap()
}

fn table(csv: &str) -> Table {
    with(csv, SideReading::default())
}

fn cents(table: &Table, column: &str) -> Vec<i64> {
    let Typed::Money { units, scale } = &table.columns[table.column_index(column).unwrap()].typed else {
        panic!("{column} holds no amounts: {:?}", table.reading())
    };
    let factor = 10_i64.pow(u32::from(scale - 2));
    units.iter().map(|value| if *value == NO_AMOUNT { *value } else { value / factor }).collect()
}

fn days(table: &Table, column: &str) -> Vec<i32> {
    let Typed::Date(days) = &table.columns[table.column_index(column).unwrap()].typed else {
        panic!("{column} holds no dates: {:?}", table.reading())
    };
    days.clone()
}

const LEDGER: &str =
    "id,date,amount\n1,2026-03-02,-3000.00\n2,2026-03-04,3250.00\n3,2026-03-08,-4100.00\n4,2026-03-09,5500.00\n";

#[test]
fn debit_and_credit_become_one_signed_amount_whether_unused_cells_are_blank_or_zero() {
    for unused in ["", "0.00"] {
        let csv = format!(
            "Date,Paid out,Paid in\n2026-03-02,5.50,{unused}\n2026-03-03,{unused},7.00\n2026-03-04,1.00,{unused}\n"
        );
        let table = table(&csv);
        assert_eq!(cents(&table, "amount"), [-550, 700, -100], "unused cells are {unused:?}");
        assert_eq!(table.cell(0, 3), "-5.50");
        assert_eq!(table.columns[1].profile.role, Some(ColumnRole::Debit));
    }
}

#[test]
fn a_word_beside_the_amount_gives_its_sign() {
    for (out, came) in [("D", "C"), ("Af", "Bij"), ("Soll", "Haben"), ("debit", "credit"), ("DBIT", "CRDT"), ("S", "H")]
    {
        let csv =
            format!("Datum,Bedrag,Kennzeichen\n2026-03-02,5.50,{out}\n2026-03-03,7.00,{came}\n2026-03-04,1.00,{out}\n");
        assert_eq!(cents(&table(&csv), "Bedrag"), [-550, 700, -100], "{out} {came}");
    }
}

#[test]
fn a_balance_is_known_in_either_order_and_its_first_break_is_named() {
    let rows = [
        ("01", "10.00", "110.00"),
        ("02", "5.00", "115.00"),
        ("03", "-15.00", "100.00"),
        ("04", "1.00", "101.00"),
        ("05", "2.00", "103.00"),
        ("06", "7.00", "160.00"),
        ("07", "1.00", "161.00"),
    ];
    let csv = |rows: &[(&str, &str, &str)]| {
        let lines: String =
            rows.iter().map(|(day, amount, after)| format!("2026-03-{day},{amount},{after}\n")).collect();
        format!("date,amount,after\n{lines}")
    };
    let forward = table(&csv(&rows));
    assert_eq!(forward.columns[2].profile.role, Some(ColumnRole::Balance));
    let proof = forward.reading().balance.clone().unwrap();
    assert_eq!((proof.holds, proof.breaks), (5, 1));
    assert_eq!(proof.first_break.as_deref(), Some("line 7, 50.00 missing"));
    let mut newest_first = rows;
    newest_first.reverse();
    assert_eq!(table(&csv(&newest_first)).columns[2].profile.role, Some(ColumnRole::Balance));
    assert_eq!(
        table("date,balance\n2026-03-01,1.00\n2026-03-02,2.00\n").columns[1].profile.role,
        None,
        "nothing else to compare"
    );
}

#[test]
fn the_other_file_decides_order_of_dates_decimal_style_minor_units_and_sign() {
    let cases =
        [("03/02/2026", "-3000.00"), ("03/02/2026", "-3.000"), ("03/02/2026", "-300000"), ("03/02/2026", "3000.00")];
    for (at, _) in cases.iter().enumerate() {
        let amount = |value: i64| match at {
            0 => format!("{value}.00"),
            1 => format!("{}.{:03}", value / 1000, value.abs() % 1000),
            2 => format!("{value}00"),
            _ => format!("{}.00", -value),
        };
        let mut csv = "id;date;amount\n".to_owned();
        for (row, (day, value)) in [(2, -3000), (4, 3250), (8, -4100), (9, 5500)].into_iter().enumerate() {
            writeln!(csv, "{row};03/{day:02}/2026;{}", amount(value)).unwrap();
        }
        let (mut left, mut right) = (table(LEDGER), table(&csv));
        settle(&mut left, &mut right, None, &crate::Unattended).expect("nobody cancels");
        assert_eq!(days(&left, "date"), days(&right, "date"), "case {at}");
        assert_eq!(cents(&left, "amount"), cents(&right, "amount"), "case {at}: {:?}", right.reading());
        assert_eq!(right.reading().doubt(), None);
        let date = right.reading().columns.iter().find(|column| column.name == "date").unwrap();
        assert_eq!(date.decided_by.as_deref(), Some("the other file"));
    }
}

#[test]
fn mirrored_books_agree_after_one_side_is_turned() {
    let mut left = table("id,date,debit,credit\n1,2026-03-02,5.00,\n2,2026-03-03,,7.00\n3,2026-03-04,9.00,\n");
    let mut right = table("no,date,debit,credit\n1,2026-03-02,,5.00\n2,2026-03-03,7.00,\n3,2026-03-04,,9.00\n");
    settle(&mut left, &mut right, None, &crate::Unattended).expect("nobody cancels");
    assert_eq!(cents(&left, "amount"), cents(&right, "amount"));
    assert_eq!(right.cell(0, right.column_index("amount").unwrap()), "-5.00", "what is shown is what is compared");
}

#[test]
fn what_neither_file_decides_is_said_and_the_user_can_say_it() {
    let csv = "id,date,amount\n1,03/05/2026,1.00\n2,04/05/2026,2.00\n3,05/06/2026,4.00\n";
    let far = "id,date,amount\n1,2020-01-01,11.00\n2,2020-01-02,12.00\n3,2020-01-03,14.00\n";
    let (mut left, mut right) = (table(csv), table(far));
    settle(&mut left, &mut right, None, &crate::Unattended).expect("nobody cancels");
    assert!(
        left.reading().doubt().is_some_and(|doubt| doubt.contains("dd/mm/yyyy") && doubt.contains("mm/dd/yyyy")),
        "{:?}",
        left.reading()
    );
    let mut said = SideReading::default();
    said.set("dates", "mdy").unwrap();
    let mut left = with(csv, said);
    settle(&mut left, &mut right, None, &crate::Unattended).expect("nobody cancels");
    assert_eq!(left.reading().doubt(), None);
    assert_eq!(days(&left, "date")[0], crate::date::days_from_civil(2026, 3, 5).unwrap());
}

#[test]
fn amounts_and_dates_that_cannot_be_read_are_counted_and_said() {
    let table = table(
        "id,amount,booked date\n1,1;5 apples 7,xx-2026-88\n2,2;7 apples 3,yy-2026-77\n3,1;5 pears 22,zz-2026-99\n",
    );
    let unread: Vec<u64> = table.columns.iter().map(|column| column.profile.unread).collect();
    assert!(unread[2] == 3, "{unread:?}");
    assert!(table.reading().warnings.iter().any(|warning| warning.contains("booked date")), "{:?}", table.reading());
}

#[test]
fn a_total_below_the_rows_is_an_error_with_that_reason_and_blank_rows_are_counted() {
    let table = table("id,date,amount\n,,\n1,2026-03-01,1.00\n2,2026-03-02,2.00\n,,\n,,3.00\nEnd of file\n");
    assert_eq!((table.len(), table.error_count, table.reading().blank_rows), (2, 2, 2));
    let reasons: Vec<&str> = table.errors.iter().map(|error| error.reason.as_str()).collect();
    assert!(reasons[0].contains("a total") && reasons[1].contains("below the records"), "{reasons:?}");
    assert_eq!(table.reading().skipped_below, 2);
}

#[test]
fn a_style_is_told_from_the_whole_file_and_by_no_order_of_rows() {
    let mut rows: Vec<String> =
        (0..8_000).map(|at| format!("{at},0{}/0{}/2026,{}.000", 1 + at % 9, 1 + at / 8 % 9, 1 + at % 7)).collect();
    rows.push("8000,12/25/2026,\"1.234,56\"".to_owned());
    let csv = |rows: &[String]| format!("id,date,amount\n{}\n", rows.join("\n"));
    let forward = table(&csv(&rows));
    rows.reverse();
    let backward = table(&csv(&rows));
    for table in [&forward, &backward] {
        assert_eq!((table.len(), table.error_count), (8_001, 0));
        let styles: Vec<&str> = table.columns.iter().map(|column| column.profile.format.as_str()).collect();
        assert_eq!(styles[1..], ["mm/dd/yyyy", "1.234,56"]);
    }
    let streamed = profile(csv(&rows).as_bytes(), &ReadOptions::default()).unwrap();
    assert_eq!(streamed.columns, backward.profile.columns, "the pass of the upload sees what the run sees");
}

#[test]
fn options_are_refused_with_what_is_known() {
    let refused = |toml: &str| crate::RuleSet::parse(toml).unwrap_err().to_string();
    assert!(
        refused("[left]\nheadr = 6\n").contains("unknown field `headr`, expected one of"),
        "{}",
        refused("[left]\nheadr = 6\n")
    );
    assert!(refused("[right]\ndecimal = \";\"\n").contains("right.decimal"));
    assert!(refused("[right]\ndebit = \"Soll\"\n").contains("together"));
    let rules =
        crate::RuleSet::parse("[left]\nheader = 6\ndates = \"dmy\"\ndecimal = \",\"\nsign = \"flip\"\n").unwrap();
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(serde_json::to_string(&crate::RuleSet::parse(&json).unwrap()).unwrap(), json);
}

#[test]
fn a_place_where_lines_are_missing_is_listed_and_counted_apart_from_rows_that_were_not_read() {
    let mut csv = "date,text,amount,balance\n".to_owned();
    let mut balance = 100;
    for day in 1..=12 {
        balance += 10 * day;
        // Of the seventh day only the balance knows.
        if day != 7 {
            writeln!(csv, "2026-03-{day:02},payment {day},{}.00,{balance}.00", 10 * day).unwrap();
        }
    }
    let table = table(&csv);
    assert_eq!((table.len(), table.error_count, table.missing_count(), table.errors.len()), (11, 0, 1, 1));
    assert!(table.errors[0].reason.contains("70.00"), "{:?}", table.errors[0]);
}

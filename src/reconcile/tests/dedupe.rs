//! One file against itself: which rows stand together, in what state, and that order and threads change nothing.
mod support;

use proptest::prelude::*;
use std::collections::BTreeSet;
use support::{random, table};
use tieout_reconcile::{
    CompareKind, Deduped, MatchState, RuleSet, Table, Unattended, check_dedupe_rules, dedupe, dedupe_rules,
    evaluate::{Names, evaluate},
    report::Cells,
    write_deduped,
};

fn found(table: &Table) -> Deduped {
    dedupe(table, None, &Unattended).unwrap()
}

type Shown = (String, Vec<(String, String, bool)>, &'static str);

/// What does not depend on the order of rows.
fn shown(table: &Table, found: &Deduped) -> BTreeSet<Shown> {
    let cluster = |cluster: &tieout_reconcile::Cluster| {
        let member = |m: &tieout_reconcile::Member| {
            (table.id(m.row as usize).into_owned(), format!("{:.9}", m.probability), m.is_representative)
        };
        let mut members: Vec<_> = cluster.members.iter().map(member).collect();
        members.sort();
        (cluster.id.clone(), members, cluster.state.as_str())
    };
    found.clusters.iter().map(cluster).collect()
}

const NAMES: [&str; 12] =
    ["Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Juniper", "Larch", "Maple", "Oak"];
const STREETS: [&str; 8] = ["Harbour", "Station", "Church", "Mill", "Orchard", "Bridge", "Castle", "Garden"];

/// Customers, some twice with a typing error or a missing cell; and the pairs that are the same.
fn customers(seed: u64, people: usize) -> (String, String) {
    let mut random = random(seed);
    let mut csv = "customer,name,street,town,phone,born\n".to_owned();
    let mut truth = "one,other\n".to_owned();
    for at in 0..people {
        let name = format!("{} {}sen", NAMES[random(12) as usize], NAMES[random(12) as usize]);
        let street = format!("{} {} Road", 1 + random(180), STREETS[random(8) as usize]);
        let (town, phone) = (NAMES[random(12) as usize], 2_000_000 + random(7_000_000));
        let born = format!("19{}-{:02}-{:02}", 40 + random(55), 1 + random(12), 1 + random(28));
        csv += &format!("C{at:04},{name},{street},{town}ham,0{phone},{born}\n");
        if random(3) == 0 {
            let (name, phone) = match random(3) {
                0 => (name.replace("sen", "son"), format!("0{phone}")),
                1 => (name, String::new()),
                _ => (name.to_uppercase(), format!("0{phone}")),
            };
            csv += &format!("D{at:04},{name},{street},{town}ham,{phone},{born}\n");
            truth += &format!("D{at:04},C{at:04}\n");
        }
    }
    (csv, truth)
}

fn files(table: &Table, found: &Deduped) -> std::collections::BTreeMap<String, Vec<u8>> {
    let folder = std::env::temp_dir().join(format!("tieout-dedupe-{}-{:p}", std::process::id(), found));
    std::fs::create_dir_all(&folder).unwrap();
    write_deduped(|name| std::fs::File::create(folder.join(name)), Cells::Exact, found, table).unwrap();
    let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
    let files =
        files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()));
    let files = files.collect();
    std::fs::remove_dir_all(folder).unwrap();
    files
}

#[test]
fn near_rows_stand_together_and_evaluate_scores_the_pairs() {
    let (csv, truth) = customers(5, 400);
    let table = table("customers", &csv);
    let found = found(&table);
    let files = files(&table, &found);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["clusters.csv", "errors.csv", "pairs.csv", "summary.json"]);
    let score = evaluate(("pairs.csv", &*files["pairs.csv"]), ("truth.csv", truth.as_bytes()), Names::Ids).unwrap();
    assert!(score.all.precision.value >= 0.98 && score.all.recall.value >= 0.98, "{:?}", score.all);
    let summary: serde_json::Value = serde_json::from_slice(&files["summary.json"]).unwrap();
    assert_eq!(summary["clusters"]["total"], found.clusters.len());
    assert_eq!(summary["rows"], table.len());
    assert!(summary["reading"]["columns"].is_array() && summary["comparing"]["compared"].is_array(), "{summary}");
    for cluster in &found.clusters {
        assert_eq!(cluster.members.iter().filter(|m| m.is_representative).count(), 1);
        assert!(cluster.pairs.iter().all(|pair| pair.first < pair.second && !pair.explanation.is_empty()));
    }
}

#[test]
fn the_more_complete_row_is_the_one_to_keep() {
    let (csv, _) = customers(9, 200);
    let table = table("customers", &csv);
    let empty =
        |row: u32| (0..table.columns.len()).filter(|column| table.cell(row as usize, *column).is_empty()).count();
    let mut decided = 0;
    for cluster in &found(&table).clusters {
        let kept = cluster.members.iter().find(|m| m.is_representative).unwrap();
        assert!(cluster.members.iter().all(|m| empty(m.row) >= empty(kept.row)));
        decided += usize::from(cluster.members.iter().any(|m| empty(m.row) > empty(kept.row)));
    }
    assert!(decided >= 5, "{decided}");
}

#[test]
fn equal_rows_are_one_cluster_however_many() {
    let mut csv = "id,name,town\n".to_owned();
    (0..60).for_each(|at| csv += &format!("K{at:02},Same Name,Sameham\n"));
    (0..40).for_each(|at| csv += &format!("X{at:02},Other {},Town{at}\n", NAMES[at % 12]));
    let table = table("rows", &csv);
    let found = found(&table);
    let large = found.clusters.iter().find(|c| c.members.len() == 60).expect("the equal rows stand together");
    assert_eq!(large.state, MatchState::Auto);
    assert_eq!(large.pairs.len(), 59, "of so many rows only the pairs with the representative are listed");
}

#[test]
fn equal_payments_without_a_reference_are_for_review() {
    let mut csv = "txn,date,amount,text\n".to_owned();
    for at in 0..30 {
        csv += &format!("T{at},2026-03-{:02},{}.50,{} bakery\n", 1 + at % 28, 10 + 7 * at, NAMES[at % 12]);
    }
    csv += "T98,2026-03-30,2.40,city bus\nT99,2026-03-30,2.40,city bus\n";
    let table = table("payments", &csv);
    let found = found(&table);
    let bus = found.clusters.iter().find(|c| c.members.iter().any(|m| table.id(m.row as usize) == "T98")).unwrap();
    assert_eq!(bus.state, MatchState::Review);
    assert!(bus.pairs[0].explanation.contains("can both be real"), "{}", bus.pairs[0].explanation);
}

#[test]
fn payments_whose_amounts_differ_are_never_auto() {
    let mut csv = "txn,date,amount,invoice,text\n".to_owned();
    for at in 0..60 {
        let text = format!("{} {} trading", NAMES[at % 12], STREETS[at % 8]);
        csv += &format!("T{at},2026-03-{:02},{}.00,INV-{},{text}\n", 1 + at % 28, 100 + 3 * at, 4000 + 7 * at);
        if at % 3 == 0 {
            csv += &format!("R{at},2026-03-{:02},{}.00,INV-{},{text}\n", 1 + at % 28, 105 + 3 * at, 4000 + 7 * at);
        }
    }
    let table = table("payments", &csv);
    let found = found(&table);
    assert!(found.clusters.len() >= 15, "{:?}", found.summary);
    assert!(found.clusters.iter().all(|c| c.state == MatchState::Review), "{:?}", found.summary);
}

#[test]
fn a_chain_of_rows_of_which_only_neighbours_are_alike_is_not_one_cluster() {
    // Each row shares a name with the one before and a phone with the one behind it; the ends share nothing.
    let (mut csv, _) = customers(3, 150);
    for at in 0..8_usize {
        let (name, phone) = (at / 2, at.div_ceil(2));
        csv += &format!(
            "Z{at},Chain{name} Person{name},{} Chain{name} Lane,Chainham,0555{phone}{phone}{phone}{phone},19{}-01-0{}\n",
            10 + name,
            50 + phone,
            1 + phone
        );
    }
    let table = table("chain", &csv);
    let found = found(&table);
    let in_chain =
        |c: &tieout_reconcile::Cluster| c.members.iter().filter(|m| table.id(m.row as usize).starts_with('Z')).count();
    let longest = found.clusters.iter().map(in_chain).max().unwrap_or(0);
    assert!(longest <= 3, "{longest} rows of the chain stand together");
}

#[test]
fn rules_given_back_give_the_same_files_and_those_of_two_files_are_refused() {
    let (csv, _) = customers(11, 150);
    let table = table("customers", &csv);
    let rules = dedupe_rules(&table, &Unattended).unwrap();
    assert!(rules.compare.iter().all(|c| c.left == c.right && c.left != "customer"), "{rules:?}");
    let left_out = found(&table).comparing.left_out;
    assert!(left_out.iter().any(|out| out.column == "customer"), "{left_out:?}");
    let again = RuleSet::parse(&serde_json::to_string(&rules).unwrap()).unwrap();
    assert_eq!(again, rules);
    let (one, two) = (found(&table), dedupe(&table, Some(&again), &Unattended).unwrap());
    assert_eq!(files(&table, &one)["clusters.csv"], files(&table, &two)["clusters.csv"]);
    assert_eq!(files(&table, &one)["pairs.csv"], files(&table, &two)["pairs.csv"]);
    assert!(check_dedupe_rules(&rules).is_ok());
    let wrong = RuleSet { right_id: Some("name".into()), ..rules };
    assert_eq!(
        check_dedupe_rules(&wrong).unwrap_err().to_string(),
        "rules: right_id: one file is compared with itself: leave it out, or say the same as on the left side"
    );
}

#[test]
fn small_and_empty_files_are_answered() {
    for csv in ["id,name\n1,Ann\n", "id,name\n1,Ann\n2,Ann\n", "id,name\n1,Ann\n2,Bob\n3,Cid\n"] {
        let table = table("small", csv);
        let found = found(&table);
        assert_eq!(found.summary.rows, table.len() as u64);
        assert_eq!(found.clusters.len(), usize::from(csv.contains("2,Ann")), "{csv}");
    }
    let table = table("x", "id,day,sum\na,2026-01-02,1.00\nb,2026-01-02,2.00\nc,2026-02-02,2.00\n");
    let kinds = dedupe_rules(&table, &Unattended).unwrap();
    let kinds: Vec<CompareKind> = kinds.compare.iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [CompareKind::Window, CompareKind::Tolerance]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn the_order_of_rows_and_the_threads_change_nothing(seed in 0_u64..1_000, people in 5_usize..500) {
        let (csv, _) = customers(seed, people);
        let mut lines: Vec<&str> = csv.lines().collect();
        let mut random = random(seed + 1);
        for at in (2..lines.len()).rev() {
            lines.swap(at, 1 + random(at as u64) as usize);
        }
        let (one, other) = (table("rows", &csv), table("rows", &(lines.join("\n") + "\n")));
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let first = alone.install(|| found(&one));
        prop_assert_eq!(files(&one, &first), files(&one, &found(&one)));
        prop_assert_eq!(shown(&one, &first), shown(&other, &found(&other)));
    }
}

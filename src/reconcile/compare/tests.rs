//! What the tables of levels promise the model.
use super::*;
use crate::control::{Meter, Phase};
use std::sync::Arc;

/// A comparator of every kind, over no rows.
fn kinds() -> Vec<Comparator> {
    let lexicon = Lexicon::default();
    let table = crate::read("a\n".as_bytes(), None, &crate::ReadOptions::default(), &crate::Unattended);
    let table = table.unwrap_or_else(|error| panic!("an empty table is read: {error}"));
    let meter = Meter::start(&crate::Unattended, Phase::Indexing, 0, 0).expect("nobody cancels");
    let words = || Arc::new(Words::build(&table, 0, &mut Lexicon::default(), &meter).expect("nobody cancels"));
    let sought = || Sought::new(words(), words());
    let weighted = || Weighted::new(words(), words(), &lexicon);
    vec![
        Comparator::Equal(Equal { left: words(), right: words() }),
        Comparator::Amount(Amounts::new(vec![], vec![], 2, 0, 0.0)),
        Comparator::Date(Dates { left: vec![], right: vec![], before: 5, after: 5 }),
        Comparator::CodeIn(CodeIn::new(sought(), &meter).expect("nobody cancels")),
        Comparator::NameIn(NameIn::new(sought(), &lexicon)),
        Comparator::CodeLike(CodeLike { left: words(), right: words() }),
        Comparator::NameLike(NameLike(weighted())),
        Comparator::WordsLike(WordsLike(weighted())),
    ]
}

#[test]
fn every_table_fits_into_a_pattern_and_its_levels_get_better_and_better() {
    for comparator in kinds() {
        let levels = comparator.levels();
        assert!((3..=MAX_LEVELS).contains(&levels.len()));
        assert_eq!((levels[0], levels[1].rank), (Level::MISSING, 0.0));
        assert!(levels.windows(2).all(|two| two[0].rank <= two[1].rank), "{levels:?}");
        assert_eq!(levels.last().map(|best| (best.rank, best.is_whole_agreement)), Some((1.0, true)));
        // What agrees in full goes on to the best level, and is no discrepancy.
        let whole = levels.iter().skip_while(|level| !level.is_whole_agreement);
        assert!(whole.clone().all(|level| level.is_whole_agreement && !level.is_discrepancy), "{levels:?}");
        let mut names: Vec<&str> = levels.iter().map(|level| level.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), levels.len(), "two levels of one name: {levels:?}");
    }
}

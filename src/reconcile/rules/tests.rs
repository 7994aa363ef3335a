//! What the reader of rules refuses and keeps.
use super::*;

#[test]
fn every_error_names_the_path_in_the_file() {
    let path = |text: &str| RuleSet::parse(text).expect_err("must be refused").to_string();
    assert!(path(r#"{"compare":[],"colour":1}"#).contains("rules: colour: unknown key"));
    assert!(path(r#"{"":1}"#).contains("rules: (file): an empty key"));
    assert!(path(r#"{"compare":[]}"#).contains("rules: compare: at least one"));
    let unknown = path(r#"{"compare":[{"kind":"exact","left":"a","right":"b","tolerence":1}]}"#);
    assert!(unknown.contains("compare[0]") && unknown.contains("tolerence"), "{unknown}");
    let toml = "[[compare]]\nkind = \"window\"\nleft = \"a\"\nright = \"b\"\npercent = 2.0\n";
    assert!(path(toml).contains("compare[0].percent: only for kind tolerance"));
    assert!(
        path("[assign]\nfloor = 2.0\n[[compare]]\nkind=\"exact\"\nleft=\"a\"\nright=\"b\"").contains("assign.floor")
    );
}

#[test]
fn rules_survive_a_round_trip_through_both_formats() {
    let toml = "[[compare]]\nkind = \"tolerance\"\nleft = \"a\"\nright = \"b\"\ntolerance = \"0.05\"\n";
    let rules = RuleSet::from_toml(toml).unwrap();
    let json = serde_json::to_string(&rules).unwrap();
    assert_eq!(RuleSet::from_json(&json).unwrap(), rules);
    assert_eq!(RuleSet::parse(&toml::to_string(&rules).unwrap()).unwrap(), rules);
}

#[test]
fn a_number_is_stored_as_the_one_that_was_read() {
    // Needs serde_json's `float_roundtrip`; found by fuzzing.
    for digits in ["999999999999999999999999999999999999999999999991", "9.999999999999999e+47", "0.1"] {
        let json = format!(
            r#"{{"model":"weighted","compare":[{{"kind":"exact","left":"a","right":"b","agree":{digits},"disagree":-1}}]}}"#
        );
        let rules = RuleSet::from_json(&json).unwrap();
        assert_eq!(rules.compare[0].agree, digits.parse().ok());
        assert_eq!(RuleSet::from_json(&serde_json::to_string(&rules).unwrap()).unwrap(), rules);
    }
}

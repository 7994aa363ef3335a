//! The ledger finds what it is for: each contradiction is written into it once. Leaves real faults to `faults`.
//! Easy to get wrong: a ledger that finds everything sound.
use super::*;
use serde_json::json;

const P: &str = "project";

/// Two subscribers from offset 10 on, and three requests: stored at 11, stored at 12, without an answer.
fn ledger() -> Ledger {
    let ledger = Ledger::default();
    for name in ["ana", "bob"] {
        ledger.joined(name, P, &json!({"ep": "e", "off": 10}));
    }
    for key in ["k1", "k2", "k3"] {
        ledger.asked(P, key);
    }
    ledger.committed("k1", "e", 11);
    ledger.committed("k2", "e", 12);
    ledger
}

fn see(ledger: &Ledger, name: &str, events: &[(u64, &str)]) {
    for (off, key) in events {
        ledger.saw(name, &json!({"ep": "e", "off": off, "Notification": {"message": key}}));
    }
}

fn see_all(ledger: &Ledger, events: &[(u64, &str)]) {
    let names: Vec<String> = ledger.books().subscribers.keys().cloned().collect();
    for name in names {
        see(ledger, &name, events);
    }
}

fn broken(ledger: &Ledger) -> String {
    ledger.verdict().broken.join("; ")
}

#[test]
fn what_was_acknowledged_and_seen_once_in_order_is_sound() {
    let ledger = ledger();
    // Frames that are no durable events do not count.
    ledger.saw("ana", &json!({"PresenceDiff": {"rev": 1}}));
    ledger.saw("ana", &json!({"ep": "e", "off": 10, "ProjectJoined": {}}));
    see_all(&ledger, &[(11, "k1"), (12, "k2")]);
    let verdict = ledger.verdict();
    verdict.assert_sound();
    assert_eq!((verdict.acknowledged, verdict.unknown, verdict.unknown_stored), (2, 1, 0));
    assert_eq!(verdict.to_string(), "2 acknowledged, 1 unknown (0 of them stored): none lost, none twice, no hole");
    assert_eq!(ledger.position("ana"), Some(("e".into(), 12)));
}

#[test]
fn a_request_without_an_answer_may_be_stored_once_and_not_twice() {
    let once = ledger();
    see_all(&once, &[(11, "k1"), (12, "k2"), (13, "k3")]);
    assert_eq!((broken(&once), once.verdict().unknown_stored), (String::new(), 1));
    see_all(&once, &[(14, "k3")]);
    assert!(broken(&once).contains("k3 is stored at [13, 14]: more than once"), "{}", broken(&once));
}

#[test]
fn an_acknowledged_event_that_is_lost_is_named() {
    let nobody_saw = ledger();
    see_all(&nobody_saw, &[(11, "k1")]);
    assert!(broken(&nobody_saw).contains("k2 was acknowledged at 12 and is lost"), "{}", broken(&nobody_saw));
    let one_saw = ledger();
    see(&one_saw, "ana", &[(11, "k1"), (12, "k2")]);
    see(&one_saw, "bob", &[(11, "k1")]);
    assert_eq!(broken(&one_saw), "bob never saw 12 to 12");
    let elsewhere = ledger();
    see_all(&elsewhere, &[(11, "k1"), (12, "other")]);
    assert!(broken(&elsewhere).contains("k2 was acknowledged at 12, where Some(\"other\") is"));
    let unwatched = Ledger::default();
    unwatched.asked(P, "k");
    unwatched.committed("k", "e", 1);
    assert!(broken(&unwatched).contains("nobody was there"));
}

#[test]
fn holes_repetitions_and_a_wrong_order_are_named() {
    for (events, words) in [
        (&[(12, "k2")][..], "12 (Some(\"k2\")) came after a hole, 11 was next"),
        (&[(11, "k1"), (11, "k1"), (12, "k2")], "11 (Some(\"k1\")) came again or late, 12 was next"),
        (&[(11, "k1"), (13, "k3"), (12, "k2")], "13 (Some(\"k3\")) came after a hole, 12 was next"),
    ] {
        let ledger = ledger();
        see(&ledger, "ana", events);
        see(&ledger, "bob", &[(11, "k1"), (12, "k2")]);
        assert!(broken(&ledger).contains(words), "{}", broken(&ledger));
    }
}

#[test]
fn subscribers_that_disagree_and_histories_that_change_are_named() {
    let disagree = ledger();
    see(&disagree, "ana", &[(11, "k1"), (12, "k2")]);
    see(&disagree, "bob", &[(11, "k1"), (12, "k3")]);
    assert!(broken(&disagree).contains("bob saw Some(\"k3\") at 12, others Some(\"k2\")"), "{}", broken(&disagree));
    let changed = ledger();
    see_all(&changed, &[(11, "k1"), (12, "k2")]);
    changed.saw("ana", &json!({"ep": "f", "off": 13, "Notification": {"message": "k3"}}));
    see(&changed, "bob", &[(13, "k3")]);
    assert_eq!(broken(&changed), "ana: event 13 is of the history f, it joined e");
}

#[test]
fn a_refused_request_is_not_stored_and_a_repeated_one_has_one_answer() {
    let refused = ledger();
    refused.refused("k3");
    see_all(&refused, &[(11, "k1"), (12, "k2")]);
    assert_eq!((broken(&refused), refused.verdict().refused), (String::new(), 1));
    see_all(&refused, &[(13, "k3")]);
    assert!(broken(&refused).contains("k3 was refused and is stored at [13]"));
    let repeated = ledger();
    see_all(&repeated, &[(11, "k1"), (12, "k2")]);
    repeated.committed("k1", "e", 11);
    assert_eq!(broken(&repeated), "");
    repeated.committed("k1", "e", 12);
    assert!(broken(&repeated).contains("k1 was answered in different ways"));
}

#[test]
fn who_comes_back_is_given_what_was_missed_or_it_is_named() {
    let ledger = ledger();
    see_all(&ledger, &[(11, "k1"), (12, "k2")]);
    ledger.joined("ana", P, &json!({"ep": "e", "off": 12, "recovered": true}));
    assert_eq!(broken(&ledger), "");
    ledger.joined("bob", P, &json!({"ep": "e", "off": 12, "recovered": false}));
    assert!(broken(&ledger).contains("bob came back and was not given what it missed"));
}

#[test]
fn what_is_stored_in_the_end_is_held_against_what_was_answered() {
    let event = |off: u64, key: &str| (off, json!({"Notification": {"message": key}}));
    let before: Vec<_> = (1..=10).map(|off| (off, json!({"DataUpdate": {}}))).collect();
    let stored = |more: &[(u64, Value)]| ledger().against_stored(P, &[&before[..], more].concat()).join("; ");
    assert_eq!(stored(&[event(11, "k1"), event(12, "k2")]), "");
    assert_eq!(stored(&[event(11, "k1"), event(12, "k2"), event(13, "k3")]), "", "without an answer it may be stored");
    let cases = [
        (vec![event(11, "k1")], "12 was seen or answered, and 11 is the last"),
        (vec![event(11, "k1"), event(13, "k2")], "13 is stored where 12 should be"),
        (vec![event(11, "k2"), event(12, "k1")], "k1 is stored at [12], and was answered"),
        (vec![event(11, "k1"), event(12, "k2"), event(13, "k1")], "k1 is stored at [11, 13]"),
        (vec![event(11, "k1"), event(12, "k2"), event(13, "k3"), event(14, "k3")], "k3 is stored at [13, 14]"),
        (vec![event(11, "k1"), event(12, "k2"), event(13, "k9")], "k9 is stored, and nobody asked for it"),
    ];
    for (more, words) in cases {
        assert!(stored(&more).contains(words), "{words}: {}", stored(&more));
    }
    let refused = ledger();
    refused.refused("k3");
    let all = [&before[..], &[event(11, "k1"), event(12, "k2"), event(13, "k3")]].concat();
    assert!(refused.against_stored(P, &all).join(";").contains("k3 is stored at [13]"), "a refused one is not stored");
}

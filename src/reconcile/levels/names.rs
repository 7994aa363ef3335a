//! What each level of each comparison is called in explanations, the level's number being its place.

pub(super) const EQUAL: [&str; 5] = ["missing", "different", "equal (common value)", "equal", "equal (rare value)"];
pub(super) const AMOUNT: [&str; 12] = [
    "missing",
    "different",
    "right higher by up to 30 %",
    "right lower by up to 30 %",
    "right higher by up to 10 %",
    "right lower by up to 10 %",
    "right higher by up to 2 %",
    "right lower by up to 2 %",
    "within tolerance",
    "equal (common amount)",
    "equal",
    "equal (rare amount)",
];
pub(super) const DATE: [&str; 11] = [
    "missing",
    "outside the window",
    "right 4 days or more earlier",
    "right 4 days or more later",
    "right 3 days earlier",
    "right 3 days later",
    "right 2 days earlier",
    "right 2 days later",
    "right 1 day earlier",
    "right 1 day later",
    "same day",
];
pub(super) const CODE_IN: [&str; 10] = [
    "missing",
    "another reference",
    "cut off early",
    "no reference",
    "two characters differ",
    "cut off",
    "one character differs",
    "found (common value)",
    "found, written differently",
    "found",
];
pub(super) const NAME_IN: [&str; 8] = [
    "missing",
    "not found",
    "little found",
    "partly found",
    "mostly found",
    "nearly all found",
    "found",
    "found (rare value)",
];
pub(super) const CODE_LIKE: [&str; 8] = [
    "missing",
    "different",
    "somewhat alike",
    "two characters differ",
    "one character differs",
    "equal (common value)",
    "equal",
    "equal (rare value)",
];
pub(super) const NAME_LIKE: [&str; 10] = [
    "missing",
    "different",
    "slightly alike",
    "somewhat alike",
    "alike",
    "very alike",
    "same words",
    "equal (common value)",
    "equal",
    "equal (rare value)",
];
pub(super) const WORDS_LIKE: [&str; 10] = [
    "missing",
    "no words shared",
    "few words shared",
    "some words shared",
    "a third of the words shared",
    "half of the words shared",
    "most words shared",
    "nearly all words shared",
    "all words shared",
    "equal",
];

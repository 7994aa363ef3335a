//! Names that people read: of projects, sources, files, users and things that can be claimed; and bounded text.
//!
//! A name that looks like another one, or like nothing, misleads its reader, so characters that are not seen or that turn
//! the direction of text are refused. Easy to get wrong: a bound is in characters, as `maxLength` of JSON Schema is; in bytes
//! a name that fits the published contract could be refused.
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{borrow::Cow, fmt, ops::Deref};

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 200;

/// Characters that are not seen: controls, Unicode's `Default_Ignorable_Code_Point` and `Bidi_Control`, separators of lines,
/// annotations, and the blank that is no white space. Sorted.
const HIDDEN: &[(char, char)] = &[
    ('\0', '\u{1f}'),
    ('\u{7f}', '\u{9f}'),
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Why a text is no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadName {
    /// Too short, too long, or nothing but space.
    #[error("must have 1 to {0} characters, not all of them space")]
    Length(usize),
    /// It holds a character that is not seen.
    #[error("has a character that is not seen (U+{:04X})", u32::from(*.0))]
    Hidden(char),
}

/// Whether a text is a name of at most `most` characters.
///
/// # Errors
/// [`BadName`].
pub fn check(text: &str, most: usize) -> Result<(), BadName> {
    if let Some(hidden) = text.chars().find(|c| is_hidden(*c) && !joins(text, *c)) {
        return Err(BadName::Hidden(hidden));
    }
    if text.trim().is_empty() || text.chars().count() > most {
        return Err(BadName::Length(most));
    }
    Ok(())
}

/// The text without what is not seen, at most `most` characters of it.
pub fn shown(text: &str, most: usize) -> String {
    text.chars().filter(|c| !is_hidden(*c)).take(most).collect()
}

fn is_hidden(c: char) -> bool {
    let at = HIDDEN.partition_point(|(_, last)| *last < c);
    HIDDEN.get(at).is_some_and(|(first, _)| *first <= c)
}

/// Joiners and variation selectors: Persian, Indic scripts and emoji need them.
const JOINERS: [char; 3] = ['\u{200c}', '\u{200d}', '\u{fe0f}'];

/// Whether every `c` of the text stands where it changes what is seen: a joiner between two characters beyond ASCII, a
/// variation selector behind one. Beside Latin letters it would only make two names that look alike.
fn joins(text: &str, c: char) -> bool {
    let seen = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && (!is_hidden(c) || c == '\u{fe0f}'));
    JOINERS.contains(&c)
        && text.match_indices(c).all(|(at, one)| {
            let (before, after) = (text[..at].chars().next_back(), text[at + one.len()..].chars().next());
            seen(before) && before != Some(c) && (c == '\u{fe0f}' || seen(after))
        })
}

/// What the published contract says of a name.
fn pattern() -> String {
    let ranges: String = HIDDEN
        .iter()
        .filter(|(first, last)| !JOINERS.iter().any(|joiner| (first..=last).contains(&joiner)))
        .chain(&[('\u{200b}', '\u{200b}'), ('\u{200e}', '\u{200f}'), ('\u{fe00}', '\u{fe0e}')])
        .map(|(first, last)| format!("{}-{}", escaped(*first), escaped(*last)))
        .collect();
    format!("^[^{ranges}]*[^\\s{ranges}][^{ranges}]*$")
}

/// As both UTF-16 and code point engines read it; a class can't hold a pair of surrogates without their flag.
fn escaped(c: char) -> String {
    if u32::from(c) > 0xffff { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) }
}

/// A name of at most `MOST` characters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Name<const MOST: usize = MAX_NAME_CHARS>(String);

/// Text of 1 to `MOST` characters, whatever they are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Text<const MOST: usize>(String);

impl<const MOST: usize> Name<MOST> {
    /// The name as a plain text.
    pub fn into_inner(self) -> String {
        self.0
    }
}

impl<const MOST: usize> Deref for Name<MOST> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MOST: usize> Deref for Text<MOST> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MOST: usize> fmt::Display for Name<MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de, const MOST: usize> Deserialize<'de> for Name<MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        check(&text, MOST).map_err(de::Error::custom)?;
        Ok(Self(text))
    }
}

/// For `deserialize_with` of a [`Name`] that is kept as plain text.
///
/// # Errors
/// [`BadName`].
pub fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Name::<MAX_NAME_CHARS>::deserialize(deserializer).map(Name::into_inner)
}

/// The same for one that may be absent or null.
///
/// # Errors
/// [`BadName`].
pub fn optionally_named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::<Name>::deserialize(deserializer).map(|name| name.map(Name::into_inner))
}

impl<'de, const MOST: usize> Deserialize<'de> for Text<MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.chars().count() > MOST {
            return Err(de::Error::custom(format!("must have 1 to {MOST} characters")));
        }
        Ok(Self(text))
    }
}

impl<const MOST: usize> JsonSchema for Name<MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("NameOf{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": MOST, "pattern": pattern() })
    }
}

impl<const MOST: usize> JsonSchema for Text<MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("TextOf{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": MOST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_are_not_seen_or_turn_the_text_are_refused() {
        for (name, c) in [
            ("invoice\u{202e}fdp.exe", '\u{202e}'),
            ("\u{200b}", '\u{200b}'),
            ("a\u{2028}b", '\u{2028}'),
            ("a\u{2066}b", '\u{2066}'),
            ("a\u{ad}b", '\u{ad}'),
            ("\u{feff}a", '\u{feff}'),
            ("\u{3164}", '\u{3164}'),
            ("\u{2800}", '\u{2800}'),
            ("flag\u{e0041}", '\u{e0041}'),
            ("ow\u{200d}ner", '\u{200d}'),
            ("owner\u{200c}", '\u{200c}'),
            ("é\u{200d}", '\u{200d}'),
            ("a\u{fe0f}", '\u{fe0f}'),
            ("a\tb", '\t'),
            ("a\u{85}b", '\u{85}'),
            ("\0", '\0'),
        ] {
            assert_eq!(check(name, 20), Err(BadName::Hidden(c)), "{name:?}");
        }
        for name in ["Bücher 2026", "می\u{200c}خواهم", "क्\u{200d}ष", "👩\u{200d}💻 ❤\u{fe0f}", "帳簿", "עברית", "a b"]
        {
            assert_eq!(check(name, 20), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn a_name_is_counted_in_characters() {
        assert_eq!(check(&"é".repeat(20), 20), Ok(()));
        for name in [String::new(), " \u{3000}".into(), "é".repeat(21)] {
            assert_eq!(check(&name, 20), Err(BadName::Length(20)), "{name:?}");
        }
        assert_eq!(shown("a\u{202e}b\u{200b}c\nd", 3), "abc");
    }

    #[test]
    fn the_table_is_sorted_without_overlaps() {
        assert!(HIDDEN.iter().all(|(first, last)| first <= last));
        assert!(HIDDEN.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }
}

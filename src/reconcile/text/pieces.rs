//! One way to cut text into comparable pieces, for profiling, blocking and comparing alike.
//!
//! A token is a maximal run of letters and digits in lower case, without accents, in Latin letters where a script has a
//! customary transliteration; text without blanks between words (Chinese, Japanese) gives every two neighbouring
//! characters. Dotted abbreviations (`S.A.`) are one token. Both sides must go through this file: a second
//! normalisation elsewhere would make equal things differ.
use super::ascii;
use super::fold::{fold_from, fold_into, is_unspaced, narrow};
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Calls `each` with every token of `text`, in order.
pub(crate) fn tokens(text: &str, each: impl FnMut(&str)) {
    if text.is_ascii() { ascii::tokens(text, each) } else { tokens_of_any(text, each) }
}

fn tokens_of_any(text: &str, mut each: impl FnMut(&str)) {
    let mut token = String::with_capacity(24);
    for word in text.split_whitespace() {
        if is_abbreviation(word) {
            token.extend(word.bytes().filter(u8::is_ascii_alphabetic).map(|b| char::from(b.to_ascii_lowercase())));
            each(&token);
            token.clear();
            continue;
        }
        let mut unspaced: Option<char> = None;
        let mut alone = true;
        let mut end = |token: &mut String| {
            if !token.is_empty() {
                each(token);
                token.clear();
            }
        };
        for c in word.chars().map(narrow) {
            if is_unspaced(c) {
                end(&mut token);
                if let Some(before) = unspaced {
                    token.extend([before, c]);
                    end(&mut token);
                    alone = false;
                }
                unspaced = Some(c);
                continue;
            }
            if let Some(before) = unspaced.take().filter(|_| alone) {
                token.push(before);
                end(&mut token);
            }
            alone = true;
            if c.is_alphanumeric() {
                fold_into(c, &mut token);
            } else if c != '\'' && c != '\u{2019}' && !is_mark(c) {
                end(&mut token);
            }
        }
        if let Some(before) = unspaced.filter(|_| alone) {
            token.push(before);
        }
        end(&mut token);
    }
}

/// Combining accents, which some systems write behind the letter.
fn is_mark(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

/// Every letter and digit of `text`, folded, without anything between; appended to `out`.
pub(crate) fn compact_into(text: &str, out: &mut String) {
    if text.is_ascii() { ascii::compact_into(text, out) } else { compact_any_into(text, out) }
}

fn compact_any_into(text: &str, out: &mut String) {
    let start = out.len();
    for c in text.chars().map(narrow).filter(|c| c.is_alphanumeric()) {
        fold_from(c, out, start);
    }
}

/// Letters and digits of `text`, folded.
pub(crate) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    compact_into(text, &mut out);
    out
}

/// A number as it is without the zeros that fill it up, `000700`; anything else as it is.
pub(crate) fn without_leading_zeros(compact: &str) -> &str {
    match compact.trim_start_matches('0') {
        "" => {
            if compact.is_empty() {
                ""
            } else {
                "0"
            }
        }
        rest if rest.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => compact,
    }
}

/// `S.A.`, `B.V`: single letters with dots between them.
pub(super) fn is_abbreviation(word: &str) -> bool {
    let word = word.trim_end_matches([',', ';']);
    let bytes = word.as_bytes();
    bytes.len() >= 3
        && bytes.len() <= 8
        && bytes.iter().enumerate().all(|(i, b)| if i % 2 == 0 { b.is_ascii_alphabetic() } else { *b == b'.' })
}

/// A hash that is the same on every machine and in every process: keys, sketches and content ids use it.
pub(crate) fn hash(text: &str) -> u64 {
    mix(hash_bytes(text.as_bytes()))
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().for_each(|word| hasher.write_u64(u64::from_le_bytes(*word)));
    if !rest.is_empty() {
        // Lowest byte first, zeros above.
        hasher.write_u64(rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }
    hasher.write_u64(bytes.len() as u64);
    hasher.finish()
}

/// The finaliser of SplitMix64: spreads nearby values over all bits.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Combines two hashes, order matters.
pub(crate) fn combine(a: u64, b: u64) -> u64 {
    mix(a.rotate_left(23) ^ b)
}

/// Runs of one class (letters or digits) in an already compact text: `inv2024001388` gives `inv`, `2024001388`.
pub(crate) fn runs(compact: &str, mut each: impl FnMut(&str, bool)) {
    let mut start = 0;
    let mut digits = false;
    // A digit is one byte, and no byte of another character is one.
    for (at, byte) in compact.bytes().enumerate() {
        let is_digit = byte.is_ascii_digit();
        if at > start && is_digit != digits {
            each(&compact[start..at], digits);
            start = at;
        }
        digits = is_digit;
    }
    if start < compact.len() {
        each(&compact[start..], digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        tokens(text, |t| out.push(t.to_owned()));
        out
    }

    #[test]
    fn tokens_are_lower_case_runs_with_abbreviations_joined() {
        assert_eq!(all("MÜLLER Söhne, B.V.  SO/61865/97"), ["muller", "sohne", "bv", "so", "61865", "97"]);
        assert_eq!(all("O'Brien"), ["obrien"]);
        assert_eq!(all("--"), Vec::<String>::new());
    }

    proptest::proptest! {
        #[test]
        fn ascii_is_cut_as_any_text_is(text in "[ -~\\t\\n\\x0b\\x1c]{0,90}|([aeouAE.' ,;]{1,3}){0,30}|([A-C][.]){1,5}[,;]?( [a-e.]{1,9})?") {
            let (mut fast, mut any) = (Vec::new(), Vec::new());
            tokens(&text, |token| fast.push(token.to_owned()));
            tokens_of_any(&text, |token| any.push(token.to_owned()));
            proptest::prop_assert_eq!(fast, any);
            let (mut fast, mut any) = ("before a".to_owned(), "before a".to_owned());
            compact_into(&text, &mut fast);
            compact_any_into(&text, &mut any);
            proptest::prop_assert_eq!(fast, any);
        }
    }

    #[test]
    fn runs_split_letters_from_digits() {
        let mut out = Vec::new();
        runs("inv2024a1", |run, digits| out.push((run.to_owned(), digits)));
        assert_eq!(out, [("inv".into(), false), ("2024".into(), true), ("a".into(), false), ("1".into(), true)]);
    }

    #[test]
    fn one_name_has_one_form_in_every_customary_spelling() {
        for (a, b) in [
            ("Müller Bäckerei", "MUELLER BAECKEREI"),
            ("Straße Øster Ålborg", "STRASSE OESTER AALBORG"),
            ("Юрий Лебедев", "YURIY LEBEDEV"),
            ("Παπαδοπουλος", "PAPADOPOULOS"),
            ("ＡＢＣ１２", "abc12"),
            ("Mu\u{308}ller", "Muller"),
        ] {
            assert_eq!(all(a), all(b));
            assert_eq!(compact(a), compact(b));
        }
        assert_eq!(all("株式会社トヨタ"), all("株式会社トヨタ"));
        assert!(all("トヨタ商店").iter().all(|pair| all("株式会社トヨタ商店").contains(pair)));
    }
}

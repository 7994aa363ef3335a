//! One way to cut text into comparable pieces, for profiling, blocking and comparing alike.
//!
//! A token is a maximal run of letters and digits in lower case, with accents folded; dotted abbreviations
//! (`S.A.`) are one token. Both sides must go through this file: a second normalisation elsewhere would make
//! equal things differ.
use rustc_hash::FxHasher;
use std::hash::Hasher;

/// Calls `each` with every token of `text`, in order.
pub(crate) fn tokens(text: &str, mut each: impl FnMut(&str)) {
    let mut token = String::with_capacity(24);
    for word in text.split_whitespace() {
        if is_abbreviation(word) {
            token.extend(word.chars().filter(|c| c.is_alphanumeric()).map(fold));
            each(&token);
            token.clear();
            continue;
        }
        for c in word.chars() {
            if c.is_alphanumeric() {
                token.push(fold(c));
            } else if c != '\'' && c != '\u{2019}' && !token.is_empty() {
                each(&token);
                token.clear();
            }
        }
        if !token.is_empty() {
            each(&token);
            token.clear();
        }
    }
}

/// Every letter and digit of `text`, folded, without anything between; appended to `out`.
pub(crate) fn compact_into(text: &str, out: &mut String) {
    out.extend(text.chars().filter(|c| c.is_alphanumeric()).map(fold));
}

/// Letters and digits of `text`, folded.
pub(crate) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    compact_into(text, &mut out);
    out
}

/// `S.A.`, `B.V`: single letters with dots between them.
fn is_abbreviation(word: &str) -> bool {
    let word = word.trim_end_matches([',', ';']);
    let bytes = word.as_bytes();
    bytes.len() >= 3
        && bytes.len() <= 8
        && bytes.iter().enumerate().all(|(i, b)| if i % 2 == 0 { b.is_ascii_alphabetic() } else { *b == b'.' })
}

/// Lower case without the accents of Latin letters; one character in, one out.
fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    match c.to_lowercase().next().unwrap_or(c) {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì' | 'í' | 'î' | 'ï' | 'ī' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'š' | 'ś' | 'ş' => 's',
        'ž' | 'ź' | 'ż' => 'z',
        'ł' => 'l',
        'ß' => 's',
        lower => lower,
    }
}

/// A hash that is the same on every machine and in every process: keys, sketches and content ids use it.
pub(crate) fn hash(text: &str) -> u64 {
    mix(hash_bytes(text.as_bytes()))
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    for chunk in bytes.chunks(8) {
        let mut word = [0_u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hasher.write_u64(u64::from_le_bytes(word));
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
    for (at, c) in compact.char_indices() {
        let is_digit = c.is_ascii_digit();
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

    #[test]
    fn runs_split_letters_from_digits() {
        let mut out = Vec::new();
        runs("inv2024a1", |run, digits| out.push((run.to_owned(), digits)));
        assert_eq!(out, [("inv".into(), false), ("2024".into(), true), ("a".into(), false), ("1".into(), true)]);
    }
}

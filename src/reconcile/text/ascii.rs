//! The same cutting for text of ASCII alone, which most text is: a look at a table for each byte.
//!
//! Easy to get wrong: it must give what the way for all characters gives, which a test holds it to.
use super::pieces::is_abbreviation;
use smallvec::SmallVec;

/// Ends a token.
const SEPARATOR: u8 = 0;
/// Ends a word.
const BLANK: u8 = 1;
/// Stands within a token and is no part of it.
const SKIPPED: u8 = 2;

/// What each byte is, or its folded form.
const FOLDED: [u8; 256] = {
    let mut folded = [SEPARATOR; 256];
    let mut at = 0;
    while at < 128 {
        let byte = at as u8;
        folded[at] = match byte {
            b'\t'..=b'\r' | b' ' => BLANK,
            b'\'' => SKIPPED,
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => byte.to_ascii_lowercase(),
            _ => SEPARATOR,
        };
        at += 1;
    }
    folded
};

/// As [`super::tokens`], of ASCII.
pub(super) fn tokens(text: &str, mut each: impl FnMut(&str)) {
    let bytes = text.as_bytes();
    let mut token: SmallVec<[u8; 64]> = SmallVec::new();
    let mut end = |token: &mut SmallVec<[u8; 64]>| {
        if !token.is_empty() {
            each(as_text(token));
            token.clear();
        }
    };
    let (mut at, mut begins) = (0, true);
    while at < bytes.len() {
        let folded = FOLDED[usize::from(bytes[at])];
        if begins && folded > SKIPPED && bytes.get(at + 1) == Some(&b'.') {
            let length = bytes[at..].iter().position(|byte| FOLDED[usize::from(*byte)] == BLANK);
            let word = &text[at..length.map_or(bytes.len(), |length| at + length)];
            if is_abbreviation(word) {
                token.extend(word.bytes().filter(u8::is_ascii_alphabetic).map(|byte| byte.to_ascii_lowercase()));
                end(&mut token);
                at += word.len();
                continue;
            }
        }
        begins = folded == BLANK;
        match folded {
            BLANK | SEPARATOR => end(&mut token),
            SKIPPED => {}
            letter if is_dropped(letter, token.last().copied().unwrap_or(0)) => {}
            letter => token.push(letter),
        }
        at += 1;
    }
    end(&mut token);
}

/// As [`super::compact_into`], of ASCII.
pub(super) fn compact_into(text: &str, out: &mut String) {
    let mut last = 0;
    for part in text.as_bytes().chunks(64) {
        let (mut letters, mut length) = ([0_u8; 64], 0);
        for byte in part {
            let folded = FOLDED[usize::from(*byte)];
            if folded > SKIPPED && !is_dropped(folded, last) {
                letters[length] = folded;
                length += 1;
                last = folded;
            }
        }
        out.push_str(as_text(&letters[..length]));
    }
}

/// As `fold::push`: the `e` of `ae`, `oe`, `ue` and the second of `aa`.
fn is_dropped(letter: u8, before: u8) -> bool {
    (letter == b'e' && matches!(before, b'a' | b'o' | b'u')) || (letter == b'a' && before == b'a')
}

fn as_text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).expect("folded ASCII is text")
}

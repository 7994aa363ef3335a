//! Currency signs, codes and the words banks write for them, on either side of an amount.
//!
//! Easy to get wrong: `12.34x` must stay unreadable, so letters count only when they are a known word or three
//! capital letters.

/// Words for a currency that are neither a sign nor three capital letters, in lower case.
const WORDS: [&str; 50] = [
    "kr", "kr.", "zł", "zl", "kč", "kc", "ft", "lei", "leu", "ron", "лв", "лв.", "руб", "руб.", "р.", "грн", "грн.",
    "din", "din.", "rs", "rs.", "re", "re.", "fr", "fr.", "sfr", "sfr.", "tl", "rm", "rp", "rp.", "s/", "s/.", "bs",
    "bs.", "b/.", "円", "元", "圆", "원", "塊", "km", "r", "us", "usdt", "usdc", "doge", "euro", "euros", "mbtc",
];
/// Bytes of the longest of them.
const LONGEST: usize = 7;
/// What may stand before a currency sign: `R$`, `A$`, `US$`, `NZ$`.
const BEFORE_SIGN: [&str; 16] =
    ["R", "A", "C", "S", "US", "AU", "CA", "NZ", "HK", "SG", "NT", "MX", "CA", "Z", "J", "CN"];

fn is_sign(c: char) -> bool {
    matches!(
        c,
        '$' | '¢' | '£' | '¤' | '¥' | '֏' | '؋' | '৲' | '৳' | '฿' | '៛' | '\u{20a0}'
            ..='\u{20cf}' | '﷼' | '﹩' | '＄' | '￠' | '￡' | '￥' | '￦'
    )
}

/// Whether the text begins with a word that is neither a currency nor a side of an account (`Dr`), so that it is no
/// amount whatever follows; only a quick look at ASCII.
pub(super) fn is_other_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(u8::is_ascii_alphabetic) || !text.is_ascii() {
        return false;
    }
    let end = bytes.iter().position(|b| !b.is_ascii_alphabetic() && !matches!(b, b'.' | b'/')).unwrap_or(bytes.len());
    let side =
        bytes.get(..2).is_some_and(|two| ["cr", "dr", "db"].iter().any(|s| two.eq_ignore_ascii_case(s.as_bytes())));
    !side && bytes.get(end) != Some(&b'$') && !is_word(&text[..end])
}

/// The text without one currency at its beginning or end; `None` when there is none.
pub(super) fn strip(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_suffix(is_sign) {
        let word = letters_behind(rest);
        let rest = if BEFORE_SIGN.contains(&word) { &rest[..rest.len() - word.len()] } else { rest };
        return Some(rest.trim_end());
    }
    let word = letters_before(text);
    let rest = &text[word.len()..];
    if let Some(after) = rest.strip_prefix(is_sign)
        && (word.is_empty() || BEFORE_SIGN.contains(&word))
    {
        return Some(after.trim_start());
    }
    if is_word(word) {
        return Some(rest.trim_start());
    }
    let word = letters_behind(text);
    is_word(word).then(|| text[..text.len() - word.len()].trim_end())
}

/// The currency that stands beside an amount, by its code; `None` for none, and for signs of several currencies (`$`,
/// `kr`).
pub(crate) fn mark(text: &str) -> Option<[u8; 3]> {
    if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b',' | b'-' | b'+' | b' ')) {
        return None;
    }
    let of = |code: &str| code.as_bytes().try_into().ok();
    for (sign, code) in SIGNS {
        if text.contains(sign) {
            return of(code);
        }
    }
    let mut words = text.split(|c: char| !c.is_alphabetic() && c != '$').filter(|word| !word.is_empty());
    words.find_map(|word| {
        if word.len() == 3 && word.bytes().all(|b| b.is_ascii_uppercase()) {
            return of(word);
        }
        let known = MARKS.iter().find(|(known, _)| word.eq_ignore_ascii_case(known) || word.to_lowercase() == *known);
        known.and_then(|(_, code)| of(code))
    })
}

/// Signs of one currency alone.
const SIGNS: [(char, &str); 9] = [
    ('€', "EUR"),
    ('£', "GBP"),
    ('₹', "INR"),
    ('₺', "TRY"),
    ('₽', "RUB"),
    ('₩', "KRW"),
    ('₪', "ILS"),
    ('₴', "UAH"),
    ('₫', "VND"),
];
/// Words of one currency alone, in lower case.
const MARKS: [(&str, &str); 18] = [
    ("eur", "EUR"),
    ("euro", "EUR"),
    ("usd", "USD"),
    ("us$", "USD"),
    ("gbp", "GBP"),
    ("chf", "CHF"),
    ("sfr", "CHF"),
    ("a$", "AUD"),
    ("au$", "AUD"),
    ("c$", "CAD"),
    ("ca$", "CAD"),
    ("nz$", "NZD"),
    ("hk$", "HKD"),
    ("r$", "BRL"),
    ("zł", "PLN"),
    ("kč", "CZK"),
    ("ft", "HUF"),
    ("tl", "TRY"),
];

fn is_word(word: &str) -> bool {
    let code = word.len() == 3 && word.bytes().all(|b| b.is_ascii_uppercase());
    code || ((2..=LONGEST).contains(&word.len()) && WORDS.contains(&word.to_lowercase().as_str()))
        || word == "R"
        || matches!(word, "eur" | "usd" | "gbp" | "chf" | "Eur" | "Usd" | "Gbp" | "Chf")
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() || c == '.' || c == '/'
}

/// The run of letters (with the dots of abbreviations) that the text begins with; a dot before a digit is a point.
fn letters_before(text: &str) -> &str {
    let end = text.find(|c| !is_letter(c)).unwrap_or(text.len());
    let word = &text[..end];
    if word.starts_with('.') { "" } else { word }
}

fn letters_behind(text: &str) -> &str {
    let start = text.rfind(|c| !is_letter(c)).map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let word = &text[start..];
    word.trim_start_matches(['.', '/'])
}

#[cfg(test)]
mod tests {
    use super::mark;

    #[test]
    fn a_currency_beside_an_amount_is_known_by_its_code() {
        for (text, code) in [
            ("12.50 EUR", Some("EUR")),
            ("€12.50", Some("EUR")),
            ("-US$12.50", Some("USD")),
            ("1 234,50 Kč", Some("CZK")),
            ("12.50", None),
            ("$12.50", None),
            ("12,50 kr", None),
            ("12.50 Cr", None),
        ] {
            assert_eq!(mark(text).as_ref().map(<[u8; 3]>::as_slice), code.map(str::as_bytes), "{text}");
        }
    }
}

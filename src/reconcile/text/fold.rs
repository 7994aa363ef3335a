//! Folding of single characters: case, accents, transliteration.
//!
//! `ä`, `ae` and `a` become one form, because files write each for the other; so do `ö`, `ü`, `å`, `æ`, `ø`, `ß`.

/// Appends the folded form of a letter or digit to a token.
pub(super) fn fold_into(c: char, token: &mut String) {
    fold_from(c, token, 0);
}

/// The same in a longer text, of which the current value begins at `start`.
pub(super) fn fold_from(c: char, out: &mut String, start: usize) {
    if c.is_ascii() {
        push(c.to_ascii_lowercase(), out, start);
        return;
    }
    for lower in c.to_lowercase() {
        match latin(lower) {
            Some(letters) => letters.chars().for_each(|letter| push(letter, out, start)),
            None => out.push(lower),
        }
    }
}

/// Appends a folded letter; the `e` of `ae`, `oe`, `ue` and the second of `aa` are dropped.
pub(super) fn push(c: char, out: &mut String, start: usize) {
    if matches!(c, 'e' | 'a') && out.len() > start {
        match (out.as_bytes()[out.len() - 1], c) {
            (b'a' | b'o' | b'u', 'e') | (b'a', 'a') => return,
            _ => {}
        }
    }
    out.push(c);
}

/// Full-width letters and digits as ordinary ones.
pub(super) fn narrow(c: char) -> char {
    match u32::from(c) {
        wide @ 0xFF01..=0xFF5E => char::from_u32(wide - 0xFEE0).unwrap_or(c),
        _ => c,
    }
}

/// Scripts that do not put blanks between words.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x2FA1F)
}

/// The customary Latin form of a lower-case letter.
fn latin(c: char) -> Option<&'static str> {
    Some(match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ą' | 'ă' | 'æ' | 'а' | 'α' | 'ά' => "a",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'đ' | 'ð' | 'д' | 'δ' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' | 'ė' | 'е' | 'ё' | 'э' | 'ε' | 'έ' => "e",
        'ğ' | 'г' | 'ґ' | 'γ' => "g",
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'ı' | 'į' | 'и' | 'і' | 'η' | 'ή' | 'ι' | 'ί' | 'ϊ' => "i",
        'ļ' | 'ł' | 'ľ' | 'л' | 'λ' => "l",
        'ñ' | 'ń' | 'ň' | 'ņ' | 'н' | 'ν' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' | 'ő' | 'œ' | 'о' | 'ο' | 'ό' | 'ω' | 'ώ' => "o",
        'ŕ' | 'ř' | 'р' | 'ρ' => "r",
        'š' | 'ś' | 'ş' | 'ș' | 'с' | 'σ' | 'ς' => "s",
        'ß' => "ss",
        'ť' | 'ţ' | 'ț' | 'т' | 'τ' => "t",
        'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' | 'ű' | 'ų' | 'у' | 'υ' | 'ύ' => "u",
        'ý' | 'ÿ' | 'й' | 'ы' => "y",
        'ž' | 'ź' | 'ż' | 'з' | 'ζ' => "z",
        'þ' | 'θ' => "th",
        'б' => "b",
        'в' | 'β' => "v",
        'ж' => "zh",
        'к' | 'κ' => "k",
        'м' | 'μ' => "m",
        'п' | 'π' => "p",
        'ф' | 'φ' => "f",
        'х' => "kh",
        'χ' => "ch",
        'ц' => "ts",
        'ч' => "ch",
        'ш' => "sh",
        'щ' => "shch",
        'ъ' | 'ь' => "",
        'ю' => "yu",
        'я' => "ya",
        'є' => "ye",
        'ї' => "yi",
        'ξ' => "x",
        'ψ' => "ps",
        _ => return None,
    })
}

/// Words that say what kind of company a name is, in their folded form; they tell names apart badly.
pub(crate) fn is_legal_form(word: &str) -> bool {
    const FORMS: [&str; 48] = [
        "ab",
        "ag",
        "aps",
        "as",
        "bv",
        "bvba",
        "co",
        "company",
        "corp",
        "corporation",
        "doo",
        "eg",
        "eurl",
        "gbr",
        "gmbh",
        "hldgs",
        "inc",
        "incorporated",
        "kft",
        "kg",
        "kgaa",
        "limited",
        "llc",
        "llp",
        "lp",
        "ltd",
        "ltda",
        "mbh",
        "nv",
        "oao",
        "ohg",
        "ooo",
        "oy",
        "oyj",
        "plc",
        "pte",
        "pty",
        "sa",
        "sarl",
        "sas",
        "sl",
        "spa",
        "srl",
        "sro",
        "ug",
        "zao",
        "株式",
        "会社",
    ];
    FORMS.contains(&word)
}

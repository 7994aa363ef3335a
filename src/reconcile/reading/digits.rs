//! Digits and signs of other scripts, as the ones that amounts and dates are made of.
//!
//! Japanese exports write `１，２３４．５６` in full width, others the digits of Arabic, Indian or Thai script.
use std::borrow::Cow;

/// First digits of the scripts in which statements are written.
const ZEROS: [u32; 6] = [0x660, 0x6f0, 0x966, 0x9e6, 0xe50, 0xff10];

/// The text with digits as ASCII has them, and signs of full width as ASCII; the text itself when it has neither.
pub(crate) fn western(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || !text.chars().any(|c| digit(c).is_some()) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .map(|c| match c {
            // The Arabic decimal point; its group sign is known as it is.
            '\u{66b}' => '.',
            _ => digit(c).or_else(|| wide(c)).unwrap_or(c),
        })
        .collect()
}

/// The digit that a digit of another script is.
pub(crate) fn digit(c: char) -> Option<char> {
    let at = u32::from(c);
    ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&at)).and_then(|zero| char::from_digit(at - zero, 10))
}

fn wide(c: char) -> Option<char> {
    let at = u32::from(c);
    (0xff01..=0xff5e).contains(&at).then(|| char::from_u32(at - 0xfee0)).flatten()
}

#[cfg(test)]
mod tests {
    use super::western;

    #[test]
    fn digits_of_other_scripts_are_digits() {
        assert_eq!(western("－１，２３４．５６"), "-1,234.56");
        assert_eq!(western("١٬٢٣٤٫٥٠"), "1٬234.50");
        assert_eq!(western("१,२३,४५६.००"), "1,23,456.00");
        assert_eq!(western("−12,50 €"), "−12,50 €");
    }
}

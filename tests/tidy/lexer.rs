//! Blanks what is not code out of Rust source for `tests/tidy.rs`: comments, strings, and items behind `#[cfg(test)]`.
//! Leaves every line where it was. Easy to get wrong: a lifetime (`'a`) is not an unfinished character literal.

/// The source with comments, string and character literals replaced by spaces.
pub(crate) fn mask_comments_and_strings(source: &str) -> String {
    let s: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut i = 0;
    while i < s.len() {
        let end = match s[i] {
            '/' if s.get(i + 1) == Some(&'/') => find(&s, i, |k| s[k] == '\n'),
            '/' if s.get(i + 1) == Some(&'*') => block_comment_end(&s, i),
            'r' | 'b' | 'c' if !word_before(&s, i) => raw_string_end(&s, i).unwrap_or(i),
            '"' => quoted_end(&s, i, '"'),
            '\'' if s.get(i + 1) == Some(&'\\') || s.get(i + 2) == Some(&'\'') => quoted_end(&s, i, '\''),
            _ => i,
        };
        if end == i {
            out.push(s[i]);
            i += 1;
        } else {
            out.extend(s[i..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            i = end;
        }
    }
    out
}

/// Masked source with each item behind `#[cfg(test)]` or `#[test]` replaced by spaces, to its closing brace or `;`.
pub(crate) fn mask_test_items(code: &str) -> String {
    let mut s: Vec<char> = code.chars().collect();
    for marker in ["#[cfg(test)]", "#[test]", "#[tokio::test"] {
        let wanted: Vec<char> = marker.chars().collect();
        let mut i = 0;
        while i + wanted.len() <= s.len() {
            if s[i..i + wanted.len()] != wanted[..] {
                i += 1;
                continue;
            }
            let end = item_end(&s, i + wanted.len());
            s[i..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
            i = end;
        }
    }
    s.into_iter().collect()
}

fn find(s: &[char], from: usize, at: impl Fn(usize) -> bool) -> usize {
    (from..s.len()).find(|&k| at(k)).unwrap_or(s.len())
}

fn word_before(s: &[char], i: usize) -> bool {
    i > 0 && (s[i - 1].is_alphanumeric() || s[i - 1] == '_')
}

fn block_comment_end(s: &[char], start: usize) -> usize {
    let (mut depth, mut k) = (0, start);
    while k + 1 < s.len() {
        match (s[k], s[k + 1]) {
            ('/', '*') => (depth, k) = (depth + 1, k + 2),
            ('*', '/') if depth == 1 => return k + 2,
            ('*', '/') => (depth, k) = (depth - 1, k + 2),
            _ => k += 1,
        }
    }
    s.len()
}

/// End of `r"…"`, `r#"…"#`, `br"…"`, `cr"…"`; `None` when none begins here.
fn raw_string_end(s: &[char], start: usize) -> Option<usize> {
    let mut k = start + usize::from(s[start] != 'r');
    if s.get(k) != Some(&'r') {
        return None;
    }
    k += 1;
    let hashes = s[k..].iter().take_while(|c| **c == '#').count();
    k += hashes;
    if s.get(k) != Some(&'"') {
        return None;
    }
    let closes = |at: usize| s[at] == '"' && s[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    Some((find(s, k + 1, closes) + 1 + hashes).min(s.len()))
}

fn quoted_end(s: &[char], start: usize, quote: char) -> usize {
    let mut k = start + 1;
    while k < s.len() && s[k] != quote {
        k += if s[k] == '\\' { 2 } else { 1 };
    }
    (k + 1).min(s.len())
}

fn item_end(s: &[char], from: usize) -> usize {
    let mut depth = 0;
    for (k, c) in s.iter().enumerate().skip(from) {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return k + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return k + 1,
            _ => {}
        }
    }
    s.len()
}

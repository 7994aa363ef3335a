//! How much of a list makes one page: a number of items, and a number of bytes.
//!
//! Leaves reading to each list. Easy to get wrong: items of a thousand columns; a bound on their number alone bounds no
//! memory, so a list whose items may be long reads their sizes first.

/// Bytes of one page's items, unless one item alone has more.
pub(super) const PAGE_BYTES: u64 = 4 << 20;

/// How many of the first items, given their sizes, make a page of `most` bytes: at least one, when there is one.
pub(crate) fn fitting(sizes: impl IntoIterator<Item = u64>, most: u64) -> usize {
    let mut left = most;
    let mut fits = 0;
    for size in sizes {
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None if fits == 0 => return 1,
            None => return fits,
        }
        fits += 1;
    }
    fits
}

/// The ids of one page, of `found`, which was read with a limit of one more than asked; and whether there are more.
pub(crate) fn first_page<Id>(found: Vec<(Id, i64)>, limit: usize) -> (Vec<Id>, bool) {
    let count = fitting(found.iter().take(limit).map(|(_, bytes)| bytes.unsigned_abs()), PAGE_BYTES);
    let more = count < found.len();
    (found.into_iter().take(count).map(|(id, _)| id).collect(), more)
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn a_page_has_what_fits_and_never_nothing() {
        assert_eq!(fitting([], 10), 0);
        assert_eq!(fitting([4, 4, 2, 1], 10), 3);
        assert_eq!(fitting([11, 1], 10), 1);
        assert_eq!(fitting([1, u64::MAX], 10), 1);
        assert_eq!(fitting([1, 2], 10), 2);
    }
}

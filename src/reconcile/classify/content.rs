//! What rows hold, but for their ids: which of a file are the same.

/// The content of the rows of one side.
pub(crate) struct Content {
    hashes: Vec<u64>,
    repeated: Vec<bool>,
}

impl Content {
    /// `hashes` are equal for rows of equal content; `by_rank` has the rows in an order in which those are neighbours.
    pub(crate) fn new(hashes: Vec<u64>, by_rank: &[u32]) -> Self {
        let mut repeated = vec![false; hashes.len()];
        for two in by_rank.windows(2) {
            if hashes[two[0] as usize] == hashes[two[1] as usize] {
                repeated[two[0] as usize] = true;
                repeated[two[1] as usize] = true;
            }
        }
        Self { hashes, repeated }
    }

    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Whether another row of the file has the same content.
    pub(crate) fn is_repeated(&self, row: u32) -> bool {
        self.repeated[row as usize]
    }

    pub(crate) fn is_same(&self, one: u32, other: u32) -> bool {
        self.hashes[one as usize] == self.hashes[other as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_equal_content_are_repeated_and_others_are_not() {
        let content = Content::new(vec![7, 5, 7, 9, 7], &[1, 0, 2, 4, 3]);
        assert_eq!([0, 1, 2, 3, 4].map(|row| content.is_repeated(row)), [true, false, true, false, true]);
        assert!(content.is_same(0, 4) && !content.is_same(0, 1));
        assert_eq!(content.len(), 5);
    }
}

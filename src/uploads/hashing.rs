//! The hash of a file, taken while somebody reads it.
//!
//! Easy to get wrong: whoever reads may stop before the end; the rest counts as well.
use sha2::{Digest as _, Sha256};
use std::io::{self, Read};

/// What was read: how much, and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Number of bytes.
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// A reader that hashes what goes through it.
pub struct Hashing<R> {
    from: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Hashing<R> {
    /// Of all that `from` will give.
    pub fn new(from: R) -> Self {
        Self { from, hash: Sha256::new(), bytes: 0 }
    }

    /// Reads what is left, and says what it was in all.
    ///
    /// # Errors
    /// The reader's.
    pub fn finish(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(Digest { bytes: self.bytes, sha256: hex(&self.hash.finalize()) })
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text cannot fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_of_the_whole_file_also_when_its_reader_stopped_early() {
        let mut hashing = Hashing::new(&b"abc"[..]);
        let mut first = [0];
        hashing.read_exact(&mut first).unwrap();
        let digest = hashing.finish().unwrap();
        assert_eq!(digest.bytes, 3);
        assert_eq!(digest.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}

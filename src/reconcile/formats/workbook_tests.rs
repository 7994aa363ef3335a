//! Workbooks that are broken, or made to cost more than they hold: read or refused, never a panic, never gigabytes.
use crate::{ReadLimits, ReadOptions, Unattended, profile, read};
use std::io::{Cursor, Read, Write};
use std::path::Path;

fn golden(folder: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/formats").join(folder).join("input"))
        .unwrap()
}

/// What is said of a file: its rows, or why it is refused.
fn outcome(bytes: &[u8]) -> String {
    let limits = ReadLimits { max_columns: 32, max_rows: 64, max_field_bytes: 4096 };
    let options = ReadOptions { limits, ..ReadOptions::default() };
    let seen = profile(bytes, &options);
    match read(bytes, None, &options, &Unattended) {
        Ok(table) => {
            assert!(table.len() <= limits.max_rows);
            assert!(seen.is_ok(), "what can be read can be profiled");
            format!("{} rows", table.len())
        }
        Err(error) => error.to_string(),
    }
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// Changes, cuts out or repeats a few bytes.
    fn mangle(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at.max(64)),
                3 => drop(bytes.drain(at..(at + 1 + self.below(40)).min(bytes.len()))),
                _ => {
                    let part = bytes[at..(at + 40).min(bytes.len())].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, part);
                }
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
    }
}

/// Packs the entries of an archive again, one of them changed.
fn packed_again(archive: &[u8], changed: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut change = Some(change);
    let mut from = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut to = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for at in 0..from.len() {
        let mut entry = from.by_index(at).unwrap();
        let (name, mut content) = (entry.name().unwrap().into_owned(), Vec::new());
        entry.read_to_end(&mut content).unwrap();
        if name == changed
            && let Some(change) = change.take()
        {
            change(&mut content);
        }
        to.start_file(name, stored).unwrap();
        to.write_all(&content).unwrap();
    }
    assert!(change.is_none(), "{changed} is in the archive");
    to.finish().unwrap().into_inner()
}

#[test]
fn a_mangled_xls_is_read_or_refused() {
    let mut dice = Dice(7);
    let (mut read, mut refused) = (0, 0);
    for whole in [golden("xls_statement"), golden("xls_texts_over_several_records")] {
        for _ in 0..400 {
            let mut bytes = whole.clone();
            dice.mangle(&mut bytes);
            if outcome(&bytes).ends_with(" rows") { read += 1 } else { refused += 1 }
        }
    }
    assert!(read > 50 && refused > 50, "{read} read, {refused} refused");
}

#[test]
fn a_mangled_ods_is_read_or_refused() {
    let mut dice = Dice(11);
    let (mut read, mut refused) = (0, 0);
    let whole = golden("ods_statement");
    for _ in 0..400 {
        let bytes = packed_again(&whole, "content.xml", |content| dice.mangle(content));
        if outcome(&bytes).ends_with(" rows") { read += 1 } else { refused += 1 }
    }
    assert!(read > 10 && refused > 10, "{read} read, {refused} refused");
}

#[test]
fn a_chain_of_sectors_that_turns_in_a_circle_is_refused() {
    let mut bytes = golden("xls_statement");
    // The stream begins at sector 0 and the table of sectors stands behind it; each now leads back to sector 0.
    let table = 512 * (1 + u32::from_le_bytes(bytes[76..80].try_into().unwrap()) as usize);
    bytes[table..table + 512].fill(0);
    assert!(outcome(&bytes).contains("turns in a circle"), "{}", outcome(&bytes));
}

#[test]
fn a_text_without_an_end_is_refused_before_it_is_held() {
    let whole = golden("ods_statement");
    let long = packed_again(&whole, "content.xml", |content| {
        let at = memchr::memmem::find(content, b"checked by Ann").unwrap();
        content.splice(at..at, std::iter::repeat_n(b'x', 20 << 20));
    });
    let said = outcome(&long);
    assert!(said.contains("input, sheet \"May & June\"") && said.contains("more than 16777216 bytes"), "{said}");
    let cell = packed_again(&whole, "content.xml", |content| {
        let at = memchr::memmem::find(content, b"second line").unwrap();
        content.splice(at..at, std::iter::repeat_n(*b"x<text:s/>", 100_000).flatten());
    });
    assert_eq!(outcome(&cell), "4 rows", "a cell that is too long costs its row");
}

#[test]
fn cells_beyond_the_bounds_are_named() {
    let far = packed_again(&golden("ods_statement"), "content.xml", |content| {
        let at = memchr::memmem::find(content, b"<table:table-row>").unwrap() + "<table:table-row>".len();
        let cells = b"<table:table-cell table:number-columns-repeated=\"40\"/><table:table-cell><text:p>x</text:p></table:table-cell>";
        content.splice(at..at, cells.iter().copied());
    });
    assert_eq!(outcome(&far), "input, sheet \"May & June\", cell AO1: more than max_columns, which is 32");
}

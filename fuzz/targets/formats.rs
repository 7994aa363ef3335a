//! A file of any format: the beginning of one format is put before the bytes, and it is read or refused, never a panic.
//!
//! The first byte chooses the format. Easy to get wrong: rows and errors must keep to the bounds in every format.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tieout::reconcile::{ReadLimits, ReadOptions, Unattended, profile, read};

const LIMITS: ReadLimits = ReadLimits { max_columns: 32, max_rows: 64, max_field_bytes: 4096 };
const BEGINNINGS: [&[u8]; 7] = [
    b"",
    b"{1:F01}{4:\n:20:X\n:25:1\n:60F:C260301EUR1,00\n:61:",
    b"<?xml version=\"1.0\"?><Document><BkToCstmrStmt><Stmt><Ntry>",
    b"OFXHEADER:100\n<OFX><STMTTRN>",
    b"!Type:Bank\n",
    b"01,S,R,260325,1200,1,,,2/\n02,R,S,1,260325,,USD,2/\n",
    b"{\"a\":1}\n",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let file = [BEGINNINGS[usize::from(choice) % BEGINNINGS.len()], rest].concat();
    let options = ReadOptions { limits: LIMITS, ..ReadOptions::default() };
    let seen = profile(file.as_slice(), &options);
    match read(file.as_slice(), None, &options, &Unattended) {
        Ok(table) => {
            assert!(table.len() <= LIMITS.max_rows);
            assert!(table.errors.len() as u64 <= table.error_count);
            assert_eq!(seen.expect("what can be read can be profiled").reading.format, table.reading().format);
        }
        Err(error) => assert!(error.to_string().contains("input"), "the error names the file: {error}"),
    }
});

//! An uploaded file: its bounds are checked, it is profiled and read, or it is refused with its place.
//!
//! The first byte chooses the options, the rest is the file. Easy to get wrong: bounds must be small here, or the fuzzer
//! never reaches them; but a statement has nine columns, whatever it is named.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tieout_reconcile::{ReadError, ReadLimits, ReadOptions, Typed, Unattended, check_bounds, profile, read};

const LIMITS: ReadLimits = ReadLimits { max_columns: 10, max_rows: 64, max_field_bytes: 256 };

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, file)) = bytes.split_first() else { return };
    let options = ReadOptions {
        strict: choice & 1 != 0,
        delimiter: [None, Some(b','), Some(b';'), Some(b'\t')][usize::from(choice >> 1 & 3)],
        limits: LIMITS,
        ..ReadOptions::default()
    };
    if let Err(error) = check_bounds(file, &options) {
        assert!(error.to_string().contains("input"), "the error names the file: {error}");
    }
    let seen = match profile(file, &options) {
        Ok(seen) => seen,
        Err(error) => return assert!(error.to_string().contains("input"), "the error names the file: {error}"),
    };
    assert!(seen.columns.len() <= LIMITS.max_columns);
    let stored = serde_json::to_string(&seen).expect("a profile is stored as JSON");
    let stored = serde_json::from_str(&stored).expect("and read back");
    let table = match read(file, Some(&stored), &options, &Unattended) {
        Ok(table) => table,
        Err(error) => {
            assert!(!matches!(error, ReadError::Io { .. } | ReadError::Cancelled), "{error}");
            return;
        }
    };
    assert!(table.len() <= LIMITS.max_rows);
    assert_eq!(table.columns.len(), seen.columns.len());
    // Where a balance says that lines are missing is named among the errors, and is no row.
    assert!(table.errors.len() as u64 <= table.error_count + table.missing_count());
    for row in 0..table.len() {
        assert!(!table.id(row).is_empty(), "row {row} has a name");
        assert!(table.line(row) > 0);
        for (at, column) in table.columns.iter().enumerate() {
            assert!(table.cell(row, at).len() <= LIMITS.max_field_bytes * 3, "a cell is within its bound");
            let typed = match &column.typed {
                Typed::Money { units, .. } => units.len(),
                Typed::Date(days) => days.len(),
                Typed::Text => table.len(),
            };
            assert_eq!(typed, table.len());
        }
    }
});

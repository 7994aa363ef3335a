//! The folders of `tests/golden/formats`: a file in, what is understood and read of it out, as text.
use crate::{ReadOptions, SideReading, Unattended, profile, read};
use std::fmt::Write;
use std::path::Path;

#[test]
fn every_golden_file_is_read_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/formats");
    let mut folders: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(folders.len() >= 18, "the golden folders are gone");
    let mut differ = Vec::new();
    for folder in &folders {
        let found = shown(folder);
        let expected = folder.join("expected.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &found).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != found {
            differ.push(format!("{}:\n{found}", folder.display()));
        }
    }
    assert!(differ.is_empty(), "read differently:\n{}", differ.join("\n"));
}

fn shown(folder: &Path) -> String {
    let mut reading = SideReading::default();
    let options = std::fs::read_to_string(folder.join("options")).unwrap_or_default();
    for (name, value) in options.lines().map(|line| line.split_once('=').unwrap()) {
        reading.set(name, value).unwrap();
    }
    let bytes = std::fs::read(folder.join("input")).unwrap();
    let options = ReadOptions { reading, ..ReadOptions::default() };
    let streamed = profile(bytes.as_slice(), &options);
    let table = match read(bytes.as_slice(), None, &options, &Unattended) {
        Ok(table) => table,
        Err(refusal) => {
            assert_eq!(streamed.unwrap_err().to_string(), refusal.to_string());
            return format!("refused: {refusal}\n");
        }
    };
    let mut text = String::new();
    table.reading().lines("input").iter().for_each(|line| writeln!(text, "{line}").unwrap());
    let names: Vec<&str> = table.columns.iter().map(|column| column.profile.name.as_str()).collect();
    assert_eq!(names, streamed.unwrap().columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>());
    writeln!(text, "line | {}", names.join(" | ")).unwrap();
    for row in 0..table.len() {
        let cells: Vec<&str> = (0..names.len()).map(|column| table.cell(row, column)).collect();
        writeln!(text, "{} | {}", table.line(row), cells.join(" | ")).unwrap();
    }
    for error in &table.errors {
        writeln!(text, "error: line {}, column {:?}, {:?}: {}", error.line, error.column, error.value, error.reason)
            .unwrap();
    }
    text
}

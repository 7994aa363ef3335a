//! A file of any format: the beginning of one format is put before the bytes, and it is read or refused, never a panic.
//!
//! The first byte chooses the format. Of a workbook the bytes are what is packed in it. Easy to get wrong: rows and errors
//! must keep to the bounds in every format.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::io::Write;
use tieout_reconcile::{ReadLimits, ReadOptions, Unattended, profile, read};

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

/// What makes a file of the bytes of a workbook.
const WORKBOOKS: [fn(&[u8]) -> Vec<u8>; 3] = [xls, ods, xlsx];

/// A compound file whose only stream has these bytes: the table of sectors in sector 0, the directory in 1.
fn xls(stream: &[u8]) -> Vec<u8> {
    let stream = [&[9, 8, 4, 0, 0, 6, 5, 0][..], stream].concat();
    let length = stream.len().max(4096);
    let last = 1 + length.div_ceil(512) as u32;
    let mut header = vec![0xff; 512];
    header[..8].copy_from_slice(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1");
    header[30..34].copy_from_slice(&[9, 0, 6, 0]);
    for (at, value) in [(44, 1_u32), (48, 1), (60, u32::MAX - 1), (64, 0), (68, u32::MAX - 1), (72, 0), (76, 0)] {
        header[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let next = (0..128).map(|at| match at {
        0 => u32::MAX - 2,
        at if at > 1 && at < last => at + 1,
        at if at > last => u32::MAX,
        _ => u32::MAX - 1,
    });
    let mut directory = vec![0; 512];
    for (at, letter) in "Workbook".bytes().enumerate() {
        directory[128 + 2 * at] = letter;
    }
    (directory[66], directory[128 + 66]) = (5, 2);
    directory[128 + 116..128 + 120].copy_from_slice(&2_u32.to_le_bytes());
    directory[128 + 120..128 + 124].copy_from_slice(&(length as u32).to_le_bytes());
    let mut file = [header, next.flat_map(u32::to_le_bytes).collect(), directory, stream].concat();
    file.resize(512 * (2 + last as usize), 0);
    file
}

fn ods(content: &[u8]) -> Vec<u8> {
    let begin = b"<c><table:table table:name=\"A\"><table:table-row>";
    zip(&[("mimetype", b"application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", &[begin, content].concat())])
}

fn xlsx(sheet: &[u8]) -> Vec<u8> {
    let sheet =
        [&b"<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData>"[..], sheet]
            .concat();
    zip(&[
        ("[Content_Types].xml", b"<Types/>"),
        (
            "xl/_rels/workbook.xml.rels",
            b"<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"r\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/s.xml\"/></Relationships>",
        ),
        (
            "xl/workbook.xml",
            b"<workbook xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"><sheets><sheet name=\"A\" sheetId=\"1\" r:id=\"r\"/></sheets></workbook>",
        ),
        ("xl/worksheets/s.xml", &sheet),
    ])
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in entries {
        archive.start_file(*name, stored).expect("the name is a constant");
        archive.write_all(content).expect("memory takes all");
    }
    archive.finish().expect("memory takes all").into_inner()
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, rest)) = bytes.split_first() else { return };
    let choice = usize::from(choice) % (BEGINNINGS.len() + WORKBOOKS.len());
    let file = match BEGINNINGS.get(choice) {
        Some(begin) => [begin, rest].concat(),
        None => WORKBOOKS[choice - BEGINNINGS.len()](rest),
    };
    let options = ReadOptions { limits: LIMITS, ..ReadOptions::default() };
    let seen = profile(file.as_slice(), &options);
    match read(file.as_slice(), None, &options, &Unattended) {
        Ok(table) => {
            assert!(table.len() <= LIMITS.max_rows);
            assert!(table.errors.len() as u64 <= table.error_count + table.missing_count());
            assert_eq!(seen.expect("what can be read can be profiled").reading.format, table.reading().format);
        }
        Err(error) => assert!(error.to_string().contains("input"), "the error names the file: {error}"),
    }
});

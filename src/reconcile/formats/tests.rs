//! Small files of every format, read through the outer door, with what a person sees in them.
use crate::{ColumnType, ReadOptions, Table, Typed, Unattended, read};

fn table(bytes: &[u8]) -> Table {
    read(bytes, None, &ReadOptions::default(), &Unattended).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes, None, &ReadOptions::default(), &Unattended).unwrap_err().to_string()
}

/// Date, amount, reference, counterparty and text of each row.
fn bookings(table: &Table) -> Vec<[String; 5]> {
    let at = |name| table.column_index(name).unwrap();
    let columns = ["date", "amount", "reference", "counterparty", "text"].map(at);
    (0..table.len()).map(|row| columns.map(|column| table.cell(row, column).to_owned())).collect()
}

fn day(typed: &Typed) -> Option<i32> {
    if let Typed::Date(days) = typed { days.first().copied() } else { None }
}

const MT940: &str = "\
{1:F01BANKNL2A}{4:\n:20:START\n:25:20752041/0291593375\n:28C:1/1\n:60F:C260301EUR1000,00\n\
:61:2603020302D119,35NTRFNONREF//B1\n:86:166?00GUTSCHRIFT?20INV-1?21 MARCH?32ALDER?33 PAINTS\n\
:61:260303C16,69NTRFINV-2//B2\nsupplement\n:86:paid by\nBIRCH\n\
:61:2601021230RC5,NTRFX\n:61:nonsense\n:62F:C260303EUR897,34\n-}\n";

#[test]
fn mt940_gives_signed_amounts_dates_and_texts_and_names_the_line_of_what_it_cannot_read() {
    let table = table(MT940.as_bytes());
    assert_eq!(table.reading().format, "mt940");
    assert_eq!(
        bookings(&table),
        [
            ["2026-03-02", "-119.35", "", "ALDER PAINTS", "INV-1 MARCH"],
            ["2026-03-03", "16.69", "INV-2", "", "supplement paid by BIRCH"],
            ["2025-12-30", "-5", "X", "", ""],
        ]
        .map(|row| row.map(str::to_owned))
    );
    assert_eq!((table.errors[0].line, table.errors[0].column.as_str()), (13, ":61:"));
    assert_eq!(table.cell(0, table.column_index("account").unwrap()), "20752041/0291593375");
    assert!(matches!(table.columns[table.column_index("amount").unwrap()].typed, Typed::Money { scale: 2, .. }));
}

const CAMT: &str = r#"<?xml version="1.0"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt>
<Acct><Id><IBAN>DE00123</IBAN></Id></Acct>
<Ntry><Amt Ccy="EUR">12.50</Amt><CdtDbtInd>DBIT</CdtDbtInd><BookgDt><Dt>2026-03-05</Dt></BookgDt><ValDt><DtTm>2026-03-06T00:00:00</DtTm></ValDt>
<NtryDtls><TxDtls><Refs><EndToEndId>E2E-1</EndToEndId></Refs><RltdPties><Cdtr><Pty><Nm>Alder &amp; Sons</Nm></Pty></Cdtr></RltdPties>
<RmtInf><Ustrd>INV-1</Ustrd><Ustrd>part</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>
<Ntry><Amt Ccy="EUR">30.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><BookgDt><Dt>2026-03-07</Dt></BookgDt><NtryDtls>
<TxDtls><Amt Ccy="EUR">10.00</Amt><RmtInf><Ustrd>A</Ustrd></RmtInf></TxDtls><TxDtls><Amt Ccy="EUR">20.00</Amt><RmtInf><Ustrd>B</Ustrd></RmtInf></TxDtls>
</NtryDtls></Ntry></Stmt></BkToCstmrStmt></Document>"#;

#[test]
fn camt_gives_a_row_for_an_entry_or_for_each_of_its_transactions() {
    let table = table(CAMT.as_bytes());
    assert_eq!(table.reading().format, "camt.053");
    assert_eq!(
        bookings(&table),
        [
            ["2026-03-05", "-12.50", "E2E-1", "Alder & Sons", "INV-1 part"],
            ["2026-03-07", "10.00", "", "", "A"],
            ["2026-03-07", "20.00", "", "", "B"],
        ]
        .map(|row| row.map(str::to_owned))
    );
    assert_eq!((table.line(0), table.line(2)), (1, 3), "entries are numbered");
    let cut = refusal(&CAMT.as_bytes()[..CAMT.len() - 40]);
    assert!(cut.contains("input, line 8: not XML"), "{cut}");
}

#[test]
fn ofx_is_read_as_sgml_and_as_xml() {
    let sgml = "OFXHEADER:100\nDATA:OFXSGML\n\n<OFX><CURDEF>CAD<ACCTID>12<BANKTRANLIST>\n\
        <STMTTRN><TRNTYPE>POS<DTPOSTED>20260305122017.000[-5:EST]<TRNAMT>-6.60<FITID>F1<NAME>Alder &amp; Co<MEMO>INV-1</STMTTRN>\n\
        <STMTTRN><TRNTYPE>CHECK<DTPOSTED>20260306<TRNAMT>+ 316.67<FITID>F2<CHECKNUM>7\n\
        <STMTTRN><TRNTYPE>CHECK<TRNAMT>1.00<FITID>F3</BANKTRANLIST></OFX>";
    let xml = "<?xml version=\"1.0\"?><?OFX OFXHEADER=\"200\"?><OFX><STMTTRN><DTPOSTED>20260305</DTPOSTED><TRNAMT>-6.60</TRNAMT>\
        <NAME>Alder &amp; Co</NAME><MEMO>INV-1</MEMO></STMTTRN></OFX>";
    let first = ["2026-03-05", "-6.60", "", "Alder & Co", "INV-1"].map(str::to_owned);
    let table_of_sgml = table(sgml.as_bytes());
    assert_eq!(bookings(&table_of_sgml)[0], first);
    assert_eq!(table_of_sgml.len(), 2);
    assert_eq!(table_of_sgml.errors[0].column, "DTPOSTED");
    assert_eq!(bookings(&table(xml.as_bytes())), [first]);
}

#[test]
fn a_table_that_quotes_a_statement_in_a_cell_stays_a_table() {
    let quoted = "id,amount,note\n1,2.00,the file began OFXHEADER:100\n2,3.00,\"and then <OFX><STMTTRN>\"\n";
    let swift = "id;note;amount\n1;\":20:X\n:25:1\n:60F:C260301EUR1,00\";5,00\n2;\"{4::20:X\n:25:1\";6,00\n";
    for file in [quoted, swift] {
        let table = table(file.as_bytes());
        assert_eq!((table.reading().format.as_str(), table.len(), table.error_count), ("csv", 2, 0), "{file}");
    }
}

#[test]
fn qif_bai2_and_json_lines_give_the_same_booking() {
    let qif = "!Type:Bank\nD3/25'2026\nT-1,250.00\nN7\nPAlder\nMINV-1\n^\nD3/26'2026\nT5.00\nPBirch\n^\n";
    let bai = "01,SENDER,RECEIVER,260325,1200,1,,,2/\n02,R,S,1,260325,,USD,2/\n03,123456,USD,010,500000,,/\n\
        16,475,125000,,BREF,7,Alder\n88,INV-1/\n49,625000,3/\n98,625000,1,5/\n99,625000,1,7/\n";
    let json = "{\"date\":\"2026-03-25\",\"amount\":-1250.00,\"reference\":\"7\",\"counterparty\":\"Alder\",\"text\":\"INV-1\"}\n\
        {\"date\":\"2026-03-26\",\"amount\":0.10000000000000001,\"text\":null}\nnot json\n";
    let (qif, bai, json) = (table(qif.as_bytes()), table(bai.as_bytes()), table(json.as_bytes()));
    assert_eq!([&qif, &bai, &json].map(|table| table.reading().format.clone()), ["qif", "bai2", "jsonl"]);
    for table in [&qif, &bai, &json] {
        let Typed::Money { units, scale } = &table.columns[table.column_index("amount").unwrap()].typed else {
            panic!("{:?}", table.reading())
        };
        assert_eq!(units[0], -1250 * 10_i64.pow(u32::from(*scale)));
        let date = &table.columns[table.column_index("date").unwrap()];
        assert_eq!(date.profile.kind, ColumnType::Date);
        assert_eq!(day(&date.typed), crate::date::days_from_civil(2026, 3, 25));
    }
    assert_eq!(bai.cell(0, bai.column_index("text").unwrap()), "Alder INV-1");
    assert_eq!(json.cell(1, json.column_index("amount").unwrap()), "0.10000000000000001", "every digit is kept");
    assert_eq!(json.errors[0].line, 3);
}

/// A workbook of one sheet, with inline texts and a style for dates.
fn workbook(sheet: &str) -> Vec<u8> {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let files = [
        (
            "[Content_Types].xml",
            r#"<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>"#,
        ),
        (
            "_rels/.rels",
            r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#,
        ),
        (
            "xl/_rels/workbook.xml.rels",
            r#"<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>"#,
        ),
        (
            "xl/workbook.xml",
            r#"<?xml version="1.0"?><workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="May" sheetId="1" r:id="rId1"/></sheets></workbook>"#,
        ),
        (
            "xl/styles.xml",
            r#"<?xml version="1.0"?><styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>"#,
        ),
        ("xl/worksheets/sheet1.xml", sheet),
    ];
    for (name, content) in files {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn sheet(rows: &str) -> String {
    format!(
        r#"<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{rows}</sheetData></worksheet>"#
    )
}

#[test]
fn a_workbook_is_a_table_with_its_header_found_below_other_lines() {
    let text = |at: &str, value: &str| format!(r#"<c r="{at}" t="inlineStr"><is><t>{value}</t></is></c>"#);
    let mut rows = format!(
        r#"<row r="1">{}</row><row r="3">{}{}{}</row>"#,
        text("A1", "Statement"),
        text("A3", "Date"),
        text("B3", "Amount"),
        text("C3", "Text")
    );
    for (at, amount) in [(4, "0.30000000000000004"), (5, "-12.5"), (6, "7")] {
        rows.push_str(&format!(
            r#"<row r="{at}"><c r="A{at}" s="1"><v>46086</v></c><c r="B{at}"><v>{amount}</v></c>{}</row>"#,
            text(&format!("C{at}"), "INV")
        ));
    }
    let table = table(&workbook(&sheet(&rows)));
    assert_eq!((table.reading().format.as_str(), table.reading().header_line), ("xlsx", Some(3)));
    assert_eq!((table.len(), table.line(0)), (3, 4));
    assert_eq!([0, 1, 2].map(|column| table.cell(0, column)), ["2026-03-05", "0.3", "INV"]);
    let far = sheet(r#"<row r="1"><c r="XFD1"><v>1</v></c></row>"#);
    let far = refusal(&workbook(&far));
    assert!(far.contains("cell XFD1") && far.contains("max_columns"), "{far}");
}

#[test]
fn what_is_no_table_is_refused_by_its_name() {
    for (bytes, what) in [
        (&b"%PDF-1.7"[..], "PDF"),
        (b"\x89PNG\r\n", "PNG"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"PK\x03\x04rest", "ZIP"),
        (b"PAR1", "Parquet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", "old Office document"),
    ] {
        let error = refusal(bytes);
        assert!(error.contains(what) && error.contains("input"), "{error}");
    }
    let workbook = refusal(b"PK\x03\x04xl/worksheets/sheet1.xml<x/>");
    assert!(workbook.contains("this is an Excel workbook"), "{workbook}");
    let utf16: Vec<u8> = "a,b\n1,2\n".repeat(20).encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(refusal(&utf16).contains("encoding = \"utf-16le\""));
}

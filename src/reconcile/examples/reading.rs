//! Reading alone: makes the two files of a size, reads files, and says what was understood and what it cost.
//!
//! Usage: `cargo run --release -p tieout-reconcile --example reading -- generate DIR ROWS SEED`, `-- read FILE…` (as for
//! a run) or `-- profile FILE…` (streaming, as for an upload).
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;
use tieout_reconcile::generate::{Dialect, Plan, generate, write_bank, write_ledger};
use tieout_reconcile::{ReadOptions, Unattended, profile, read};

fn main() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let text = |error: &dyn std::fmt::Display| error.to_string();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["generate", folder, rows, seed] => {
            let number = |value: &str| value.parse::<u64>().map_err(|_| format!("{value:?} is not a number"));
            let made = generate(Plan { events: number(rows)? as usize, seed: number(seed)?, days: 365 });
            std::fs::create_dir_all(folder).map_err(|e| text(&e))?;
            let file =
                |name: &str| File::create(Path::new(folder).join(name)).map(BufWriter::new).map_err(|e| text(&e));
            write_ledger(file("ledger.csv")?, &made, Dialect::Plain).map_err(|e| text(&e))?;
            write_bank(file("bank.csv")?, &made, Dialect::Plain).map_err(|e| text(&e))
        }
        ["read", files @ ..] => files.iter().try_for_each(|path| {
            let (begin, options) = (Instant::now(), ReadOptions { name: (*path).to_owned(), ..ReadOptions::default() });
            let file = File::open(path).map_err(|e| text(&e))?;
            let table = read(file, None, &options, &Unattended).map_err(|e| text(&e))?;
            let seconds = begin.elapsed().as_secs_f64();
            table.reading().lines(path).iter().for_each(|line| println!("{line}"));
            println!("  {} rows, {} errors, {seconds:.3} s", table.len(), table.error_count);
            Ok(())
        }),
        ["profile", files @ ..] => files.iter().try_for_each(|path| {
            let options = ReadOptions { name: (*path).to_owned(), ..ReadOptions::default() };
            let file = File::open(path).map_err(|e| text(&e))?;
            let seen = profile(file, &options).map_err(|e| text(&e))?;
            println!("{}", serde_json::to_string_pretty(&seen).map_err(|e| text(&e))?);
            Ok(())
        }),
        _ => Err("usage: reading generate DIR ROWS SEED | read FILE… | profile FILE…".into()),
    }
}

//! The engine alone, as a small command: the same files as the product writes, without server, store or actors.
//!
//! Usage: `cargo run --release -p tieout-reconcile --example tieout -- reconcile LEFT.csv RIGHT.csv [--out DIR] [--rules FILE]`
//! (also `--left-id COL`, `--right-id COL`, `--strict`, `--print-rules`).
use std::env::Args;
use std::fs::File;
use std::iter::Skip;
use std::process::ExitCode;
use tieout_reconcile::{
    ReadOptions, RuleSet, Side, SideReading, Table, Unattended, infer_from_tables, read, report, run, run_inferred,
    settle, write_deduped,
};

fn main() -> ExitCode {
    let run = if std::env::args().nth(1).as_deref() == Some("dedupe") { dedupe } else { reconcile };
    match run(std::env::args().skip(2)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Options {
    files: Vec<String>,
    out: Option<String>,
    rules: Option<String>,
    ids: [Option<String>; 2],
    reading: [SideReading; 2],
    strict: bool,
    print_rules: bool,
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--out" => options.out = Some(value()?),
            "--rules" => options.rules = Some(value()?),
            "--left-id" => options.ids[0] = Some(value()?),
            "--right-id" => options.ids[1] = Some(value()?),
            "--strict" => options.strict = true,
            "--print-rules" => options.print_rules = true,
            flag if flag.starts_with("--left-") => options.reading[0].set(&flag[7..], &value()?)?,
            flag if flag.starts_with("--right-") => options.reading[1].set(&flag[8..], &value()?)?,
            file => options.files.push(file.to_owned()),
        }
    }
    Ok(options)
}

/// `dedupe FILE [--out DIR] [--rules FILE] [--left-…]`: one file against itself.
fn dedupe(args: Skip<Args>) -> Result<(), String> {
    let options = options(args)?;
    let [path] = options.files.as_slice() else { return Err("usage: tieout dedupe FILE.csv [--out DIR]".into()) };
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let rules = options.rules.as_ref().map(|path| -> Result<RuleSet, String> {
        RuleSet::parse(&std::fs::read_to_string(path).map_err(|e| format!("open {path}: {e}"))?).map_err(|e| text(&e))
    });
    let rules = rules.transpose()?;
    let mut read_options = ReadOptions {
        name: path.to_owned(),
        id_column: options.ids[0].clone(),
        strict: options.strict,
        reading: options.reading[0].clone(),
        ..ReadOptions::default()
    };
    if let Some(rules) = &rules {
        rules.reading(Side::Left, &mut read_options);
    }
    let file = File::open(path).map_err(|e| format!("open {path}: {e}"))?;
    let table = read(file, None, &read_options, &Unattended).map_err(|e| text(&e))?;
    table.reading().lines(&table.name).iter().for_each(|line| eprintln!("{line}"));
    let found = tieout_reconcile::dedupe(&table, rules.as_ref(), &Unattended).map_err(|e| text(&e))?;
    if let Some(folder) = &options.out {
        let folder = std::path::Path::new(folder);
        std::fs::create_dir_all(folder).map_err(|e| text(&e))?;
        write_deduped(|name| File::create(folder.join(name)), report::Cells::Exact, &found, &table)
            .map_err(|(file, reason)| format!("write {file}: {reason}"))?;
    }
    println!("{:?}", found.summary);
    Ok(())
}

fn reconcile(args: Skip<Args>) -> Result<(), String> {
    let options = options(args)?;
    let [left, right] = options.files.as_slice() else {
        return Err("usage: tieout reconcile LEFT.csv RIGHT.csv [--out DIR] [--rules FILE]".into());
    };
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let rules = match &options.rules {
        None => None,
        Some(path) => {
            let content = std::fs::read_to_string(path).map_err(|e| format!("open {path}: {e}"))?;
            Some(RuleSet::parse(&content).map_err(|e| text(&e))?)
        }
    };
    let load = |path: &str, side: Side| -> Result<Table, String> {
        let at = usize::from(side == Side::Right);
        let mut read_options = ReadOptions {
            name: path.to_owned(),
            id_column: options.ids[at].clone(),
            strict: options.strict,
            reading: options.reading[at].clone(),
            ..ReadOptions::default()
        };
        if let Some(rules) = &rules {
            rules.reading(side, &mut read_options);
        }
        let file = File::open(path).map_err(|e| format!("open {path}: {e}"))?;
        read(file, None, &read_options, &Unattended).map_err(|e| text(&e))
    };
    let (mut left, mut right) = (load(left, Side::Left)?, load(right, Side::Right)?);
    settle(&mut left, &mut right, rules.as_ref(), &Unattended).map_err(|e| e.to_string())?;
    for table in [&left, &right] {
        table.reading().lines(&table.name).iter().for_each(|line| eprintln!("{line}"));
    }
    if options.print_rules {
        let rules = match rules {
            Some(rules) => rules,
            None => infer_from_tables(&left, &right, &Unattended).map_err(|e| e.to_string())?.0,
        };
        println!("{}", serde_json::to_string_pretty(&rules).map_err(|e| text(&e))?);
        return Ok(());
    }
    let outcome = match &rules {
        Some(rules) => run(&left, &right, rules, &Unattended),
        None => run_inferred(&left, &right, &Unattended),
    };
    let outcome = outcome.map_err(|e| text(&e))?;
    if let Some(folder) = &options.out {
        let folder = std::path::Path::new(folder);
        std::fs::create_dir_all(folder).map_err(|e| text(&e))?;
        report::write_all(|name| File::create(folder.join(name)), report::Cells::Exact, &outcome, &left, &right)
            .map_err(|(file, reason)| format!("write {file}: {reason}"))?;
    }
    outcome.comparing.lines().iter().for_each(|line| println!("{line}"));
    println!("{:?}", outcome.summary);
    Ok(())
}

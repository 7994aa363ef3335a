//! The matching engine alone, without server, store or actors.
//!
//! Usage: `cargo run --release --example reconcile -- LEFT.csv RIGHT.csv`
//!
//! Infers the rules, runs them and prints the first matches with their explanation.
use std::fs::File;
use tieout::reconcile::{ReadOptions, Side, Unattended, read, run_inferred, settle};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(left), Some(right)) = (args.next(), args.next()) else {
        anyhow::bail!("usage: reconcile LEFT.csv RIGHT.csv");
    };
    let load = |path: &str| -> anyhow::Result<_> {
        let options = ReadOptions { name: path.to_owned(), ..ReadOptions::default() };
        Ok(read(File::open(path)?, None, &options, &Unattended)?)
    };
    let (mut left, mut right) = (load(&left)?, load(&right)?);
    settle(&mut left, &mut right, None, &Unattended)?;
    let outcome = run_inferred(&left, &right, &Unattended)?;
    outcome.comparing.lines().iter().for_each(|line| println!("{line}"));
    for found in outcome.matches.iter().take(10) {
        let ids = |side| match side {
            Side::Left => {
                found.rows(side).map(|row| left.id(row as usize).into_owned()).collect::<Vec<_>>().join(" + ")
            }
            Side::Right => {
                found.rows(side).map(|row| right.id(row as usize).into_owned()).collect::<Vec<_>>().join(" + ")
            }
        };
        println!("{} = {}  {:.3}  {}", ids(Side::Left), ids(Side::Right), found.probability, found.said.explanation);
    }
    println!("{:#?}", outcome.summary);
    Ok(())
}

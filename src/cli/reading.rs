//! The flags that say how a file is read: `--left-header`, `--right-dates` and so on, one for each option of the rules; `--header`
//! where there is one file.
//!
//! Easy to get wrong: the flags are made from one list for both sides, so that neither can lack what the other has.
use crate::reconcile::SideReading;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

/// What was said about reading each side.
#[derive(Clone, Debug, Default)]
pub struct ReadingFlags {
    /// The first file.
    pub left: SideReading,
    /// The second file.
    pub right: SideReading,
}

/// Name, another name, value and help of each flag.
const FLAGS: [(&str, Option<&str>, &str, &str); 13] = [
    ("header", None, "LINE", "Line of the header, from 1; `none` when there is none"),
    ("skip", None, "LINES", "Lines to leave out at the beginning"),
    ("delimiter", None, "CHAR", "Field separator; `tab` for a tab"),
    ("encoding", None, "LABEL", "Encoding, such as windows-1252 or utf-16le"),
    ("decimal", None, "CHAR", "Decimal separator: `.` or `,`"),
    ("dates", Some("date"), "ORDER", "Order of dates: dmy, mdy or ymd"),
    ("sign", None, "SIGN", "`flip` turns the signs of all amounts round, `keep` leaves them"),
    ("debit", None, "COL", "Column of what went out; needs the credit column"),
    ("credit", None, "COL", "Column of what came in"),
    ("flag", None, "COL", "Column that says whether an amount went out or came in"),
    ("scale", None, "DIGITS", "Digits of minor units: 2 reads 12345 as 123.45"),
    ("sheet", None, "NAME", "Sheet of a workbook; several as one: `Jan/Feb`, `*`, `2026-*`"),
    ("statement", None, "NAME", "Statement of a file that holds several, by its account or its own name"),
];

/// What was said about reading the one file of a command.
#[derive(Clone, Debug, Default)]
pub struct OneReadingFlags(pub SideReading);

/// A flag for each option of a file; `side` goes before its name, as in `left-`.
fn add_flags(mut command: Command, side: &str, file: &str) -> Command {
    for (name, other, value, help) in FLAGS {
        let id = format!("{side}{name}");
        let mut arg = Arg::new(id.clone())
            .long(id)
            .value_name(value)
            .help(format!("{help}{file}"))
            .help_heading("Reading")
            .allow_hyphen_values(true)
            .value_parser(move |text: &str| SideReading::default().set(name, text).map(|()| text.to_owned()));
        if let Some(other) = other {
            arg = arg.alias(format!("{side}{other}"));
        }
        command = command.arg(arg);
    }
    command
}

fn reading_of(matches: &ArgMatches, side: &str) -> Result<SideReading, clap::Error> {
    let mut reading = SideReading::default();
    for (name, ..) in FLAGS {
        if let Some(value) = matches.get_one::<String>(&format!("{side}{name}")) {
            let refused = |reason| {
                clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("--{side}{name}: {reason}\n"))
            };
            reading.set(name, value).map_err(refused)?;
        }
    }
    if reading.debit.is_some() != reading.credit.is_some() {
        let text = format!("--{side}debit and --{side}credit are given together\n");
        return Err(clap::Error::raw(clap::error::ErrorKind::MissingRequiredArgument, text));
    }
    Ok(reading)
}

impl Args for ReadingFlags {
    fn augment_args(command: Command) -> Command {
        add_flags(add_flags(command, "left-", " (first file)"), "right-", " (second file)")
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ReadingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { left: reading_of(matches, "left-")?, right: reading_of(matches, "right-")? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for OneReadingFlags {
    fn augment_args(command: Command) -> Command {
        add_flags(command, "", "")
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OneReadingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(reading_of(matches, "")?))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<ReadingFlags, clap::Error> {
        let command = ReadingFlags::augment_args(Command::new("x"));
        ReadingFlags::from_arg_matches(&command.try_get_matches_from([&["x"], words].concat())?)
    }

    #[test]
    fn every_option_of_the_rules_is_a_flag_of_either_side() {
        let words = [
            "--left-header",
            "6",
            "--left-dates",
            "dmy",
            "--right-sign",
            "flip",
            "--right-debit",
            "Soll",
            "--right-credit",
            "Haben",
            "--left-decimal",
            ",",
            "--left-delimiter",
            ";",
            "--left-encoding",
            "windows-1252",
        ];
        let flags = parse(&words).unwrap();
        assert_eq!((flags.left.header, flags.left.decimal.as_deref()), (Some(6), Some(",")));
        assert_eq!((flags.right.debit.as_deref(), flags.right.credit.as_deref()), (Some("Soll"), Some("Haben")));
        for wrong in [
            &["--left-dates", "ydm"][..],
            &["--left-decimal", "x"],
            &["--right-debit", "Soll"],
            &["--left-scale", "99"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}

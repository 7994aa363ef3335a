//! The settings as flags of a command, made from the list of settings.
//!
//! Leaves reading the values to `sources`: a flag's text is taken as it is, so that a bad one is reported in the same
//! words as from any other place. Easy to get wrong: a default given to clap would beat the environment and the file.
use super::{
    settings::{SETTINGS, Setting},
    sources::variable,
};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::{collections::BTreeMap, path::PathBuf, sync::LazyLock};

/// The settings given on the command line.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Name of a setting to its text.
    pub values: BTreeMap<&'static str, String>,
}

impl Overrides {
    fn arguments() -> impl Iterator<Item = Arg> {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Configuration file (TOML) with any of these settings, `_` for `-` [env: TIEOUT_CONFIG]");
        SETTINGS.iter().map(argument).chain([config])
    }
}

fn argument(setting: &Setting) -> Arg {
    let default = if setting.default.is_empty() { String::new() } else { format!(" [default: {}]", setting.default) };
    let help = format!("{}{default} [env: {}]", setting.doc.trim(), variable(setting.name));
    let argument =
        Arg::new(setting.name).long(long(setting.name)).help(help).hide(setting.hidden).help_heading(setting.group);
    if setting.switch {
        argument.action(ArgAction::SetTrue)
    } else {
        argument.value_name(setting.value).value_parser(value_parser!(String))
    }
}

/// The flag of a setting without its dashes. Made once: clap keeps names for as long as the process lives.
fn long(name: &'static str) -> &'static str {
    static FLAGS: LazyLock<BTreeMap<&str, String>> =
        LazyLock::new(|| SETTINGS.iter().map(|setting| (setting.name, setting.name.replace('_', "-"))).collect());
    &FLAGS[name]
}

impl clap::Args for Overrides {
    fn augment_args(command: Command) -> Command {
        command.args(Self::arguments())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut found = Self::default();
        found.update_from_arg_matches(matches)?;
        Ok(found)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>("config").cloned();
        for setting in SETTINGS {
            if setting.switch {
                if matches.get_flag(setting.name) {
                    self.values.insert(setting.name, "true".into());
                }
            } else if let Some(text) = matches.get_one::<String>(setting.name) {
                self.values.insert(setting.name, text.clone());
            }
        }
        Ok(())
    }
}

//! Where a value comes from: flag, environment, configuration file, default; the first that has it wins.
//!
//! Leaves the list of settings to `settings`. Easy to get wrong: an error without its origin ("invalid digit") sends
//! people to the wrong place; every error here says which setting, what value, and where it was given.
use super::{
    overrides::Overrides,
    settings::{Config, SETTINGS},
};
use std::{collections::BTreeMap, fmt, path::Path, path::PathBuf, str::FromStr};

/// Where a value was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// On the command line, as this flag.
    Flag(String),
    /// In this environment variable.
    Environment(String),
    /// In this file.
    File(PathBuf),
    /// Nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "the flag {flag}"),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// Why the settings can't be used. The process does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value can't be read or is out of bounds.
    #[error("setting {name}: {value:?} from {origin}: {reason}")]
    Value {
        /// The setting.
        name: &'static str,
        /// The text that was given.
        value: String,
        /// Where.
        origin: Origin,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration file can't be used.
    #[error("configuration file {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The three places, each as name to text.
pub(super) struct Sources<'a> {
    flags: &'a BTreeMap<&'static str, String>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    file: Option<(PathBuf, BTreeMap<String, String>)>,
}

impl Config {
    /// The settings of this process: `flags`, then its environment, then the file named by `--config` or
    /// `TIEOUT_CONFIG`, then the defaults.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(flags: &Overrides) -> Result<Self, ConfigError> {
        Self::load_from(flags, &|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// As [`load`](Self::load), with the environment as a function.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load_from(flags: &Overrides, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let path = flags.config.clone().or_else(|| environment("TIEOUT_CONFIG").map(PathBuf::from));
        let file = path.map(|path| read_file(&path).map(|values| (path, values))).transpose()?;
        Self::from_sources(&Sources { flags: &flags.values, environment, file })
    }

    /// The bearer token in the environment, if there is one. Not a setting: a token on a command line is seen by
    /// every user of the machine.
    pub fn token_from_environment() -> Option<String> {
        std::env::var("TIEOUT_TOKEN").ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
    }
}

impl Sources<'_> {
    /// The value of one setting, read and checked.
    pub(super) fn take<T>(
        &self,
        name: &'static str,
        default: &str,
        check: impl Fn(&T) -> Result<(), String>,
    ) -> Result<T, ConfigError>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let (text, origin) = self.find(name).unwrap_or_else(|| (default.to_owned(), Origin::Default));
        let read = text.parse::<T>().map_err(|error| error.to_string());
        let checked = read.and_then(|value| check(&value).map(|()| value));
        checked.map_err(|reason| ConfigError::Value { name, value: text, origin, reason })
    }

    fn find(&self, name: &'static str) -> Option<(String, Origin)> {
        if let Some(text) = self.flags.get(name) {
            return Some((text.clone(), Origin::Flag(flag(name))));
        }
        for variable in variables(name) {
            if let Some(text) = (self.environment)(&variable) {
                return Some((switch_text(name, text), Origin::Environment(variable)));
            }
        }
        let (path, values) = self.file.as_ref()?;
        values.get(name).map(|text| (text.clone(), Origin::File(path.clone())))
    }
}

/// The flag of a setting.
pub(super) fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// The environment variable of a setting.
pub(super) fn variable(name: &str) -> String {
    format!("TIEOUT_{}", name.to_ascii_uppercase())
}

/// `enable_test_hooks` is also known by its short name.
fn variables(name: &str) -> Vec<String> {
    let short = name.strip_prefix("enable_").map(variable);
    std::iter::once(variable(name)).chain(short).collect()
}

/// A switch in the environment may be written as 1 or 0.
fn switch_text(name: &str, text: String) -> String {
    let switch = SETTINGS.iter().any(|setting| setting.name == name && setting.switch);
    match text.as_str() {
        "1" if switch => "true".into(),
        "0" | "" if switch => "false".into(),
        _ => text,
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let fail = |reason: String| ConfigError::File { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let table: toml::Table =
        text.parse().map_err(|error: toml::de::Error| fail(error.to_string().trim().to_owned()))?;
    let mut values = BTreeMap::new();
    for (name, value) in table {
        if !SETTINGS.iter().any(|setting| setting.name == name) {
            return Err(fail(format!("unknown setting {name:?}; `tieout serve --help` lists them")));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(switch) => switch.to_string(),
            toml::Value::Array(words) => {
                let words: Option<Vec<_>> = words.iter().map(toml::Value::as_str).collect();
                words.ok_or_else(|| fail(format!("setting {name}: expected a list of texts")))?.join(",")
            }
            other => return Err(fail(format!("setting {name}: a {} is not a value for it", other.type_str()))),
        };
        values.insert(name, text);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: &[(&'static str, &str)], env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let flags = Overrides { values: flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(), config: None };
        let env: BTreeMap<_, _> = env.iter().copied().collect();
        Config::load_from(&flags, &|name| env.get(name).map(|text| (*text).to_owned()))
    }

    #[test]
    fn every_default_passes_its_own_check() {
        let config = load(&[], &[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:2000");
        assert!(config.workers.0 >= 1);
        assert!(!config.enable_test_hooks);
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "max_rows = 3\nmax_columns = 3\nallowed_hosts = [\"a\", \"b\"]\n").unwrap();
        let path = file.path().to_str().unwrap();
        let config = load(&[], &[("TIEOUT_CONFIG", path), ("TIEOUT_MAX_ROWS", "2")]).unwrap();
        assert_eq!((config.max_rows, config.max_columns), (2, 3));
        assert_eq!(config.allowed_hosts.0, ["a", "b"]);
        let config = load(&[("max_rows", "1")], &[("TIEOUT_CONFIG", path), ("TIEOUT_MAX_ROWS", "2")]).unwrap();
        assert_eq!(config.max_rows, 1);
    }

    #[test]
    fn a_bad_value_names_the_setting_and_where_it_came_from() {
        let error = load(&[], &[("TIEOUT_WORKERS", "many")]).unwrap_err().to_string();
        assert_eq!(
            error,
            "setting workers: \"many\" from the environment variable TIEOUT_WORKERS: expected a whole number, or auto"
        );
        let error = load(&[("workers", "0")], &[]).unwrap_err().to_string();
        assert!(error.contains("the flag --workers") && error.contains("from 1 to 1024"), "{error}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "workrs = 3\n").unwrap();
        let error = load(&[], &[("TIEOUT_CONFIG", file.path().to_str().unwrap())]).unwrap_err().to_string();
        assert!(error.contains("workrs") && error.contains(file.path().to_str().unwrap()), "{error}");
    }

    #[test]
    fn test_hooks_have_a_short_variable() {
        assert!(load(&[], &[("TIEOUT_TEST_HOOKS", "1")]).unwrap().enable_test_hooks);
        assert!(!load(&[], &[("TIEOUT_TEST_HOOKS", "0")]).unwrap().enable_test_hooks);
    }

    #[test]
    fn the_limits_page_names_every_limit_and_the_help_has_headings() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/LIMITS.md")).unwrap();
        let limits = SETTINGS.iter().filter(|setting| setting.group.starts_with("Limits"));
        let missing: Vec<_> = limits.filter(|setting| !page.contains(&format!("`{}`", setting.name))).collect();
        assert!(missing.is_empty(), "docs/LIMITS.md does not name {missing:?}");
        let help = <Overrides as clap::Args>::augment_args(clap::Command::new("serve")).render_help().to_string();
        for setting in SETTINGS.iter().filter(|setting| !setting.hidden) {
            assert!(help.contains(&format!("{}:", setting.group)), "{help}");
            assert!(help.contains(&flag(setting.name)), "{} is not in the help", setting.name);
        }
    }
}

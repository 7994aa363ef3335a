//! Every setting: its name, default, unit and check, and where its value came from.
//!
//! A flag beats the environment, that beats the configuration file, that beats the default. This folder is the only
//! one that reads the environment; every layer below declares its own options and gets them from `app`. Easy to get
//! wrong: a setting that is read anywhere else, or that has a default in two places; [`settings`] is the one list.
mod overrides;
mod private;
mod replicas;
mod secret;
mod settings;
mod sources;
mod token;
mod values;

pub use overrides::Overrides;
pub use private::{close_to_others, only_for_this_user};
pub use secret::Secret;
pub use settings::{Config, SETTINGS, Setting};
pub use sources::{ConfigError, Origin};
pub use token::{SigningKeys, Token, TokenError};
pub use values::{ByteSize, LogLevel, RealtimeMode, Seconds};

//! The bearer token of the installation (given in a file or the environment, else made and kept in the data directory)
//! and the keys of signed ones.
//!
//! Leaves comparing to `http::Auth`. Easy to get wrong: a generated token is shown once, when it is made, and its file
//! is readable by its owner only; a given one is never shown.
use super::private::readable_by_others;
use super::settings::Config;
use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The file of the generated token inside the data directory.
const FILE: &str = "token";
/// Fewest bytes of a static token: it lives for long, and a short one is found by trying.
pub(super) const MIN_TOKEN_BYTES: usize = 32;
/// Bytes of randomness in a generated token.
const RANDOM_BYTES: usize = 24;

/// A token file that can't be used. Serving without the token that somebody asked for is not an option.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It can't be read.
    #[error("cannot read the file of a token or key {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("the file {} of a token or key is empty", .0.display())]
    Empty(PathBuf),
    /// A token that somebody could find by trying.
    #[error(
        "the token {place} has {bytes} bytes; a static token needs at least {MIN_TOKEN_BYTES}: `openssl rand -hex 24` makes one"
    )]
    Short {
        /// Where it was given.
        place: String,
        /// Its length.
        bytes: usize,
    },
}

/// The token in force and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// Loopback without a token.
    NotNeeded,
    /// From the token file, the environment, or an earlier start.
    Known(String),
    /// Made just now: show it once.
    Fresh {
        /// The token.
        text: String,
        /// Where it is kept; `None` when the data directory could not be written, so that it is gone with the process.
        kept: Option<PathBuf>,
    },
}

impl Token {
    /// The token that callers must send.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::NotNeeded => None,
            Self::Known(text) | Self::Fresh { text, .. } => Some(text),
        }
    }

    /// The token of this installation.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn find(config: &Config) -> Result<Self, TokenError> {
        if let Some(path) = &config.token_file.0 {
            return long_enough(read(path)?, || format!("in {}", path.display())).map(Self::Known);
        }
        if let Some(text) = Config::token_from_environment() {
            return long_enough(text, || "in the environment variable TIEOUT_TOKEN".into()).map(Self::Known);
        }
        if config.listen.ip().is_loopback() {
            return Ok(Self::NotNeeded);
        }
        let path = config.data_dir.join(FILE);
        match read(&path) {
            Ok(text) => long_enough(text, || format!("in {}", path.display())).map(Self::Known),
            Err(TokenError::Unreadable { source, .. }) if source.kind() != io::ErrorKind::PermissionDenied => {
                let text = generate();
                let kept = keep(&path, &text).inspect_err(|error| {
                    log::error!("the token can't be kept path={} error={error}", path.display());
                });
                Ok(Self::Fresh { text, kept: kept.is_ok().then_some(path) })
            }
            Err(error) => Err(error),
        }
    }
}

/// The keys of signed tokens, as their files have them.
#[derive(Clone, Debug, Default)]
pub struct SigningKeys {
    /// Shared secret of HS256, without the line end that editors add.
    pub secret: Option<Vec<u8>>,
    /// Public key in PEM.
    pub public_key: Option<Vec<u8>>,
}

impl SigningKeys {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn read(config: &Config) -> Result<Self, TokenError> {
        let bytes = |path: &PathBuf, secret: bool| {
            if secret {
                warn_of_readers(path);
            }
            let bytes = std::fs::read(path).map_err(|source| TokenError::Unreadable { path: path.clone(), source })?;
            let bytes = bytes.trim_ascii_end().to_vec();
            if bytes.is_empty() { Err(TokenError::Empty(path.clone())) } else { Ok(bytes) }
        };
        let secret = config.jwt_secret_file.0.as_ref().map(|path| bytes(path, true)).transpose()?;
        let public_key = config.jwt_public_key_file.0.as_ref().map(|path| bytes(path, false)).transpose()?;
        Ok(Self { secret, public_key })
    }
}

fn long_enough(token: String, place: impl Fn() -> String) -> Result<String, TokenError> {
    match token.len() {
        MIN_TOKEN_BYTES.. => Ok(token),
        bytes => Err(TokenError::Short { place: place(), bytes }),
    }
}

fn warn_of_readers(path: &Path) {
    if readable_by_others(path) {
        log::warn!("every user of the machine can read a secret; chmod o-r it path={}", path.display());
    }
}

/// The text of a file that holds a secret.
pub(super) fn read(path: &Path) -> Result<String, TokenError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| TokenError::Unreadable { path: path.to_owned(), source })?;
    warn_of_readers(path);
    let text = text.trim();
    if text.is_empty() { Err(TokenError::Empty(path.to_owned())) } else { Ok(text.to_owned()) }
}

fn generate() -> String {
    rand::random::<[u8; RANDOM_BYTES]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn keep(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // `create_new`: a file that appeared meanwhile belongs to another process, whose clients know its token.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

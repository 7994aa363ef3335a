//! A secret given in place or in a file: addresses with a password in them.
//!
//! Easy to get wrong: a setting's value is shown in errors and by `{:?}`; a secret's never is.
use super::settings::Optional;
use super::token::{TokenError, read};
use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text, for whoever needs it to come in.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What was given in place, else what the file has.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub(crate) fn find(given: &Optional<Self>, file: &Optional<PathBuf>) -> Result<Option<Self>, TokenError> {
        match (&given.0, &file.0) {
            (Some(given), _) => Ok(Some(given.clone())),
            (None, Some(file)) => Ok(Some(Self(read(file)?))),
            (None, None) => Ok(None),
        }
    }
}

impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_in_place_or_in_a_file_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "postgres://ana:hidden@db/books\n").unwrap();
        let (none, path) = (Optional(None), Optional(Some(file.path().to_owned())));
        let found = Secret::find(&none, &path).unwrap().unwrap();
        assert_eq!(found.reveal(), "postgres://ana:hidden@db/books");
        assert!(!format!("{found:?}").contains("hidden"));
        let given = Optional(Some(Secret("here".into())));
        assert_eq!(Secret::find(&given, &path).unwrap().unwrap().reveal(), "here");
        assert!(Secret::find(&none, &Optional(Some("/nowhere".into()))).is_err());
    }
}

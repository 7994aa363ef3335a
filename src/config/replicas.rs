//! How this process reaches the other replicas, from the settings.
//!
//! Leaves what an address may say to `cluster`. Easy to get wrong: an address holds a password, and a comma in one has to be
//! written as `%2C`, for commas stand between addresses.
use super::{secret::Secret, settings::Config, token::TokenError};
use crate::cluster::{Options, ReplicaId};

impl Config {
    /// The options of the relay: of one without others when no address is given.
    ///
    /// # Errors
    /// See [`TokenError`]: the file of the address can't be used.
    pub fn relay(&self) -> Result<Options, TokenError> {
        let name = self.replica.0.clone().unwrap_or_else(|| format!("r{:06x}", rand::random_range(0..1 << 24)));
        let mut options = Options::new(ReplicaId::new(&name));
        options.prefix = self.relay_prefix.clone();
        if let Some(secret) = Secret::find(&self.redis_url, &self.redis_url_file)? {
            let words = secret.reveal().split([',', '\n']).map(str::trim);
            options.urls = words.filter(|url| !url.is_empty()).map(str::to_owned).collect();
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster::Relay, config::Overrides};

    fn load(settings: &[(&'static str, &str)]) -> Result<Config, String> {
        let values = settings.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        Config::load_from(&Overrides { values, config: None }, &|_| None).map_err(|error| error.to_string())
    }

    #[test]
    fn without_an_address_a_process_is_alone_under_a_name_of_its_own() {
        let options = load(&[]).unwrap().relay().unwrap();
        assert_eq!((options.urls.len(), options.prefix.as_str()), (0, "tieout"));
        assert!(Relay::start(&options).unwrap().is_alone());
        assert_ne!(options.replica, load(&[]).unwrap().relay().unwrap().replica);
    }

    #[test]
    fn addresses_come_from_the_setting_or_its_file_and_a_name_is_kept() {
        let given =
            [("redis_url", "redis://:s3cret@a , redis://b:7000"), ("replica", "east-1"), ("relay_prefix", "books")];
        let config = load(&given).unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
        let options = config.relay().unwrap();
        assert_eq!(options.urls, ["redis://:s3cret@a", "redis://b:7000"]);
        assert!(options.replica.as_str().starts_with("east-1-") && options.prefix == "books");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "redis://a\n").unwrap();
        let options = load(&[("redis_url_file", file.path().to_str().unwrap())]).unwrap().relay().unwrap();
        assert_eq!(options.urls, ["redis://a"]);
        assert!(load(&[("redis_url_file", "/nowhere")]).unwrap().relay().unwrap_err().to_string().contains("/nowhere"));
    }

    #[test]
    fn what_can_never_work_is_said_without_the_password() {
        for name in ["relay_prefix", "replica"] {
            let error = load(&[(name, "a b")]).unwrap_err();
            assert!(error.contains(name) && error.contains("letters, digits"), "{error}");
        }
        let options = load(&[("redis_url", "redis://a,http://:s3cret@b")]).unwrap().relay().unwrap();
        let error = Relay::start(&options).unwrap_err().to_string();
        assert!(error.starts_with("address 2 of the relay: expected redis://") && !error.contains("s3cret"), "{error}");
    }
}

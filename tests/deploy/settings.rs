//! The environment of a container against the server's own list of settings, read by the server's own code. Leaves the
//! content of files that settings name to the caller. Easy to get wrong: `Config` ignores a variable that it does not
//! know, so an unknown name is looked for here.
use std::collections::BTreeMap;

use tieout::{
    cluster::Relay,
    config::{Config, Overrides, SETTINGS},
};

use super::{image::Image, manifests::Report};

/// Variables that the server reads beside the settings.
const BESIDE: &[&str] = &["TIEOUT_CONFIG", "TIEOUT_TOKEN"];

/// Variable to value; `None` is a value that only the cluster knows.
pub(crate) type Environment = BTreeMap<String, Option<String>>;

/// The settings that a container with this environment would run with.
pub(crate) fn config(whose: &str, environment: &Environment, found: &mut Report) -> Option<Config> {
    for name in environment.keys().filter(|name| name.starts_with("TIEOUT_")) {
        let known = SETTINGS.iter().any(|setting| format!("TIEOUT_{}", setting.name.to_ascii_uppercase()) == **name);
        found.expect(known || BESIDE.contains(&name.as_str()), format!("{whose}: {name} is no setting"));
    }
    let read = |name: &str| environment.get(name).cloned().flatten();
    match Config::load_from(&Overrides::default(), &read) {
        Ok(config) => Some(config),
        Err(error) => {
            found.problems.push(format!("{whose}: {error}"));
            None
        }
    }
}

/// Checks one value by its setting's own rule.
pub(crate) fn value(whose: &str, setting: &str, value: &str, found: &mut Report) {
    let variable = format!("TIEOUT_{}", setting.to_ascii_uppercase());
    let Some(config) = config(whose, &Environment::from([(variable, Some(value.to_owned()))]), found) else { return };
    if let Err(error) = tieout::app::store_options(&config) {
        found.problems.push(format!("{whose}: {error}"));
    }
    // Entered and never driven: the relay reads its addresses and gets no further.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let options = config.relay().unwrap_or_else(|e| panic!("no file is named here: {e}"));
    if let Err(error) = Relay::start(&options) {
        found.problems.push(format!("{whose}: {error}"));
    }
}

/// What must hold of a replica's settings wherever it runs.
pub(crate) fn replica(whose: &str, config: &Config, image: &Image, found: &mut Report) {
    found.expect(config.listen.port() == image.port, format!("{whose}: listens elsewhere than the image exposes"));
    found.expect(config.listen.ip().is_unspecified(), format!("{whose}: is not reachable from other containers"));
    found.expect(config.data_dir.as_os_str() == image.data.as_str(), format!("{whose}: data_dir is not the image's"));
    found.expect(config.token_file.0.is_some(), format!("{whose}: each replica would make a token of its own"));
    // As App::stop and Realtime::drain share it out: half of the stop, and six tenths of that.
    let closing = config.shutdown_timeout.0.mul_f64(0.3);
    found.expect(
        config.drain_window.0 <= closing,
        format!("{whose}: a stop closes live connections within {closing:?}, less than drain_window"),
    );
}

/// Who may be killed `grace` seconds after the stop began, of which the first `before` pass without a signal.
pub(crate) fn grace(whose: &str, config: &Config, before: u64, grace: u64, found: &mut Report) {
    let needed = before + config.shutdown_timeout.0.as_secs() + 5;
    found.expect(grace >= needed, format!("{whose}: is killed after {grace} s, and may need {needed} s to stop"));
}

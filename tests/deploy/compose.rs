//! `compose.yaml` and the script that makes its secrets. Leaves the balancer's own file to `balancer`. Easy to get
//! wrong: merged keys; the parser resolves `<<`, so what is seen here is what a container gets.
use std::{collections::BTreeMap, fs, process::Command};

use serde_json::Value;

use super::{
    image::Image,
    manifests::{Files, Report, items, names, seconds, text},
    settings::{self, Environment},
};

pub(crate) const FILE: &str = "compose.yaml";
const SCRIPT: &str = "deploy/compose/secrets.sh";
const SECRETS: &str = "deploy/compose/secrets";

/// Service to its definition, of those that run Tieout.
pub(crate) fn replicas(compose: &Value) -> BTreeMap<&str, &Value> {
    let services = compose["services"].as_object().into_iter().flatten();
    services
        .filter(|(_, service)| service["image"] == "tieout")
        .map(|(name, service)| (name.as_str(), service))
        .collect()
}

pub(crate) fn check(files: &Files, found: &mut Report) {
    let compose = files.yaml(FILE, found);
    let image = Image::read(files);
    for (name, service) in compose["services"].as_object().into_iter().flatten() {
        references(&format!("{FILE} {name}"), service, &compose, files, found);
        let image = text(service, "/image");
        let pinned = image == "tieout" || image.split_once(':').is_some_and(|(_, tag)| tag.contains('.'));
        found.expect(pinned, format!("{FILE} {name}: the image {image} may be another version tomorrow"));
        if replicas(&compose).contains_key(name.as_str()) {
            reaches(&format!("{FILE} balancer"), &compose["services"]["balancer"], name, &compose, found);
        }
    }
    let replicas = replicas(&compose);
    found.expect(replicas.len() >= 2, format!("{FILE}: there are {} replicas", replicas.len()));
    let mut volumes = Vec::new();
    let mut own_names = Vec::new();
    for (name, service) in &replicas {
        let whose = format!("{FILE} {name}");
        let environment = environment(service);
        own_names.push(environment.get("TIEOUT_REPLICA").cloned());
        secrets_are_mounted(&whose, &environment, service, found);
        stores_are_services(&whose, &environment, service, &compose, found);
        found.expect(service["read_only"] == true, format!("{whose}: its root file system can be written"));
        found.expect(service["cap_drop"] == serde_json::json!(["ALL"]), format!("{whose}: keeps capabilities"));
        let Some(config) = settings::config(&whose, &environment, found) else { continue };
        settings::replica(&whose, &config, &image, found);
        let grace = seconds(text(service, "/stop_grace_period")).unwrap_or_default();
        settings::grace(&whose, &config, 0, grace, found);
        let mounts = names(&service["volumes"]).into_iter().filter_map(|mount| mount.split_once(':'));
        let data = mounts.filter(|(_, place)| *place == config.data_dir.to_string_lossy()).map(|(volume, _)| volume);
        volumes.extend(data.map(str::to_owned));
        let files = service["ulimits"]["nofile"].as_u64().unwrap_or_default();
        found.expect(
            files > config.max_sockets * 2,
            format!("{whose}: {files} descriptors for {} sockets", config.max_sockets),
        );
    }
    own_names.sort();
    own_names.dedup();
    found.expect(own_names.len() == replicas.len(), format!("{FILE}: two replicas have one name"));
    let one_volume = volumes.len() == replicas.len() && volumes.iter().all(|volume| *volume == volumes[0]);
    found.expect(one_volume, format!("{FILE}: the replicas do not share one data volume: {volumes:?}"));
    the_script_makes_the_secrets(&compose, files, found);
}

fn environment(service: &Value) -> Environment {
    let entries = service["environment"].as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.clone(), value.as_str().map(str::to_owned))).collect()
}

/// Every name that a service uses is defined.
fn references(whose: &str, service: &Value, compose: &Value, files: &Files, found: &mut Report) {
    for (key, defined) in [("depends_on", "services"), ("networks", "networks"), ("secrets", "secrets")] {
        for name in names(&service[key]) {
            found.expect(
                compose[defined].get(name).is_some(),
                format!("{whose}: {key} names {name}, which is not there"),
            );
        }
    }
    for mount in names(&service["volumes"]) {
        let source = mount.split(':').next().unwrap_or_default();
        let known = match source.strip_prefix("./") {
            Some(path) => files.0.contains_key(path),
            None => compose["volumes"].get(source).is_some(),
        };
        found.expect(known, format!("{whose}: the volume {source} is not there"));
    }
}

/// A setting that names a file names a secret that this service gets.
fn secrets_are_mounted(whose: &str, environment: &Environment, service: &Value, found: &mut Report) {
    let granted = names(&service["secrets"]);
    let files = environment.iter().filter(|(name, _)| name.ends_with("_FILE"));
    for (name, value) in files {
        let secret = value.as_deref().and_then(|path| path.strip_prefix("/run/secrets/")).unwrap_or_default();
        found.expect(granted.contains(&secret), format!("{whose}: {name} is no secret of this service"));
    }
}

/// The host of each store's address is a service on a network that both are on.
fn stores_are_services(whose: &str, environment: &Environment, service: &Value, compose: &Value, found: &mut Report) {
    reaches(whose, service, "postgres", compose, found);
    if let Some(Some(url)) = environment.get("TIEOUT_REDIS_URL") {
        settings::value(whose, "redis_url", url, found);
        let host = host(url);
        found.expect(compose["services"].get(host).is_some(), format!("{whose}: there is no service {host} for {url}"));
        reaches(whose, service, host, compose, found);
    }
}

/// Both are on one network.
fn reaches(whose: &str, service: &Value, other: &str, compose: &Value, found: &mut Report) {
    let there = names(&compose["services"][other]["networks"]);
    let shared = names(&service["networks"]).into_iter().any(|network| there.contains(&network));
    found.expect(shared, format!("{whose}: is on no network of {other}"));
}

/// The host in `scheme://user:password@host:port/…`.
pub(crate) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.split(':').next().unwrap_or_default()
}

/// Runs the script on a copy: it makes what compose mounts, values that the server takes, and nothing new a second time.
fn the_script_makes_the_secrets(compose: &Value, files: &Files, found: &mut Report) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("secrets.sh");
    fs::write(&script, files.text(SCRIPT)).expect("a temporary file");
    let run = || {
        let ended = Command::new("bash").arg(&script).output().expect("bash starts");
        assert!(ended.status.success(), "{SCRIPT}: {}", String::from_utf8_lossy(&ended.stderr));
        let made = fs::read_dir(folder.path().join("secrets")).expect("the script makes a folder").flatten();
        let made = made.map(|file| {
            let text = fs::read_to_string(file.path()).expect("a secret is text");
            (file.file_name().to_string_lossy().into_owned(), text)
        });
        made.collect::<BTreeMap<_, _>>()
    };
    let made = run();
    found.expect(run() == made, format!("{SCRIPT}: a second run changes what the first one made"));
    for (name, secret) in compose["secrets"].as_object().into_iter().flatten() {
        let file = text(secret, "/file").strip_prefix(&format!("./{SECRETS}/")).unwrap_or_default();
        found.expect(made.contains_key(file), format!("{FILE}: {SCRIPT} does not make the secret {name}"));
    }
    let ignored = files.text(".gitignore").lines().any(|line| line == format!("/{SECRETS}/"));
    found.expect(ignored, format!(".gitignore: {SECRETS} could be committed"));
    let url = made.get("database_url").map_or("", String::as_str);
    settings::value(SCRIPT, "database_url", url, found);
    let postgres = &compose["services"][host(url)]["environment"];
    let (user, database) = (text(postgres, "/POSTGRES_USER"), text(postgres, "/POSTGRES_DB"));
    let password = made.get("postgres_password").map_or("", String::as_str);
    let begins = format!("postgres://{user}:{password}@{}:5432/{database}?", host(url));
    found.expect(
        !user.is_empty() && url.starts_with(&begins),
        format!("{SCRIPT}: {url} is not where {FILE} has PostgreSQL"),
    );
    found.expect(
        items(&compose["services"]["postgres"]["ports"]).is_empty(),
        format!("{FILE}: PostgreSQL is open to the host"),
    );
}

//! The balancer's file against the replicas that it stands before. Leaves its grammar to `haproxy -c`. Easy to get wrong:
//! a timeout that is shorter than what the server may take for the same thing.
use std::collections::BTreeMap;

use tieout::config::{Config, Overrides};

use super::{
    compose,
    image::Image,
    manifests::{Files, Report, items, names, seconds, text},
};

pub(crate) const FILE: &str = "deploy/compose/haproxy.cfg";

/// Section, such as `backend tieout`, to its lines without comments.
fn sections(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        if line.starts_with(' ') { all.entry(current).or_default().push(line.trim()) } else { current = line.trim() }
    }
    all
}

pub(crate) fn check(files: &Files, found: &mut Report) {
    let compose = files.yaml(compose::FILE, found);
    let sections = sections(files.text(FILE));
    let image = Image::read(files);
    let replicas = compose::replicas(&compose);
    for (backend, probe) in [("backend tieout", "/api/ready"), ("backend alive", "/api/health")] {
        let lines = sections.get(backend).map_or(&[][..], Vec::as_slice);
        let mut servers: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("server ")).collect();
        servers.sort_unstable();
        let expected: Vec<String> = replicas.keys().map(|name| format!("{name} {name}:{}", image.port)).collect();
        found.expect(servers == expected, format!("{FILE} {backend}: has {servers:?}, compose.yaml {expected:?}"));
        let asks = lines.iter().any(|line| line.starts_with(&format!("http-check send meth GET uri {probe} ")));
        found.expect(asks && lines.contains(&"option httpchk"), format!("{FILE} {backend}: is not checked by {probe}"));
        found.expect(lines.contains(&"http-check expect status 200"), format!("{FILE} {backend}: takes any answer"));
        let route = format!("\"{probe}\"");
        found.expect(files.text("src/http/router.rs").contains(&route), format!("{FILE}: there is no route {probe}"));
    }
    let all: Vec<&str> = sections.values().flatten().copied().collect();
    let sticky = all.iter().find(|line| line.starts_with("stick") || line.contains("cookie"));
    found.expect(sticky.is_none(), format!("{FILE}: ties clients to replicas: {sticky:?}"));
    let cuts = all.iter().find(|line| line.contains("on-marked-down") || line.contains("on-marked-up"));
    found.expect(cuts.is_none(), format!("{FILE}: cuts connections that a replica drains: {cuts:?}"));

    let bound = sections.get("frontend public").into_iter().flatten().find_map(|line| line.strip_prefix("bind :"));
    let balancer = &compose["services"]["balancer"];
    let published = names(&balancer["ports"]).first().and_then(|port| port.rsplit(':').next());
    found.expect(
        bound.is_some() && bound == published,
        format!("{FILE}: binds {bound:?}, compose.yaml publishes {published:?}"),
    );
    found.expect(
        items(&balancer["networks"]).iter().any(|network| network == "front"),
        "compose.yaml balancer: has no way to the replicas",
    );
    let maxconn =
        sections.get("global").into_iter().flatten().find_map(|line| line.strip_prefix("maxconn ")?.parse().ok());
    let descriptors = balancer["ulimits"]["nofile"].as_u64().unwrap_or_default();
    let enough = maxconn.is_some_and(|connections: u64| descriptors >= connections * 2 + 100);
    found.expect(enough, format!("{FILE}: {descriptors} descriptors for maxconn {maxconn:?}, each of which takes two"));
    timeouts(&sections, text(balancer, "/stop_grace_period"), found);
}

fn timeouts(sections: &BTreeMap<&str, Vec<&str>>, grace: &str, found: &mut Report) {
    let of = |section: &str, words: &str| {
        let value = sections.get(section)?.iter().find_map(|line| line.strip_prefix(words))?;
        seconds(value.trim())
    };
    let config = Config::load_from(&Overrides::default(), &|_| None).expect("the defaults are settings");
    let answer = config.request_timeout.0.max(config.transfer_idle_timeout.0).max(config.ping_every.0).as_secs();
    for side in ["client", "server"] {
        let limit = of("defaults", &format!("timeout {side} ")).unwrap_or_default();
        found.expect(
            limit > answer,
            format!("{FILE}: timeout {side} of {limit} s is not longer than the server's {answer} s"),
        );
    }
    let silence = (config.ping_every.0 + config.pong_within.0).as_secs();
    let tunnel = of("defaults", "timeout tunnel ").unwrap_or_default();
    found.expect(tunnel > silence, format!("{FILE}: timeout tunnel of {tunnel} s ends a WebSocket that is alive"));
    let (stop, grace) = (of("global", "hard-stop-after "), seconds(grace));
    found.expect(
        stop.is_some() && stop < grace,
        format!("{FILE}: is killed after {grace:?} s, before it stops by itself"),
    );
}

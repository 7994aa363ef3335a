//! The relay over a Redis cluster: sharded channels, servers that are restarted, slots that move.
use std::collections::HashSet;
use std::time::Duration;

use tieout::cluster::Channel;
use tieout::protocol::ids::ProjectId;

use crate::relay_support::{Replica, options, url};
use crate::support::redis::Redis;
use crate::support::{LONG, eventually, within};

/// Slots of the three masters.
const RANGES: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// A server that may be in a cluster, and the port of its cluster's bus.
fn node() -> (Redis, String) {
    let bus = crate::support::process::free_address().port().to_string();
    let options = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-require-full-coverage", "no"];
    (Redis::start_with(&[&options[..], &["--cluster-node-timeout", "2000"]].concat()), bus)
}

/// A cluster of three masters that know each other.
pub(crate) async fn cluster() -> [Redis; 3] {
    let servers = RANGES.map(|(from, to)| {
        let (server, bus) = node();
        assert_eq!(server.command(&format!("CLUSTER ADDSLOTSRANGE {from} {to}")), ["OK"]);
        (server, bus)
    });
    let [(first, _), others @ ..] = &servers;
    for (other, bus) in others {
        assert_eq!(first.command(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", other.port)), ["OK"]);
    }
    for (server, _) in &servers {
        eventually(LONG, "the cluster to be whole", async || {
            let seen = server.command("CLUSTER INFO").concat();
            let whole = seen.contains("cluster_state:ok") && seen.contains("cluster_slots_ok:16384");
            if whole { Ok(()) } else { Err(seen) }
        })
        .await;
    }
    servers.map(|(server, _)| server)
}

/// Two replicas that were told of these servers, in touch over rooms on every one of them.
async fn replicas(servers: &[Redis]) -> ([Replica; 2], Vec<Channel>) {
    let urls: Vec<_> = servers.iter().map(|server| url(server.port)).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let replicas = ["a", "b"].map(|name| Replica::start(&options(name, &urls)));
    // With two dozen rooms no server is without one but by a chance of one in ten thousand.
    let rooms: Vec<_> = (0..24).map(|_| Channel::Room(ProjectId::generate())).collect();
    for replica in &replicas {
        rooms.iter().for_each(|room| replica.relay.follow(*room));
    }
    (replicas, rooms)
}

async fn in_touch(replicas: &mut [Replica; 2], rooms: &[Channel]) {
    let [a, b] = replicas;
    a.up().await;
    b.up().await;
    for channel in rooms.iter().copied().chain([Channel::All]) {
        b.hears(a, channel).await;
    }
    a.hears(b, Channel::All).await;
}

#[tokio::test]
async fn rooms_on_every_server_of_a_cluster_are_heard_also_after_each_was_restarted() {
    let mut servers = cluster().await;
    let (mut replicas, rooms) = replicas(&servers).await;
    in_touch(&mut replicas, &rooms).await;
    for server in &servers {
        let shards = server.command("PUBSUB SHARDCHANNELS");
        assert!(shards.iter().any(|name| name.starts_with("tieout:room:")), "{shards:?}");
        assert!(shards.iter().filter(|name| name.starts_with("tieout:probe:")).count() >= 2, "{shards:?}");
        assert_eq!(server.command("PUBSUB CHANNELS"), Vec::<String>::new(), "all channels are sharded");
    }
    for server in &mut servers {
        let before = [replicas[0].gaps(), replicas[1].gaps()];
        server.kill();
        for replica in &replicas {
            let reason = replica.down().await;
            assert!(reason.contains(&server.port.to_string()), "it names the server: {reason}");
        }
        server.restart();
        in_touch(&mut replicas, &rooms).await;
        assert!(replicas[0].gaps() > before[0] && replicas[1].gaps() > before[1]);
    }
}

#[tokio::test]
async fn a_cluster_that_is_away_at_the_start_is_found_from_any_of_its_servers() {
    let mut servers = cluster().await;
    servers.iter_mut().for_each(Redis::kill);
    let (mut replicas, rooms) = replicas(&servers[1..]).await;
    assert!(replicas[0].down().await.contains("not connected yet") || replicas[0].down().await.contains("refused"));
    servers.iter_mut().for_each(Redis::restart);
    in_touch(&mut replicas, &rooms).await;
}

#[tokio::test]
async fn slots_that_move_to_another_server_are_followed() {
    let servers = cluster().await;
    let (mut replicas, rooms) = replicas(&servers).await;
    in_touch(&mut replicas, &rooms).await;
    let before = replicas[1].gaps();
    // Every slot of the first one in which something is heard goes to the last one, as an operator would move it.
    let [source, other, heir] = &servers;
    let slot = |name: &String| source.command(&format!("CLUSTER KEYSLOT {name}")).concat();
    let slots: HashSet<_> = source.command("PUBSUB SHARDCHANNELS").iter().map(slot).collect();
    let id = |server: &Redis| server.command("CLUSTER MYID").concat();
    let (from, to) = (id(source), id(heir));
    for slot in &slots {
        assert_eq!(heir.command(&format!("CLUSTER SETSLOT {slot} IMPORTING {from}")), ["OK"]);
        assert_eq!(source.command(&format!("CLUSTER SETSLOT {slot} MIGRATING {to}")), ["OK"]);
        for server in [heir, source, other] {
            assert_eq!(server.command(&format!("CLUSTER SETSLOT {slot} NODE {to}")), ["OK"]);
        }
    }
    let mut gaps = replicas[1].relay.gaps();
    within(LONG, "the loss to be told", gaps.wait_for(|gaps| *gaps > before)).await.unwrap();
    eventually(LONG, "the channels to be at their new server", async || {
        let left = servers[0].command("PUBSUB SHARDCHANNELS");
        // Probes prove the slots that are left.
        if left.iter().all(|name| name.contains(":probe:")) { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    in_touch(&mut replicas, &rooms).await;
}

#[tokio::test]
async fn a_replica_of_a_server_that_dies_takes_over_its_channels() {
    let mut servers = cluster().await;
    let (heir, bus) = node();
    assert_eq!(servers[0].command(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", heir.port)), ["OK"]);
    let master = servers[0].command("CLUSTER MYID").concat();
    let knows = |server: &Redis, what: &str, line: &str| {
        let seen = server.command(line).concat();
        if seen.contains(what) { Ok(()) } else { Err(seen) }
    };
    eventually(LONG, "the heir to know its master", async || knows(&heir, &master, "CLUSTER NODES")).await;
    assert_eq!(heir.command(&format!("CLUSTER REPLICATE {master}")), ["OK"]);
    eventually(LONG, "the heir to be in step", async || knows(&heir, "master_link_status:up", "INFO replication"))
        .await;
    // Those who are to vote for it must know it.
    let id = heir.command("CLUSTER MYID").concat();
    for server in &servers {
        eventually(LONG, "the others to know the heir", async || {
            let seen = server.command("CLUSTER NODES").join("\n");
            let known = seen.lines().any(|line| line.starts_with(&id) && line.contains("slave"));
            if known { Ok(()) } else { Err(seen) }
        })
        .await;
    }
    let (mut replicas, rooms) = replicas(&servers).await;
    in_touch(&mut replicas, &rooms).await;
    servers[0].kill();
    for replica in &replicas {
        replica.down().await;
    }
    eventually(LONG, "the heir to be a master", async || knows(&heir, "role:master", "INFO replication")).await;
    in_touch(&mut replicas, &rooms).await;
    let shards = heir.command("PUBSUB SHARDCHANNELS");
    assert!(shards.iter().any(|name| name.starts_with("tieout:room:")), "{shards:?}");
}

#[tokio::test]
async fn several_addresses_of_servers_that_are_no_cluster_are_told_apart_from_an_outage() {
    let servers = [Redis::start(), Redis::start()];
    let urls = servers.each_ref().map(|server| url(server.port));
    let a = Replica::start(&options("a", &[&urls[0], &urls[1]]));
    let mut link = a.relay.link();
    let told = |link: &tieout::cluster::Link| format!("{link:?}").contains("cluster support disabled");
    tokio::time::timeout(Duration::from_secs(20), link.wait_for(told)).await.expect("the reason").unwrap();
}

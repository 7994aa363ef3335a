//! Every way in which a Redis can go, and how the relay takes it: it says so, costs its caller nothing, and comes back by
//! itself with all that is followed.
use bytes::Bytes;
use std::time::{Duration, Instant};
use tieout::cluster::{Channel, Link};
use tieout::protocol::ids::ProjectId;

use crate::relay_support::{Replica, options, url};
use crate::support::proxy::{Mode, Proxy};
use crate::support::redis::Redis;
use crate::support::{LONG, eventually, within};

/// Two replicas on one server, each through a proxy of its own, in touch over a room that both follow.
struct Pair {
    server: Redis,
    proxies: [Proxy; 2],
    a: Replica,
    b: Replica,
    room: Channel,
}

impl Pair {
    async fn start() -> Self {
        let server = Redis::start();
        let proxies = [Proxy::start(server.port), Proxy::start(server.port)];
        let [a, b] = [0, 1].map(|n: usize| Replica::start(&options(["a", "b"][n], &[&url(proxies[n].port)])));
        let mut pair = Self { server, proxies, a, b, room: Channel::Room(ProjectId::generate()) };
        pair.a.relay.follow(pair.room);
        pair.b.relay.follow(pair.room);
        pair.in_touch().await;
        pair
    }

    /// Waits until both are up and hear each other over the room and over what is for all.
    async fn in_touch(&mut self) {
        self.a.up().await;
        self.b.up().await;
        for channel in [self.room, Channel::All] {
            self.a.hears(&self.b, channel).await;
            self.b.hears(&self.a, channel).await;
        }
    }

    fn gaps(&self) -> [u64; 2] {
        [self.a.gaps(), self.b.gaps()]
    }

    /// Fails unless both were told of a loss since.
    fn both_were_told_since(&self, before: [u64; 2]) {
        let now = self.gaps();
        assert!(now[0] > before[0] && now[1] > before[1], "{before:?} {now:?}");
    }
}

#[tokio::test]
async fn a_relay_starts_without_redis_and_connects_when_it_is_there() {
    let mut server = Redis::start();
    server.kill();
    let started = Instant::now();
    let mut replicas = ["a", "b"].map(|name| Replica::start(&options(name, &[&url(server.port)])));
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    let room = Channel::Room(ProjectId::generate());
    for replica in &replicas {
        replica.relay.follow(room);
        replica.relay.follow(Channel::Room(ProjectId::generate()));
        let mut link = replica.relay.link();
        let refused = |link: &Link| format!("{link:?}").contains("refused");
        within(LONG, "the reason", link.wait_for(refused)).await.unwrap();
    }
    server.restart();
    let [a, b] = &mut replicas;
    a.up().await;
    b.up().await;
    b.hears(a, room).await;
    assert!(b.gaps() > 0, "what was sent before is missing");
}

#[tokio::test]
async fn publishing_costs_nothing_while_redis_is_away() {
    tieout::telemetry::start_metrics();
    let mut server = Redis::start();
    let a = Replica::start(&options("a", &[&url(server.port)]));
    a.up().await;
    server.kill();
    a.down().await;
    let away = || {
        let text = tieout::telemetry::render_metrics();
        let line = text.lines().find(|line| line.starts_with("tieout_relay_dropped_total{reason=\"away\"}"));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
    };
    let (before, started) = (away(), Instant::now());
    for _ in 0..100_000 {
        a.relay.publish(Channel::All, Bytes::from_static(b"lost"));
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(away() >= before + 100_000, "every dropped message is counted: {} of 100000", away() - before);
}

#[tokio::test]
async fn a_redis_that_was_killed_and_came_back_empty_carries_on() {
    let mut pair = Pair::start().await;
    for empty in [true, false] {
        let before = pair.gaps();
        pair.server.kill();
        pair.a.down().await;
        pair.b.down().await;
        pair.both_were_told_since(before);
        let lost = pair.gaps();
        // What is followed and left while it is away counts when it is back.
        let (joined, left) = (Channel::Room(ProjectId::generate()), pair.room);
        pair.b.relay.follow(joined);
        pair.b.relay.unfollow(left);
        if empty {
            pair.server.restart_empty();
        } else {
            pair.server.restart();
        }
        let back = Instant::now();
        pair.a.up().await;
        pair.b.up().await;
        assert!(back.elapsed() < Duration::from_secs(2), "back after {:?}", back.elapsed());
        pair.both_were_told_since(lost);
        pair.b.hears(&pair.a, joined).await;
        pair.a.say(left, "nobody");
        pair.a.say(joined, "somebody");
        assert_eq!(pair.b.next().await, "somebody");
        pair.b.relay.follow(left);
        pair.in_touch().await;
    }
}

#[tokio::test]
async fn a_long_outage_is_never_the_last() {
    let mut pair = Pair::start().await;
    pair.server.kill();
    // Each try reaches the proxy, which finds nobody behind it.
    let tried = pair.proxies[0].accepted();
    eventually(LONG, "a dozen tries", async || {
        let tries = pair.proxies[0].accepted() - tried;
        if tries >= 12 { Ok(()) } else { Err(format!("{tries}")) }
    })
    .await;
    pair.server.restart();
    let back = Instant::now();
    pair.in_touch().await;
    assert!(back.elapsed() < Duration::from_secs(3), "back after {:?}", back.elapsed());
}

#[tokio::test]
async fn subscriptions_that_the_server_kills_are_made_again() {
    let mut pair = Pair::start().await;
    let before = pair.gaps();
    let killed: u32 = pair.server.command("CLIENT KILL TYPE pubsub")[0].parse().unwrap();
    assert!(killed >= 2, "{killed}");
    eventually(LONG, "both to be told", async || {
        let now = pair.gaps();
        if now[0] > before[0] + 1 && now[1] > before[1] + 1 { Ok(()) } else { Err(format!("{before:?} {now:?}")) }
    })
    .await;
    pair.in_touch().await;
}

#[tokio::test]
async fn a_frozen_redis_is_found_by_the_probe_and_used_again_when_it_is_thawed() {
    let mut pair = Pair::start().await;
    let before = pair.gaps();
    pair.server.freeze();
    let frozen = Instant::now();
    let reason = pair.a.down().await;
    pair.b.down().await;
    assert!(frozen.elapsed() < Duration::from_secs(3), "found after {:?}", frozen.elapsed());
    assert!(!reason.contains("closed"), "the connection is open all the time: {reason}");
    pair.both_were_told_since(before);
    pair.server.thaw();
    pair.in_touch().await;
}

#[tokio::test]
async fn a_reset_connection_is_made_again() {
    let mut pair = Pair::start().await;
    let before = pair.gaps();
    for proxy in &pair.proxies {
        proxy.reset().await;
    }
    eventually(LONG, "both to be told", async || {
        let now = pair.gaps();
        if now[0] > before[0] && now[1] > before[1] { Ok(()) } else { Err(format!("{before:?} {now:?}")) }
    })
    .await;
    pair.in_touch().await;
}

#[tokio::test]
async fn a_network_that_swallows_everything_is_found_and_left_behind() {
    let mut pair = Pair::start().await;
    pair.proxies[1].set(Mode::Blackhole).await;
    pair.b.down().await;
    assert!(pair.a.relay.link().borrow().is_up(), "a has a network of its own");
    let published = Instant::now();
    for number in 0..20_000 {
        pair.b.say(Channel::All, &number.to_string());
    }
    assert!(published.elapsed() < Duration::from_secs(2), "{:?}", published.elapsed());
    pair.proxies[1].set(Mode::Pass).await;
    pair.in_touch().await;
}

#[tokio::test]
async fn a_slow_network_is_slow_and_no_fault() {
    let server = Redis::start();
    let proxy = Proxy::start(server.port);
    proxy.set(Mode::Latency(Duration::from_millis(200))).await;
    let [mut a, b] = ["a", "b"].map(|name| {
        let mut options = options(name, &[&url(proxy.port)]);
        options.answer_within = Duration::from_secs(2);
        Replica::start(&options)
    });
    a.up().await;
    b.up().await;
    let before = a.gaps();
    let said = Instant::now();
    for number in 0..2_000 {
        b.say(Channel::All, &number.to_string());
    }
    for number in 0..2_000 {
        assert_eq!(a.next().await, number.to_string());
    }
    assert!(said.elapsed() >= Duration::from_millis(400), "{:?}", said.elapsed());
    assert!(said.elapsed() < Duration::from_secs(3), "a round trip each would take minutes: {:?}", said.elapsed());
    assert_eq!(a.gaps(), before);
    assert!(a.relay.link().borrow().is_up() && b.relay.link().borrow().is_up());
}

#[tokio::test]
async fn a_failover_behind_one_address_is_followed() {
    let mut pair = Pair::start().await;
    let heir = Redis::start();
    heir.follow(&pair.server);
    // The old one lives on, as a replica of the new one, and keeps its connections.
    heir.promote();
    pair.server.follow(&heir);
    for proxy in &pair.proxies {
        proxy.switch(heir.port).await;
    }
    eventually(LONG, "both to be at the new server", async || {
        let there = heir.command("PUBSUB NUMSUB tieout:all");
        if there == ["tieout:all", "2"] { Ok(()) } else { Err(format!("{there:?}")) }
    })
    .await;
    pair.in_touch().await;
    // And back, the hard way.
    pair.server.promote();
    for proxy in &pair.proxies {
        proxy.switch(pair.server.port).await;
    }
    drop(heir);
    pair.in_touch().await;
}

#[tokio::test]
async fn a_replica_of_redis_is_not_taken_for_a_relay() {
    let (master, replica) = (Redis::start(), Redis::start());
    replica.follow(&master);
    let a = Replica::start(&options("a", &[&url(replica.port)]));
    let mut link = a.relay.link();
    let told = |link: &Link| format!("{link:?}").contains("is a replica");
    within(LONG, "the reason", link.wait_for(told)).await.unwrap();
    replica.promote();
    a.up().await;
}

#[tokio::test]
async fn a_password_opens_the_door_and_is_never_shown() {
    let server = Redis::start_with(&["--requirepass", "open-s3same"]);
    let address = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port);
    let wrong = Replica::start(&options("a", &[&address("wr0ng-word")]));
    let mut link = wrong.relay.link();
    let told = |link: &Link| format!("{link:?}").contains("WRONGPASS");
    let reason = format!("{:?}", within(LONG, "the reason", link.wait_for(told)).await.unwrap());
    assert!(!reason.contains("wr0ng"), "{reason}");
    let right = options("b", &[&address("open-s3same")]);
    assert!(!format!("{right:?}").contains("s3same"));
    let b = Replica::start(&right);
    b.up().await;
    assert!(!format!("{:?}", b.relay).contains("s3same"));
}

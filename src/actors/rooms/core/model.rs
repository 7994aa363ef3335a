//! The core against a trivial model: whatever the order of joins, leaves, publishes, lost publishes, claims, answers of
//! the store, trims, ticks, deletions and restarts. A member gets every event after its position once and in order, nothing
//! of another room; presence goes on by one; a claim has one living holder; every request has one answer, and those of one
//! connection to a room are done in their order.
mod world;

use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use world::World;

const SHARDS: usize = 2;
const ROOMS: usize = 2;
const LINES: usize = 6;
const ENTITIES: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Join { line: usize, room: usize, back: Option<u64> },
    Leave { line: usize, room: usize },
    Vanish { line: usize, farewell: bool },
    Say { line: usize, room: usize },
    Revoke { user: usize, room: usize },
    Claim { line: usize, room: usize, entity: usize, release: bool },
    Commit { room: usize, publish: bool },
    PublishLate,
    Trim { room: usize },
    Delete { room: usize, publish: bool },
    StoreAnswers { failing: bool },
    StoreDecides { which: usize, failing: bool },
    ShardReports,
    Tick { ms: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let line = 0..LINES;
    let room = 0..ROOMS;
    prop_oneof![
        6 => (line.clone(), room.clone(), proptest::option::of(0u64..40)).prop_map(|(line, room, back)| Step::Join { line, room, back }),
        1 => (line.clone(), room.clone()).prop_map(|(line, room)| Step::Leave { line, room }),
        2 => (line.clone(), any::<bool>()).prop_map(|(line, farewell)| Step::Vanish { line, farewell }),
        1 => (line.clone(), room.clone()).prop_map(|(line, room)| Step::Say { line, room }),
        // The room past the last is all of them.
        1 => (0..LINES / 2, 0..=ROOMS).prop_map(|(user, room)| Step::Revoke { user, room }),
        6 => (line, room.clone(), 0..ENTITIES, prop::bool::weighted(0.2))
            .prop_map(|(line, room, entity, release)| Step::Claim { line, room, entity, release }),
        8 => (room.clone(), prop::bool::weighted(0.7)).prop_map(|(room, publish)| Step::Commit { room, publish }),
        3 => Just(Step::PublishLate),
        1 => room.clone().prop_map(|room| Step::Trim { room }),
        // Rarely, or there would be no rooms to speak of.
        1 => (0..ROOMS * 8, any::<bool>()).prop_map(|(room, publish)| Step::Delete { room, publish }),
        5 => prop::bool::weighted(0.1).prop_map(|failing| Step::StoreAnswers { failing }),
        4 => (any::<usize>(), prop::bool::weighted(0.1)).prop_map(|(which, failing)| Step::StoreDecides { which, failing }),
        3 => Just(Step::ShardReports),
        3 => prop_oneof![4 => 0u64..1_500, 1 => 5_000u64..50_000].prop_map(|ms| Step::Tick { ms }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_lost_repeated_mixed_up_or_granted_twice(
        steps in prop::collection::vec(step(), 1..120),
        small_ring in any::<bool>(),
    ) {
        let mut world = World::new(if small_ring { 4 } else { 300 });
        for step in steps {
            world.step(step);
        }
        world.settle();
        world.check();
    }
}

//! Random orders of events for more callers than can be explored.

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{Event, Kind, World};

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Shares),
        1 => Just(Kind::Exclusive),
        1 => Just(Kind::TurnsExclusive),
    ]
}

proptest! {
    #[test]
    fn many_callers_in_random_orders(
        kinds in vec(kind(), 4..12),
        expected in 0_u32..8,
        choices in vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let mut world = World::with(&kinds, expected, u32::MAX);
        for choice in choices {
            let events = world.events();
            let event = *choice.get(&events);
            // A shutdown is rare, so that most runs go on for long.
            if event != Event::Shut || choice.index(10) == 0 {
                world.apply(event);
            }
        }
        // From any state, every call ends.
        for _ in 0..2_000 {
            let events = world.events();
            let Some(event) = events.into_iter().find(|event| {
                event.is_progress() && !matches!(event, Event::Look(_, false))
            }) else {
                break;
            };
            world.apply(event);
        }
        prop_assert!(world.has_ended(), "{world:#?}");
    }
}

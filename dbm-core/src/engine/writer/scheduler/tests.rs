//! Every order of events, for a few callers, against the invariants that the module names.

mod random;
mod world;

use std::collections::HashSet;

use self::world::{Event, Kind, World};

/// Visits every state that can be reached from the first one. `also` looks at each of them.
fn explore(first: World, mut also: impl FnMut(&World)) -> usize {
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some(world) = open.pop() {
        also(&world);
        let mut goes_on = world.has_ended();
        for event in world.events() {
            let mut next = world.clone();
            next.apply(event);
            goes_on |= event.is_progress() && next != world;
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
        assert!(
            goes_on,
            "nothing can happen any more, but calls wait: {world:#?}"
        );
    }
    seen.len()
}

/// A caller that does not run any more, wherever it stands, keeps nobody waiting who shares its transaction.
fn others_go_on_without(stopped: usize, world: &World) {
    let mut world = world.clone();
    if world.holds_alone(stopped) {
        // Allowed: the others get an `AcquireTimeout` that names it.
        return;
    }
    for _ in 0..200 {
        let before = world.clone();
        for event in world.events() {
            if event.is_progress() && !event.is_of(stopped) {
                world.apply(event);
                break;
            }
        }
        if world == before {
            if world.others_have_ended(stopped) {
                return;
            }
            world.pass_time();
        }
    }
    panic!("they wait for caller {stopped}: {world:#?}");
}

use Kind::{Exclusive, Shares, TurnsExclusive};

#[test]
fn two_callers_in_every_order() {
    for kinds in [
        [Shares, Shares],
        [Shares, Exclusive],
        [Exclusive, Exclusive],
        [Shares, TurnsExclusive],
        [TurnsExclusive, TurnsExclusive],
    ] {
        for expected in [0, 2] {
            let states = explore(World::new(&kinds, expected), |world| {
                others_go_on_without(0, world);
                others_go_on_without(1, world);
            });
            assert!(states > 100, "{states} states of {kinds:?}");
        }
    }
}

/// With the limit nobody waits for ever, even for a call that has the writer for itself.
#[test]
fn two_callers_in_every_order_when_an_idle_one_is_evicted() {
    for kinds in [
        [Shares, Shares],
        [Shares, Exclusive],
        [Exclusive, Exclusive],
        [Shares, TurnsExclusive],
        [TurnsExclusive, TurnsExclusive],
    ] {
        for expected in [0, 2] {
            let states = explore(World::with_max_idle(&kinds, expected), |world| {
                others_go_on_without(0, world);
                others_go_on_without(1, world);
            });
            assert!(states > 100, "{states} states of {kinds:?}");
        }
    }
}

#[test]
fn three_callers_in_every_order() {
    for kinds in [
        [Shares, Shares, Shares],
        [Shares, Shares, Exclusive],
        [Shares, Exclusive, TurnsExclusive],
    ] {
        let states = explore(World::without_time(&kinds, 3), |_| ());
        assert!(states > 1_000, "{states} states of {kinds:?}");
    }
}

/// The exploration finds what it is made for.
#[test]
#[should_panic(expected = "is told Ok, but its work is not on the disk")]
fn a_lie_about_a_commit_is_found() {
    let mut world = World::new(&[Shares], 0);
    for event in [Event::Arrive(0), Event::Include(0), Event::Finish(0)] {
        world.apply(event);
    }
    world.forget_included();
    world.apply(Event::Committed { ok: true });
}

//! Every order of events, for a few callers, against the invariants that the module names.

mod random;
mod world;

use std::collections::HashSet;
use std::time::Instant;

use self::world::{Event, Kind, World};
use super::{Arrived, Effects, Finished, Next, Reason, Scheduler, SpinHint, Waiting as _};
use crate::engine::writer::policy::POLICY;

/// Visits every state that can be reached from the first one. `also` checks each of them.
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

/// A caller that has stopped running, in any state, does not keep the members of its transaction waiting.
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

/// Explores each pair of callers, with and without joiners to expect.
fn explore_pairs(world: fn(&[Kind], u32) -> World) {
    for kinds in [
        [Shares, Shares],
        [Shares, Exclusive],
        [Exclusive, Exclusive],
        [Shares, TurnsExclusive],
        [TurnsExclusive, TurnsExclusive],
    ] {
        for expected in [0, 2] {
            let states = explore(world(&kinds, expected), |world| {
                others_go_on_without(0, world);
                others_go_on_without(1, world);
            });
            assert!(states > 100, "{states} states of {kinds:?}");
        }
    }
}

#[test]
fn two_callers_in_every_order() {
    explore_pairs(World::new);
}

/// With the limit every wait ends, even for a call that has the writer for itself.
#[test]
fn two_callers_in_every_order_when_an_idle_one_is_evicted() {
    explore_pairs(World::with_max_idle);
}

/// No call that waits in the queue needs a timer of its own.
#[test]
fn two_callers_in_every_order_when_a_wait_is_limited() {
    explore_pairs(World::with_acquire_timeout);
    let mut world = World::with_acquire_timeout(&[Shares, Shares, Shares], 0);
    for event in [Event::Arrive(0), Event::Arrive(1), Event::TimePasses] {
        world.apply(event);
    }
    world.apply(Event::Arrive(2));
    world.apply(Event::Tick);
    let may_leave = |call| world.events().contains(&Event::Cancel(call));
    assert!(!may_leave(1), "it has waited for long: {world:#?}");
    assert!(may_leave(2), "it has only come: {world:#?}");
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

/// The exploration finds the faults that it is made for.
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

/// A scheduler of its own, for a hazard that needs a certain moment.
fn scheduler(last_members: u32) -> (world::TestScheduler, Instant) {
    let mut scheduler = Scheduler::new(POLICY, None);
    scheduler.last_members = last_members;
    (scheduler, Instant::now())
}

#[test]
fn a_call_that_claims_late_has_its_time_from_then_on() {
    let (mut scheduler, begin) = scheduler(0);
    let late = begin + POLICY.stalled_after;
    let runs = world::arrive(&mut scheduler, 1, begin);
    assert_eq!(runs, Arrived::Runs { joins: false });
    let queued = world::arrive(&mut scheduler, 2, begin);
    assert_eq!(queued, Arrived::Queued(1));
    scheduler.include(|| begin);
    let mut effects = Effects::default();
    scheduler.finish(1, false, || begin, &mut effects);
    assert!(matches!(effects.next, Some(Next::Grant(_))));
    assert_eq!(world::claim(&mut scheduler, 2, late), Some(true));
    let mut effects = Effects::default();
    scheduler.tick(late, &mut effects);
    assert_eq!(effects.evict, None, "it has only begun");
    scheduler.tick(late + POLICY.stalled_after, &mut effects);
    assert_eq!(effects.evict, Some((2, Reason::Stalled)));
}

/// The body of `world` has done nothing since the beginning: before that it waited for the writer.
#[test]
fn a_call_is_idle_from_its_claim_on() {
    let (mut scheduler, begin) = scheduler(0);
    let limit = POLICY.stalled_after;
    scheduler.policy.max_idle = Some(limit);
    world::arrive(&mut scheduler, 1, begin);
    world::arrive(&mut scheduler, 2, begin);
    world::arrive(&mut scheduler, 3, begin);
    let late = begin + 2 * limit;
    scheduler.release(1, true, || late, &mut Effects::default());
    assert!(world::claim(&mut scheduler, 2, late).is_some());
    let mut effects = Effects::default();
    scheduler.tick(late, &mut effects);
    assert_eq!(effects.evict, None, "it has only begun");
    scheduler.tick(late + limit, &mut effects);
    assert_eq!(effects.evict, Some((2, Reason::Idle)));
}

/// They would spin beside it, and find nobody to share a transaction with when it has ended.
#[test]
fn callers_queue_while_a_statement_commits_by_itself() {
    let (mut scheduler, now) = scheduler(1);
    world::arrive_unwrapped(&mut scheduler, 1, now);
    assert!(scheduler.autocommits());
    assert_eq!(scheduler.spin_hint(), SpinHint::Quiet);
}

#[test]
fn a_call_commits_by_itself_only_while_it_is_alone() {
    let (mut expects, now) = scheduler(2);
    world::arrive_unwrapped(&mut expects, 1, now);
    assert!(!expects.autocommits(), "others are likely to come");

    let (mut joins, now) = scheduler(2);
    world::arrive(&mut joins, 1, now);
    joins.include(|| now);
    joins.finish(1, false, || now, &mut Effects::default());
    let joined = world::arrive_unwrapped(&mut joins, 2, now);
    assert_eq!(joined, Arrived::Runs { joins: true });
    assert!(!joins.autocommits());
}

#[test]
fn nobody_waits_for_joiners_after_the_close() {
    let (mut scheduler, now) = scheduler(5);
    world::arrive(&mut scheduler, 1, now);
    scheduler.include(|| now);
    scheduler.shut(|| now, &mut Effects::default());
    let finished = scheduler.finish(1, false, || now, &mut Effects::default());
    assert!(matches!(finished, Finished::Commit(_)), "{finished:?}");
}

/// The first call in the queue waits for long, and so does one that comes now and then. All others go away.
#[test]
fn calls_that_have_left_the_queue_take_no_room() {
    let (mut scheduler, now) = scheduler(0);
    for id in 1..=2 {
        world::arrive(&mut scheduler, id, now);
    }
    let mut leaves = None;
    for id in 3..3_003 {
        let arrived = world::arrive(&mut scheduler, id, now);
        let Arrived::Queued(arrival) = arrived else {
            panic!("{arrived:?}")
        };
        // Not the last in the queue any more.
        if let Some(before) = leaves.replace(arrival).filter(|before| before % 100 != 0) {
            assert!(scheduler.leave(before).is_some());
        }
        assert_eq!(scheduler.queue.check(), Ok(()));
    }
    assert_eq!(scheduler.queued(), 32);
}

#[test]
fn two_calls_that_came_too_late_keep_their_order() {
    for order in [[(2, 1), (3, 2)], [(3, 2), (2, 1)]] {
        let (mut scheduler, now) = scheduler(0);
        for id in 1..=3 {
            world::arrive(&mut scheduler, id, now);
        }
        let mut effects = Effects::default();
        scheduler.release(1, true, || now, &mut effects);
        let too_late = now + POLICY.claim_within;
        scheduler.tick(too_late, &mut effects);
        scheduler.tick(too_late + POLICY.claim_within, &mut effects);
        // Both arrive while another call runs.
        world::arrive(&mut scheduler, 4, too_late);
        for (id, arrival) in order {
            world::arrive_again(&mut scheduler, id, arrival, too_late);
        }
        let mut effects = Effects::default();
        scheduler.release(4, true, || too_late, &mut effects);
        let Some(Next::Grant(call)) = effects.next else {
            panic!("{effects:?}")
        };
        assert_eq!(call.id(), 2);
    }
}

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::thread;

use crate::baton::Baton;
use crate::pool::Pool;
use crate::turnstile::Turnstile;
use crate::waking::Bell;

/// Orders that are tried of what has too many: at random, with few changes between threads, as most faults need.
const ORDERS: usize = 3_000;
const CHANGES: usize = 4;

pub(crate) fn in_every_order(test: impl Fn() + Send + Sync + 'static) {
    shuttle::check_dfs(test, None);
}

pub(crate) fn in_many_orders(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_pct(test.clone(), ORDERS, CHANGES);
    shuttle::check_random(test, ORDERS);
}

/// Polls it once, and lets it go.
fn begins_and_leaves(future: impl Future) {
    let mut future: Pin<Box<_>> = Box::pin(future);
    let _ = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn who_is_told_while_it_begins_to_listen_hears_of_it() {
    in_every_order(|| {
        let bell = Arc::<Bell>::default();
        let rings = Arc::clone(&bell);
        let rings = thread::spawn(move || rings.ring());
        block_on(bell.heard());
        rings.join().unwrap();
    });
}

fn gate(callers: usize) {
    let turnstile = Arc::<Turnstile>::default();
    let inside = Arc::new(AtomicUsize::new(0));
    let drained = Arc::new(AtomicBool::new(false));
    let calls = (0..callers).map(|number| {
        let (turnstile, inside, drained) = (
            Arc::clone(&turnstile),
            Arc::clone(&inside),
            Arc::clone(&drained),
        );
        thread::spawn(move || {
            turnstile.enter(number);
            if !turnstile.is_closed() {
                inside.fetch_add(1, Ordering::SeqCst);
                assert!(
                    !drained.load(Ordering::SeqCst),
                    "its connections are closed"
                );
                inside.fetch_sub(1, Ordering::SeqCst);
            }
            if turnstile.leave(number) {
                assert_eq!(inside.load(Ordering::SeqCst), 0);
                drained.store(true, Ordering::SeqCst);
            }
        })
    });
    let calls: Vec<_> = calls.collect();
    turnstile.enter(callers);
    turnstile.close();
    if turnstile.leave(callers) {
        assert_eq!(inside.load(Ordering::SeqCst), 0);
        drained.store(true, Ordering::SeqCst);
    }
    for call in calls {
        call.join().unwrap();
    }
    assert!(drained.load(Ordering::SeqCst), "nobody was the last one");
}

#[test]
fn the_gate_has_a_last_one_and_overlooks_nobody() {
    in_many_orders(|| gate(1));
    in_many_orders(|| gate(3));
}

/// Everybody gets what is there, and it is there again in the end.
fn pool(members: usize, callers: usize, leaves: bool) {
    let pool = Arc::new(Pool::new((0..members).map(|_| AtomicUsize::new(0))));
    let uses = |number: usize| {
        let pool = Arc::clone(&pool);
        thread::spawn(move || {
            if leaves && number == 0 {
                return begins_and_leaves(pool.wait(|| number));
            }
            let place = pool.take_free(number);
            let place = place.unwrap_or_else(|| block_on(pool.wait(|| number)).unwrap());
            let others = place.value().fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "two have it at a time");
            place.value().fetch_sub(1, Ordering::SeqCst);
        })
    };
    let uses: Vec<_> = (0..callers).map(uses).collect();
    for used in uses {
        used.join().unwrap();
    }
    assert_eq!(pool.waiting(), 0);
    let places: Vec<_> = (0..members).map(|_| pool.take_free(0)).collect();
    assert!(places.iter().all(Option::is_some), "one is lost");
}

#[test]
fn no_reader_is_lost_and_nobody_waits_for_a_free_one() {
    in_many_orders(|| pool(1, 3, false));
    in_many_orders(|| pool(2, 4, false));
}

/// Whoever rests gives it back as one that is new.
#[test]
fn a_reader_rests_beside_those_who_come_and_wait() {
    let beside = |members, callers| {
        move || {
            let pool = Arc::new(Pool::new((0..members).map(|_| ())));
            let resting = Arc::clone(&pool);
            let rests = thread::spawn(move || {
                resting.rest(|()| true);
            });
            let uses = (0..callers).map(|number: usize| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    let place = pool.take_free(number);
                    drop(place.unwrap_or_else(|| block_on(pool.wait(|| number)).unwrap()));
                })
            });
            let threads: Vec<_> = uses.chain([rests]).collect();
            for thread in threads {
                thread.join().unwrap();
            }
            let places: Vec<_> = (0..members).map(|_| pool.take_free(0)).collect();
            assert!(places.iter().all(Option::is_some), "one is lost");
        }
    };
    in_many_orders(beside(1, 3));
    in_many_orders(beside(2, 4));
}

#[test]
fn who_leaves_the_queue_of_the_readers_leaves_what_it_was_told_of() {
    in_many_orders(|| pool(1, 3, true));
}

#[test]
fn whoever_waits_for_a_reader_learns_that_they_are_closed() {
    in_many_orders(|| {
        let pool = Arc::new(Pool::new([()].into_iter()));
        let place = pool.take_free(0).unwrap();
        let waits = Arc::clone(&pool);
        let waits = thread::spawn(move || block_on(waits.wait(|| 1)).is_none());
        pool.close();
        assert!(waits.join().unwrap());
        drop(place);
    });
}

fn baton(callers: usize, leaves: bool) {
    let baton = Arc::<Baton>::default();
    let has_it = Arc::new(AtomicUsize::new(0));
    let takes = |number: usize| {
        let (baton, has_it) = (Arc::clone(&baton), Arc::clone(&has_it));
        thread::spawn(move || {
            if leaves && number == 0 {
                return begins_and_leaves(baton.take());
            }
            let held = block_on(baton.take());
            assert_eq!(has_it.fetch_add(1, Ordering::SeqCst), 0);
            has_it.fetch_sub(1, Ordering::SeqCst);
            drop(held);
        })
    };
    let takes: Vec<_> = (0..callers).map(takes).collect();
    for taken in takes {
        taken.join().unwrap();
    }
    assert!(baton.try_take().is_some(), "it is lost");
}

#[test]
fn one_has_the_turn_of_a_body_at_a_time_and_it_is_never_lost() {
    in_many_orders(|| baton(2, false));
    in_many_orders(|| baton(3, false));
    in_many_orders(|| baton(3, true));
}

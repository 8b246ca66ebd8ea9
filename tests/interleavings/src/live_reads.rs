//! A live read beside those who commit. The file is a number; a read that would wait for ever with an old one is a deadlock,
//! which the model checker reports.

use std::sync::Arc;

use shuttle::future::block_on;
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;

use crate::registry::{LiveReads, Next, Subscription};
use crate::tables::Tables;
use crate::tests::{in_every_order, in_many_orders};

fn tables(name: &str) -> Tables {
    let mut tables = Tables::default();
    tables.add(name);
    tables
}

#[derive(Default)]
struct Database {
    live: Arc<LiveReads>,
    /// The writer's turn.
    turn: Mutex<()>,
    committed: AtomicU64,
}

impl Database {
    /// As the engine does it: a statement is recorded if there are live reads, and whatever ran before the first of them may
    /// have written anything.
    fn write(&self) {
        let turn = self.turn.lock().unwrap();
        let tracks = self.live.is_active();
        let is_recorded = tracks && self.live.is_active();
        self.committed.fetch_add(1, Ordering::SeqCst);
        let written = || {
            if is_recorded {
                tables("t")
            } else {
                Tables::All
            }
        };
        let must_tell = self.live.note_commit(written);
        drop(turn);
        if must_tell {
            self.live.tell();
        }
    }

    fn read(&self, place: &Subscription, of: &str) -> u64 {
        let began_at = place.begin();
        let value = self.committed.load(Ordering::SeqCst);
        place.settle(began_at, tables(of));
        value
    }

    /// Reads again and again until it sees the last commit.
    fn follow(&self, commits: u64) {
        let place = self.live.subscribe();
        let mut newest = 0;
        while newest < commits {
            let value = self.read(&place, "t");
            assert!(value >= newest, "an older state");
            newest = value;
            while newest < commits && place.next() == Next::Wait {
                block_on(place.told());
            }
        }
    }
}

fn beside(writers: u64, readers: usize) {
    let database = Arc::<Database>::default();
    let writes = (0..writers).map(|_| {
        let database = Arc::clone(&database);
        thread::spawn(move || database.write())
    });
    let writes: Vec<_> = writes.collect();
    let reads = (1..readers).map(|_| {
        let database = Arc::clone(&database);
        thread::spawn(move || database.follow(writers))
    });
    let reads: Vec<_> = reads.collect();
    database.follow(writers);
    for thread in writes.into_iter().chain(reads) {
        thread.join().unwrap();
    }
    assert!(!database.live.is_active());
    assert!(!database.live.note_commit(|| Tables::All), "for nobody");
}

/// In parts that are few enough for all orders, and as a whole in many.
#[test]
fn the_last_value_of_a_live_read_is_that_of_the_last_commit() {
    for subscribes_before in [false, true] {
        in_every_order(move || {
            let database = Arc::<Database>::default();
            let before = subscribes_before.then(|| database.live.subscribe());
            let writing = Arc::clone(&database);
            let writes = thread::spawn(move || writing.write());
            let place = before.unwrap_or_else(|| database.live.subscribe());
            let value = database.read(&place, "t");
            writes.join().unwrap();
            assert!(value == 1 || place.next() == Next::Read, "an old value");
        });
    }
    in_many_orders(|| beside(2, 1));
    in_many_orders(|| beside(3, 2));
}

#[test]
fn a_live_read_that_waits_is_woken_by_a_commit_and_by_the_end() {
    let waits = |what: fn(&Database), then: Next| {
        in_every_order(move || {
            let database = Arc::<Database>::default();
            let place = database.live.subscribe();
            database.read(&place, "t");
            let other = Arc::clone(&database);
            let other = thread::spawn(move || what(&other));
            while place.next() == Next::Wait {
                block_on(place.told());
            }
            assert_eq!(place.next(), then);
            other.join().unwrap();
        });
    };
    waits(Database::write, Next::Read);
    waits(|database| database.live.close(), Next::End);
}

#[test]
fn a_live_read_of_another_table_is_not_woken() {
    in_every_order(|| {
        let database = Arc::<Database>::default();
        let place = database.live.subscribe();
        let writing = Arc::clone(&database);
        let writes = thread::spawn(move || writing.write());
        database.read(&place, "u");
        writes.join().unwrap();
        assert_eq!(place.next(), Next::Wait);
    });
}

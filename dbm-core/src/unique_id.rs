//! Ids that are unique within a process: of managers, sessions and jobs.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Never 0: that id means "no owner".
pub(crate) fn next_id() -> u64 {
    /// Each thread takes a thousand ids at a time, so that threads rarely touch the shared counter.
    const BLOCK: u64 = 1_000;
    static BLOCKS: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static LAST: Cell<u64> = const { Cell::new(0) };
    }
    let last = LAST.get();
    let next = if last.is_multiple_of(BLOCK) {
        BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK + 1
    } else {
        last + 1
    };
    LAST.set(next);
    next
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "it is about threads")]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_id_is_given_twice() {
        let many = || (0..2_500).map(|_| next_id()).collect::<Vec<_>>();
        let threads = [(); 4].map(|()| std::thread::spawn(many));
        let ids: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        assert!(!ids.contains(&0));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
}

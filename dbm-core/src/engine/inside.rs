//! Which connections this thread is inside of.
//!
//! A statement runs while its connection is locked, and with it code of the program: `Deserialize`, SQL functions, closures,
//! destructors. What such code asks of its own manager could only be answered after the statement, which waits for that
//! code. So the connection is shown to it as one that is nobody's, and a call that would wait is refused.

use std::cell::Cell;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::Poll;

use crate::error::{Error, Result};

/// A statement inside a statement is one of another manager. Nobody has as many.
const DEEPEST: usize = 8;

thread_local! {
    static INSIDE: Inside = const {
        Inside {
            depth: Cell::new(0),
            entered: [const { Cell::new((0, 0)) }; DEEPEST],
        }
    };
}

/// Without a destructor: to look at it costs next to nothing, and works while the thread ends.
struct Inside {
    depth: Cell<usize>,
    /// The number of the manager and the address of the connection.
    entered: [Cell<(u64, usize)>; DEEPEST],
}

impl Inside {
    fn any(&self, is_it: impl Fn((u64, usize)) -> bool) -> bool {
        let mut entered = self.entered.iter().take(self.depth.get());
        entered.any(|entered| is_it(entered.get()))
    }
}

/// The thread is inside of a connection until this is dropped, in the opposite order of entering, on this thread.
pub(super) struct InsideGuard(PhantomData<*const ()>);

/// `None` when this thread is inside already.
pub(super) fn enter(manager: u64, conn: usize) -> Option<InsideGuard> {
    INSIDE.with(|inside| {
        let depth = inside.depth.get();
        if depth > 0 && inside.any(|(_, entered)| entered == conn) {
            return None;
        }
        inside.entered.get(depth)?.set((manager, conn));
        inside.depth.set(depth + 1);
        Some(InsideGuard(PhantomData))
    })
}

impl Drop for InsideGuard {
    fn drop(&mut self) {
        INSIDE.with(|inside| inside.depth.set(inside.depth.get() - 1));
    }
}

/// Whether this thread runs a statement of the manager.
pub(crate) fn is_inside(manager: u64) -> bool {
    INSIDE.with(|inside| inside.depth.get() > 0 && inside.any(|(entered, _)| entered == manager))
}

/// Waits, but not where a statement of the manager would have to wait for it.
pub(crate) fn unless_inside<T>(
    manager: u64,
    mut wait: Pin<&mut impl Future<Output = Result<T>>>,
    refused: impl Fn() -> Error,
) -> impl Future<Output = Result<T>> {
    poll_fn(move |context| {
        if is_inside(manager) {
            return Poll::Ready(Err(refused()));
        }
        wait.as_mut().poll(context)
    })
}

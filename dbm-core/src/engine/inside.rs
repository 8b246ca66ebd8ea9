//! Which connections this thread is inside of.
//!
//! A statement runs while its connection is locked. It may run the program's code: `Deserialize` impls, SQL functions,
//! closures, destructors. If that code asked the same connection for something, it would wait for the statement, which
//! waits for that code. So such code sees a connection without an owner, and a call that would have to wait is refused
//! at once.
//!
//! The program's `on_open` is inside of every connection of its manager: what it asked for might have to be opened first,
//! and so on.

use std::cell::Cell;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::error::{Error, Result};

/// A statement inside another one belongs to another manager, so this depth is far beyond what a program needs.
const DEEPEST: usize = 8;
/// In the place of a connection's address. No connection has it.
const EVERY: usize = usize::MAX;

thread_local! {
    static INSIDE: Inside = const {
        Inside {
            depth: Cell::new(0),
            entered: [const { Cell::new(Statement::NONE) }; DEEPEST],
        }
    };
}

/// It has no destructor: access is cheap, and works even while the thread ends.
struct Inside {
    depth: Cell<usize>,
    entered: [Cell<Statement>; DEEPEST],
}

#[derive(Clone, Copy)]
struct Statement {
    manager: u64,
    /// The address of the statement's connection.
    conn: usize,
    method: &'static str,
}

impl Statement {
    /// Whether code of this statement must not use that connection.
    fn blocks(self, manager: u64, conn: usize) -> bool {
        self.conn == conn || (self.conn == EVERY && self.manager == manager)
    }

    const NONE: Self = Self {
        manager: 0,
        conn: 0,
        method: "a statement",
    };
}

impl Inside {
    /// The newest one that is meant. The usual case is no statement at all, so that is checked first.
    #[inline]
    fn find(&self, is_it: impl Fn(Statement) -> bool) -> Option<&'static str> {
        if self.depth.get() == 0 {
            return None;
        }
        let entered = self.entered.iter().take(self.depth.get()).map(Cell::get);
        entered
            .rev()
            .find(|statement| is_it(*statement))
            .map(|statement| statement.method)
    }
}

/// The thread is inside of a connection until this is dropped. Guards are dropped on the same thread, in reverse order.
pub(super) struct InsideGuard(PhantomData<*const ()>);

/// `None` if this thread is inside of the connection already, or of [`DEEPEST`] others.
#[inline]
pub(super) fn enter(manager: u64, conn: usize) -> Option<InsideGuard> {
    if of_connection(manager, conn).is_some() {
        return None;
    }
    put(manager, conn)
}

/// The same, for all connections of the manager.
pub(super) fn enter_all(manager: u64, method: &'static str) -> Option<InsideGuard> {
    let entered = put(manager, EVERY)?;
    runs(method);
    Some(entered)
}

#[inline]
fn put(manager: u64, conn: usize) -> Option<InsideGuard> {
    INSIDE.with(|inside| {
        let depth = inside.depth.get();
        inside.entered.get(depth)?.set(Statement {
            manager,
            conn,
            ..Statement::NONE
        });
        inside.depth.set(depth + 1);
        Some(InsideGuard(PhantomData))
    })
}

/// Records the method whose statement runs.
pub(super) fn runs(method: &'static str) {
    INSIDE.with(|inside| {
        if let Some(entered) = inside
            .depth
            .get()
            .checked_sub(1)
            .and_then(|top| inside.entered.get(top))
        {
            entered.set(Statement {
                method,
                ..entered.get()
            });
        }
    });
}

impl Drop for InsideGuard {
    #[inline]
    fn drop(&mut self) {
        INSIDE.with(|inside| inside.depth.set(inside.depth.get() - 1));
    }
}

/// The method whose statement this thread runs, and which keeps this connection of the manager from it.
pub(super) fn of_connection(manager: u64, conn: usize) -> Option<&'static str> {
    INSIDE.with(|inside| inside.find(|statement| statement.blocks(manager, conn)))
}

/// The method whose statement this thread runs on one of the manager's connections.
pub(crate) fn inside_of(manager: u64) -> Option<&'static str> {
    INSIDE.with(|inside| inside.find(|statement| statement.manager == manager))
}

/// Waits, unless this thread is inside of a statement that the wait would block. Then `refused` makes the error.
pub(crate) fn unless_inside<T>(
    statement: impl Fn() -> Option<&'static str>,
    mut wait: Pin<&mut impl Future<Output = Result<T>>>,
    refused: impl Fn(&'static str) -> Error,
) -> impl Future<Output = Result<T>> {
    poll_fn(move |context| match statement() {
        Some(method) => Poll::Ready(Err(refused(method))),
        None => wait.as_mut().poll(context),
    })
}

/// The error of `method`, which would wait for `holder`, whose statement waits for `method`.
pub(crate) fn waits_for_itself(method: &'static str, holder: &'static str) -> Error {
    Error::AcquireTimeout {
        method,
        waited: Duration::ZERO,
        holder,
        held: Duration::ZERO,
        queued: 0,
    }
}

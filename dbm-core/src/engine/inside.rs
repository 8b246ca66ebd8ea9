//! Which connections this thread is inside of.
//!
//! A statement runs while its connection is locked, and with it code of the program: `Deserialize`, SQL functions, closures,
//! destructors. What such code asks of the same connection could only be answered after the statement, which waits for that
//! code. So the connection is shown to it as one that is nobody's, and who would wait for it is told so at once.

use std::cell::Cell;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::error::{Error, Result};

/// A statement inside a statement is one of another manager. Nobody has as many.
const DEEPEST: usize = 8;

thread_local! {
    static INSIDE: Inside = const {
        Inside {
            depth: Cell::new(0),
            entered: [const { Cell::new(Statement::NONE) }; DEEPEST],
        }
    };
}

/// Without a destructor: to look at it costs next to nothing, and works while the thread ends.
struct Inside {
    depth: Cell<usize>,
    entered: [Cell<Statement>; DEEPEST],
}

#[derive(Clone, Copy)]
struct Statement {
    manager: u64,
    /// The address of its connection.
    conn: usize,
    method: &'static str,
}

impl Statement {
    const NONE: Self = Self {
        manager: 0,
        conn: 0,
        method: "a statement",
    };
}

impl Inside {
    /// Mostly there is none, which is the first thing to look at.
    #[inline]
    fn find(&self, is_it: impl Fn(Statement) -> bool) -> Option<&'static str> {
        if self.depth.get() == 0 {
            return None;
        }
        let mut entered = self.entered.iter().take(self.depth.get()).map(Cell::get);
        entered
            .find(|statement| is_it(*statement))
            .map(|statement| statement.method)
    }
}

/// The thread is inside of a connection until this is dropped, in the opposite order of entering, on this thread.
pub(super) struct InsideGuard(PhantomData<*const ()>);

/// `None` when this thread is inside already.
#[inline]
pub(super) fn enter(manager: u64, conn: usize) -> Option<InsideGuard> {
    if of_connection(conn).is_some() {
        return None;
    }
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

/// Names the method that runs the statement.
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

/// The method whose statement on this connection this thread runs.
pub(super) fn of_connection(conn: usize) -> Option<&'static str> {
    INSIDE.with(|inside| inside.find(|statement| statement.conn == conn))
}

/// The method whose statement on one of the manager's connections this thread runs.
pub(crate) fn inside_of(manager: u64) -> Option<&'static str> {
    INSIDE.with(|inside| inside.find(|statement| statement.manager == manager))
}

/// Waits, but not inside of a statement that would have to wait for it, too: for what, `refused` says.
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

/// The answer to `method` when it would wait for what `holder` has, whose statement would wait for it.
pub(crate) fn waits_for_itself(method: &'static str, holder: &'static str) -> Error {
    Error::AcquireTimeout {
        method,
        waited: Duration::ZERO,
        holder,
        held: Duration::ZERO,
        queued: 0,
    }
}

//! The stages of a call, composed by one function, [`execute`].

use std::cell::Cell;
use std::sync::Arc;

use tokio::task::{Id, try_id};
use tracing::Instrument as _;

use super::body::{self, BodyOutcome};
use super::count::CountedCall;
use super::failure::{Failure, Fallible, Outcome};
#[cfg(feature = "remote")]
use super::lease::ServerLease;
use super::lease::{FileLease, Lease};
use super::site::Site;
use super::{arguments, trace};
use crate::database::Database;
use crate::engine::Access;
use crate::error::{Error, Result};
use crate::frame::AnyFrame;
use crate::gate::Gate;
use crate::live;
use crate::manager_core::ManagerCore;
use crate::panicked::panicked;
use crate::transaction::Handle;

/// A call that is about to be made.
#[derive(Debug)]
#[must_use]
pub struct Call<'a> {
    site: &'static Site,
    core: &'a ManagerCore,
    arguments: &'a [(&'static str, bool)],
}

/// A call whose kind of handle is known.
#[derive(Debug)]
#[must_use]
pub struct CallOn<'a, H> {
    call: Call<'a>,
    access: Access,
    handle: fn(AnyFrame) -> H,
}

/// A call whose result type is known, too.
///
/// A plain function for each of the two types checks its bounds once. From here on the types are used through function
/// pointers. So an unmet bound is one error, rather than one for each use in the async part.
#[derive(Debug)]
#[must_use]
pub struct TypedCall<'a, H, R> {
    on: CallOn<'a, H>,
    from_error: fn(Error) -> R,
    is_ok: fn(&R) -> bool,
}

impl<'a> Call<'a> {
    pub(crate) fn new(site: &'static Site, core: &'a ManagerCore) -> Self {
        Self {
            site,
            core,
            arguments: &[],
        }
    }

    /// `#[required_argument]`: the named arguments, and whether each is present.
    pub fn required_argument(mut self, arguments: &'a [(&'static str, bool)]) -> Self {
        self.arguments = arguments;
        self
    }

    /// The kind of the handle `db`.
    pub fn on<H: Handle>(self) -> CallOn<'a, H> {
        CallOn {
            call: self,
            access: H::ACCESS,
            handle: H::new,
        }
    }
}

impl<'a, H> CallOn<'a, H> {
    /// The declared return type.
    pub fn returning<R: Fallible>(self) -> TypedCall<'a, H, R> {
        TypedCall {
            on: self,
            from_error: R::from_error,
            is_ok: R::is_ok,
        }
    }
}

impl<H, R> TypedCall<'_, H, R> {
    /// Runs the call pipeline.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the body has returned, everything is undone. If it is dropped later, the call
    /// may still commit, as a whole.
    pub async fn run(self, body: impl AsyncFnOnce(H) -> R) -> Outcome<R> {
        let Self {
            on:
                CallOn {
                    call,
                    access,
                    handle,
                },
            from_error,
            is_ok,
        } = self;
        let site = call.site;
        let span = trace::span(site, access, call.core);
        // Not inside: what has to be dropped there makes the compiler copy that large future.
        let mut counted = CountedCall::new(call.core, site);
        let execute = async {
            counted.start();
            let executed = execute(
                &call,
                access,
                &mut counted,
                async |frame| body(handle(frame)).await,
                is_ok,
            )
            .await;
            counted.set_outcome(&executed, is_ok);
            let result = match executed {
                Ok(value) => Ok(value),
                Err(Failure::Error(error)) => {
                    trace::failed(&error);
                    Ok(from_error(error.in_method(site.method)))
                }
                Err(Failure::Panic(panic)) => {
                    trace::failed(&panicked(site.method, &*panic));
                    Err(panic)
                }
            };
            trace::returned(site, counted.is_ok());
            counted.log_time();
            result
        };
        // Boxed: nested calls would otherwise build a type too deep for rustc to compute.
        let result = Box::pin(execute).instrument(span.clone()).await;
        Outcome { site, span, result }
    }
}

async fn execute<R>(
    call: &Call<'_>,
    access: Access,
    counted: &mut CountedCall<'_>,
    body: impl AsyncFnOnce(AnyFrame) -> R,
    is_ok: fn(&R) -> bool,
) -> Result<R, Failure> {
    let site = call.site;
    arguments::check(site, call.arguments)?;
    let mut lease = acquire(site, call.core.gate(), access).await?;
    #[cfg(feature = "testing")]
    if let Some(fault) = call.core.faults().next(site.method) {
        // Boxed, so that the feature costs nested calls no stack.
        return Err(Box::pin(super::fault::strike(fault, lease, site)).await);
    }
    counted.leased();
    match body::run(&mut lease, site, body).await {
        BodyOutcome::Returned(value) if is_ok(&value) => {
            lease.keep(site).await?;
            if access == Access::Write {
                site.share_policy.ran_clean();
            }
            Ok(value)
        }
        BodyOutcome::Returned(value) => {
            trace::body_failed(lease.take_failure().as_ref());
            // The caller gets the body's own error, whether or not the rollback succeeds.
            let _ = lease.undo(site).await;
            Ok(value)
        }
        BodyOutcome::Panicked(panic) => {
            let _ = lease.undo(site).await;
            Err(Failure::Panic(panic))
        }
        BodyOutcome::TimedOut(error) => {
            let _ = lease.undo(site).await;
            Err(Failure::Error(error))
        }
    }
}

/// Passes the gate and takes the lease. An outermost call waits for both. A nested call uses those of the call around
/// it.
async fn acquire<'a>(
    site: &'static Site,
    gate: &'a Arc<Gate>,
    access: Access,
) -> Result<Lease<'a>> {
    if let Some(outer) = AnyFrame::of_manager(gate.id) {
        if outer.is_during_init() && !site.during_init {
            return Err(Error::NotDuringInit {
                method: site.method,
            });
        }
        let _active = outer.enter();
        return match &outer {
            AnyFrame::File(outer) => FileLease::join(outer, site, access).await.map(Lease::File),
            #[cfg(feature = "remote")]
            AnyFrame::Server(outer) => {
                let lease = ServerLease::join(outer, site, access).await;
                lease.map(Lease::Server)
            }
        };
    }
    if access == Access::Read && is_last_of_turn() {
        tokio::task::yield_now().await;
    }
    tokio::task::coop::consume_budget().await;
    let token = gate.enter(site.method)?;
    let database = match gate.answer() {
        Some(Ok(database)) => database,
        _ => Box::pin(gate.database(site.method)).await?,
    };
    if access != Access::Read && gate.live.is_active() && live::collector(gate.id).is_some() {
        return Err(Error::Refused {
            what: "a write in a live read",
            why: "it would be made again after each commit, its own included",
        });
    }
    match database {
        Database::File(engine) if access == Access::Read => {
            let lease = FileLease::read(gate, engine, site, Some(token)).await;
            lease.map(Lease::File)
        }
        Database::File(engine) => {
            let lease = FileLease::write(gate, engine, site, access, Some(token)).await;
            lease.map(Lease::File)
        }
        #[cfg(feature = "remote")]
        Database::Server(server) => {
            let lease = ServerLease::acquire(gate, server, site, access, Some(token), false).await;
            lease.map(Lease::Server)
        }
    }
}

/// Reads that a task makes on a thread before it lets others run.
const READS_A_TURN: u32 = 8;
/// The longest turn of a task that nobody else wants to interrupt: tokio's own budget.
const READS_ALONE: u32 = 128;

/// Whether the task should let others run. A short read never waits, and tokio lets a task make 128 of them in a row: those
/// of 64 tasks on two threads take 20 ms. A task that is alone has longer turns: to let others run asks the system
/// for events and may wake another thread, which takes as long as some reads.
fn is_last_of_turn() -> bool {
    thread_local! {
        /// Whose turn it is, how many reads it has made, and how long it is.
        static TURN: Cell<(Option<Id>, u32, u32)> = const { Cell::new((None, 0, READS_A_TURN)) };
    }
    let task = try_id();
    let (last, reads, length) = TURN.get();
    if task != last {
        TURN.set((task, 1, READS_A_TURN));
        return false;
    }
    let is_over = reads + 1 >= length;
    TURN.set(if is_over {
        (task, 0, READS_ALONE.min(2 * length))
    } else {
        (task, reads + 1, length)
    });
    is_over
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::transaction::WriteTransaction;

    /// Each call allocates its future. For more than 1,032 bytes glibc's allocator takes a lock, which costs 150 instructions.
    #[test]
    fn the_future_of_a_call_leaves_room_for_a_body() {
        static SITE: Site = Site::new("", "a");
        let core = ManagerCore::of(&Config::in_memory(), |_| ());
        let CallOn {
            call,
            access,
            handle,
        } = Call::new(&SITE, &core).on::<WriteTransaction>();
        let mut counted = CountedCall::new(&core, &SITE);
        let body = async |frame| {
            let _db = handle(frame);
            Ok::<(), Error>(())
        };
        let future = execute(&call, access, &mut counted, body, Result::is_ok);
        let size = size_of_val(&future);
        drop(future);
        assert!(size <= 910, "{size} bytes");
    }
}

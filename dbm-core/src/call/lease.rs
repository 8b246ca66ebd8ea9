//! The lease: a connection for one call, with its transaction, and what ends it on every path.

mod file;
#[cfg(feature = "remote")]
mod server;

use super::site::Site;
use crate::engine::{Access, MAX_DEPTH};
use crate::error::{Error, Result};
use crate::frame::{AnyFrame, Frame, Seat};

pub(crate) use file::FileLease;
#[cfg(feature = "remote")]
pub(crate) use server::ServerLease;

/// Ended by [`keep`](Self::keep) or [`undo`](Self::undo). If it is dropped, it undoes by itself.
pub(crate) enum Lease<'a> {
    File(FileLease<'a>),
    #[cfg(feature = "remote")]
    Server(ServerLease<'a>),
}

impl Lease<'_> {
    pub(crate) fn frame(&self) -> AnyFrame {
        match self {
            Self::File(lease) => AnyFrame::File(lease.frame.clone()),
            #[cfg(feature = "remote")]
            Self::Server(lease) => AnyFrame::Server(lease.frame.clone()),
        }
    }

    /// The body waits.
    pub(crate) fn body_waits(&mut self, site: &Site) {
        match self {
            Self::File(lease) => lease.body_waits(site),
            // Its snapshot was taken when it began, and whether it may share is up to the server's crate.
            #[cfg(feature = "remote")]
            Self::Server(_) => {}
        }
    }

    /// The newest error of a statement.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        match self {
            Self::File(lease) => lease.frame.session().take_failure(),
            #[cfg(feature = "remote")]
            Self::Server(lease) => lease.frame.session().take_failure(),
        }
    }

    /// The body has succeeded: commits, and returns once that is durable.
    pub(crate) fn keep(&mut self, site: &'static Site) -> impl Future<Output = Result<()>> {
        self.end(true, site)
    }

    /// The body has failed: rolls back.
    pub(crate) fn undo(&mut self, site: &'static Site) -> impl Future<Output = Result<()>> {
        self.end(false, site)
    }

    async fn end(&mut self, keep: bool, site: &'static Site) -> Result<()> {
        match self {
            Self::File(lease) => lease.end(keep, site).await,
            #[cfg(feature = "remote")]
            Self::Server(lease) => lease.end(keep).await,
        }
    }
}

fn check_join<S: Seat>(outer: &Frame<S>, site: &Site, inner: Access) -> Result<()> {
    match cannot_join(outer, inner) {
        None => Ok(()),
        Some(why) => Err(Error::Nesting {
            outer: outer.method,
            inner: site.method,
            why,
        }),
    }
}

fn cannot_join<S: Seat>(outer: &Frame<S>, inner: Access) -> Option<&'static str> {
    match (outer.access, inner) {
        (Access::Connection, _) => {
            Some("the outer method has the bare connection, which no other call can share")
        }
        (_, Access::Connection) => Some("a bare connection cannot be had inside a transaction"),
        (Access::Read, Access::Write) => {
            Some("a read cannot become a write; give the outer method `db: &mut WriteTransaction`")
        }
        // Without end they would overflow the stack.
        _ if outer.depth >= MAX_DEPTH => Some("calls are nested more than 64 deep"),
        _ => None,
    }
}

//! The tables of jobs, at the start of a manager.

use std::sync::Arc;

#[cfg(feature = "remote")]
use crate::engine::{FORMAT_OF_JOBS, tables_on_server};
use crate::engine::{JobTables, Session, look_for_job_tables, make_job_tables};
use crate::error::Result;
use crate::frame::Frame;
use crate::job_board::JobBoard;
#[cfg(feature = "remote")]
use crate::params::BoundParams;
#[cfg(feature = "remote")]
use crate::row;
#[cfg(feature = "remote")]
use crate::server::ServerSession;

/// Makes the tables of jobs in a transaction of start-up, if the manager lists any.
pub(crate) async fn make_tables(frame: &Arc<Frame>) -> Result<()> {
    let Some(board) = frame.engine()?.jobs.get() else {
        return Ok(());
    };
    let made = Session::control(frame, |_, db| make_job_tables(&db.connection)).await??;
    note(board, made);
    Ok(())
}

/// Whether a file that needs no other step needs the tables of jobs.
pub(crate) async fn are_missing(board: &JobBoard, frame: &Arc<Frame>) -> Result<bool> {
    let found = Session::control(frame, |_, db| look_for_job_tables(&db.connection)).await??;
    Ok(note(board, found))
}

/// Whether the tables are missing.
fn note(board: &JobBoard, found: JobTables) -> bool {
    if found == JobTables::Later {
        board.set_later();
    }
    found == JobTables::Missing
}

/// The same as [`make_tables`], on a server.
#[cfg(feature = "remote")]
pub(crate) async fn make_tables_on_server(frame: &Frame<ServerSession>) -> Result<()> {
    let Some(board) = frame.engine()?.jobs.get() else {
        return Ok(());
    };
    let [formats, tables] = tables_on_server();
    frame.session().script(&formats).await?;
    if note(board, look_on_server(frame.session()).await?) {
        frame.session().script(&tables).await?;
    }
    Ok(())
}

/// The same as [`are_missing`], on a server. A statement on a table that is missing fails, so nothing else comes after it.
#[cfg(feature = "remote")]
pub(crate) async fn are_missing_on_server(
    board: &JobBoard,
    frame: &Frame<ServerSession>,
) -> Result<bool> {
    match look_on_server(frame.session()).await {
        Err(error) if error.server_state() == Some(UNDEFINED_TABLE) => Ok(true),
        found => Ok(note(board, found?)),
    }
}

#[cfg(feature = "remote")]
const UNDEFINED_TABLE: &str = "42P01";

#[cfg(feature = "remote")]
async fn look_on_server(session: &ServerSession) -> Result<JobTables> {
    let answer = session.run(FORMAT_OF_JOBS, &BoundParams::default()).await?;
    row::optional((&answer).into()).map(JobTables::of_format)
}

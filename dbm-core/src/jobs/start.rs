//! The tables of jobs, at the start of a manager.

use std::sync::Arc;

use crate::engine::{JobTables, Session, look_for_job_tables, make_job_tables};
use crate::error::Result;
use crate::frame::Frame;
use crate::job_board::JobBoard;

/// Makes the tables of jobs in a transaction of start-up, if the manager lists any.
pub(crate) async fn make_tables(frame: &Arc<Frame>) -> Result<()> {
    let Some(board) = frame.engine()?.jobs.get() else {
        return Ok(());
    };
    let made = Session::control(frame, |_, db| make_job_tables(&db.connection)).await??;
    if made == JobTables::Later {
        board.set_later();
    }
    Ok(())
}

/// Whether a file that needs no other step needs the tables of jobs.
pub(crate) async fn are_missing(board: &JobBoard, frame: &Arc<Frame>) -> Result<bool> {
    let found = Session::control(frame, |_, db| look_for_job_tables(&db.connection)).await??;
    if found == JobTables::Later {
        board.set_later();
    }
    Ok(found == JobTables::Missing)
}

//! How far each front end that sends messages has come in telling what happened.

use dbm_core::prelude::*;

use super::Store;
use super::alerts::{Event, events_after};
use crate::error::Result;

impl Store {
    /// The events after `since` that a front end has not delivered yet.
    #[database_safe]
    pub async fn pending(
        &self,
        db: &mut ReadTransaction,
        front_end: &str,
        since: i64,
    ) -> Result<Vec<Event>> {
        let delivered = db
            .query_optional(
                "SELECT event_id FROM delivery WHERE front_end = ?1",
                (front_end,),
            )
            .await?;
        events_after(db, delivered.unwrap_or(0), since).await
    }

    /// Remembers that a front end has delivered every event up to this one.
    #[database_safe]
    pub async fn delivered(
        &self,
        db: &mut WriteTransaction,
        front_end: &str,
        event: i64,
    ) -> Result<()> {
        db.execute(
            "INSERT INTO delivery VALUES (?1, ?2) ON CONFLICT DO UPDATE SET event_id = excluded.event_id",
            (front_end, event),
        )
        .await?;
        Ok(())
    }
}

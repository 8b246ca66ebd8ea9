//! The rules, kept as the text they were written in.

use dbm_core::prelude::*;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::error::Result;
use crate::rules::{Rule, Rules};

/// The most rules there are at a time.
const MOST: u32 = 100;

/// A rule as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptRule {
    /// Its number.
    pub id: i64,
    /// What it says.
    pub text: String,
    /// Since when.
    pub added_at: i64,
    /// By whom.
    pub added_by: String,
}

impl Store {
    /// Adds a rule; gives its number, and whether it is new. The rules of a new database come in this way too.
    #[database_safe]
    #[during_init]
    pub async fn add_rule(
        &self,
        db: &mut WriteTransaction,
        rule: &Rule,
        by: &str,
        at: i64,
    ) -> Result<(i64, bool)> {
        let text = rule.to_string();
        let sql = "SELECT id FROM rule WHERE text = ?1";
        if let Some(id) = db.query_optional(sql, (&text,)).await? {
            return Ok((id, false));
        }
        let count: u32 = db.query_one("SELECT count(*) FROM rule", ()).await?;
        if count >= MOST {
            refuse!("There can be no more than {MOST} rules.");
        }
        let sql = "INSERT INTO rule (text, added_at, added_by) VALUES (?1, ?2, ?3) RETURNING id";
        Ok((db.query_one(sql, (&text, at, by)).await?, true))
    }

    /// Removes a rule, by its number or by its text; its open alerts end with the next reading.
    #[database_safe]
    #[required_argument(id, rule)]
    pub async fn remove_rule(
        &self,
        db: &mut WriteTransaction,
        id: Option<i64>,
        rule: Option<&Rule>,
    ) -> Result<Option<KeptRule>> {
        let sql = "DELETE FROM rule WHERE id = ?1 OR text = ?2 RETURNING *";
        let rule = rule.map(Rule::to_string);
        Ok(db.query_optional(sql, (id, rule)).await?)
    }

    /// The rules as they are applied. One that this program does not understand is left out.
    pub async fn parsed_rules(&self) -> Result<Rules> {
        let mut rules = Vec::new();
        for kept in self.rules().await? {
            match kept.text.parse() {
                Ok(rule) => rules.push((kept.id, rule)),
                Err(error) => tracing::warn!(%error, "a rule is not understood, and left out"),
            }
        }
        Ok(Rules::new(rules))
    }

    /// Every rule, in the order they were added.
    #[database_safe]
    pub async fn rules(&self, db: &mut ReadTransaction) -> Result<Vec<KeptRule>> {
        Ok(db.query("SELECT * FROM rule ORDER BY id", ()).await?)
    }
}

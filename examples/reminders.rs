//! A bot that reminds people, also after a restart, and cleans up at night.
//!
//! ```sh
//! cargo run --example reminders
//! ```

use std::time::{Duration, SystemTime};

use dbm_core::prelude::*;
use tokio::sync::mpsc::{Receiver, Sender, channel};

#[derive(DbManager)]
#[db_manager(version = "1.0.0", jobs(remind, tidy))]
struct Bot {
    core: ManagerCore,
    chat: Sender<String>,
}

impl Schema for Bot {
    async fn init_db(&self, db: &mut WriteTransaction) -> Result<()> {
        let sql = "CREATE TABLE said (user TEXT NOT NULL, text TEXT NOT NULL, time INTEGER NOT NULL) STRICT";
        db.execute_batch(sql).await
    }
}

impl Bot {
    /// The note and the reminder are one transaction: there are both, or neither.
    #[database_safe]
    async fn hear(&self, db: &mut WriteTransaction, user: &str, text: &str) -> Result<()> {
        let sql = "INSERT INTO said VALUES (?1, ?2, unixepoch())";
        db.execute(sql, (user, text)).await?;
        if let Some((wait, what)) = parse(text) {
            let reminder = Bot::remind_job(user.to_owned(), what.to_owned());
            db.enqueue_at(reminder, SystemTime::now() + wait).await?;
        }
        Ok(())
    }

    /// Runs when it is due, and again until the chat is there. Nobody is reminded of one thing twice at a time.
    #[job(attempts = 20, backoff = "2s", timeout = "10s", unique)]
    async fn remind(&self, user: String, what: String) -> Result<()> {
        let message = format!("@{user} {what}");
        self.chat.send(message).await.map_err(Error::other)
    }

    /// Forgets what was said a month ago.
    #[job(every = "24h")]
    #[database_safe]
    async fn tidy(&self, db: &mut WriteTransaction) -> Result<()> {
        let sql = "DELETE FROM said WHERE time < unixepoch() - 30 * 86400";
        db.execute(sql, ()).await.map(drop)
    }
}

/// `remind me in 5 min: tea`
fn parse(text: &str) -> Option<(Duration, &str)> {
    let (minutes, what) = text.strip_prefix("remind me in ")?.split_once(" min: ")?;
    let minutes: u64 = minutes.parse().ok()?;
    Some((Duration::from_secs(60 * minutes), what))
}

async fn open(config: Config) -> Result<(std::sync::Arc<Bot>, Receiver<String>)> {
    let (chat, messages) = channel(100);
    let bot = Bot::create_with(config, |core| Bot { core, chat }).await?;
    Ok((bot, messages))
}

#[tokio::main]
async fn main() -> Result<()> {
    let (bot, mut messages) = open(Config::in_memory()).await?;
    bot.hear("ada", "remind me in 0 min: tea").await?;
    bot.hear("grace", "hello").await?;
    println!("{}", messages.recv().await.unwrap_or_default());
    bot.close().await
}

#[cfg(test)]
#[tokio::test]
async fn a_reminder_comes_when_it_is_due() -> Result<()> {
    use dbm_core::testing::{run_due_jobs, set_clock};
    let (bot, mut messages) = open(Config::in_memory().job_workers(0)).await?;
    assert_eq!(run_due_jobs(&bot).await?, 1, "the schedule's first run");
    bot.hear("ada", "remind me in 5 min: tea").await?;
    assert_eq!(run_due_jobs(&bot).await?, 0);
    set_clock(&bot, SystemTime::now() + Duration::from_secs(300))?;
    assert_eq!(run_due_jobs(&bot).await?, 1);
    assert_eq!(messages.recv().await.as_deref(), Some("@ada tea"));
    bot.close().await
}

#[cfg(test)]
#[test]
fn it_runs() -> Result<()> {
    main()
}

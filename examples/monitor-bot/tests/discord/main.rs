//! The bot on Discord, against a stand-in for Discord on this machine.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod mock;

use std::path::Path;

use serde_json::{Value, json};

use common::{Service, fake_bot, script};
use mock::{CHANNEL, Mock, STRANGER};

const ADMIN: &str = "42";
const ALERTS: &str = "900";
const TOKEN: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GhostA.a-token-nobody-may-see";

fn start(data: &Path, mock: &Mock) -> Service {
    let settings = format!(
        "[collect]\nevery = \"1s\"\n[discord]\nchannel = {ALERTS}\nproxy = \"http://{}\"\n",
        mock.address
    );
    std::fs::write(data.join("monitor-bot.toml"), settings).unwrap();
    Service::start(data, |command| {
        command
            .args(["--no-web", "--log", "debug"])
            .env("DISCORD_TOKEN", TOKEN);
    })
}

fn content(request: &Value) -> &str {
    request["content"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_answered_and_alerts_are_told_once() {
    let data = tempfile::tempdir().unwrap();
    let (out, ok) = script(
        &mut fake_bot(data.path()),
        data.path(),
        &format!("admin add {ADMIN}\n"),
    );
    assert!(ok, "{out}");

    let mut mock = Mock::start().await;
    let bot = start(data.path(), &mock);
    let commands = mock.request("PUT", "/commands").await;
    let names: Vec<_> = commands
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|command| command["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "status", "history", "watch", "rule", "alerts", "alert", "ack", "admin", "db", "help"
        ]
    );

    let history = &commands[1]["options"];
    assert_eq!(
        (&history[0]["name"], &history[0]["required"]),
        (&json!("metric"), &json!(true))
    );
    assert_eq!(history[1]["required"], false);
    let watch = &commands[2]["options"];
    assert_eq!(
        (&watch[0]["name"], &watch[0]["options"][0]["name"]),
        (&json!("add"), &json!("process"))
    );

    mock.slash(STRANGER, &json!({ "id": "1", "name": "status", "type": 1 }));
    assert_eq!(
        mock.request("POST", "/callback").await["type"],
        5,
        "it first says that an answer will come"
    );
    assert!(content(&mock.request("POST", "/webhooks/").await).contains("Memory"));

    mock.says(STRANGER, "!history cpu 10m");
    assert!(content(&mock.request("POST", CHANNEL).await).contains("CPU · the last 10 m"));
    mock.says(STRANGER, "!history cpu soon");
    assert!(content(&mock.request("POST", CHANNEL).await).contains("not a length of time"));
    mock.says(STRANGER, "!rule add cpu > 1");
    assert!(content(&mock.request("POST", CHANNEL).await).contains("Only an admin may do this."));

    mock.says(ADMIN, "!rule add \"cpu > 1\"");
    assert!(content(&mock.request("POST", CHANNEL).await).contains("Rule 6: cpu > 1."));
    let alert = mock.request("POST", &format!("/channels/{ALERTS}/")).await;
    assert!(content(&alert).contains("CPU is at"), "{alert}");
    assert_eq!(
        (&alert["nonce"], &alert["enforce_nonce"]),
        (&json!("event-1"), &json!(true))
    );
    let presence = mock.presence("dnd").await;
    assert!(
        presence["activities"][0]["state"]
            .as_str()
            .unwrap()
            .contains("CPU is at"),
        "{presence}"
    );

    mock.says(ADMIN, "!ack cpu");
    assert!(content(&mock.request("POST", CHANNEL).await).contains("is seen"));
    assert!(
        content(&mock.request("POST", &format!("/channels/{ALERTS}/")).await).contains("was seen")
    );

    let written = bot.stop("TERM");
    assert!(written.contains("closed in order"), "{written}");
    assert!(
        !written.contains("nobody-may-see"),
        "the token is in the log"
    );

    // After a restart the alert is still open, and nothing is told again.
    let bot = start(data.path(), &mock);
    mock.request("PUT", "/commands").await;
    mock.presence("dnd").await;
    mock.says(STRANGER, "!alerts");
    let first = mock.request("POST", "/messages").await;
    assert!(content(&first).contains("seen by 42"), "{first}");
    bot.stop("TERM");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_goes_on_when_discord_does_not_want_it() {
    let data = tempfile::tempdir().unwrap();
    let mut mock = Mock::start().await;
    for how in [Mock::turn_away, Mock::forget] {
        how(&mock);
        let mut bot = start(data.path(), &mock);
        mock.request("GET", "/gateway/bot").await;
        let bot = tokio::task::spawn_blocking(move || {
            bot.wait_for("it goes on without. DISCORD_TOKEN is not the token of a bot");
            bot
        });
        let written = bot.await.unwrap().stop("TERM");
        assert!(written.contains("closed in order"), "{written}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discord_that_is_down_is_tried_again_ever_more_rarely() {
    let data = tempfile::tempdir().unwrap();
    let mock = Mock::start().await;
    mock.fail();
    let mut bot = start(data.path(), &mock);
    let bot = tokio::task::spawn_blocking(move || {
        bot.wait_for("tried again in 5s");
        bot.wait_for("tried again in 10s");
        bot
    });
    bot.await.unwrap().stop("TERM");
}

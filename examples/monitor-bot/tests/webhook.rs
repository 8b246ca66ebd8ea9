//! Alerts by webhook, to a server on this machine; also while nothing can be stored.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use common::{Service, fake_bot, script};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

const SECRET: &str = "nobody-may-see-this";

/// A server that takes messages, or refuses them.
struct Server {
    address: SocketAddr,
    refuses: Arc<AtomicBool>,
    requests: mpsc::UnboundedReceiver<Request>,
}

struct Request {
    headers: HeaderMap,
    message: Value,
    taken: bool,
}

type Shared = (Arc<AtomicBool>, mpsc::UnboundedSender<Request>);

async fn receive(
    State((refuses, requests)): State<Shared>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let taken = !refuses.load(Ordering::Relaxed);
    let request = Request {
        headers,
        message: serde_json::from_str(&body).unwrap(),
        taken,
    };
    requests.send(request).unwrap_or_default();
    if taken {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

impl Server {
    async fn start() -> Self {
        let refuses = Arc::new(AtomicBool::new(true));
        let (sender, requests) = mpsc::unbounded_channel();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(receive)
            .with_state((Arc::clone(&refuses), sender));
        tokio::spawn(async { axum::serve(listener, router).await });
        Self {
            address,
            refuses,
            requests,
        }
    }

    async fn next(&mut self) -> Request {
        let next = timeout(Duration::from_secs(60), self.requests.recv());
        next.await.unwrap().unwrap()
    }

    async fn next_taken(&mut self) -> Value {
        loop {
            let request = self.next().await;
            if request.taken {
                return request.message;
            }
        }
    }

    /// Writes a configuration with this server in it.
    fn configure(&self, folder: &Path) {
        let settings = format!(
            r#"[collect]
            every = "1s"
            [webhook.mine]
            url = "http://{}/{SECRET}"
            headers = {{ Authorization = "Bearer {SECRET}" }}
            body = '{{"what": "{{{{what}}}}", "metric": "{{{{metric}}}}", "processes": "{{{{processes}}}}"}}'
            "#,
            self.address
        );
        std::fs::write(folder.join("monitor-bot.toml"), settings).unwrap();
    }

    /// The bot that tells this server.
    fn bot(&self, data: &Path) -> Service {
        self.configure(data);
        Service::start(data, |command| {
            command.args(["--no-web", "--log", "debug"]);
        })
    }
}

fn told(message: &Value) -> (&str, &str) {
    let text = |name| message[name].as_str().unwrap();
    (text("metric"), text("what"))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_although_they_were_refused_and_the_bot_was_killed() {
    let data = tempfile::tempdir().unwrap();
    let lines = "rule add \"memory > 1\"\nrule add \"swap > 1\"\n";
    let (out, ok) = script(&mut fake_bot(data.path()), data.path(), lines);
    assert!(ok, "{out}");
    let mut server = Server::start().await;
    let bot = server.bot(data.path());
    let refused = server.next().await;
    assert_eq!(refused.headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(refused.headers["content-type"], "application/json");
    assert_eq!(told(&refused.message), ("memory", "raised"));
    let busy = "postgres (100) 80.0 %";
    let processes = refused.message["processes"].as_str().unwrap();
    assert!(processes.contains(busy), "{processes}");
    let written = bot.written();
    assert!(!written.contains(SECRET), "{written}");
    bot.kill();

    server.refuses.store(false, Ordering::Relaxed);
    let bot = server.bot(data.path());
    assert_eq!(told(&server.next_taken().await), ("memory", "raised"));
    assert_eq!(told(&server.next_taken().await), ("swap", "raised"));
    // A run beside it leaves it to the service to tell.
    let mut guest = common::bot();
    guest.arg("--data-dir").arg(data.path());
    let (out, ok) = script(&mut guest, data.path(), "ack swap\n");
    assert!(ok, "{out}");
    assert_eq!(told(&server.next_taken().await), ("swap", "acknowledged"));
    let written = bot.stop("TERM");
    assert!(!written.contains(SECRET), "{written}");
    assert!(server.requests.try_recv().is_err(), "each once");
}

/// Starts the bot on a disk of 16 MiB, with the database of this folder. Gives where this process sees that disk; none
/// where it cannot be made.
#[cfg(target_os = "linux")]
fn on_a_small_disk(folder: &Path) -> Option<(Service, std::path::PathBuf)> {
    use std::process::Command;
    let disk = folder.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = |then: &str| {
        let script = format!("mount -t tmpfs -o size=16m none \"$1\" && {then}");
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"])
            .arg(&disk);
        command
    };
    if !mounted("true").status().is_ok_and(|made| made.success()) {
        return None;
    }
    let start = "cp \"$2\"/monitor.db \"$1\" && exec \"$3\" --headless --fake-metrics --no-web \
                 --config \"$2\"/monitor-bot.toml --data-dir \"$1\"";
    let mut command = mounted(start);
    command
        .arg(folder)
        .arg(assert_cmd::cargo::cargo_bin!("monitor-bot"));
    let mut bot = Service::spawn(command, folder);
    bot.wait_for("watching");
    let seen = format!("/proc/{}/root{}", bot.id(), disk.display());
    Some((bot, seen.into()))
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_at_once_and_what_happened_is_stored_once() {
    use std::io::Write;

    let folder = tempfile::tempdir().unwrap();
    let lines = "rule add \"load > 0 for 8s\"\n";
    let (out, ok) = script(&mut fake_bot(folder.path()), folder.path(), lines);
    assert!(ok, "{out}");
    let mut server = Server::start().await;
    server.refuses.store(false, Ordering::Relaxed);
    server.configure(folder.path());
    let Some((mut bot, disk)) = on_a_small_disk(folder.path()) else {
        // What the test writes with eprintln! is not shown.
        writeln!(std::io::stderr(), "SKIPPED: no small disk can be made here").unwrap();
        return;
    };
    // It stays while this is open.
    let disk = std::fs::File::open(disk).unwrap();
    let disk = Path::new("/proc/self/fd").join(std::os::fd::AsRawFd::as_raw_fd(&disk).to_string());
    let filler = disk.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4_096]).is_ok() {}
    drop(file);

    // The one was waited for before and after the disk was full, the other is of no rule.
    let mut while_full = [server.next().await.message, server.next().await.message];
    while_full.sort_by_key(|message| message["metric"].to_string());
    assert_eq!(
        while_full.each_ref().map(told),
        [("load", "raised"), ("storage", "raised")]
    );
    let written = bot.wait_for("Load is at");
    assert!(
        written.contains("Nothing can be stored: the disk is full"),
        "{written}"
    );
    std::fs::remove_file(filler).unwrap();
    assert_eq!(told(&server.next().await.message), ("storage", "cleared"));
    bot.wait_for("Readings are stored again");
    bot.stop("TERM");
    assert!(server.requests.try_recv().is_err(), "each once");

    std::fs::copy(disk.join("monitor.db"), folder.path().join("monitor.db")).unwrap();
    let lines = "alerts\nexpect Nothing can be stored: the disk is full\nexpect over after\nexpect Load is at\n\
                 db check\nexpect sound\n";
    let (out, ok) = script(&mut fake_bot(folder.path()), folder.path(), lines);
    assert!(ok, "{out}");
}

//! Works on a ledger and says what became of it: a process to be killed, or to be given a broken file system.
//!
//! `ledger <directory> <version> <step>…`; each line that it prints is something that is true from then on.

#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_core::{Durability, Execution};
use dbm_tests::{Ledger, open_files};

/// A step that takes longer than this hangs; the busy timeout is far below it, but SQLite itself tries for 10 s to get
/// a lock that the system refuses.
const LIMIT: Duration = Duration::from_secs(25);
const BUSY_TIMEOUT: Duration = Duration::from_millis(50);
/// A fault that comes to an end does so after fewer.
const ATTEMPTS: i64 = 6;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| println!("violation: panic: {panic}")));
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(version)) = (arguments.next(), arguments.next()) else {
        return ExitCode::FAILURE;
    };
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(work(Path::new(&directory), &version, arguments.collect()));
    drop(runtime);
    println!("end");
    ExitCode::SUCCESS
}

const SQLITE_IOERR: i32 = 10;
const SQLITE_PROTOCOL: i32 = 15;

/// SQLite has given up waiting for a lock after its 10 s; there is no point in going through that again and again.
static MET_PROTOCOL_ERROR: AtomicBool = AtomicBool::new(false);

fn met_protocol_error() -> bool {
    MET_PROTOCOL_ERROR.load(Ordering::Relaxed)
}

async fn work(directory: &Path, version: &str, steps: Vec<String>) {
    let Ok(version) = Version::parse(version) else {
        return println!("violation: {version} is no version");
    };
    let mut clerk = Clerk {
        directory: directory.to_owned(),
        config: Config::new(directory)
            .version(version)
            .adopt(Version::new(1, 0, 0))
            .busy_timeout(BUSY_TIMEOUT),
        ledger: None,
    };
    let mut other = None;
    for step in steps {
        if met_protocol_error() && step != "close" {
            continue;
        }
        if step == "other" {
            other = Other::open(directory).await;
            continue;
        }
        let both = async {
            tokio::join!(clerk.take(&step), Other::is_undisturbed(&mut other));
        };
        if tokio::time::timeout(LIMIT, both).await.is_err() {
            // What came later would only be in its way.
            return println!("violation: {step} hangs");
        }
    }
}

/// A manager in a directory without faults.
struct Other {
    ledger: Arc<Ledger>,
    entries: i64,
}

impl Other {
    /// In memory where the system has a place for that, as the directory of this test.
    async fn open(directory: &Path) -> Option<Self> {
        let beside = directory.parent()?.with_file_name("other");
        match Ledger::create(Config::new(beside)).await {
            Ok(ledger) => Some(Self { ledger, entries: 0 }),
            Err(error) => {
                println!("violation: the other manager: {error}");
                None
            }
        }
    }

    async fn is_undisturbed(other: &mut Option<Self>) {
        let Some(other) = other else { return };
        other.entries += 1;
        if let Err(error) = other.ledger.add(other.entries, "other").await {
            println!("violation: the other manager: {error}");
        }
        if other.ledger.ids().await.ok().map(|ids| ids.len() as i64) != Some(other.entries) {
            println!("violation: the other manager misses entries");
        }
    }
}

struct Clerk {
    directory: PathBuf,
    config: Config,
    ledger: Option<Arc<Ledger>>,
}

impl Clerk {
    async fn take(&mut self, step: &str) {
        let (what, numbers) = step.split_once(':').unwrap_or((step, ""));
        let numbers: Vec<i64> = numbers.split(',').flat_map(str::parse).collect();
        match (what, numbers.as_slice(), self.ledger.clone()) {
            ("inline", _, _) => self.configure(|config| config.execution(Execution::Inline)),
            ("offload", _, _) => self.configure(|config| config.execution(Execution::Offload)),
            ("normal", _, _) => self.configure(|config| config.durability(Durability::Normal)),
            ("patient", _, _) => self.configure(|config| config.busy_timeout(LIMIT)),
            ("start", _, _) => self.start().await,
            ("start-again", _, None) => {
                for _ in (0..ATTEMPTS).take_while(|_| !met_protocol_error()) {
                    if self.ledger.is_none() {
                        self.start().await;
                    }
                }
                if self.ledger.is_none() {
                    println!("violation: it does not start again");
                }
            }
            ("write", &[first, tasks, each], Some(ledger)) => {
                write(&ledger, first, tasks, each).await;
            }
            ("big", &[id, bytes], Some(ledger)) => add(&ledger, id, bytes).await,
            ("lone", &[first, times], Some(ledger)) => {
                for id in first..first + times {
                    say(id, ledger.add_at_once(id, "by itself").await);
                }
            }
            ("bare", &[first, times], Some(ledger)) => {
                for id in first..first + times {
                    bare(&ledger, id).await;
                }
            }
            ("recovered-reads", _, Some(ledger)) => recovered_reads(&ledger).await,
            ("recovered", &[id], Some(ledger)) => recovered(&ledger, id).await,
            ("reads", &[times], Some(ledger)) => reads(&ledger, times).await,
            ("read", _, Some(ledger)) => tell("read", ledger.ids().await),
            ("vacuum", _, Some(ledger)) => tell("vacuum", ledger.vacuum().await),
            ("back-up", _, Some(ledger)) => tell("back-up", ledger.back_up(self.copy()).await),
            ("restore", _, _) => {
                let config = self.config.clone();
                tell("restore", Ledger::restore(self.copy(), config).await);
            }
            ("close", _, Some(ledger)) => self.close(&ledger).await,
            ("drop", _, ledger) => drop((self.ledger.take(), ledger)),
            _ => {}
        }
    }

    fn copy(&self) -> PathBuf {
        self.directory.join("copy")
    }

    fn configure(&mut self, change: impl FnOnce(Config) -> Config) {
        self.config = change(self.config.clone());
    }

    async fn start(&mut self) {
        let ledger = Ledger::start(self.config.clone());
        tokio::spawn(follow(ledger.watch_status()));
        let answer = ledger.ensure_ready().await;
        let expected = match &answer {
            Ok(()) => Status::Running,
            Err(_) => Status::Failed,
        };
        if ledger.status() != expected {
            println!("violation: {} after {answer:?}", ledger.status());
        }
        let open = open_files(&self.directory);
        if answer.is_err() && !open.is_empty() {
            println!("violation: still open after a failed start: {open:?}");
        }
        self.ledger = answer.is_ok().then_some(ledger);
        tell("start", answer);
    }

    async fn close(&mut self, ledger: &Ledger) {
        let answer = ledger.close().await;
        if ledger.status() != Status::Stopped {
            println!("violation: {} after close", ledger.status());
        }
        let open = open_files(&self.directory);
        if !open.is_empty() {
            println!("violation: still open after close: {open:?}");
        }
        tell("close", answer);
    }
}

/// The status goes forward only.
async fn follow(mut status: tokio::sync::watch::Receiver<Status>) {
    let mut last = *status.borrow_and_update();
    while status.changed().await.is_ok() {
        let now = *status.borrow_and_update();
        if now <= last {
            println!("violation: from {last} to {now}");
        }
        last = now;
    }
}

fn tell<T>(what: &str, answer: Result<T>) {
    match answer {
        Ok(_) => println!("{what} ok"),
        Err(error) => println!("{what} failed: {}", kind(&error)),
    }
}

/// An error in one line. `unknown` in front of it when it leaves open whether the call was committed.
fn kind(error: &Error) -> String {
    let unsure = match error {
        Error::CommitUnknown { .. } => "unknown: ",
        // These say nothing of what went wrong.
        Error::HandleEnded | Error::Closed { .. } | Error::Panicked { .. } => "violation: ",
        _ => "",
    };
    let code = error.sqlite_code().unwrap_or(0);
    if code == SQLITE_PROTOCOL {
        MET_PROTOCOL_ERROR.store(true, Ordering::Relaxed);
    }
    format!("{unsure}{error} ({code})").replace('\n', " ")
}

/// Several tasks that write at the same time, some of them in vain.
async fn write(ledger: &Arc<Ledger>, first: i64, tasks: i64, each: i64) {
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move {
                for number in (0..each).take_while(|_| !met_protocol_error()) {
                    let id = first + task * 1_000 + number;
                    if number % 4 == 3 {
                        let _ = ledger.add_and_fail(id).await;
                    } else {
                        add(&ledger, id, 10).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        if task.await.is_err() {
            println!("violation: a task panicked");
        }
    }
}

/// So many that the library does something to make them cheap.
async fn reads(ledger: &Ledger, times: i64) {
    for _ in 0..times {
        if let Err(error) = ledger.ids().await {
            return println!("read failed: {}", kind(&error));
        }
    }
}

async fn add(ledger: &Ledger, id: i64, bytes: i64) {
    let text = "x".repeat(usize::try_from(bytes).unwrap_or(0));
    say(id, ledger.add(id, &text).await);
}

fn say(id: i64, added: Result<()>) {
    match added {
        Ok(()) => println!("added {id}"),
        Err(error) => println!("refused {id} {}", kind(&error)),
    }
}

/// In a transaction of its own, whose commit is not the library's.
async fn bare(ledger: &Ledger, id: i64) {
    match ledger.add_bare(id).await {
        Ok(()) => println!("added {id}"),
        Err(error) if error.sqlite_code().map(|code| code & 0xff) == Some(SQLITE_IOERR) => {
            println!("refused {id} unknown: {}", kind(&error));
        }
        Err(error) => println!("refused {id} {}", kind(&error)),
    }
}

/// Also when nobody writes.
async fn recovered_reads(ledger: &Ledger) {
    for _ in (0..ATTEMPTS).take_while(|_| !met_protocol_error()) {
        match ledger.ids().await {
            Ok(_) => return,
            Err(error) => println!("read failed: {}", kind(&error)),
        }
    }
    if !met_protocol_error() {
        println!("violation: reads do not recover");
    }
}

/// When what went wrong is over, so are its effects.
async fn recovered(ledger: &Ledger, id: i64) {
    for attempt in (0..ATTEMPTS).take_while(|_| !met_protocol_error()) {
        match ledger.add(id + attempt, "again").await {
            Ok(()) => return println!("added {}", id + attempt),
            Err(error) => println!("refused {} {}", id + attempt, kind(&error)),
        }
    }
    if !met_protocol_error() {
        println!("violation: it does not recover");
    }
}

//! Enqueues jobs and runs them: a process to be killed.
//!
//! `post <directory> <step>…`; each line that it prints is true from then on.
//!
//! | step | |
//! |---|---|
//! | `want:1,5` | wants the numbers 1 to 5, one after the other, and takes back their negatives |
//! | `poison` | enqueues a job that ends the process |
//! | `drain` | waits until no job is left |
//! | `stay` | waits for ever |
//! | `idle` | (first) runs no jobs |

#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::time::Duration;

use dbm_core::prelude::*;
use dbm_tests::post::Post;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match work().await {
        Ok(()) => {
            println!("end");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("violation: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn work() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_default();
    let steps: Vec<String> = arguments.collect();
    let mut config = Config::new(directory);
    if steps.first().is_some_and(|step| step == "idle") {
        config = config.job_workers(0);
    }
    let post = Post::open(config).await?;
    for step in &steps {
        match step.split_once(':') {
            Some(("want", numbers)) => {
                let mut numbers = numbers.split(',').flat_map(str::parse::<i64>);
                let (first, last) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
                for number in first..=last {
                    post.want(number).await?;
                    println!("wanted {number}");
                    if post.want(-number).await.is_ok() {
                        println!("violation: {number} was not taken back");
                    }
                }
            }
            None if step == "poison" => post.want_poison().await?,
            None if step == "drain" => {
                while post.left().await? > 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            None if step == "stay" => std::future::pending().await,
            _ => {}
        }
    }
    post.close().await
}

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::drive::{Tally, take};
use crate::report::{rss_kib, threads};
use crate::script::Script;
use crate::{Job, Managers, Peer, Result};

/// Opens as many databases as the job has tasks, and reads a row of each. Then it leaves them alone for two seconds, and
/// closes them.
pub(crate) async fn managers<P: Peer>(job: &Job) -> Result<Tally> {
    let directory = job.path.parent().ok_or("the database is in no directory")?;
    let (memory, threads_before) = (rss_kib(), threads());
    let count = job.tasks as f64;
    let kib = || rss_kib().saturating_sub(memory) as f64 / count;
    let threads = || threads().saturating_sub(threads_before) as f64 / count;
    let (mut tally, mut script) = (Tally::new(), Script::new(job, 0));
    let mut peers = Vec::with_capacity(job.tasks);
    for number in 0..job.tasks {
        let place = directory.join(number.to_string());
        fs::create_dir(&place)?;
        let job = Job {
            path: place.join("database.db"),
            ..job.clone()
        };
        fs::copy(directory.join("database.db"), &job.path)?;
        let begun = Instant::now();
        let peer = P::open(&job).await?;
        let step = script.next();
        let result = take(&peer, step).await;
        tally.note(step, result, Some(begun.elapsed()));
        peers.push(peer);
    }
    let (kib_open, threads_open) = (kib(), threads());
    // The runtime's other threads go on.
    sleep(Duration::from_secs(2));
    let (kib_at_rest, threads_at_rest) = (kib(), threads());
    let begun = Instant::now();
    for peer in peers {
        peer.close().await?;
    }
    tally.managers = Some(Managers {
        kib: kib_open,
        threads: threads_open,
        kib_at_rest,
        threads_at_rest,
        closed_in_us: begun.elapsed().as_micros() as f64 / count,
    });
    Ok(tally)
}

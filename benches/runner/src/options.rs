use std::num::NonZeroUsize;
use std::time::Duration;

use harness::Result;

use crate::peers::{PEERS, RAW};
use crate::suite::{self, Group};

pub(crate) const USAGE: &str = "\
Measures dbm and its peers, in turn, one process each.

Usage: cargo run --release -- [COMMAND] [OPTIONS]

Commands:
  (none)    measure; a complete run also rewrites the figures in docs/PERFORMANCE.md
  render    rewrite those figures from the last complete run
  show      the figures of the last run so far: it may be running, or have been stopped
  guard     compare instructions per call with the figures in the repository; --bless accepts the new ones
  heuristics  what dbm loses without each of its heuristics, in turns; takes --rounds and --seconds

Options:
  --quick            short measurements, no growth: under three minutes once everything is built
  --only A,B         these peers (raw is always among them)
  --workloads A,B    of a b c d e f g empty tasks rows fsync growth
  --rounds N         how often each is measured [default: 3]
  --seconds S        how long each measurement lasts [default: 2]
  --workers N        threads of the tokio runtime [default: 2]
  --resume           go on with the last run where it was stopped; with the same options";

const WORKERS: usize = 2;

#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Help,
    Measure(Measure),
    Render,
    Guard { bless: bool },
    Show,
    Heuristics(Heuristics),
}

#[derive(Debug, PartialEq)]
pub(crate) struct Measure {
    pub(crate) peers: Vec<&'static str>,
    pub(crate) groups: Vec<Group>,
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    pub(crate) workers: usize,
    pub(crate) resume: bool,
    quick: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Heuristics {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
}

impl Measure {
    /// Everything, at full length: figures worth keeping.
    pub(crate) fn is_complete(&self) -> bool {
        !self.quick
            && self.workers == WORKERS
            && self.peers.len() == PEERS.len()
            && self.groups.len() == suite::GROUPS.len()
    }
}

impl Command {
    pub(crate) fn from_args(args: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut args = args.into_iter().peekable();
        match args.peek().map(String::as_str) {
            Some("render") => only(args, Self::Render),
            Some("show") => only(args, Self::Show),
            Some("heuristics") => heuristics(args.skip(1)).map(Self::Heuristics),
            Some("guard") => {
                let rest: Vec<_> = args.skip(1).collect();
                match rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                    [] => Ok(Self::Guard { bless: false }),
                    ["--bless"] => Ok(Self::Guard { bless: true }),
                    _ => Err(format!("guard takes --bless alone\n\n{USAGE}").into()),
                }
            }
            Some("-h" | "--help" | "help") => Ok(Self::Help),
            _ => measure(args).map(Self::Measure),
        }
    }
}

fn only(args: impl Iterator<Item = String>, command: Command) -> Result<Command> {
    match args.count() {
        1 => Ok(command),
        _ => Err(format!("this command takes no options\n\n{USAGE}").into()),
    }
}

fn measure(mut args: impl Iterator<Item = String>) -> Result<Measure> {
    let (mut peers, mut groups, mut rounds, mut seconds) = (None, None, None, None);
    let (mut workers, mut quick, mut resume) = (WORKERS, false, false);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--quick" => quick = true,
            "--resume" => resume = true,
            "--only" => peers = Some(value()?),
            "--workloads" => groups = Some(value()?),
            "--rounds" => rounds = Some(value()?.parse()?),
            "--workers" => workers = value()?.parse::<NonZeroUsize>()?.get(),
            "--seconds" => seconds = Some(Duration::try_from_secs_f64(value()?.parse()?)?),
            _ => return Err(format!("no option {arg:?}\n\n{USAGE}").into()),
        }
    }
    Ok(Measure {
        peers: match peers {
            Some(names) => chosen_peers(&names)?,
            None => PEERS.iter().map(|peer| peer.name).collect(),
        },
        groups: match groups {
            Some(names) => names.split(',').map(suite::group).collect::<Result<_>>()?,
            None if quick => suite::GROUPS
                .iter()
                .copied()
                .filter(|group| !group.is_growth())
                .collect(),
            None => suite::GROUPS.to_vec(),
        },
        rounds: rounds.unwrap_or(3),
        time: seconds.unwrap_or(Duration::from_millis(if quick { 200 } else { 2000 })),
        workers,
        resume,
        quick,
    })
}

fn heuristics(mut args: impl Iterator<Item = String>) -> Result<Heuristics> {
    // As many as a median within a few per cent takes.
    let (mut rounds, mut seconds) = (15, 0.5);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--rounds" => rounds = value()?.parse()?,
            "--seconds" => seconds = value()?.parse()?,
            _ => return Err(format!("heuristics has no option {arg:?}\n\n{USAGE}").into()),
        }
    }
    Ok(Heuristics {
        rounds,
        time: Duration::try_from_secs_f64(seconds)?,
    })
}

fn chosen_peers(names: &str) -> Result<Vec<&'static str>> {
    let names: Vec<&str> = names.split(',').collect();
    let known = |name: &str| PEERS.iter().any(|peer| peer.name == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all = PEERS.map(|peer| peer.name).join(", ");
        return Err(format!("no peer {unknown:?}; there are {all}").into());
    }
    Ok(PEERS
        .iter()
        .map(|peer| peer.name)
        .filter(|name| *name == RAW || names.contains(name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command> {
        Command::from_args(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn raw_is_always_measured() {
        let Ok(Command::Measure(measure)) = parse("--only dbm --workloads a,d") else {
            panic!()
        };
        assert_eq!(measure.peers, ["raw", "dbm"]);
        assert!(!measure.is_complete());
    }

    #[test]
    fn the_default_is_complete_and_quick_is_not() {
        let complete =
            |line| matches!(parse(line), Ok(Command::Measure(measure)) if measure.is_complete());
        assert!(complete(""));
        assert!(!complete("--quick"));
        assert!(!complete("--workers 1"));
    }

    #[test]
    fn mistakes_are_named() {
        for line in [
            "--only nobody",
            "--workloads x",
            "--rounds",
            "--rounds many",
            "--workers 0",
            "--fast",
            "render now",
            "guard x",
            "heuristics x",
            "show x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

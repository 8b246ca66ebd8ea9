use harness::{Durability, Report, STATEMENTS, Workload};

use crate::peers::RAW;
use crate::samples::{Sample, Samples, Spread};
use crate::suite::{self, COLUMNS, Column, Setting};
use crate::table::Table;

/// Every peer as a multiple of raw, the best of a column in bold; raw itself in calls a second, and what an empty
/// body costs in microseconds.
pub(crate) fn overview(samples: &Samples) -> Table {
    ratios(samples, Column::head, |_| true)
}

/// The same for the front page: what a call costs with the durability that a program has by default.
pub(crate) fn summary(samples: &Samples) -> Table {
    let head = |column: &Column| column.meaning.to_owned();
    ratios(samples, head, |setting| {
        setting.durability == Durability::Full && setting.workload != Workload::Nothing
    })
}

fn ratios(
    samples: &Samples,
    head: fn(&Column) -> String,
    wanted: impl Fn(Setting) -> bool,
) -> Table {
    let columns: Vec<_> = COLUMNS
        .iter()
        .filter(|column| wanted(column.setting) && measured(samples, column.setting))
        .collect();
    let mut table = Table::new(
        ["×&nbsp;raw".to_owned()]
            .into_iter()
            .chain(columns.iter().map(|column| head(column))),
    );
    for peer in &samples.machine.peers {
        let cells = columns
            .iter()
            .map(|column| match (column.setting.workload, peer.as_str()) {
                (Workload::Nothing, _) => cost(samples, peer, column.setting),
                (Workload::Open, RAW) => {
                    median(samples, RAW, column.setting, |report| report.p50_us).map(micros)
                }
                (_, RAW) => median(samples, RAW, column.setting, |report| {
                    report.calls_per_second
                })
                .map(rate),
                _ => against_raw(samples, peer, column.setting),
            });
        table.row(peer, cells.collect::<Vec<_>>());
    }
    table
}

/// Where a peer, or raw, is ahead of dbm.
pub(crate) fn ahead(samples: &Samples) -> Table {
    const DBM: &str = "dbm";
    let mut table = Table::new(["× raw", DBM, "ahead of it"]);
    for column in &COLUMNS {
        let of = |peer: &str| {
            let ratio = samples.ratio(peer, column.setting)?.median;
            Some((ratio, format!("{peer} {}", times(ratio))))
        };
        let Some((dbm, _)) = of(DBM) else { continue };
        let is_ahead = |(ratio, _): &(f64, String)| match column.setting.workload {
            Workload::Open => *ratio < dbm,
            _ => *ratio > dbm,
        };
        let peers = samples.machine.peers.iter();
        let mut ahead: Vec<_> = peers.filter_map(|peer| of(peer)).filter(is_ahead).collect();
        if column.setting.workload == Workload::Nothing || ahead.is_empty() {
            continue;
        }
        ahead.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let names: Vec<_> = ahead.into_iter().map(|(_, name)| name).collect();
        table.row(&column.head(), [Some(times(dbm)), Some(names.join(", "))]);
    }
    table
}

fn cost(samples: &Samples, peer: &str, setting: Setting) -> Option<String> {
    median(samples, peer, setting, |report| report.cpu_us).map(|us| format!("{us:.2} µs"))
}

fn against_raw(samples: &Samples, peer: &str, setting: Setting) -> Option<String> {
    let of = |peer: &str| samples.ratio(peer, setting).map(|ratio| ratio.median);
    let others = samples
        .machine
        .peers
        .iter()
        .filter(|other| *other != RAW)
        .filter_map(|other| of(other));
    let best = match setting.workload {
        Workload::Open => others.fold(f64::INFINITY, f64::min),
        _ => others.fold(0.0, f64::max),
    };
    of(peer).map(|ratio| {
        if ratio == best {
            format!("**{}**", times(ratio))
        } else {
            times(ratio)
        }
    })
}

/// Every figure of every peer, for the one who tunes.
pub(crate) fn details(samples: &Samples) -> Table {
    let mut table = Table::new([
        "setting",
        "× raw",
        "least",
        "most",
        "calls/s",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "CPU µs",
        "switches",
        "RSS MiB",
        "busy",
        "errors",
        "lost",
    ]);
    for column in COLUMNS
        .iter()
        .filter(|column| measured(samples, column.setting))
    {
        for peer in &samples.machine.peers {
            if samples.of(peer, column.setting).next().is_some() {
                table.row(
                    &format!("{} {peer}", column.name),
                    detail(samples, peer, column),
                );
            }
        }
    }
    table
}

fn detail(samples: &Samples, peer: &str, column: &Column) -> Vec<Option<String>> {
    let setting = column.setting;
    let ratio = samples.ratio(peer, setting);
    let figure = |figure, form: fn(f64) -> String| median(samples, peer, setting, figure).map(form);
    let two_places = |figure| format!("{figure:.2}");
    vec![
        ratio.map(|ratio| times(ratio.median)),
        ratio.map(|ratio| times(ratio.least)),
        ratio.map(|ratio| times(ratio.most)),
        figure(|report| report.calls_per_second, rate),
        figure(|report| report.p50_us, |us| format!("{us:.1}")),
        figure(|report| report.p99_us, |us| format!("{us:.1}")),
        figure(|report| report.p999_us, |us| format!("{us:.1}")),
        figure(|report| report.cpu_us, two_places),
        figure(switches, two_places),
        figure(mebibytes, |mib| format!("{mib:.1}")),
        Some(sum(samples.of(peer, setting), |report| report.busy).to_string()),
        Some(sum(samples.of(peer, setting), |report| report.errors).to_string()),
        Some(
            samples
                .of(peer, setting)
                .map(|sample| sample.lost)
                .sum::<u64>()
                .to_string(),
        ),
    ]
}

/// The median, the 99th and the 99.9th percentile of the time of a call.
pub(crate) fn latencies(samples: &Samples) -> Table {
    let columns: Vec<_> = COLUMNS
        .iter()
        .filter(|column| {
            column.setting.workload != Workload::Nothing && measured(samples, column.setting)
        })
        .collect();
    let mut table = Table::new(
        ["p50 / p99 / p99.9, µs".to_owned()]
            .into_iter()
            .chain(columns.iter().map(|column| column.head())),
    );
    for peer in &samples.machine.peers {
        let cells = columns.iter().map(|column| {
            let p50 = median(samples, peer, column.setting, |report| report.p50_us)?;
            let p99 = median(samples, peer, column.setting, |report| report.p99_us)?;
            let p999 = median(samples, peer, column.setting, |report| report.p999_us)?;
            Some(format!("{} / {} / {}", short(p50), short(p99), short(p999)))
        });
        table.row(peer, cells.collect::<Vec<_>>());
    }
    table
}

/// What a peer takes besides time, and what it got wrong over all columns.
pub(crate) fn costs(samples: &Samples) -> Table {
    let columns = |name: &str| {
        COLUMNS
            .iter()
            .find(|column| column.name == name)
            .map(|column| column.setting)
    };
    let mut table = Table::new([
        "",
        "peak RSS, 64 readers, MiB",
        "CPU, 64 readers, µs",
        "CPU, 64 writers F, µs",
        "switches, 64 readers",
        "switches, 64 writers F",
        "busy or locked",
        "other errors",
        "lost writes",
    ]);
    for peer in &samples.machine.peers {
        let figure = |name, figure| {
            median(samples, peer, columns(name)?, figure).map(|value| format!("{value:.1}"))
        };
        let switched = |name| {
            median(samples, peer, columns(name)?, switches).map(|value| format!("{value:.2}"))
        };
        let all = || samples.taken.iter().filter(|sample| sample.peer == *peer);
        let busy = sum(all(), |report| report.busy);
        let cells = [
            figure("b", mebibytes),
            figure("b", |report| report.cpu_us),
            figure("d F", |report| report.cpu_us),
            switched("b"),
            switched("d F"),
            Some(busy.to_string()),
            Some((sum(all(), |report| report.errors) - busy).to_string()),
            Some(all().map(|sample| sample.lost).sum::<u64>().to_string()),
        ];
        table.row(peer, cells);
    }
    table
}

/// Calls a second, as something grows.
pub(crate) fn growth(
    samples: &Samples,
    what: &str,
    settings: &[Setting],
    label: fn(Setting) -> String,
) -> Table {
    let labels = settings.iter().map(|setting| label(*setting));
    let mut table = Table::new(std::iter::once(what.to_owned()).chain(labels));
    for peer in &samples.machine.peers {
        let cells = settings.iter().map(|setting| {
            median(samples, peer, *setting, |report| report.calls_per_second).map(rate)
        });
        table.row(peer, cells.collect::<Vec<_>>());
    }
    table
}

/// What becomes of many calls, rows, statements and databases.
pub(crate) fn grown(samples: &Samples) -> Table {
    type Figure = fn(&Report) -> f64;
    const NONE: f64 = f64::NAN;
    let [reads, inserts, managers, rows, body] = suite::grown();
    let figures: [(&str, Setting, Figure); 10] = [
        (
            "80,000 waiting reads dropped at once, ms",
            reads,
            |report| report.p50_us / 1e3,
        ),
        (
            "80,000 waiting inserts, the last one first, ms",
            inserts,
            |report| report.p50_us / 1e3,
        ),
        ("100,000 rows into memory, ms", rows, |report| {
            report.p50_us / 1e3
        }),
        ("one of 100 reads in one body, µs", body, |report| {
            report.p50_us / STATEMENTS as f64
        }),
        (
            "1,000 databases: opened and read, each, µs",
            managers,
            |report| report.p50_us,
        ),
        ("memory, each, KiB", managers, |report| {
            report.managers.map_or(NONE, |each| each.kib)
        }),
        ("threads, each", managers, |report| {
            report.managers.map_or(NONE, |each| each.threads)
        }),
        ("two seconds later, memory, each, KiB", managers, |report| {
            report.managers.map_or(NONE, |each| each.kib_at_rest)
        }),
        ("two seconds later, threads, each", managers, |report| {
            report.managers.map_or(NONE, |each| each.threads_at_rest)
        }),
        ("closed, each, µs", managers, |report| {
            report.managers.map_or(NONE, |each| each.closed_in_us)
        }),
    ];
    let peers = samples.machine.peers.iter();
    let mut table = Table::new(std::iter::once("").chain(peers.clone().map(String::as_str)));
    for (name, setting, figure) in figures {
        let cells = peers
            .clone()
            .map(|peer| median(samples, peer, setting, figure).map(short));
        let cells: Vec<_> = cells.collect();
        if cells.iter().any(Option::is_some) {
            table.row(name, cells);
        }
    }
    table
}

/// Inserts to one fsync, as fsync gets slower.
pub(crate) fn batches(samples: &Samples) -> Table {
    let settings = suite::inserts_by_fsync();
    let labels = settings.iter().map(|setting| delay(*setting));
    let mut table = Table::new(std::iter::once("inserts to one fsync".to_owned()).chain(labels));
    for peer in &samples.machine.peers {
        let cells = settings.iter().map(|setting| {
            samples
                .batch(peer, *setting)
                .map(|batch| short(batch.median))
        });
        table.row(peer, cells.collect::<Vec<_>>());
    }
    table
}

pub(crate) fn delay(setting: Setting) -> String {
    format!("+{} ms", setting.fsync_us.unwrap_or(0) / 1000)
}

pub(crate) fn measured(samples: &Samples, setting: Setting) -> bool {
    samples.taken.iter().any(|sample| sample.setting == setting)
}

fn median(
    samples: &Samples,
    peer: &str,
    setting: Setting,
    figure: fn(&Report) -> f64,
) -> Option<f64> {
    samples
        .figure(peer, setting, figure)
        .map(|Spread { median, .. }| median)
}

fn sum<'a>(samples: impl Iterator<Item = &'a Sample>, figure: fn(&Report) -> u64) -> u64 {
    samples
        .filter_map(|sample| sample.outcome.as_ref().ok())
        .map(figure)
        .sum()
}

fn switches(report: &Report) -> f64 {
    report.switches.unwrap_or(f64::NAN)
}

fn mebibytes(report: &Report) -> f64 {
    report.peak_rss_kib as f64 / 1024.0
}

fn times(ratio: f64) -> String {
    match ratio {
        10.0.. => format!("{ratio:.0}"),
        2.0.. => format!("{ratio:.1}"),
        _ => format!("{ratio:.2}"),
    }
}

fn micros(us: f64) -> String {
    format!("{us:.0} µs")
}

pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        999_500.0.. => format!("{:.1}M", per_second / 1e6),
        9_950.0.. => format!("{:.0}k", per_second / 1e3),
        1_000.0.. => format!("{:.1}k", per_second / 1e3),
        _ => format!("{per_second:.0}"),
    }
}

fn short(figure: f64) -> String {
    match figure {
        0.0 => "0".to_owned(),
        10.0.. => format!("{figure:.0}"),
        _ => format!("{figure:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_two_digits_or_three() {
        assert_eq!(
            [0.07, 0.854, 3.94, 28.4].map(times),
            ["0.07", "0.85", "3.9", "28"]
        );
        assert_eq!(
            [812.0, 8_200.0, 269_000.0, 2_100_000.0].map(rate),
            ["812", "8.2k", "269k", "2.1M"]
        );
    }
}

//! The plots, as SVG that follows the reader's light or dark theme.

mod bars;
mod canvas;
mod lines;

use harness::Workload;

use crate::peers::RAW;
use crate::samples::Samples;
use crate::suite::{self, COLUMNS, Setting};
use crate::tables;

use self::bars::Panel;
use self::lines::{Chart, Line};

/// Every plot, by its name, if there are figures for it.
pub(crate) fn all(samples: &Samples) -> [(&'static str, Option<String>); 5] {
    let tasks = |setting: Setting| setting.tasks.to_string();
    let rows = |setting: Setting| tables::rate(setting.rows as f64);
    let growth = |title, settings: Vec<Setting>, label: fn(Setting) -> String| {
        let chart = Chart {
            title,
            ticks: settings.iter().map(|setting| label(*setting)).collect(),
        };
        lines::draw(&chart, &lines(samples, &settings))
    };
    [
        (
            "ratios",
            bars::draw(&samples.machine.peers, &panels(samples)),
        ),
        (
            "reads-by-tasks",
            growth(
                "Point reads per second, by tasks",
                suite::reads_by_tasks(),
                tasks,
            ),
        ),
        (
            "inserts-by-tasks",
            growth(
                "Durable inserts per second, by tasks",
                suite::inserts_by_tasks(),
                tasks,
            ),
        ),
        (
            "reads-by-rows",
            growth(
                "Point reads per second of one task, by rows",
                suite::reads_by_rows(),
                rows,
            ),
        ),
        (
            "inserts-by-fsync",
            growth(
                "Inserts per second of 64 tasks, fsync made slower",
                suite::inserts_by_fsync(),
                tables::delay,
            ),
        ),
    ]
}

/// The columns a rate says something of, at full durability.
fn panels(samples: &Samples) -> Vec<Panel> {
    let shown = |name: &str| !name.ends_with('N');
    COLUMNS
        .iter()
        .filter(|column| {
            shown(column.name)
                && !matches!(column.setting.workload, Workload::Open | Workload::Nothing)
        })
        .filter(|column| tables::measured(samples, column.setting))
        .map(|column| Panel {
            title: column.title.to_owned(),
            ratios: samples
                .machine
                .peers
                .iter()
                .filter(|peer| *peer != RAW)
                .map(|peer| {
                    samples
                        .ratio(peer, column.setting)
                        .map(|ratio| ratio.median)
                })
                .collect(),
        })
        .collect()
}

fn lines(samples: &Samples, settings: &[Setting]) -> Vec<Line> {
    let figure = |peer: &str, setting: &Setting| {
        samples
            .figure(peer, *setting, |report| report.calls_per_second)
            .map(|rate| rate.median)
    };
    let line = |peer: &String| Line {
        name: peer.clone(),
        points: settings
            .iter()
            .map(|setting| figure(peer, setting))
            .collect(),
    };
    samples
        .machine
        .peers
        .iter()
        .map(line)
        .filter(|line| line.points.iter().flatten().count() > 1)
        .collect()
}

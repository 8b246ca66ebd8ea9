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

/// Every plot there are figures for, by its name.
pub(crate) fn all(samples: &Samples) -> Vec<(&'static str, String)> {
    let ratios = bars::draw(&samples.machine.peers, &panels(samples));
    let tasks = |setting: Setting| setting.tasks.to_string();
    let rows = |setting: Setting| tables::rate(setting.rows as f64);
    let charts = [
        ("reads-by-tasks", "Point reads per second, by tasks", suite::reads_by_tasks(), tasks as fn(Setting) -> String),
        ("inserts-by-tasks", "Durable inserts per second, by tasks", suite::inserts_by_tasks(), tasks),
        ("reads-by-rows", "Point reads per second of one task, by rows", suite::reads_by_rows(), rows),
        ("inserts-by-fsync", "Inserts per second of 64 tasks, fsync made slower", suite::inserts_by_fsync(), tables::delay),
    ];
    let charts = charts.into_iter().filter_map(|(name, title, settings, label)| {
        let chart = Chart { title, ticks: settings.iter().map(|setting| label(*setting)).collect() };
        Some((name, lines::draw(&chart, &lines(samples, &settings))?))
    });
    ratios.map(|svg| ("ratios", svg)).into_iter().chain(charts).collect()
}

/// The columns a rate says something of, at full durability.
fn panels(samples: &Samples) -> Vec<Panel> {
    let shown = |name: &str| !name.ends_with('N');
    COLUMNS
        .iter()
        .filter(|column| shown(column.name) && !matches!(column.setting.workload, Workload::Open | Workload::Nothing))
        .filter(|column| tables::measured(samples, column.setting))
        .map(|column| Panel {
            title: format!("{}: {}", column.name, column.title),
            ratios: samples
                .machine
                .peers
                .iter()
                .filter(|peer| *peer != RAW)
                .map(|peer| samples.ratio(peer, column.setting).map(|ratio| ratio.median))
                .collect(),
        })
        .collect()
}

fn lines(samples: &Samples, settings: &[Setting]) -> Vec<Line> {
    let figure = |peer: &str, setting: &Setting| {
        samples.figure(peer, *setting, |report| report.calls_per_second).map(|rate| rate.median)
    };
    let line = |peer: &String| Line {
        name: peer.clone(),
        points: settings.iter().map(|setting| figure(peer, setting)).collect(),
    };
    samples.machine.peers.iter().map(line).filter(|line| line.points.iter().flatten().count() > 1).collect()
}

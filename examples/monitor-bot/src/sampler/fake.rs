//! A made-up machine: every value is a function of the seed, the metric and the time.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use super::{Process, Reading, Sampler};
use crate::metric::{Kind, Metric, bytes};

/// A machine that does not exist.
#[derive(Debug)]
pub struct Fake {
    seed: u64,
    held: BTreeMap<Metric, f64>,
}

/// The middle of a wave, how far it swings, how much noise is on it, and its period in seconds.
type Wave = (f64, f64, f64, f64);

const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;
const MEMORY: f64 = 16.0 * GIB;
const SWAP: f64 = 4.0 * GIB;
const DISKS: [(&str, f64, Wave); 2] = [
    ("/", 120.0 * GIB, (61.0, 0.5, 0.1, 7_200.0)),
    ("/data", 900.0 * GIB, (38.0, 2.0, 0.1, 14_400.0)),
];

impl Sampler for Fake {
    fn read(&mut self, at: i64, watched: &[String]) -> Reading {
        let mut reading = Reading {
            at,
            host: "fake · a made-up machine".to_owned(),
            samples: Vec::new(),
        };
        let cores = [0, 1].map(|core| {
            let metric = Metric::part(Kind::Cpu, core.to_string());
            (self.value(&metric, at, (34.0, 18.0, 9.0, 1_260.0)), metric)
        });
        let cpu = Metric::whole(Kind::Cpu);
        let mean = cores.iter().map(|(value, _)| value).sum::<f64>() / cores.len() as f64;
        reading.add(cpu.clone(), self.held(&cpu).unwrap_or(mean), "2 cores");
        for (value, metric) in cores {
            reading.add(metric, value, "");
        }
        for (metric, wave) in [
            (Metric::whole(Kind::Load), (0.8, 0.5, 0.1, 900.0)),
            (Metric::part(Kind::Load, "5"), (0.8, 0.5, 0.1, 1_800.0)),
            (Metric::part(Kind::Load, "15"), (0.8, 0.5, 0.1, 3_600.0)),
            (Metric::whole(Kind::Memory), (56.0, 6.0, 0.8, 3_000.0)),
            (Metric::whole(Kind::Swap), (6.0, 2.0, 0.2, 5_400.0)),
        ] {
            self.add(&mut reading, metric, wave);
        }
        self.disks(&mut reading);
        for kind in [Kind::Rx, Kind::Tx] {
            let metric = Metric::part(kind, "eth0");
            let value = self.value(&metric, at, (180_000.0, 120_000.0, 40_000.0, 1_700.0));
            reading.add(Metric::whole(kind), value, "");
            reading.add(metric, value, "");
        }
        let temperature = Metric::whole(Kind::Temperature);
        self.add(&mut reading, temperature, (52.0, 6.0, 1.0, 2_400.0));
        reading.add(
            Metric::whole(Kind::Uptime),
            (at - 1_766_880_000).max(0) as f64,
            "",
        );
        for name in watched {
            self.process(&mut reading, name);
        }
        reading
    }

    /// Some processes, each as busy as its number says.
    fn processes(&mut self) -> Vec<Process> {
        let names = [
            "postgres", "nginx", "sshd", "systemd", "cron", "bash", "rsyslogd",
        ];
        let made_up = |(number, name): (u32, &str)| Process {
            id: 100 + number,
            name: name.to_owned(),
            cpu: f64::from(80 >> number),
            memory: MEMORY / f64::from(8 << number),
        };
        (0..).zip(names).map(made_up).collect()
    }

    fn hold(&mut self, metric: Metric, value: Option<f64>) -> bool {
        match value {
            Some(value) => self.held.insert(metric, value),
            None => self.held.remove(&metric),
        };
        true
    }
}

impl Fake {
    /// Makes values up, the same ones for the same seed and time.
    pub fn new(seed: u64) -> Self {
        let held = BTreeMap::new();
        Self { seed, held }
    }

    fn disks(&self, reading: &mut Reading) {
        let whole = Metric::whole(Kind::Disk);
        let disks = DISKS.map(|(mount, size, wave)| {
            let metric = Metric::part(Kind::Disk, mount);
            (self.value(&metric, reading.at, wave), metric, size)
        });
        let fullest = disks.iter().map(|(value, ..)| *value).fold(0.0, f64::max);
        reading.add(
            whole.clone(),
            self.held(&whole).unwrap_or(fullest),
            "the fullest",
        );
        for (value, metric, size) in disks {
            reading.add(metric, value, share(value, size));
        }
    }

    fn process(&self, reading: &mut Reading, name: &str) {
        let running = Metric::part(Kind::Process, name);
        let runs = self.held(&running).unwrap_or(1.0);
        reading.add(running, runs, "");
        if runs >= 1.0 {
            let (cpu, memory) = (Kind::ProcessCpu, Kind::ProcessMemory);
            self.add(reading, Metric::part(cpu, name), (4.0, 3.0, 1.0, 800.0));
            let wave = (200.0 * MIB, 40.0 * MIB, 100_000.0, 5_000.0);
            self.add(reading, Metric::part(memory, name), wave);
        }
    }

    fn add(&self, reading: &mut Reading, metric: Metric, wave: Wave) {
        let value = self.value(&metric, reading.at, wave);
        let note = match metric.kind {
            Kind::Memory => share(value, MEMORY),
            Kind::Swap => share(value, SWAP),
            _ => String::new(),
        };
        reading.add(metric, value, note);
    }

    fn held(&self, metric: &Metric) -> Option<f64> {
        self.held.get(metric).copied()
    }

    fn value(&self, metric: &Metric, at: i64, (middle, swing, noise, period): Wave) -> f64 {
        self.held(metric).unwrap_or_else(|| {
            let series = metric
                .to_string()
                .bytes()
                .fold(self.seed, |hash, byte| mix(hash ^ u64::from(byte)));
            let phase = unit(series);
            let wave = (TAU * (at as f64 / period + phase)).sin();
            let jitter = unit(mix(series ^ at as u64)) * 2.0 - 1.0;
            (middle + swing * wave + noise * jitter).max(0.0)
        })
    }
}

fn share(percent: f64, total: f64) -> String {
    format!("{} of {}", bytes(total * percent / 100.0), bytes(total))
}

/// SplitMix64's finisher: spreads one number over all 64 bits.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A number from 0 to 1.
fn unit(number: u64) -> f64 {
    (mix(number) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_time_give_the_same_values() {
        let read = |seed| Fake::new(seed).read(1_000, &["nginx".to_owned()]);
        let values = |reading: &Reading| {
            reading
                .samples
                .iter()
                .map(|sample| sample.value)
                .collect::<Vec<_>>()
        };
        assert_eq!(values(&read(7)), values(&read(7)));
        assert_ne!(values(&read(7)), values(&read(8)));
    }

    #[test]
    fn a_held_value_stays_until_it_is_let_go() {
        let memory = Metric::whole(Kind::Memory);
        let mut fake = Fake::new(1);
        fake.hold(memory.clone(), Some(97.0));
        assert_eq!(fake.read(5, &[]).value(&memory), Some(97.0));
        fake.hold(memory.clone(), None);
        assert!(fake.read(5, &[]).value(&memory).unwrap() < 70.0);
    }

    #[test]
    fn a_stopped_process_has_neither_cpu_nor_memory() {
        let mut fake = Fake::new(1);
        fake.hold(Metric::part(Kind::Process, "nginx"), Some(0.0));
        let reading = fake.read(5, &["nginx".to_owned()]);
        assert_eq!(
            reading.value(&Metric::part(Kind::Process, "nginx")),
            Some(0.0)
        );
        assert_eq!(
            reading.value(&Metric::part(Kind::ProcessCpu, "nginx")),
            None
        );
    }
}

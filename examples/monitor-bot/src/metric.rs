//! What can be measured: its name, its unit, and how a value is shown.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::Error;
use crate::span::rough;

/// A measured quantity, apart from *which one* of several (a core, a disk, a process).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Kind {
    /// Processor time in use, in all or of one core.
    Cpu,
    /// Processes that want to run: over 1, 5 or 15 minutes.
    Load,
    /// Memory in use.
    Memory,
    /// Swap space in use.
    Swap,
    /// Space used on a disk; without a part, on the fullest.
    Disk,
    /// Bytes received, in all or by one interface.
    Rx,
    /// Bytes sent, in all or by one interface.
    Tx,
    /// Degrees of one sensor; without a part, of the hottest one of the processor.
    Temperature,
    /// Time since the machine started.
    Uptime,
    /// Whether a watched process runs.
    Process,
    /// Processor time of a watched process.
    ProcessCpu,
    /// Memory of a watched process.
    ProcessMemory,
}

/// How the values of a metric are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// 0 to 100.
    Percent,
    /// A bare number.
    Number,
    /// Bytes.
    Bytes,
    /// Bytes in each second.
    ByteRate,
    /// Degrees Celsius.
    Celsius,
    /// Seconds.
    Seconds,
    /// 1 runs, 0 does not.
    Running,
}

impl Kind {
    /// The name that is typed and stored, the name on a screen, and how values are to be read.
    fn entry(self) -> (&'static str, &'static str, Unit) {
        match self {
            Self::Cpu => ("cpu", "CPU", Unit::Percent),
            Self::Load => ("load", "Load", Unit::Number),
            Self::Memory => ("memory", "Memory", Unit::Percent),
            Self::Swap => ("swap", "Swap", Unit::Percent),
            Self::Disk => ("disk", "Disk", Unit::Percent),
            Self::Rx => ("rx", "Received", Unit::ByteRate),
            Self::Tx => ("tx", "Sent", Unit::ByteRate),
            Self::Temperature => ("temperature", "Temperature", Unit::Celsius),
            Self::Uptime => ("uptime", "Uptime", Unit::Seconds),
            Self::Process => ("process", "Process", Unit::Running),
            Self::ProcessCpu => ("process_cpu", "Process CPU", Unit::Percent),
            Self::ProcessMemory => ("process_memory", "Process memory", Unit::Bytes),
        }
    }

    /// The names of all kinds, as they are typed.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::value_variants().iter().map(|kind| kind.name())
    }

    /// The name that is typed and stored.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// The name on a screen.
    pub fn title(self) -> &'static str {
        self.entry().1
    }

    /// How its values are to be read.
    pub fn unit(self) -> Unit {
        self.entry().2
    }

    /// The least and the greatest value it can have.
    pub fn range(self) -> (f64, f64) {
        match self.unit() {
            // It may use several cores.
            Unit::Percent if self == Self::ProcessCpu => (0.0, f64::INFINITY),
            Unit::Percent => (0.0, 100.0),
            Unit::Number | Unit::Bytes | Unit::ByteRate | Unit::Seconds => (0.0, f64::INFINITY),
            Unit::Celsius => (f64::NEG_INFINITY, f64::INFINITY),
            Unit::Running => (0.0, 1.0),
        }
    }

    /// Whether a rule on the bare kind means each one of them: every disk, every process.
    pub fn means_each(self) -> bool {
        matches!(
            self,
            Self::Disk | Self::Process | Self::ProcessCpu | Self::ProcessMemory
        )
    }
}

/// One series of values: `cpu`, `cpu:0`, `disk:/home`, `process:nginx`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Metric {
    /// What is measured.
    pub kind: Kind,
    /// Which one of several, or none for the whole.
    pub part: Option<String>,
}

/// The longest name of a part: a mount point or a process.
pub const LONGEST_PART: usize = 128;

impl Metric {
    /// The whole of a kind.
    pub fn whole(kind: Kind) -> Self {
        Self { kind, part: None }
    }

    /// One of several.
    pub fn part(kind: Kind, part: impl Into<String>) -> Self {
        Self {
            kind,
            part: Some(part.into()),
        }
    }

    /// The name on a screen: `Disk /home`.
    pub fn title(&self) -> String {
        match (&self.kind, &self.part) {
            (kind, None) => kind.title().to_owned(),
            (Kind::Cpu, Some(core)) => format!("CPU core {core}"),
            (Kind::Load, Some(minutes)) => format!("Load {minutes} min"),
            (kind, Some(part)) => format!("{} {part}", kind.title()),
        }
    }

    /// A value with its unit.
    pub fn show(&self, value: f64) -> String {
        match self.kind.unit() {
            Unit::Percent => format!("{value:.1} %"),
            Unit::Number => format!("{value:.2}"),
            Unit::Bytes => bytes(value),
            Unit::ByteRate => format!("{}/s", bytes(value)),
            Unit::Celsius => format!("{value:.1} °C"),
            Unit::Seconds => rough(value as i64),
            Unit::Running if value >= 1.0 => "running".to_owned(),
            Unit::Running => "stopped".to_owned(),
        }
    }
}

/// To three decimals: nothing is measured more exactly, and each digit takes room.
pub fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// An amount of bytes in the largest unit that keeps it above one.
pub fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if value < 1024.0 {
        return format!("{value:.0} B");
    }
    let unit = ((value.log2() / 10.0) as usize).min(UNITS.len());
    let value = value / 1024_f64.powi(unit as i32);
    format!("{value:.1} {}", UNITS[unit - 1])
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, part) = match text.split_once(':') {
            Some((name, part)) => (name, Some(part)),
            None => (text, None),
        };
        let mut kinds = Kind::value_variants().iter();
        let kind = kinds.find(|kind| kind.name().eq_ignore_ascii_case(name));
        let kind = *kind.ok_or_else(|| {
            let names = Kind::names().collect::<Vec<_>>().join(", ");
            refused!("There is no metric “{name}”. Known are: {names}.")
        })?;
        let part = part.map(checked_part).transpose()?;
        Ok(Self { kind, part })
    }
}

/// The name of a process, a disk or a sensor, if it is one that can be.
pub fn checked_part(part: &str) -> Result<String, Error> {
    let part = part.trim();
    if part.is_empty() {
        refuse!("A name cannot be empty.");
    }
    if part.len() > LONGEST_PART {
        refuse!("A name has at most {LONGEST_PART} bytes.");
    }
    if part.chars().any(char::is_control) {
        refuse!("A name cannot hold control characters.");
    }
    Ok(part.to_owned())
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Some(part) => write!(f, "{}:{part}", self.kind.name()),
            None => f.write_str(self.kind.name()),
        }
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_as_written() {
        for text in [
            "cpu",
            "cpu:0",
            "disk:/home",
            "process:my server",
            "temperature:k10temp Tctl",
        ] {
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), text);
        }
        assert_eq!("CPU".parse::<Metric>().unwrap().to_string(), "cpu");
    }

    #[test]
    fn what_is_no_metric_is_refused() {
        for text in [
            "",
            "gpu",
            "disk:",
            "disk: ",
            "process:a\nb",
            &format!("process:{}", "x".repeat(200)),
        ] {
            assert!(text.parse::<Metric>().is_err(), "{text}");
        }
    }

    #[test]
    fn values_carry_their_unit() {
        assert_eq!(Metric::whole(Kind::Cpu).show(12.34), "12.3 %");
        assert_eq!(Metric::whole(Kind::Rx).show(2048.0), "2.0 KiB/s");
        assert_eq!(Metric::part(Kind::Process, "a").show(0.0), "stopped");
        assert_eq!(bytes(1023.0), "1023 B");
        assert_eq!(bytes(3.5 * 1024.0 * 1024.0 * 1024.0), "3.5 GiB");
    }
}

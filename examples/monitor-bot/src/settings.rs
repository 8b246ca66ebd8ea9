//! The configuration file: TOML, every line optional.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::span::Span;

/// The file with every default, as it is written on demand.
pub const DEFAULT_FILE: &str = include_str!("monitor-bot.toml");

/// How the bot behaves.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How readings are made.
    pub collect: Collect,
    /// How long they are kept.
    pub keep: Retention,
    /// The status page.
    #[cfg_attr(not(feature = "web"), allow(dead_code))]
    pub web: Web,
    /// The connection to Discord.
    #[cfg_attr(not(feature = "discord"), allow(dead_code))]
    pub discord: Discord,
}

/// How readings are made.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Collect {
    /// The time between two of them.
    pub every: Span,
}

/// How long readings are kept.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Each single one.
    pub samples: Span,
    /// Rolled up by the minute.
    pub minutes: Span,
    /// Rolled up by the hour.
    pub hours: Span,
}

/// The status page.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(feature = "web"), allow(dead_code))]
pub struct Web {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it is.
    pub address: SocketAddr,
    /// The names of this machine it may be asked for by, besides localhost and addresses.
    pub names: Vec<String>,
}

/// The connection to Discord.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(not(feature = "discord"), allow(dead_code))]
pub struct Discord {
    /// Where alerts are told.
    pub channel: Option<u64>,
    /// What a command in a message begins with; empty for slash commands only.
    pub prefix: String,
    /// What stands between the bot and Discord's HTTP API.
    pub proxy: Option<String>,
}

impl Default for Web {
    fn default() -> Self {
        Self {
            enabled: true,
            address: SocketAddr::from(([127, 0, 0, 1], 7575)),
            names: Vec::new(),
        }
    }
}

impl Default for Discord {
    fn default() -> Self {
        Self {
            channel: None,
            prefix: "!".to_owned(),
            proxy: None,
        }
    }
}

impl Default for Collect {
    fn default() -> Self {
        Self {
            every: Span::seconds(5),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            samples: Span::hours(6),
            minutes: Span::days(14),
            hours: Span::days(400),
        }
    }
}

impl Settings {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
        let settings: Self = toml::from_str(&text).map_err(|error| unusable(path, &error))?;
        settings.check().map_err(|error| unusable(path, &error))?;
        Ok(settings)
    }

    /// Writes a file with every default; never over one that is there.
    pub fn write_defaults(path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(|error| unwritable(path, &error))?;
        }
        let mut file = fs::File::create_new(path).map_err(|error| unwritable(path, &error))?;
        file.write_all(DEFAULT_FILE.as_bytes())
            .map_err(|error| unwritable(path, &error))
    }

    fn check(&self) -> Result<()> {
        if self.collect.every > Span::seconds(60) {
            return Err(Error::refused("collect.every is 60s at most."));
        }
        if self.keep.samples > self.keep.minutes || self.keep.minutes > self.keep.hours {
            return Err(Error::refused(
                "keep.samples, keep.minutes and keep.hours go from short to long.",
            ));
        }
        Ok(())
    }
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::refused(format!(
        "The configuration {} cannot be used: {}",
        path.display(),
        error.to_string().trim_end()
    ))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::refused(format!(
        "The configuration {} cannot be written: {error}.",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_defaults_are_the_defaults() {
        assert_eq!(
            toml::from_str::<Settings>(DEFAULT_FILE).unwrap(),
            Settings::default()
        );
        assert_eq!(toml::from_str::<Settings>("").unwrap(), Settings::default());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |text| {
            toml::from_str::<Settings>(text).map_or(true, |settings| settings.check().is_err())
        };
        assert!(refused("[collect]\nevery = \"2m\""));
        assert!(refused("[keep]\nsamples = \"30d\""));
        assert!(refused("[collect]\nevry = \"5s\""));
        assert!(!refused("[collect]\nevery = \"1s\""));
    }
}

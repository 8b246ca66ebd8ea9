//! The configuration file: TOML, every line optional.

// What is of a feature can be configured without it.
#![cfg_attr(
    not(all(feature = "discord", feature = "postgres", feature = "web")),
    allow(dead_code)
)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

use crate::error::Result;
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
    /// Where they are kept.
    pub database: Database,
    /// The status page.
    pub web: Web,
    /// The connection to Discord.
    pub discord: Discord,
    /// Where else alerts are told, by name.
    pub webhook: BTreeMap<String, Webhook>,
    /// What is called while all is well.
    pub heartbeat: Heartbeat,
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

/// A database on a server, which other machines may share.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Its address; without one the history is in a file.
    pub url: Option<Secret>,
    /// What this machine is called there; without a name it is that of the machine.
    pub host: Option<String>,
}

/// The status page.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
pub struct Discord {
    /// Where alerts are told.
    pub channel: Option<u64>,
    /// What a command in a message begins with; empty for slash commands only.
    pub prefix: String,
    /// What stands between the bot and Discord's HTTP API.
    pub proxy: Option<String>,
}

/// Where alerts are told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// The address.
    pub url: Secret,
    /// The method of the request.
    pub method: String,
    /// What the body is; values are escaped accordingly.
    pub content_type: String,
    /// Other headers.
    pub headers: BTreeMap<String, Secret>,
    /// The body, with placeholders.
    pub body: String,
}

/// What is called while all is well.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heartbeat {
    /// The address.
    pub url: Option<Secret>,
}

/// A text that is shown nowhere.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            method: "POST".to_owned(),
            content_type: "application/json".to_owned(),
            headers: BTreeMap::new(),
            body: r#"{"text": "{{host}}: {{text}}"}"#.to_owned(),
        }
    }
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
        let unusable = |error: &dyn fmt::Display| {
            let (file, error) = (path.display(), error.to_string());
            refused!(
                "The configuration {file} cannot be used: {}",
                error.trim_end()
            )
        };
        let text = fs::read_to_string(path).map_err(|error| unusable(&error))?;
        let settings: Self = toml::from_str(&text).map_err(|error| {
            // The whole error would quote a line that may hold a secret.
            let before = &text[..error.span().map_or(0, |span| span.start)];
            let line = before.matches('\n').count() + 1;
            unusable(&format!("line {line}: {}", error.message()))
        })?;
        settings.check().map_err(|error| unusable(&error))?;
        Ok(settings)
    }

    /// Writes a file with every default; never over one that is there.
    pub fn write_defaults(path: &Path) -> Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let file = path.display();
        fs::create_dir_all(directory)
            .and_then(|()| fs::File::create_new(path)?.write_all(DEFAULT_FILE.as_bytes()))
            .map_err(|error| refused!("The configuration {file} cannot be written: {error}."))
    }

    fn check(&self) -> Result<()> {
        if self.collect.every > Span::seconds(60) {
            refuse!("collect.every is 60s at most.");
        }
        if self.keep.samples > self.keep.minutes || self.keep.minutes > self.keep.hours {
            refuse!("keep.samples, keep.minutes and keep.hours go from short to long.");
        }
        Ok(())
    }
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
    fn a_mistake_is_found_by_its_line_which_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("monitor-bot.toml");
        fs::write(&file, "[webhook.mine]\nurl = https://example.org/secret\n").unwrap();
        let error = Settings::read(&file).unwrap_err().to_string();
        assert!(
            error.contains("line 2: ") && !error.contains("secret"),
            "{error}"
        );
        let settings = "[webhook.mine]\nurl = \"https://example.org/secret\"";
        let settings: Settings = toml::from_str(settings).unwrap();
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |text: &str| {
            toml::from_str::<Settings>(text).map_or(true, |settings| settings.check().is_err())
        };
        assert!(refused("[collect]\nevery = \"2m\""));
        assert!(refused("[keep]\nsamples = \"30d\""));
        assert!(refused("[collect]\nevry = \"5s\""));
        assert!(!refused("[collect]\nevery = \"1s\""));
    }
}

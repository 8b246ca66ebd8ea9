//! Asks the compiler about all cases at once: a package in the target directory has a program for each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Of the toolchain that runs this test.
pub(crate) struct Compiler {
    cargo: PathBuf,
    version: String,
}

impl Compiler {
    /// Says so and gives `None` where tests are run without a toolchain, or by somebody else than who built them.
    pub(crate) fn find(test: &str) -> Option<Self> {
        if tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).is_err() {
            dbm_tests::skip(test, "nothing can be built in the target directory");
            return None;
        }
        let cargo = std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
        let version = Command::new("rustc").arg("--version").output();
        match (Command::new(&cargo).arg("--version").output(), version) {
            (Ok(_), Ok(output)) => Some(Self {
                cargo,
                version: String::from_utf8(output.stdout).unwrap(),
            }),
            _ => {
                dbm_tests::skip(test, "there is no toolchain here");
                None
            }
        }
    }

    /// Whether it is the one whose words are kept: the oldest that is supported, as released.
    pub(crate) fn is_pinned(&self) -> bool {
        let pinned = concat!("rustc ", env!("CARGO_PKG_RUST_VERSION"), ".");
        let patch = self.version.strip_prefix(pinned);
        patch.is_some_and(|patch| {
            patch
                .split(' ')
                .next()
                .is_some_and(|patch| !patch.contains('-'))
        })
    }

    /// What it says of each case, as it would on a terminal.
    pub(crate) fn check(&self, cases: &[PathBuf]) -> BTreeMap<PathBuf, String> {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui");
        fs::create_dir_all(&package).unwrap();
        fs::write(package.join("Cargo.toml"), manifest(tests, cases)).unwrap();
        let lock = fs::read(tests.join("../Cargo.lock")).unwrap();
        fs::write(package.join("Cargo.lock"), lock).unwrap();

        // From here, where `.cargo/config.toml` holds. What is built already is used again; nothing is downloaded. A
        // terminal would decide how long the lines are.
        let output = Command::new(&self.cargo)
            .args(["check", "--offline", "--bins", "--keep-going"])
            .arg("--message-format=json")
            .arg("--manifest-path")
            .arg(package.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap())
            .current_dir(tests)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut said = BTreeMap::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let message: Value = serde_json::from_str(line).unwrap();
            note(&message, tests, &mut said);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!said.is_empty(), "nothing was compiled:\n{errors}");
        said
    }
}

/// What the cases may use, and they.
fn manifest(tests: &Path, cases: &[PathBuf]) -> String {
    let mut manifest = format!(
        "[package]\nname = \"dbm-ui\"\nedition = \"2024\"\n\n[workspace]\n\n[lints.rust]\ndead_code = \"allow\"\n\n\
         [dependencies]\nanyhow = \"*\"\nasync-trait = \"*\"\naxum = \"*\"\ntokio = \"*\"\n\
         dbm-core = {{ path = {} }}\ndbm-tests = {{ path = {} }}\n",
        quoted(&tests.with_file_name("dbm-core")),
        quoted(tests),
    );
    for case in cases {
        let name = case.with_extension("").display().to_string();
        let name = name.replace(std::path::MAIN_SEPARATOR, "-");
        let path = quoted(&tests.join(case));
        let _ = write!(manifest, "\n[[bin]]\nname = \"{name}\"\npath = {path}\n");
    }
    manifest
}

/// A string of JSON is one of TOML, too.
fn quoted(path: &Path) -> String {
    Value::from(path.to_str().unwrap()).to_string()
}

/// Adds a line of Cargo's to what was said of its case.
fn note(message: &Value, tests: &Path, said: &mut BTreeMap<PathBuf, String>) {
    let source = message["target"]["src_path"].as_str().map(Path::new);
    let case = source.and_then(|source| source.strip_prefix(tests).ok());
    let (Some(case), Some(rendered)) = (case, message["message"]["rendered"].as_str()) else {
        return;
    };
    // "aborting due to", "for more information"
    if message["message"]["level"] == "failure-note"
        || message["message"]["spans"] == Value::Array(Vec::new())
    {
        return;
    }
    said.entry(case.to_owned()).or_default().push_str(rendered);
}

//! What the compiler says of SQL that is checked, and that it says nothing where it is right; see `tests/checked/README.md`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value as Json;

/// A workspace of packages that use dbm-core with the feature `checked`, and what is compiled already.
struct Workspace {
    root: PathBuf,
}

impl Workspace {
    fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        fs::copy(repository.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        let core = repository.join("dbm-core");
        let manifest = format!(
            "[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\nexclude = []\n\n\
             [workspace.dependencies]\ndbm-core = {{ path = {core:?} }}\n"
        );
        fs::write(root.join("Cargo.toml"), manifest).unwrap();
        Self { root }
    }

    /// A package, from its files.
    fn add(&self, name: &str, features: &str, files: &[(&str, &str)]) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\ndbm-core = {{ workspace = true, features = [{features}] }}\n"
        );
        self.write(name, "Cargo.toml", &manifest);
        for (path, content) in files {
            self.write(name, path, content);
        }
    }

    fn write(&self, package: &str, path: &str, content: &str) {
        let path = self.root.join(package).join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn remove(&self, package: &str, path: &str) {
        fs::remove_file(self.root.join(package).join(path)).unwrap();
    }

    /// What Cargo says when it checks these packages, or all of them.
    fn check(&self, packages: &[&str]) -> Vec<Json> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo
            .args([
                "check",
                "--offline",
                "--keep-going",
                "--message-format=json",
            ])
            // Where the settings of this repository are in force, such as how SQLite is compiled.
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .arg("--manifest-path")
            .arg(self.root.join("Cargo.toml"))
            .env("CARGO_TARGET_DIR", target)
            .env_remove("RUSTC_WRAPPER");
        match packages {
            [] => cargo.arg("--workspace"),
            packages => cargo.args(packages.iter().flat_map(|package| ["-p", package])),
        };
        let output = cargo.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let said: Vec<Json> = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let finished = said.iter().any(|line| line["reason"] == "build-finished");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(finished, "cargo did not compile anything:\n{errors}");
        said
    }

    /// What the compiler says of one package.
    fn output(&self, package: &str) -> String {
        output_of(&self.check(&[package]), package)
    }
}

/// What the compiler has said of a package, as it is shown.
fn output_of(said: &[Json], package: &str) -> String {
    let mut output = String::new();
    for line in said {
        let is_its = line["reason"] == "compiler-message" && line["target"]["name"] == package;
        let rendered = line["message"]["rendered"].as_str();
        // How many there were is no message of its own.
        let is_summary = line["message"]["spans"]
            .as_array()
            .is_some_and(Vec::is_empty);
        if let (true, false, Some(rendered)) = (is_its, is_summary, rendered) {
            write!(output, "{}", rendered.replace(&format!("{package}/"), "")).unwrap();
        }
    }
    output
}

/// Every file of a folder, by its path in it.
fn files(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            files(&path, &format!("{name}/"), found);
        } else {
            found.insert(name, fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_package_gets_its_errors_and_no_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("checked");
    let workspace = Workspace::new("checked");
    let mut packages = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let mut content = BTreeMap::new();
            files(&path, "", &mut content);
            let content: Vec<_> = content
                .iter()
                .map(|(path, text)| (&**path, &**text))
                .collect();
            workspace.add(&name, "\"checked\"", &content);
            packages.push(name);
        }
    }
    let said = workspace.check(&[]);
    let mut differences = String::new();
    for package in packages {
        let output = output_of(&said, &package);
        let kept = folder.join(&package).join("output.txt");
        if std::env::var_os("CHECKED").is_some_and(|value| value == "overwrite") {
            fs::write(&kept, &output).unwrap();
        }
        if fs::read_to_string(kept).unwrap_or_default() != output {
            write!(differences, "== {package}\n{output}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

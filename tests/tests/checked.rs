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
            // A place is written with the signs of its system.
            let places = rendered
                .replace("src\\", "src/")
                .replace(&format!("{package}\\"), "");
            write!(output, "{}", places.replace(&format!("{package}/"), "")).unwrap();
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

const MANAGER: &str = "
    use dbm_core::prelude::*;
    #[derive(DbManager)]
    #[db_manager(version = \"VERSION\", schema, checked)]
    pub struct Store { core: ManagerCore }
    impl Store {
        #[database_safe]
        pub async fn names(&self, db: &mut ReadTransaction) -> Result<Vec<String>> {
            db.query(\"SELECT name FROM user\", ()).await
        }
    }";

/// No file of Rust is touched but where the version is raised.
#[test]
fn a_file_that_is_edited_broken_deleted_or_added_is_noticed() {
    let workspace = Workspace::new("changes");
    let old = MANAGER.replace("VERSION", "1.0.0");
    let right = "CREATE TABLE user (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;";
    workspace.add(
        "changes",
        "\"checked\"",
        &[("src/lib.rs", &old), ("schema/1.0.0.sql", right)],
    );
    let says = |expected: &str| {
        let output = workspace.output("changes");
        let first = output.lines().next().unwrap_or_default();
        assert_eq!(first, expected, "{output}");
        let errors = output.lines().filter(|line| line.starts_with("error"));
        assert_eq!(
            errors.count(),
            usize::from(!expected.is_empty()),
            "{output}"
        );
    };
    says("");
    workspace.write(
        "changes",
        "schema/1.0.0.sql",
        &right.replace("name", "called"),
    );
    says("error[E0277]: no such column: name");
    workspace.write(
        "changes",
        "schema/1.0.0.sql",
        &right.replace("TABLE", "TABEL"),
    );
    says("error: schema/1.0.0.sql:1:8: near \"TABEL\": syntax error");
    workspace.write("changes", "schema/1.0.0.sql", right);
    says("");
    workspace.remove("changes", "schema/1.0.0.sql");
    says("error: `schema/` has no file: write the first release into `schema/1.0.0.sql`");
    workspace.write("changes", "schema/1.0.0.sql", right);
    says("");
    // Without another version a new file has no effect.
    let rename = "ALTER TABLE user RENAME COLUMN name TO called;";
    workspace.write("changes", "schema/1.1.0.sql", rename);
    says("");
    workspace.write(
        "changes",
        "src/lib.rs",
        &MANAGER.replace("VERSION", "1.1.0"),
    );
    says("error[E0277]: no such column: name");
    let back = "ALTER TABLE user ADD COLUMN name TEXT;";
    workspace.write("changes", "schema/1.1.0.sql", &format!("{rename}\n{back}"));
    says("");
}

/// As many as there are letters, each with a table of its own and a statement for every other one's.
#[test]
fn each_of_many_managers_of_a_crate_has_its_own_files() {
    let workspace = Workspace::new("many");
    let mut source = String::from("use dbm_core::prelude::*;\n");
    workspace.add("many", "\"checked\"", &[]);
    for letter in 'a'..='z' {
        let table = format!("CREATE TABLE table_{letter} (id INTEGER PRIMARY KEY) STRICT;");
        workspace.write("many", &format!("schema/{letter}/1.0.0.sql"), &table);
        let name = format!("Store{}", letter.to_ascii_uppercase());
        write!(
            source,
            "#[derive(DbManager)]
             #[db_manager(version = \"1.0.0\", schema = \"{letter}\", checked)]
             pub struct {name} {{ core: ManagerCore }}
             impl {name} {{\n"
        )
        .unwrap();
        for other in [letter, 'm'] {
            write!(
                source,
                "#[database_safe]
                 pub async fn of_{other}_{letter}(&self, db: &mut ReadTransaction) -> Result<Vec<i64>> {{
                     db.query(\"SELECT id FROM table_{other} WHERE id > ?1\", (1,)).await
                 }}\n"
            )
            .unwrap();
            if letter == 'm' {
                break;
            }
        }
        source.push_str("}\n");
    }
    workspace.write("many", "src/lib.rs", &source);
    let output = workspace.output("many");
    let wrong: Vec<_> = output
        .lines()
        .filter(|line| line.starts_with("error"))
        .collect();
    assert_eq!(
        wrong, ["error[E0277]: no such table: table_m"; 25],
        "{output}"
    );
    for letter in ('a'..='z').filter(|letter| *letter != 'm') {
        let note = format!("checked against `schema/{letter}`");
        assert_eq!(output.matches(&note).count(), 1, "{output}");
    }
}

/// The files are the schema without the feature, too, and what is checked says that it is not.
#[test]
fn the_key_needs_the_feature_and_the_feature_checks_nobody_who_has_not_asked() {
    let workspace = Workspace::new("features");
    let checked = MANAGER.replace("VERSION", "1.0.0");
    let unchecked = checked.replace(", checked", "");
    let table = (
        "schema/1.0.0.sql",
        "CREATE TABLE another (id INTEGER PRIMARY KEY) STRICT;",
    );
    workspace.add("asks", "", &[("src/lib.rs", &checked), table]);
    workspace.add("asks_not", "", &[("src/lib.rs", &unchecked), table]);
    workspace.add(
        "gets_all_the_same",
        "\"checked\"",
        &[("src/lib.rs", &unchecked), table],
    );
    let said = workspace.check(&["asks", "asks_not"]);
    let output = output_of(&said, "asks");
    assert!(
        output.starts_with("error: SQL is checked with the feature `checked`: "),
        "{output}"
    );
    let errors = output.lines().filter(|line| line.starts_with("error"));
    assert_eq!(errors.count(), 1, "{output}");
    assert_eq!(output_of(&said, "asks_not"), "");
    assert_eq!(workspace.output("gets_all_the_same"), "");
}

/// The macros and the program are of one machine here, so the same SQLite serves both.
#[test]
fn sqlite_is_built_once_with_the_feature_and_without() {
    let workspace = Workspace::new("builds");
    for (name, features) in [("with", "\"checked\""), ("without", "")] {
        workspace.add(name, features, &[("src/lib.rs", "")]);
        let said = workspace.check(&[name]);
        let builds = |package: &str| {
            let is_built = |line: &&Json| {
                line["reason"] == "build-script-executed"
                    && line["package_id"]
                        .as_str()
                        .is_some_and(|id| id.contains(package))
            };
            said.iter().filter(is_built).count()
        };
        assert_eq!(builds("libsqlite3-sys"), 1, "{name}");
        let of_rusqlite = said.iter().filter(|line| {
            line["reason"] == "compiler-artifact" && line["target"]["name"] == "rusqlite"
        });
        // The library that the macros link, and what a check needs to know of it.
        let expected = if features.is_empty() { 1 } else { 2 };
        assert_eq!(of_rusqlite.count(), expected, "{name}");
    }
}

//! `.ci/arrows` sees an import wherever it stands, and takes nothing else for one: it runs on small trees made up here.

#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Stdio};

/// The layers of a tree in which `a.rs` imports `b.rs`, and nothing else imports anything.
const ARCHITECTURE: &str =
    "Dependencies point one way: `a`, `b` ←\n`c`. And so on: `nothing` of the rest is a layer.\n";
const LIB: &str = "mod a;\nmod b;\nmod c;\n\npub use a::{A, A as Renamed};\n";
const A: &str = "use crate::b::B;\n";

fn write(tree: &Path, name: &str, text: &str) {
    let path = tree.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn write_usual(tree: &Path) {
    write(tree, "ARCHITECTURE.md", ARCHITECTURE);
    write(tree, "dbm-core/src/lib.rs", LIB);
    write(tree, "dbm-core/src/a.rs", A);
    write(tree, "dbm-core/src/b.rs", "");
    write(tree, "dbm-core/src/c/mod.rs", "");
    write(tree, "dbm-macros/src/lib.rs", "");
}

/// What the script says about a tree.
fn run(tree: &Path) -> (bool, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/arrows");
    let output = Command::new(script)
        .arg(tree)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), text)
}

/// What it says about the usual tree with these files.
fn arrows(files: &[(&str, &str)]) -> (bool, String) {
    let tree = tempfile::tempdir().unwrap();
    write_usual(tree.path());
    for (name, text) in files {
        write(tree.path(), name, text);
    }
    run(tree.path())
}

#[track_caller]
fn finds(what: &[&str], files: &[(&str, &str)]) {
    let (good, text) = arrows(files);
    assert!(!good, "nothing was found in {files:?}: {text}");
    for what in what {
        assert!(
            text.contains(what),
            "not {what:?} in {files:?}, but: {text}"
        );
    }
}

#[track_caller]
fn finds_nothing(files: &[(&str, &str)]) {
    let (good, text) = arrows(files);
    assert!(good, "found in {files:?}: {text}");
}

#[test]
fn a_tree_that_is_well_is_not_complained_of() {
    let (good, text) = arrows(&[]);
    assert_eq!(
        (good, text.as_str()),
        (
            true,
            "no circle and no arrow up: 2 arrows between 5 files\n"
        )
    );
}

#[test]
fn a_circle_is_found_however_the_import_is_written() {
    let written = [
        "use crate::a::A;",
        "pub(crate) use crate::a::A;",
        "use crate::a;",
        "use crate::a::*;",
        "use crate::{\n    a::{A, Other as Another},\n    c,\n};",
        "use crate::a::{self as other};\n\nfn f() {\n    other::A::new();\n}",
        "use crate::A;",
        "use crate::Renamed;",
        "use super::a::A;",
        "use super::{a, c::C};",
        "fn f() {\n    use crate::a::A;\n}",
        "fn f() -> crate::a::A {\n    todo!()\n}",
        "fn f() {\n    g(\"a // no comment\", super::a::A);\n}",
        "fn f() {\n    g('\"', super::a::A, '\"');\n}",
        "#[cfg(feature = \"testing\")]\nuse crate::a::A;",
        "mod inner {\n    use super::super::a::A;\n}",
        "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\nuse crate::a::A;",
    ];
    for text in written {
        finds(
            &[
                "These import one another:\n  dbm-core/src/a.rs -> dbm-core/src/b.rs: B\n",
                "\n  dbm-core/src/b.rs -> dbm-core/src/a.rs: ",
            ],
            &[("dbm-core/src/b.rs", text)],
        );
    }
}

#[test]
fn a_circle_is_found_through_files_between_and_through_re_exports() {
    let inside = ("dbm-core/src/b/inside.rs", "use crate::a::A;\n");
    let circle = [
        "dbm-core/src/a.rs -> dbm-core/src/b/inside.rs: B",
        "dbm-core/src/b/inside.rs -> dbm-core/src/a.rs: A",
    ];
    let exported = "mod inside;\n\npub(crate) use inside::B;\n";
    finds(&circle, &[("dbm-core/src/b.rs", exported), inside]);
    let renamed = "mod inside;\n\npub(crate) use inside::Other as B;\n";
    finds(
        &["dbm-core/src/a.rs -> dbm-core/src/b/inside.rs: Other"],
        &[("dbm-core/src/b.rs", renamed), inside],
    );
}

#[test]
fn a_circle_is_found_through_a_folder_that_the_root_declares() {
    let lib = "mod a;\npub mod b {\n    mod inside;\n    pub use inside::B;\n}\nmod c;\n";
    let tree = tempfile::tempdir().unwrap();
    write_usual(tree.path());
    std::fs::remove_file(tree.path().join("dbm-core/src/b.rs")).unwrap();
    write(tree.path(), "dbm-core/src/lib.rs", lib);
    write(
        tree.path(),
        "dbm-core/src/b/inside.rs",
        "use crate::a::A;\n",
    );
    let (good, text) = run(tree.path());
    assert!(
        !good && text.contains("dbm-core/src/a.rs -> dbm-core/src/b/inside.rs: B"),
        "{text}"
    );
}

#[test]
fn a_circle_of_folders_is_found_even_if_no_file_is_in_one() {
    finds(
        &[
            "dbm-core/src/a.rs -> dbm-core/src/b.rs: B",
            "dbm-core/src/b/inside.rs -> dbm-core/src/a/inside.rs: A",
        ],
        &[
            ("dbm-core/src/a/inside.rs", ""),
            ("dbm-core/src/b/inside.rs", "use crate::a::inside::A;\n"),
        ],
    );
}

#[test]
fn a_file_may_import_what_its_own_folder_defines_but_not_go_through_it_to_a_neighbour() {
    let face = "mod one;\nmod two;\n\nuse one::One;\npub(crate) use two::Two;\n\nstruct C;\n";
    let files = |one| {
        [
            ("dbm-core/src/c/mod.rs", face),
            ("dbm-core/src/c/one.rs", one),
            ("dbm-core/src/c/two.rs", "use super::one::One;\n"),
        ]
    };
    finds_nothing(&files("use super::C;\n"));
    finds(
        &["dbm-core/src/c/one.rs -> dbm-core/src/c/two.rs: Two"],
        &files("use super::{C, Two};\n"),
    );
}

#[test]
fn a_circle_in_the_macros_is_found() {
    finds(
        &["dbm-macros/src/one.rs -> dbm-macros/src/two.rs: Two"],
        &[
            ("dbm-macros/src/lib.rs", "mod one;\nmod two;\n"),
            ("dbm-macros/src/one.rs", "use crate::two::Two;\n"),
            ("dbm-macros/src/two.rs", "use crate::one::One;\n"),
        ],
    );
}

#[test]
fn what_is_no_import_is_no_arrow() {
    let written = [
        "// use crate::a::A;",
        "/// [`crate::a::A`]",
        "fn f() {} // crate::a::A",
        "const TEXT: &str = \"crate::a::A\";",
        "pub(in crate::a) struct B;",
        "macro_rules! b {\n    () => {\n        $crate::a::A\n    };\n}",
        "use std::a::A;\nuse other::crate_a;",
        "mod a {\n    use super::B;\n    pub(super) struct A;\n}",
        "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}",
        "#[cfg(test)]\n#[expect(\n    clippy::disallowed_types,\n    reason = \"it is a test\"\n)]\nmod tests {\n    use crate::a::A;\n}",
    ];
    for text in written {
        finds_nothing(&[("dbm-core/src/b.rs", text)]);
    }
    finds_nothing(&[
        ("dbm-core/src/b.rs", "#[cfg(test)]\nmod tests;\n"),
        (
            "dbm-core/src/b/tests.rs",
            "use super::B;\nuse crate::a::A;\n",
        ),
    ]);
}

#[test]
fn an_arrow_up_the_layers_is_found_and_one_down_is_none() {
    let up = ("dbm-core/src/b/inside.rs", "use crate::c::C;\n");
    finds(
        &[
            "An arrow up, from dbm-core/src/b to dbm-core/src/c:",
            "dbm-core/src/b/inside.rs -> dbm-core/src/c/mod.rs: C",
        ],
        &[("dbm-core/src/b.rs", "mod inside;\n"), up],
    );
    finds_nothing(&[("dbm-core/src/c/mod.rs", "use crate::{a::A, b::B};\n")]);
}

#[test]
fn every_module_has_a_layer_and_every_layer_its_modules() {
    finds(
        &["ARCHITECTURE.md gives no layer to dbm-core/src/d."],
        &[("dbm-core/src/d/mod.rs", "")],
    );
    let layers = "Dependencies point one way: `a`, `b` ← `c` ← `d`.\n";
    finds(
        &["ARCHITECTURE.md gives a layer to dbm-core/src/d, which is not there."],
        &[("ARCHITECTURE.md", layers)],
    );
    finds(
        &["ARCHITECTURE.md gives no layer to dbm-core/src/a."],
        &[("ARCHITECTURE.md", "There are layers.\n")],
    );
}

#[test]
fn the_layers_inside_a_folder_are_read_too() {
    let layers = format!(
        "{ARCHITECTURE}\nInside `c/`, up to `Three`: `one` (the `One`) ←\n`two` ← `three`. So it is.\n"
    );
    let check = |one: &str, three: &str| {
        arrows(&[
            ("ARCHITECTURE.md", layers.as_str()),
            (
                "dbm-core/src/c/mod.rs",
                "mod one;\nmod two;\nmod three;\n\npub(crate) use three::Three;\n",
            ),
            ("dbm-core/src/c/one.rs", one),
            ("dbm-core/src/c/two.rs", ""),
            ("dbm-core/src/c/three.rs", three),
        ])
    };
    let (good, text) = check("", "use super::one::One;\n");
    assert!(good, "{text}");
    let (good, text) = check("use super::two::Two;\n", "");
    let up = "An arrow up, from dbm-core/src/c/one to dbm-core/src/c/two:";
    assert!(!good && text.starts_with(up), "{text}");
}

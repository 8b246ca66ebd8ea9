use std::fs;
use std::path::{Path, PathBuf};

use harness::Result;

use crate::peers;
use crate::plot;
use crate::samples::Samples;
use crate::suite::{self, Setting};
use crate::tables;

/// Puts every figure where it belongs: the tables between their markers in docs/PERFORMANCE.md, the plots beside it, and
/// one table in the README.
pub(crate) fn write(samples: &Samples, other: Option<&Samples>) -> Result<()> {
    let summary = format!("{}\n{LEGEND}", tables::summary(samples));
    let text = fs::read_to_string(readme())?;
    fs::write(readme(), filled(&text, MEASURED, &summary)?)?;
    let document = document();
    let mut text = fs::read_to_string(&document)?;
    for (name, content) in sections(samples, other) {
        text = filled(&text, name, &content)?;
    }
    fs::write(&document, text)?;
    write_plots(samples, &document.with_file_name("performance"))?;
    eprintln!("wrote {}", fs::canonicalize(document)?.display());
    Ok(())
}

const MEASURED: &str = "measured";
const LEGEND: &str = "\
*1 reader* and *64 readers*: tasks that read one row by its key. *1 writer* and *64 writers*: tasks that insert a row, each
in a durable transaction. *90 % reads*: 64 tasks, nine reads to one insert. *one hot row*: 64 tasks read and write the same
row. *open*: open a database and read a row.
";

/// The table of the heuristics, which are measured on their own.
pub(crate) fn write_heuristics(table: &str) -> Result<()> {
    let text = fs::read_to_string(document())?;
    Ok(fs::write(document(), filled(&text, "heuristics", table)?)?)
}

fn readme() -> PathBuf {
    peers::root().join("../README.md")
}

fn document() -> PathBuf {
    peers::root().join("../docs/PERFORMANCE.md")
}

/// The same for a run that is not worth keeping, in the target directory.
pub(crate) fn write_aside(samples: &Samples) -> Result<()> {
    let directory: PathBuf = peers::target()?.join("bench-results");
    fs::create_dir_all(&directory)?;
    let sections = sections(samples, None).map(|(_, content)| content);
    fs::write(directory.join("figures.md"), sections.join("\n"))?;
    write_plots(samples, &directory)?;
    eprintln!("wrote {}", directory.display());
    Ok(())
}

fn sections(samples: &Samples, other: Option<&Samples>) -> [(&'static str, String); 11] {
    let tasks = |setting: Setting| setting.tasks.to_string();
    let rows = |setting: Setting| tables::rate(setting.rows as f64);
    let growth = |what, settings: Vec<Setting>, label| {
        tables::growth(samples, what, &settings, label).to_string()
    };
    [
        (
            "machine",
            format!("Measured on {}.\n", samples.machine.describe()),
        ),
        ("overview", tables::overview(samples).to_string()),
        ("ahead", tables::ahead(samples).to_string()),
        (
            "growth",
            match tables::grown(samples) {
                table if table.is_empty() => "Not measured on this machine yet.\n".to_owned(),
                table => table.to_string(),
            },
        ),
        (
            "other machine",
            other.map_or_else(String::new, other_machine),
        ),
        ("latencies", tables::latencies(samples).to_string()),
        ("costs", tables::costs(samples).to_string()),
        (
            "reads by tasks",
            growth("reads/s, tasks:", suite::reads_by_tasks(), tasks),
        ),
        (
            "inserts by tasks",
            growth("inserts/s, tasks:", suite::inserts_by_tasks(), tasks),
        ),
        (
            "reads by rows",
            growth("reads/s, rows:", suite::reads_by_rows(), rows),
        ),
        ("fsync", {
            let inserts = growth(
                "inserts/s, fsync:",
                suite::inserts_by_fsync(),
                tables::delay,
            );
            format!("{inserts}\n{}", tables::batches(samples))
        }),
    ]
}

fn other_machine(samples: &Samples) -> String {
    format!(
        "Measured on {}.\n\n{}\n{}\n{}",
        samples.machine.describe(),
        tables::overview(samples),
        tables::latencies(samples),
        tables::ahead(samples)
    )
}

fn write_plots(samples: &Samples, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (name, svg) in plot::all(samples) {
        if let Some(svg) = svg {
            fs::write(directory.join(name).with_extension("svg"), svg)?;
        }
    }
    Ok(())
}

/// The text with what stands between `<!-- name -->` and `<!-- end of name -->` replaced.
fn filled(text: &str, name: &str, content: &str) -> Result<String> {
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let missing = || format!("the markers of {name:?} are missing");
    let (before, rest) = text.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}\n{content}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Machine;

    #[test]
    fn the_document_has_a_place_for_everything() -> Result<()> {
        let text = fs::read_to_string(document())?;
        let samples = Samples {
            machine: Machine::default(),
            taken: Vec::new(),
        };
        for (name, _) in sections(&samples, None) {
            filled(&text, name, "")?;
        }
        filled(&text, "heuristics", "")?;
        filled(&fs::read_to_string(readme())?, MEASURED, "")?;
        for (plot, _) in plot::all(&samples) {
            assert!(
                text.contains(&format!("(performance/{plot}.svg)")),
                "{plot}"
            );
        }
        Ok(())
    }

    #[test]
    fn only_what_is_between_the_markers_changes() -> Result<()> {
        let text = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n";
        let once = filled(text, "x", "new\n")?;
        assert_eq!(once, "a\n<!-- x -->\n\nnew\n\n<!-- end of x -->\nb\n");
        assert_eq!(filled(&once, "x", "new\n")?, once);
        assert!(filled(text, "y", "").is_err());
        Ok(())
    }
}

//! What of the compiler's output is compared.

use std::path::Path;

/// The lines of it, without what changes although the case does not: the margin, which is as wide as the longest line
/// number, what is quoted of other files, and how many types implement a trait.
pub(crate) fn essence(output: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut elsewhere = false;
    for line in output.lines() {
        let text = line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
        if let Some(location) = location(text) {
            elsewhere = !location.starts_with("ui/");
            lines.push(location);
        } else if text.starts_with('|') || text == "..." {
            if !elsewhere {
                lines.push(text.trim_end().to_owned());
            }
        } else if !text.is_empty() && !names_a_file_of_types(text) {
            elsewhere = false;
            lines.push(without_count(text.trim_end()));
        }
    }
    // An empty line of the margin stands where something is quoted, and not always.
    lines.retain(|line| line != "|");
    lines
}

/// Where the compiler has put a type that is too long to show.
fn names_a_file_of_types(text: &str) -> bool {
    text.starts_with("= note: the full name for the type has been written")
        || text.starts_with("= note: consider using `--verbose`")
}

/// Whether the component rust-src is there, and made a difference.
pub(crate) fn quotes_std(output: &str) -> bool {
    output.contains("/lib/rustlib/src/rust/library/")
}

/// The first line of each error, and where it stands.
pub(crate) fn headlines(output: &str) -> Vec<String> {
    let mut lines = output.lines();
    let mut headlines = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("error") {
            headlines.push(line.to_owned());
            headlines.extend(lines.by_ref().find_map(|line| location(line.trim_start())));
        }
    }
    headlines
}

/// The output as it is kept: with paths that are the same on every machine.
pub(crate) fn to_keep(output: &str) -> String {
    let mut kept = String::new();
    let lines = output.trim_end().lines();
    for line in lines.filter(|line| !names_a_file_of_types(line.trim_start())) {
        match location(line.trim_start()) {
            Some(location) => {
                kept.push_str(&line[..line.len() - line.trim_start().len()]);
                kept.push_str("--> ");
                kept.push_str(&location);
            }
            None => kept.push_str(&without_count(line)),
        }
        kept.push('\n');
    }
    kept
}

/// The place that a line names. Outside the case that is a file without numbers, for other files change.
fn location(text: &str) -> Option<String> {
    let place = text
        .strip_prefix("--> ")
        .or_else(|| text.strip_prefix("::: "))?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = tests.parent()?.display();
    if let Some(case) = place.strip_prefix(&format!("{}/", tests.display())) {
        return Some(case.to_owned());
    }
    if place.starts_with("ui/") {
        return Some(place.to_owned());
    }
    let file = place.trim_end_matches(|c: char| c == ':' || c.is_ascii_digit());
    let file = if let Some(file) = file.strip_prefix(&format!("{workspace}/")) {
        format!("$WORKSPACE/{file}")
    } else if let Some((_, file)) = file.split_once("/library/") {
        format!("$RUST/{file}")
    } else if let Some((_, file)) = file.split_once("/registry/src/") {
        let (_, file) = file.split_once('/')?;
        format!("$CARGO/{}", without_version(file))
    } else {
        file.to_owned()
    };
    Some(file)
}

/// `and 139 others` as `and $N others`.
fn without_count(line: &str) -> String {
    let count = line
        .rsplit_once("and ")
        .and_then(|(before, rest)| Some((before, rest.strip_suffix(" others")?)));
    match count {
        Some((before, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{before}and $N others")
        }
        _ => line.to_owned(),
    }
}

/// `tokio-1.2.3/src/..` as `tokio-$VERSION/src/..`.
fn without_version(file: &str) -> String {
    let (package, rest) = file.split_once('/').unwrap_or((file, ""));
    let name = package.rsplit_once('-').map_or(package, |(name, _)| name);
    format!("{name}-$VERSION/{rest}")
}

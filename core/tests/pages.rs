//! What pages name is there: one that promises tests which do not exist would be worse than none.

use std::path::Path;

/// The links of a page, as their texts and targets.
fn links(page: &str) -> Vec<(&str, &str)> {
    let starts = page.match_indices("](").map(|(at, _)| at);
    let link = |at: usize| {
        let text = page[..at].rsplit_once('[')?.1;
        let target = page[at + 2..].split_once(')')?.0;
        Some((text, target))
    };
    starts.filter_map(link).collect()
}

/// What is wrong with a link: no such file, or no such test in it.
fn wrong(root: &Path, (text, target): (&str, &str)) -> Option<String> {
    let Ok(file) = std::fs::read_to_string(root.join(target)) else {
        return Some(format!("{target} is not there"));
    };
    let test = text.strip_prefix('`')?.strip_suffix('`')?;
    (!file.contains(&format!("fn {test}("))).then(|| format!("{target} has no {test}"))
}

/// Reads a page of which all links lead somewhere, and there are many.
fn page(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let page = std::fs::read_to_string(&path).unwrap();
    let links = links(&page);
    let root = path.parent().unwrap();
    let wrong: Vec<String> = links.iter().filter_map(|link| wrong(root, *link)).collect();
    assert_eq!(wrong, [] as [String; 0]);
    assert!(links.len() > 20);
    page
}

#[test]
fn whatever_shows_what_attackers_cannot_do_is_there() {
    page("../SECURITY.md");
}

#[test]
fn whatever_shows_that_a_known_failure_is_none_here_is_there() {
    let page = page("FAILURES.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| the original"));
    for row in rows {
        assert!(row.contains("]("), "nothing shows it: {row}");
    }
}

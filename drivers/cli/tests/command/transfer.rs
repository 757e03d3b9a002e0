//! Import and export.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;

use crate::support::Home;

/// Every file below a directory, with its content.
fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn json_lines_come_out_as_they_went_in() {
    let home = Home::with_notes();
    let lines = [
        r#"{"key":"a","value":"text"}"#,
        r#"{"key":"b","value":{"z": 1,  "a":[true,null]}}"#,
        r#"{"key":"c","value":-1.50}"#,
        r#"{"key":"d","value_base64":"/w=="}"#,
        r#"{"key_base64":"/w==","value":""}"#,
    ];
    fs::write(home.path("in.jsonl"), lines.join("\n\n")).unwrap();
    let path = home.path("in.jsonl");
    let report = home.run(["import", "notes", path.to_str().unwrap(), "--json"]).json();
    assert_eq!(report[0]["rows"], 5);
    assert_eq!(home.run(["get", "notes", "b"]).ok(), r#"{"z": 1,  "a":[true,null]}"#);
    assert_eq!(home.run(["export", "notes"]).ok().lines().collect::<Vec<_>>(), lines);
    let out = home.path("out.jsonl");
    home.run(["export", "notes", out.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&out).unwrap().lines().collect::<Vec<_>>(), lines);
    assert!(home.run(["export", "notes", out.to_str().unwrap()]).failed(2).contains("--force"));
    home.run(["export", "notes", out.to_str().unwrap(), "--force"]).ok();
}

#[test]
fn many_rows_are_imported_in_batches_through_a_server() {
    let home = Home::with_notes();
    let _server = home.serve();
    let line = |number: usize| {
        json!({"key": format!("{number:06}"), "value": {"number": number}}).to_string() + "\n"
    };
    let input: String = (0..5_000).map(line).collect();
    home.run_with_input(["import", "notes", "-"], input.as_bytes()).ok();
    assert_eq!(home.run(["scan", "notes", "--keys"]).ok().lines().count(), 5_000);
    assert_eq!(home.run(["get", "notes", "004999"]).ok(), r#"{"number":4999}"#);
}

#[test]
fn a_line_that_is_no_row_is_named_with_its_place() {
    let home = Home::with_notes();
    let input = "{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\"}\n";
    let error = home.run_with_input(["import", "notes", "-"], input.as_bytes()).failed(2);
    assert!(error.contains("standard input:2") && error.contains("\"value\""), "{error}");
    let error = home.run_with_input(["import", "notes", "-"], b"\xff\n").failed(2);
    assert!(error.contains("UTF-8"), "{error}");
    assert!(home.run(["import", "notes", "/no/such/file"]).failed(2).contains("/no/such/file"));
}

#[test]
fn a_directory_tree_comes_out_as_it_went_in() {
    let home = Home::with_notes();
    let (from, to) = (home.path("from"), home.path("to"));
    fs::create_dir_all(from.join("one/two")).unwrap();
    for (name, content) in
        [("a", &b""[..]), ("one/b.txt", b"text"), ("one/two/c", b"\xff\x00"), ("z z", b"1")]
    {
        fs::write(from.join(name), content).unwrap();
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
    home.run(["import", "notes", from.to_str().unwrap()]).ok();
    assert_eq!(home.run(["get", "notes", "one/b.txt"]).ok(), "text");
    home.run(["export", "notes", to.to_str().unwrap(), "--tree"]).ok();
    let mut expected = tree(&from);
    expected.remove("link");
    assert_eq!(tree(&to), expected);
    assert!(home.run(["export", "notes", to.to_str().unwrap()]).failed(2).contains("--force"));
    home.run(["export", "notes", to.to_str().unwrap(), "--force"]).ok();
    assert_eq!(tree(&to), expected);
}

#[test]
fn files_that_are_too_large_are_listed_before_anything_is_imported() {
    let home = Home::with_notes();
    let from = home.path("from");
    fs::create_dir(&from).unwrap();
    fs::write(from.join("small"), "1").unwrap();
    fs::write(from.join("large"), vec![0; (1 << 20) + 1]).unwrap();
    let error = home.run(["import", "notes", from.to_str().unwrap()]).failed(2);
    assert!(error.contains("large") && error.contains("--skip-large"), "{error}");
    assert_eq!(home.run(["scan", "notes"]).ok(), "");
    let report = home.run(["import", "notes", from.to_str().unwrap(), "--skip-large", "--json"]).json();
    assert_eq!((&report[0]["rows"], &report[0]["skipped"]), (&json!(1), &json!(1)));
    assert_eq!(home.run(["scan", "notes", "--keys"]).ok(), "small\n");
}

#[test]
fn no_key_leads_an_export_out_of_its_directory() {
    let home = Home::with_notes();
    for key in ["../out", "/abs", "a/../../b", "dir", "dir/file", "fine"] {
        home.run(["put", "notes", key, "x"]).ok();
    }
    home.run(["put", "notes", "AGE=", "x", "--key-base64"]).ok();
    let to = home.path("deep/to");
    let error = home.run(["export", "notes", to.to_str().unwrap(), "--tree"]).failed(2);
    assert!(error.contains("../out") && error.contains("Nothing was exported"), "{error}");
    assert!(!to.exists());
    home.run(["export", "notes", to.to_str().unwrap(), "--tree", "--skip-unsafe"]).ok();
    assert_eq!(tree(&home.path("deep")).keys().collect::<Vec<_>>(), ["to/dir", "to/fine"]);
}

#[test]
fn a_device_does_not_import_its_own_store() {
    let home = Home::with_notes();
    fs::write(home.path("beside"), "1").unwrap();
    let all = home.dir().parent().unwrap().to_owned();
    home.run(["import", "notes", all.to_str().unwrap()]).ok();
    let keys = home.run(["scan", "notes", "--keys"]).ok();
    assert!(keys.contains("beside") && !keys.contains("data/"), "{keys}");
}

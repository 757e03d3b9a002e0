//! Values as people and JSON see them. Counters are text by themselves; sets and fields are stored as bytes, and
//! shown as what they are.

use bytes::Bytes;
use data_encoding::BASE64;
use driftless::{Elements, Fields};
use serde_json::{Map, Value, json};

use crate::protocol::{Kind, OperationText};
use crate::text;

/// What a value is, if it can be read as that: text that was put under a set, say, is nothing but bytes.
enum Read {
    Bytes,
    Set(Elements),
    Fields(Fields),
}

fn read(kind: Kind, value: &[u8]) -> Read {
    match kind {
        Kind::Set => Elements::from_bytes(value).map_or(Read::Bytes, Read::Set),
        Kind::Fields => Fields::from_bytes(value).map_or(Read::Bytes, Read::Fields),
        _ => Read::Bytes,
    }
}

/// A value on one line.
pub fn line(kind: Kind, value: &[u8]) -> String {
    match read(kind, value) {
        Read::Bytes => text::escape(value),
        Read::Set(set) => {
            let elements: Vec<String> = set.0.iter().map(|element| text::escape(element)).collect();
            format!("{{{}}}", elements.join(", "))
        }
        Read::Fields(fields) => {
            let leaf =
                |(path, value): (&Vec<String>, &Bytes)| format!("{}={}", dotted(path), text::escape(value));
            fields.0.iter().map(leaf).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A set or fields, each element or field on a line of its own. `None` for anything else.
pub fn lines(kind: Kind, value: &[u8]) -> Option<Vec<String>> {
    match read(kind, value) {
        Read::Bytes => None,
        Read::Set(set) => Some(set.0.iter().map(|element| text::escape(element)).collect()),
        Read::Fields(fields) => {
            let leaf =
                |(path, value): (&Vec<String>, &Bytes)| format!("{}\t{}", dotted(path), text::escape(value));
            Some(fields.0.iter().map(leaf).collect())
        }
    }
}

/// Adds a value: as `set`, as `fields`, or as `value` or `value_base64`.
pub fn insert(object: &mut Map<String, Value>, kind: Kind, value: &[u8]) {
    match read(kind, value) {
        Read::Bytes => text::insert_bytes(object, "value", value),
        Read::Set(set) => {
            let elements = set.0.iter().map(|element| json_text(element)).collect();
            object.insert("set".to_owned(), Value::Array(elements));
        }
        Read::Fields(fields) => {
            let mut tree = Map::new();
            for (path, value) in &fields.0 {
                grow(&mut tree, path, value);
            }
            object.insert("fields".to_owned(), Value::Object(tree));
        }
    }
}

/// Operations on one line: what was added, put in (`+`), taken out (`-`), or set.
pub fn operations_line(operations: &[OperationText]) -> String {
    let one = |operation: &OperationText| match operation {
        OperationText::Add { amount } => format!("{amount:+}"),
        OperationText::Insert { element } => format!("+{}", text::escape(element)),
        OperationText::Remove { element } => format!("-{}", text::escape(element)),
        OperationText::Field { path, value: Some(value) } => {
            format!("{}={}", dotted(path), text::escape(value))
        }
        OperationText::Field { path, value: None } => format!("-{}", dotted(path)),
        OperationText::Named { operation, .. } => text::escape(operation),
    };
    operations.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// An operation, as an object whose first field says what it does.
pub fn operation_object(operation: &OperationText) -> Value {
    let mut object = Map::new();
    match operation {
        OperationText::Add { amount } => _ = object.insert("add".to_owned(), json!(amount)),
        OperationText::Insert { element } => {
            object.insert("insert".to_owned(), json_text(element));
        }
        OperationText::Remove { element } => {
            object.insert("remove".to_owned(), json_text(element));
        }
        OperationText::Field { path, value: Some(value) } => {
            object.insert("set".to_owned(), json!(path));
            text::insert_bytes(&mut object, "value", value);
        }
        OperationText::Field { path, value: None } => _ = object.insert("unset".to_owned(), json!(path)),
        OperationText::Named { operation, .. } => text::insert_bytes(&mut object, "operation", operation),
    }
    Value::Object(object)
}

/// Whether a value is shown as something else than its bytes.
pub fn is_rendered(kind: Kind, value: &[u8]) -> bool {
    !matches!(read(kind, value), Read::Bytes)
}

/// Hangs a leaf into a tree. No path is the beginning of another, so what is met on the way is a branch.
fn grow(tree: &mut Map<String, Value>, path: &[String], value: &[u8]) {
    match path {
        [] => {}
        [name] => _ = tree.insert(name.clone(), json_text(value)),
        [name, rest @ ..] => {
            let branch = tree.entry(name.clone()).or_insert_with(|| json!({}));
            if let Value::Object(branch) = branch {
                grow(branch, rest, value);
            }
        }
    }
}

/// Bytes within a set or a tree: text, or an object that says that they are none.
fn json_text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": BASE64.encode(bytes) }),
    }
}

/// A path as the command line takes it.
fn dotted(path: &[String]) -> String {
    let mut shown = String::new();
    for (at, name) in path.iter().enumerate() {
        shown.push_str(if at == 0 { "" } else { "." });
        for char in name.chars() {
            match char {
                '.' | '\\' => shown.extend(['\\', char]),
                char => shown.push_str(&text::escape(char.encode_utf8(&mut [0; 4]).as_bytes())),
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_fields_are_shown_as_what_they_are() {
        let set = Elements::from_iter(["b".into(), "a\n".into(), vec![0xff].into()]).to_bytes();
        assert_eq!(line(Kind::Set, &set), "{a\\n, b, \\xff}");
        assert_eq!(lines(Kind::Set, &set).unwrap(), ["a\\n", "b", "\\xff"]);
        let mut object = Map::new();
        insert(&mut object, Kind::Set, &set);
        assert_eq!(json!(object), json!({"set": ["a\n", "b", {"base64": "/w=="}]}));

        let leaf = |path: &[&str], value: &'static str| {
            (path.iter().map(ToString::to_string).collect::<Vec<_>>(), value.into())
        };
        let leaves =
            [leaf(&["address", "city"], "Basel"), leaf(&["address", "zip"], "4051"), leaf(&["a.b"], "x")];
        let fields = Fields(leaves.into_iter().collect()).to_bytes();
        assert_eq!(
            lines(Kind::Fields, &fields).unwrap(),
            ["a\\.b\tx", "address.city\tBasel", "address.zip\t4051"]
        );
        let mut object = Map::new();
        insert(&mut object, Kind::Fields, &fields);
        assert_eq!(
            json!(object),
            json!({"fields": {"a.b": "x", "address": {"city": "Basel", "zip": "4051"}}})
        );
        // What is none stays bytes.
        assert_eq!(line(Kind::Set, b"just text"), "just text");
        assert!(lines(Kind::Bytes, &set).is_none());
    }

    #[test]
    fn operations_are_told_by_what_they_do() {
        let path = || vec!["a.b".to_owned(), "c".to_owned()];
        let cases = [
            (OperationText::Add { amount: -3 }, "-3", json!({"add": -3})),
            (OperationText::Add { amount: 4 }, "+4", json!({"add": 4})),
            (OperationText::Insert { element: vec![0xff] }, "+\\xff", json!({"insert": {"base64": "/w=="}})),
            (OperationText::Remove { element: "x".into() }, "-x", json!({"remove": "x"})),
            (
                OperationText::Field { path: path(), value: Some("v\n".into()) },
                "a\\.b.c=v\\n",
                json!({"set": ["a.b", "c"], "value": "v\n"}),
            ),
            (OperationText::Field { path: path(), value: None }, "-a\\.b.c", json!({"unset": ["a.b", "c"]})),
            (
                OperationText::Named {
                    merge: driftless::Name::new("longest").unwrap(),
                    operation: "o".into(),
                },
                "o",
                json!({"operation": "o"}),
            ),
        ];
        for (operation, line, object) in &cases {
            assert_eq!(operations_line(std::slice::from_ref(operation)), *line);
            assert_eq!(operation_object(operation), *object);
        }
        let both = [cases[0].0.clone(), cases[3].0.clone()];
        assert_eq!(operations_line(&both), "-3, -x");
    }

    #[test]
    fn a_path_comes_back_from_how_it_is_shown() {
        for path in [&["a"][..], &["a.b", "c"], &["back\\slash", "d"]] {
            let path: Vec<String> = path.iter().map(ToString::to_string).collect();
            assert_eq!(text::field_path(&dotted(&path)).unwrap(), path);
        }
    }
}

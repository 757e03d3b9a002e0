//! Rows as JSON Lines: what `import` reads, and `export` and `scan --json` write.
//!
//! `{"key": TEXT, "value": ANYTHING}`. A value that is a JSON text stands for the bytes of that text; any other
//! JSON stands for itself, as it is written there. What is no text is `"key_base64"` and `"value_base64"`.
//! Writing and reading back gives the same bytes, whatever they are.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::text;

/// A row to be written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    // A reference, because an owned `Option` would take `null` for an absent value.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// What is there is there, even if it is `null`.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Why a line is no row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is not JSON, or not of the right form.
    #[error(
        "{0}; a row is {{\"key\": TEXT, \"value\": ANYTHING}}, or with \"key_base64\" or \"value_base64\""
    )]
    Form(#[from] serde_json::Error),
    /// A field is missing or there twice.
    #[error("exactly one of \"{0}\" and \"{0}_base64\" must be there")]
    Either(&'static str),
    /// A field is not base64.
    #[error("\"{0}\" is no base64: {1}")]
    Base64(&'static str, data_encoding::DecodeError),
}

/// Reads a line.
///
/// # Errors
/// [`LineError`] says what is wrong with it.
pub fn parse(line: &str) -> Result<Row, LineError> {
    let line: Line<'_> = serde_json::from_str(line)?;
    let key = match (line.key, line.key_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(code)) => decode("key_base64", &code)?,
        _ => return Err(LineError::Either("key")),
    };
    let value = match (line.value, line.value_base64) {
        (Some(raw), None) if raw.get().starts_with('"') => {
            serde_json::from_str::<String>(raw.get())?.into_bytes()
        }
        (Some(raw), None) => raw.get().as_bytes().to_vec(),
        (None, Some(code)) => decode("value_base64", &code)?,
        _ => return Err(LineError::Either("value")),
    };
    Ok(Row { key, value })
}

fn decode(field: &'static str, code: &str) -> Result<Vec<u8>, LineError> {
    BASE64.decode(code.as_bytes()).map_err(|error| LineError::Base64(field, error))
}

/// Writes a line, without its end. Without a value it is what `scan --keys --json` prints.
pub fn print(key: &[u8], value: Option<&[u8]>) -> String {
    let (key, key_base64) = text_or_base64(key);
    let json = value.and_then(text::as_json);
    let (value, value_base64) = match (value, &json) {
        (Some(bytes), None) => text_or_base64(bytes),
        _ => (None, None),
    };
    // Encoding text and base64 cannot fail: no map has a key that is no text.
    let quoted = value.and_then(|text| serde_json::value::to_raw_value(&text).ok());
    let line = Line { key, key_base64, value: json.as_deref().or(quoted.as_deref()), value_base64 };
    serde_json::to_string(&line).unwrap_or_default()
}

fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_survives_being_printed_and_parsed() {
        let values: [&[u8]; 12] = [
            b"",
            b"text",
            b"\"quoted\"",
            b"{\"a\": 1}",
            b"{\"a\":\n1}",
            b"null",
            b" 1",
            b"1.0",
            b"\xff\x00",
            "Grüße\u{2028}".as_bytes(),
            b"[",
            b"\\",
        ];
        for key in [&b"key"[..], b"\xff", b"", b"a\nb"] {
            for value in values {
                let line = print(key, Some(value));
                assert!(!line.contains('\n'), "{line}");
                assert_eq!(parse(&line).unwrap(), Row { key: key.into(), value: value.into() }, "{line}");
            }
        }
    }

    #[test]
    fn json_values_are_stored_as_they_are_written() {
        let value = |line| String::from_utf8(parse(line).unwrap().value).unwrap();
        assert_eq!(value(r#"{"key":"k","value":{"b":1,  "a":1.50}}"#), r#"{"b":1,  "a":1.50}"#);
        assert_eq!(value(r#"{"key":"k","value":"two\nlines"}"#), "two\nlines");
        assert_eq!(value(r#"{"key":"k","value":null}"#), "null");
    }

    #[test]
    fn a_line_that_is_no_row_is_refused_with_what_is_missing() {
        let wrong = |line: &str| parse(line).unwrap_err().to_string();
        assert!(wrong("{}").contains("\"key\""));
        assert!(wrong(r#"{"key":"a"}"#).contains("\"value\""));
        assert!(wrong(r#"{"key":"a","key_base64":"YQ==","value":1}"#).contains("exactly one"));
        assert!(wrong(r#"{"key":"a","value_base64":"*"}"#).contains("base64"));
        assert!(wrong(r#"{"key":"a","value":1,"valeu":2}"#).contains("valeu"));
        assert!(wrong(r#"{"key":1,"value":1}"#).contains("a row is"));
        assert!(wrong("key,value").contains("a row is"));
    }
}

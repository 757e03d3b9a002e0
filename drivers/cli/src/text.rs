//! Keys and values are bytes; people and JSON want text.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Bytes as a terminal may show them: text stays, what would break the line or control the terminal becomes a
/// backslash and a letter or two digits.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                // Also what reorders text around it.
                c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                    let _ = write!(out, "\\u{{{:x}}}", c as u32);
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The same, cut to a width, for lists and tables.
pub fn escape_short(bytes: &[u8], width: usize) -> String {
    cut(&escape(bytes), width)
}

/// A text, cut to a width.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A word as a shell reads it back.
pub fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:,+@".contains(c) || cfg!(windows) && c == '\\';
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    let escaped = if cfg!(windows) { "''" } else { r"'\''" };
    format!("'{}'", text.replace('\'', escaped))
}

/// A key in a command that is shown to be tried; `None` where a shell or the command might read it otherwise, or it is too
/// long to be looked at. Others choose keys, too.
pub fn key_word(key: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(key).ok()?;
    let is_plain = !text.is_empty() && text.len() <= 80 && !text.starts_with('-') && escape(key) == text;
    is_plain.then(|| quoted(OsStr::new(text)))
}

/// Adds `name` with the bytes as text, or `name_base64` if they are none.
pub fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), json!(text)),
        Err(_) => object.insert(format!("{name}_base64"), json!(BASE64.encode(bytes))),
    };
}

/// The JSON that stands for a value, if the bytes are the JSON of something that is not a text, on one line. It is
/// kept as it stands there, so that reading it back gives the same bytes.
pub fn as_json(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let plain = matches!(text.as_bytes().first()?, b'{' | b'[' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n');
    if !plain || text.contains(['\n', '\r']) || text.trim_end().len() != text.len() {
        return None;
    }
    RawValue::from_string(text.to_owned()).ok()
}

/// A key as it was given on the command line.
///
/// # Errors
/// If it is to be base64 and is not, or, on Windows, if it is no Unicode.
pub fn key(text: &OsStr, base64: bool) -> Result<Vec<u8>> {
    let bytes = argument_bytes(text)?;
    if !base64 {
        return Ok(bytes);
    }
    BASE64
        .decode(&bytes)
        .with_context(|| format!("the key \"{}\" is no base64; leave out --key-base64?", escape(&bytes)))
}

/// The names on the way to a field, from `outer.inner`; a backslash takes what follows as it is.
///
/// # Errors
/// If a name is empty, or a backslash is the last character.
pub fn field_path(text: &str) -> Result<Vec<String>> {
    let mut path = vec![String::new()];
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        let char = match char {
            '.' => {
                path.push(String::new());
                continue;
            }
            '\\' => chars.next().with_context(|| format!("the path \"{text}\" ends with a backslash"))?,
            char => char,
        };
        if let Some(name) = path.last_mut() {
            name.push(char);
        }
    }
    if path.iter().any(String::is_empty) {
        bail!("the path \"{text}\" has an empty name; names stand with dots between: address.city");
    }
    Ok(path)
}

/// The bytes of an argument: on Unix any bytes, elsewhere UTF-8.
///
/// # Errors
/// Where arguments are Unicode and this one is none.
pub fn argument_bytes(text: &OsStr) -> Result<Vec<u8>> {
    #[cfg(unix)]
    return Ok(std::os::unix::ffi::OsStrExt::as_bytes(text).to_vec());
    #[cfg(not(unix))]
    Ok(text.to_str().context("an argument is no valid Unicode; use --key-base64")?.as_bytes().to_vec())
}

/// Bytes in the control protocol: base64.
pub(crate) mod base64 {
    use super::{BASE64, Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

/// Optional bytes in the control protocol.
pub(crate) mod base64_option {
    use super::{BASE64, Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => serializer.serialize_some(&BASE64.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<std::borrow::Cow<str>>::deserialize(deserializer)?;
        text.map(|text| BASE64.decode(text.as_bytes())).transpose().map_err(serde::de::Error::custom)
    }
}

/// A span of bytes as people read it.
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// `1 row`, `2 rows`.
pub fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A time, in UTC.
pub(crate) fn time(wall_ms: u64) -> String {
    // A stamp may say anything: one that is beyond what can be written is shown as its number.
    const LAST: u64 = 253_402_300_799_999;
    if wall_ms > LAST {
        return format!("{wall_ms} ms");
    }
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(wall_ms)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_stays_on_its_line_and_cannot_control_a_terminal() {
        assert_eq!(escape("Grüße 🙂".as_bytes()), "Grüße 🙂");
        assert_eq!(escape(b"a\nb\t\\ \x1b[31m \xff\x00"), r"a\nb\t\\ \u{1b}[31m \xff\u{0}");
        assert_eq!(escape("\u{202e}".as_bytes()), r"\u{202e}");
        assert_eq!(escape_short(b"abcdef", 4), "abc…");
    }

    #[cfg(unix)]
    #[test]
    fn a_word_is_what_a_shell_makes_of_it() {
        for word in ["/tmp/a.b-c_d", "", "two words", "it's", "$HOME `ls` \"x\" \\ *", "~", "a=b", "-n\n"] {
            let script = format!("printf %s {}", quoted(OsStr::new(word)));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn a_key_that_a_shell_or_the_command_could_misread_is_not_put_into_a_command() {
        assert_eq!(key_word(b"milk").as_deref(), Some("milk"));
        assert_eq!(
            key_word(b"person/anna.meier@example.org").as_deref(),
            Some("person/anna.meier@example.org")
        );
        assert_eq!(key_word(b"a;rm -rf ~").as_deref(), Some("'a;rm -rf ~'"));
        for key in [&b"--help"[..], b"", b"\xff", b"a\nb", &[b'k'; 81]] {
            assert_eq!(key_word(key), None);
        }
    }

    #[test]
    fn only_json_that_reads_back_as_the_same_bytes_is_shown_as_json() {
        for json in ["{\"b\": 1, \"a\":[]}", "[1, 2]", "-1.50e3", "true", "null", "12345678901234567890123"] {
            assert_eq!(as_json(json.as_bytes()).unwrap().get(), json);
        }
        for text in ["", "\"a text\"", "{\n}", " 1", "1 ", "tru", "{", "\u{feff}1"] {
            assert!(as_json(text.as_bytes()).is_none(), "{text:?}");
        }
        assert!(as_json(b"\xff").is_none());
    }
}

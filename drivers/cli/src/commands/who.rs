//! Who wrote a version and when, for people and as JSON.

use serde_json::{Map, Value, json};

use crate::protocol::Who;
use crate::text;

/// How much of a value a line shows.
pub(super) const VALUE_WIDTH: usize = 60;
/// How much of a device's name.
pub(super) const NAME_WIDTH: usize = 24;

/// As much of a batch's name as tells it from others.
pub(super) fn batch(who: &Who) -> String {
    who.batch.as_ref().map_or_else(String::new, |id| id[..12.min(id.len())].to_owned())
}

pub(super) fn json_who(who: &Who) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("version".to_owned(), json!(who.version));
    object.insert("device".to_owned(), json!(who.device));
    object.insert("name".to_owned(), json!(who.name));
    object.insert("when".to_owned(), json!(when(who)));
    object.insert("batch".to_owned(), json!(who.batch));
    object
}

/// When a version was written, by the clock of its author.
pub(super) fn when(who: &Who) -> String {
    text::time(who.wall_ms)
}

pub(super) fn name(who: &Who) -> String {
    device_name(who.name.as_deref(), &who.device)
}

/// What a device calls itself, or the start of its id.
pub(super) fn device_name(name: Option<&str>, device: &str) -> String {
    let unknown = || format!("({})", &device[..12.min(device.len())]);
    name.map_or_else(unknown, |name| text::escape_short(name.as_bytes(), NAME_WIDTH))
}

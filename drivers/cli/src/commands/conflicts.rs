//! `conflicts`.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::Context;
use super::who::{VALUE_WIDTH, batch, device_name, json_who, name, when};
use crate::args::Conflicts;
use crate::output::{Output, table};
use crate::protocol::{AncestorText, ConflictText, HeadText, Request, Response, RowInConflict, ValueText};
use crate::text;

pub(super) async fn conflicts(context: &mut Context, args: Conflicts) -> Result<()> {
    let prefix = args.prefix.as_deref().map(text::argument_bytes).transpose()?.unwrap_or_default();
    let named = args.of.collection.clone();
    let of = context.collection(args.of);
    let brief = !context.out.json;
    let request = Request::Conflicts { of, prefix, limit: args.limit, brief };
    let mut printer = Printer::default();
    context.each(request, |out, item| printer.take(out, item)).await?;
    if brief {
        context.out.flush()?;
        context.out.remark(&match &printer.example {
            Some((row, version)) => format!(
                "resolve with: driftless resolve {named} {row} pick:{version}, where a choice can also be value:TEXT, \
                 delete or leave; other rows that need an answer follow, each with its choice"
            ),
            None if printer.found => "what is in conflict is decided already: the next write of a row closes it, \
                                      as does driftless resolve"
                .to_owned(),
            None => "no row is in conflict".to_owned(),
        });
    }
    Ok(())
}

/// Puts conflicts together from the items of an answer, and prints them row by row.
#[derive(Default)]
struct Printer {
    found: bool,
    conflict: Option<ConflictText>,
    /// Rows of it that were printed.
    printed: u64,
    row: Option<(RowInConflict, Vec<HeadText>)>,
    /// The first row that needs an answer, and a version of it.
    example: Option<(String, String)>,
}

impl Printer {
    fn take(&mut self, out: &mut Output, item: Response) -> Result<()> {
        match item {
            Response::Conflict(conflict) => {
                if !out.json {
                    if self.found {
                        out.line("")?;
                    }
                    out.line(&heading(&conflict))?;
                }
                (self.found, self.printed, self.conflict) = (true, 0, Some(conflict));
            }
            Response::ConflictRow(row) => self.row = Some((row, Vec::new())),
            Response::Head(head) => {
                if let Some((_, heads)) = &mut self.row {
                    heads.push(head);
                }
            }
            other => bail!("the answer is no conflict but {other:?}; this is a defect"),
        }
        match (&self.conflict, self.row.take()) {
            (Some(conflict), Some((row, heads))) if heads.len() as u64 >= row.told => {
                self.printed += 1;
                if out.json {
                    return Ok(out.object(&json_row(conflict, &row, &heads))?);
                }
                if row.is_open && self.example.is_none() {
                    let version = heads.first().map(|head| head.who.short.clone()).unwrap_or_default();
                    let word = text::key_word(&row.name).unwrap_or_else(|| "KEY".to_owned());
                    self.example = Some((word, version));
                }
                row_lines(&row, &heads).iter().try_for_each(|line| out.line(line))?;
                if self.printed == conflict.told && conflict.told < conflict.rows {
                    let more = text::plural(conflict.rows - conflict.told, "more row");
                    out.line(&format!("  … {more}; --json prints all"))?;
                }
            }
            (_, row) => self.row = row,
        }
        Ok(())
    }
}

fn heading(conflict: &ConflictText) -> String {
    let together = match (conflict.rows, conflict.is_whole) {
        (1, true) => String::new(),
        (rows, true) => format!("  {rows} rows that belong together"),
        (rows, false) => format!(
            "  {rows} rows that belong together, and more of them, which are shown once these are resolved"
        ),
    };
    format!("conflict {}{together}", conflict.state)
}

/// A row for people: its versions, and what they have in common.
fn row_lines(row: &RowInConflict, heads: &[HeadText]) -> Vec<String> {
    let remark = match (row.in_conflict, row.is_open) {
        (true, true) => "",
        (true, false) => "; needs no answer",
        _ => "; in no conflict, written by the same batches",
    };
    let mut lines = vec![format!("  {}  ({}{remark})", text::escape(&row.name), row.policy)];
    // Few batches touch several syncgroups, and a version names the others well enough.
    let batches = heads.iter().any(|head| head.who.batch.is_some());
    let header: &[&str] = &["", "VERSION", "WHEN", "WHO", "VALUE", "BATCH"];
    let mut table = table(&header[..if batches { 6 } else { 5 }]);
    for (at, HeadText { who, value, is_operation }) in heads.iter().enumerate() {
        let value = match value {
            None if *is_operation => "(operation)".to_owned(),
            value => short_value(value.as_ref()),
        };
        let role = if at == 0 { "shown" } else { "other" };
        let mut cells = vec![role.to_owned(), who.short.clone(), when(who), name(who), value];
        cells.extend(batches.then(|| batch(who)));
        table.add_row(cells);
    }
    if let Some(AncestorText { short, device, name, value, .. }) = &row.ancestor {
        let who = device_name(name.as_deref(), device);
        let value = short_value(value.as_ref());
        table.add_row(["before".to_owned(), short.clone(), String::new(), who, value]);
    }
    lines.extend(table.to_string().lines().map(|line| format!("    {}", line.trim_end())));
    if row.told < row.heads {
        let more = text::plural(row.heads - row.told, "more version");
        lines.push(format!("    … {more}; --json prints all"));
    }
    lines
}

/// A value on a line, and how long it is if that is not all of it.
fn short_value(value: Option<&ValueText>) -> String {
    let Some(value) = value else { return "(deleted)".to_owned() };
    let shown = text::escape_short(&value.bytes, VALUE_WIDTH);
    let is_whole = value.size == value.bytes.len() as u64 && !shown.ends_with('…');
    if is_whole {
        shown
    } else {
        format!("{} ({})", shown.trim_end_matches('…').to_owned() + "…", text::bytes(value.size))
    }
}

fn json_row(conflict: &ConflictText, row: &RowInConflict, heads: &[HeadText]) -> Value {
    let valued = |object: &mut Map<String, Value>, value: Option<&ValueText>, otherwise: &str| {
        match value {
            Some(value) => text::insert_bytes(object, "value", &value.bytes),
            None => _ = object.insert(otherwise.to_owned(), json!(true)),
        };
    };
    let head = |head: &HeadText| {
        let mut object = json_who(&head.who);
        valued(&mut object, head.value.as_ref(), if head.is_operation { "operation" } else { "deleted" });
        Value::Object(object)
    };
    let ancestor = |ancestor: &AncestorText| {
        let mut object = Map::new();
        object.insert("version".to_owned(), json!(ancestor.version));
        object.insert("device".to_owned(), json!(ancestor.device));
        object.insert("name".to_owned(), json!(ancestor.name));
        valued(&mut object, ancestor.value.as_ref(), "deleted");
        Value::Object(object)
    };
    let mut object = Map::new();
    object.insert("state".to_owned(), json!(conflict.state));
    object.insert("rows".to_owned(), json!(conflict.rows));
    object.insert("whole".to_owned(), json!(conflict.is_whole));
    object.insert("syncgroup".to_owned(), json!(row.syncgroup));
    object.insert("collection".to_owned(), json!(row.collection));
    text::insert_bytes(&mut object, "key", &row.key);
    text::insert_bytes(&mut object, "row", &row.name);
    object.insert("policy".to_owned(), json!(row.policy));
    object.insert("in_conflict".to_owned(), json!(row.in_conflict));
    object.insert("open".to_owned(), json!(row.is_open));
    object.insert("heads".to_owned(), heads.iter().map(head).collect());
    object.insert("ancestor".to_owned(), row.ancestor.as_ref().map_or(Value::Null, ancestor));
    Value::Object(object)
}

//! `schema`, `add`, `set-add`, `set-remove`, `field`.

use std::ffi::OsStr;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::{Context, rows};
use crate::args::{Add, ChangeSet, CollectionArgs, Field, Schema, SchemaAction};
use crate::output::table;
use crate::protocol::{OperationText, Request, Response, RuleText};
use crate::service::policy_word;
use crate::text;

pub(super) async fn schema(context: &mut Context, args: Schema) -> Result<()> {
    let of = context.collection(args.of);
    let request = match args.action {
        None | Some(SchemaAction::Show) => Request::Schema { of },
        Some(SchemaAction::Set { prefix, policy }) => {
            let policy = Some(policy_word(&policy));
            Request::SetRule { of, prefix: text::argument_bytes(&prefix)?, policy }
        }
        Some(SchemaAction::Unset { prefix }) => {
            Request::SetRule { of, prefix: text::argument_bytes(&prefix)?, policy: None }
        }
    };
    let Response::Schema { rules } = context.one(request).await? else {
        bail!("the answer is no schema; this is a defect");
    };
    if context.out.json {
        return rules.iter().try_for_each(|rule| Ok(context.out.object(&json_rule(rule))?));
    }
    if rules.is_empty() {
        context.out.remark("there are no rules: the last version wins everywhere");
        return Ok(());
    }
    let mut table = table(&["PREFIX", "POLICY"]);
    for RuleText { prefix, policy } in &rules {
        let prefix = if prefix.is_empty() { "(all rows)".to_owned() } else { text::escape(prefix) };
        table.add_row([prefix, policy.clone()]);
    }
    for line in table.to_string().lines() {
        context.out.line(line.trim_end())?;
    }
    Ok(())
}

fn json_rule(rule: &RuleText) -> Value {
    let mut object = Map::new();
    text::insert_bytes(&mut object, "prefix", &rule.prefix);
    object.insert("policy".to_owned(), json!(rule.policy));
    Value::Object(object)
}

pub(super) async fn add(context: &mut Context, args: Add) -> Result<()> {
    let operation = OperationText::Add { amount: args.amount };
    operate(context, args.of, &args.key, args.key_base64, vec![operation]).await
}

pub(super) async fn change_set(context: &mut Context, args: ChangeSet, insert: bool) -> Result<()> {
    let operation = |element: &std::ffi::OsString| {
        let element = text::argument_bytes(element)?;
        Ok(if insert { OperationText::Insert { element } } else { OperationText::Remove { element } })
    };
    let operations = args.elements.iter().map(operation).collect::<Result<_>>()?;
    operate(context, args.of, &args.key, args.key_base64, operations).await
}

pub(super) async fn field(context: &mut Context, command: Field) -> Result<()> {
    let (of, key, path, value, key_base64) = match command {
        Field::Set { of, key, path, value, key_base64 } => {
            (of, key, path, Some(rows::value(Some(&value))?), key_base64)
        }
        Field::Unset { of, key, path, key_base64 } => (of, key, path, None, key_base64),
    };
    let operation = OperationText::Field { path: text::field_path(&path)?, value };
    operate(context, of, &key, key_base64, vec![operation]).await
}

async fn operate(
    context: &mut Context,
    of: CollectionArgs,
    key: &OsStr,
    key_base64: bool,
    operations: Vec<OperationText>,
) -> Result<()> {
    let key = text::key(key, key_base64)?;
    context.tell(Request::Operate { of: context.collection(of), key, operations }).await
}

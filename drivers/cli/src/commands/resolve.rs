//! `resolve`.

use std::ffi::OsString;

use anyhow::{Result, bail};
use driftless::limits;
use serde_json::json;

use super::who::VALUE_WIDTH;
use super::{Context, rows};
use crate::args::Resolve;
use crate::protocol::{AnswerText, ChoiceText, Request, Response};
use crate::text;

pub(super) async fn resolve(context: &mut Context, args: Resolve) -> Result<()> {
    let answers = answers(&args.answers)?;
    let of = context.collection(args.of);
    let Resolve { state, leave_others, key_base64, .. } = args;
    let request = Request::Resolve { of, answers, key_base64, state, leave_others };
    let Response::Resolved { rows, left } = context.one(request).await? else {
        bail!("the answer is no outcome; this is a defect");
    };
    if context.out.json {
        return Ok(context.out.object(&json!({ "resolved": rows, "left": left }))?);
    }
    let open = if left == 0 { String::new() } else { format!("; {} left open", text::plural(left, "row")) };
    context.out.remark(&format!("{} resolved{open}", text::plural(rows, "row")));
    Ok(())
}

/// Rows, each with what shall become of it.
fn answers(arguments: &[OsString]) -> Result<Vec<AnswerText>> {
    let (pairs, rest) = arguments.as_chunks();
    if let [key] = rest {
        bail!(
            "nothing says what shall become of \"{}\"; {CHOICES}",
            text::escape(&text::argument_bytes(key)?)
        );
    }
    let (mut answers, mut size, mut reads) = (Vec::new(), 0, 0);
    for [row, choice] in pairs {
        let choice = text::argument_bytes(choice)?;
        reads += usize::from(choice.strip_prefix(b"value:") == Some(rows::STANDARD_INPUT));
        if reads > 1 {
            bail!("standard input can be the value of one row only");
        }
        let choice = parse_choice(&choice)?;
        if let ChoiceText::Value(value) = &choice {
            size += value.len();
        }
        answers.push(AnswerText { row: text::argument_bytes(row)?, choice });
    }
    if size > limits::MAX_GENERATION {
        bail!(
            "an answer is one batch, which has at most {} bytes; resolve fewer rows at once, with --leave-others",
            limits::MAX_GENERATION
        );
    }
    Ok(answers)
}

const CHOICES: &str = "a choice is pick:VERSION, value:TEXT, delete or leave";

fn parse_choice(text: &[u8]) -> Result<ChoiceText> {
    Ok(match text {
        b"delete" => ChoiceText::Delete,
        b"leave" => ChoiceText::Leave,
        _ => match (text.strip_prefix(b"pick:"), text.strip_prefix(b"value:")) {
            (Some(version), _) => ChoiceText::Pick(String::from_utf8_lossy(version).into_owned()),
            (_, Some(value)) => ChoiceText::Value(rows::value_of(value)?),
            _ => bail!("\"{}\" is no choice; {CHOICES}", text::escape_short(text, VALUE_WIDTH)),
        },
    })
}

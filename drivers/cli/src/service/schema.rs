//! Answers `schema`, and says what to do about rows of another policy.

use driftless::{Merge, NoAnswer, Policy, Refusal, Rule};
use driftless_tokio::Node;
use tokio::sync::mpsc::Sender;

use super::{find, tell};
use crate::args::parse_policy;
use crate::protocol::{CollectionRef, Problem, Response, RuleText};

pub(super) async fn show(node: &Node, of: &CollectionRef, out: &Sender<Response>) -> Result<(), Problem> {
    tell_rules(find(node, of).await?.schema()?, out).await
}

pub(super) async fn set_rule(
    node: &Node,
    of: &CollectionRef,
    prefix: Vec<u8>,
    policy: Option<String>,
    out: &Sender<Response>,
) -> Result<(), Problem> {
    let collection = find(node, of).await?;
    // Each of these changes one rule and leaves the others, whoever changes them in the same moment.
    match policy {
        Some(policy) => {
            let policy = parse_policy(&policy).map_err(|message| Problem { refused: false, message })?;
            collection.set_rule(prefix, policy).await?;
        }
        None if collection.schema()?.iter().any(|rule| rule.prefix == prefix) => {
            collection.remove_rule(prefix).await?;
        }
        None => {
            let prefix = prefix.escape_ascii();
            let message = format!(
                "there is no rule for the prefix \"{prefix}\"; driftless schema {} lists them",
                of.collection
            );
            return Err(Problem { refused: true, message });
        }
    }
    tell_rules(collection.schema()?, out).await
}

async fn tell_rules(mut rules: Vec<Rule>, out: &Sender<Response>) -> Result<(), Problem> {
    rules.sort();
    let text = |rule: Rule| RuleText { prefix: rule.prefix.into(), policy: word(&rule.policy) };
    tell(out, Response::Schema { rules: rules.into_iter().map(text).collect() }).await
}

/// A policy, as the command line names it.
pub(crate) fn word(policy: &Policy) -> String {
    match policy {
        Policy::LastWins => "last-wins".to_owned(),
        Policy::Defer => "defer".to_owned(),
        Policy::AppResolves => "app-resolves".to_owned(),
        Policy::BatchWins => "batch-wins".to_owned(),
        Policy::Merge(merge) => merge_word(merge),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// A merge, as the command line names it.
pub(super) fn merge_word(merge: &Merge) -> String {
    match merge {
        Merge::Named(name) => format!("merge:{name}"),
        merge => merge.to_string(),
    }
}

/// What to do where a row has changed between the look and the write.
const CHANGED: &str =
    "the row has changed in this moment: look at it again with driftless conflicts, and resolve it again";

/// What to do about a refusal that has to do with policies; `None` if there is nothing to add.
pub(super) fn next_step(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::OtherPolicy { merge, policy } => Some(format!(
            "the row is no {merge}: its policy is {}. An admin can change that: driftless schema COLLECTION set \
             PREFIX {}",
            word(policy),
            word(&Policy::Merge(merge.clone()))
        )),
        Refusal::NotMergeable(merge) => {
            let how = match merge {
                Merge::Counter => "put a decimal number, or use driftless add",
                Merge::Set => "use driftless set-add and driftless set-remove",
                Merge::Fields => "use driftless field set and driftless field unset",
                _ => return None,
            };
            Some(format!("{refusal}: {how}"))
        }
        Refusal::NoAnswer(reason) => Some(match &**reason {
            NoAnswer::TakesNone(row, policy) => format!(
                "the row {row} takes no answer, since its policy is {} now: write it with driftless put or \
                 driftless delete",
                word(policy)
            ),
            NoAnswer::NoConflict(row) => format!(
                "the row {row} is in no conflict any more: look at it with driftless get, and write it like any other"
            ),
            _ => CHANGED.to_owned(),
        }),
        Refusal::Precondition { .. } => Some(CHANGED.to_owned()),
        _ => None,
    }
}

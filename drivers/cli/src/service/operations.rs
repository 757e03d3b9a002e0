//! Operations, as requests name them and as the history tells them.

use driftless::Operation;
use driftless_tokio::Node;

use super::find;
use crate::protocol::{CollectionRef, OperationText, Problem};

/// Changes a merging row.
pub(super) async fn operate(
    node: &Node,
    of: &CollectionRef,
    key: &[u8],
    operations: Vec<OperationText>,
) -> Result<(), Problem> {
    let collection = find(node, of).await?;
    let mut batch = collection.database().batch();
    for operation in operations {
        batch.operate(&collection, key, from_text(operation));
    }
    batch.commit().await?;
    Ok(())
}

fn from_text(operation: OperationText) -> Operation {
    match operation {
        OperationText::Add { amount } => Operation::Add(amount),
        OperationText::Insert { element } => Operation::Insert(element.into()),
        OperationText::Remove { element } => Operation::Remove(element.into()),
        OperationText::Field { path, value: Some(value) } => {
            Operation::SetField { path, value: value.into() }
        }
        OperationText::Field { path, value: None } => Operation::RemoveField { path },
        OperationText::Named { merge, operation } => Operation::Named { merge, operation: operation.into() },
    }
}

/// What an operation does; `None` if it is of a kind that this command does not know.
pub(super) fn text(operation: Operation) -> Option<OperationText> {
    Some(match operation {
        Operation::Add(amount) => OperationText::Add { amount },
        Operation::Insert(element) => OperationText::Insert { element: element.into() },
        Operation::Remove(element) => OperationText::Remove { element: element.into() },
        Operation::SetField { path, value } => OperationText::Field { path, value: Some(value.into()) },
        Operation::RemoveField { path } => OperationText::Field { path, value: None },
        Operation::Named { merge, operation } => OperationText::Named { merge, operation: operation.into() },
        _ => return None,
    })
}

//! What a row would show after changes that are not written yet.

use bytes::Bytes;

use super::names::Names;
use super::{Collection, state};
use crate::action::Refusal;
use crate::batch::edited::EditedRow;
use crate::batch::{check_operation, check_value};
use crate::event::Edit;
use crate::id::{Author, DeviceId, Incarnation};
use crate::log::record::Content;
use crate::store::{Fault, View};

/// What readers would see of a row if a batch with these changes of it, in this order, were written on top of
/// this view; `None` if it would not be there. An application that reads what it is about to write reads by
/// this.
///
/// ```
/// # use driftless::store::MemStore;
/// # use driftless::{Edit, Operation, read};
/// # fn look(store: &MemStore, stock: &read::Collection) -> Result<(), driftless::Fault> {
/// let edits = [Edit::Operate(Operation::Add(-3))];
/// match read::edited(store, stock, b"apples", &edits)? {
///     Ok(value) => println!("there would be {value:?}"),
///     Err(refusal) => println!("it cannot be written: {refusal}"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Fault`] if the store cannot say; [`Refusal`] if the core would refuse one of the changes.
pub fn edited(
    view: &dyn View,
    collection: &Collection,
    key: &[u8],
    edits: &[Edit],
) -> Result<Result<Option<Bytes>, Refusal>, Fault> {
    let state = state(view, collection, key)?;
    let mut names = Names::new(view, collection);
    let policy = names.policy(key)?;
    let bases = state.bases(names.authors_of(&state)?);
    let functions = &collection.merges.0;
    // It stands for this device: whose number it is does not matter to what is shown.
    let author = Author { device: DeviceId([0; 16]), incarnation: Incarnation(0) };
    let row = EditedRow { state: &state, bases: &bases, functions, author };
    let mut content: Option<Content> = None;
    for edit in edits {
        let next = match edit {
            Edit::Put(value) => check_value(&policy, value).map(|()| Content::Put(value.clone())),
            Edit::Delete => Ok(Content::Delete),
            Edit::Operate(operation) => check_operation(&policy, operation)
                .and_then(|()| row.operate(content.as_ref(), operation.clone())),
        };
        match next {
            Ok(next) => content = Some(next),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(match &content {
        Some(content) => row.shown(content),
        None => names.value(key, &state)?,
    }))
}

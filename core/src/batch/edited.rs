//! One row in a batch: what several changes of it come to together, and what it will show.

use bytes::Bytes;

use crate::action::Refusal;
use crate::id::{Author, Version};
use crate::limits;
use crate::log::record::Content;
use crate::object::RowState;
use crate::resolve::Operation;
use crate::resolve::merge::{self, Base, Fold, Functions, Merge, Operations};
use crate::time::Hlc;

/// Above all stamps that there are: what a batch does comes last.
const LAST: Hlc = Hlc(u64::MAX);

/// A row as the batch finds it.
pub(crate) struct EditedRow<'a> {
    pub(crate) state: &'a RowState,
    pub(crate) bases: &'a [Base],
    pub(crate) functions: &'a Functions,
    /// Who writes the batch.
    pub(crate) author: Author,
}

impl EditedRow<'_> {
    /// What an operation comes to after what the same batch does to the row before.
    pub(crate) fn operate(&self, before: Option<&Content>, operation: Operation) -> Result<Content, Refusal> {
        let merge = operation.merge();
        let value = match before {
            None | Some(Content::Operate(_)) => {
                let inserted_by = |element: &[u8]| merge::inserted_by(self.folds(), self.bases, element);
                let more = Operations::prepare(operation, inserted_by);
                let operations = match before {
                    Some(Content::Operate(before)) => {
                        let mut joined = before.clone();
                        joined.join(more).map_err(|_| Refusal::Unjoinable)?;
                        joined
                    }
                    _ => more,
                };
                let size = self.state.to_bytes().len() + operations.to_bytes().len();
                if size > limits::MAX_VALUE {
                    return Err(Refusal::ValueTooLong { size });
                }
                return Ok(Content::Operate(operations));
            }
            Some(Content::Delete) => None,
            Some(Content::Put(value)) => Some(value.clone()),
        };
        // The row is what this batch has made of it so far: nobody can have changed it meanwhile.
        let bases = [Base { stamp: LAST, version: self.version(0), value }];
        let operations = Operations::prepare(operation, |element| merge::inserted_by(&[], &bases, element));
        let mut folds = alloc::vec::Vec::new();
        merge::take(&mut folds, &operations, LAST, self.version(1));
        if let Merge::Named(name) = &merge
            && !self.functions.iter().any(|function| function.name() == name.as_str())
        {
            // Nobody here can tell what the row becomes, and the operation would be lost.
            return Err(Refusal::Unjoinable);
        }
        let value = merge::shown(&merge, &bases, &folds, self.functions);
        let size = value.as_ref().map_or(0, Bytes::len);
        if size > limits::MAX_VALUE {
            return Err(Refusal::ValueTooLong { size });
        }
        Ok(value.map_or(Content::Delete, Content::Put))
    }

    /// What readers will see of the row once the batch is written.
    pub(crate) fn shown(&self, content: &Content) -> Option<Bytes> {
        match content {
            Content::Put(value) => Some(value.clone()),
            Content::Delete => None,
            Content::Operate(operations) => {
                let mut folds = self.folds().to_vec();
                merge::take(&mut folds, operations, LAST, self.version(u64::MAX));
                merge::shown(&operations.merge(), self.bases, &folds, self.functions)
            }
        }
    }

    fn folds(&self) -> &[Fold] {
        self.state.merging.as_ref().map_or(&[], |merging| &merging.folds)
    }

    fn version(&self, generation: u64) -> Version {
        Version { author: self.author, generation }
    }
}

//! The authors that a replica has met.

use alloc::vec::Vec;

use crate::id::Author;
use crate::small::SmallMap;
use crate::store::key::AuthorIx;

/// Authors and their local numbers, in the order in which they were first met.
#[derive(Debug, Clone, Default)]
pub(crate) struct Authors {
    list: Vec<Author>,
    index: SmallMap<Author, AuthorIx>,
}

impl Authors {
    pub(crate) fn find(&self, author: &Author) -> Option<AuthorIx> {
        self.index.get(author).copied()
    }

    pub(crate) fn get(&self, ix: AuthorIx) -> Option<Author> {
        self.list.get(ix as usize).copied()
    }

    pub(crate) fn push(&mut self, author: Author) {
        self.index.insert(author, self.list.len() as AuthorIx);
        self.list.push(author);
    }

    /// All of them, in their order.
    pub(super) fn into_list(self) -> Vec<Author> {
        self.list
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}

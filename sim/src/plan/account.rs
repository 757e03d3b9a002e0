//! Accounts: what a transfer takes from one it gives to another, in one batch.

use std::fmt;
use std::str::FromStr;

use driftless::{Merge, Policy};

use super::text::NotALabel;

/// An account: `c1/a3` is account 3 in collection 1, of the [ledger](Ledger) whose letter is `a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// In which collection.
    pub collection: u8,
    /// Its number.
    pub number: u8,
    /// To which ledger of its syncgroup it belongs.
    pub ledger: Ledger,
}

/// The accounts of a syncgroup that are kept in the same way. All of one ledger come to nothing together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ledger {
    /// `a`: one device alone writes to them. They are numbers that are put, and of which the last wins.
    Own,
    /// `b`: everybody writes to them. They are counters.
    Shared,
    /// `t`: everybody writes to them. They are numbers that are put, and whole batches win or lose.
    Whole,
}

impl Ledger {
    /// All there are.
    pub(crate) const ALL: [Ledger; 3] = [Ledger::Own, Ledger::Shared, Ledger::Whole];

    /// With what the keys of its accounts start.
    pub(crate) fn letter(self) -> char {
        match self {
            Ledger::Own => 'a',
            Ledger::Shared => 'b',
            Ledger::Whole => 't',
        }
    }

    /// Whether a key is that of one of its accounts.
    pub(crate) fn has(self, key: &[u8]) -> bool {
        key.first() == Some(&(self.letter() as u8))
    }

    /// What has to become of conflicts about its accounts.
    pub(crate) fn policy(self) -> Policy {
        match self {
            Ledger::Own => Policy::LastWins,
            Ledger::Shared => Policy::Merge(Merge::Counter),
            Ledger::Whole => Policy::BatchWins,
        }
    }
}

impl Account {
    /// The key of its row.
    pub(crate) fn key(self) -> String {
        format!("{}{}", self.ledger.letter(), self.number)
    }
}

/// What an account holds by the value of its row: a number, and perhaps a note.
pub(crate) fn balance(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.split(' ').next()?.parse().ok()
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}/{}", self.collection, self.key())
    }
}

impl FromStr for Account {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (collection, key) = text.strip_prefix('c')?.split_once('/')?;
            let ledger = Ledger::ALL.into_iter().find(|ledger| ledger.has(key.as_bytes()))?;
            let number = key.strip_prefix(ledger.letter())?.parse().ok()?;
            Some(Self { collection: collection.parse().ok()?, number, ledger })
        };
        parse().ok_or_else(|| NotALabel(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_back_as_they_are_written() {
        for text in ["c0/a3", "c12/b0", "c1/t7"] {
            assert_eq!(text.parse::<Account>().unwrap().to_string(), text);
        }
        assert!("c0/k3".parse::<Account>().is_err());
        assert!("c0/".parse::<Account>().is_err());
    }
}

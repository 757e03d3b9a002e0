//! What plans say of rows: changes, and rules of schemas, each as one word.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use driftless::{Elements, Fields, Merge, Name, Operation, Policy};

use super::text::{NotALabel, RowLabel};

/// A change of one row.
///
/// | text | what it does |
/// |---|---|
/// | `g0/c1/k3=40` | puts a text of 40 bytes |
/// | `g0/c1/k3-` | deletes |
/// | `g0/c1/k3=#12` | puts a number |
/// | `g0/c1/k3={a,b}` | puts a set |
/// | `g0/c1/k3=[x.y:3,z:1]` | puts fields |
/// | `g0/c1/k3+5`, `g0/c1/k3+-5` | adds to a counter |
/// | `g0/c1/k3+{a}`, `g0/c1/k3-{a}` | inserts into a set, removes from it |
/// | `g0/c1/k3.x.y=3`, `g0/c1/k3.x.y-` | sets a field, removes one |
/// | `g0/c1/k3*a` | appends |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which row.
    pub row: RowLabel,
    /// What becomes of it.
    pub what: What,
}

/// What an edit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Puts a text of so many bytes.
    Text(u32),
    /// Deletes.
    Delete,
    /// Puts a number.
    Number(i64),
    /// Puts a set.
    Elements(BTreeSet<String>),
    /// Puts fields.
    Fields(BTreeMap<Vec<String>, String>),
    /// Adds to a counter.
    Add(i64),
    /// Inserts into a set.
    Insert(String),
    /// Removes from a set.
    Remove(String),
    /// Sets a field.
    SetField(Vec<String>, String),
    /// Removes a field.
    RemoveField(Vec<String>),
    /// Appends.
    Append(String),
}

/// The name of the merge that joins what is appended.
pub(crate) fn joined() -> Name {
    #[allow(clippy::expect_used, reason = "letters, far shorter than the limit")]
    Name::new("joined").expect("a short word is a name")
}

impl What {
    /// How many bytes of text it puts.
    pub(crate) fn bytes(&self) -> Option<u32> {
        match self {
            What::Text(bytes) => Some(*bytes),
            _ => None,
        }
    }

    /// As replicas are told it; `text` is what a batch says.
    pub(crate) fn edit(&self, text: impl Fn(u32) -> Bytes) -> driftless::Edit {
        let bytes = |text: &String| Bytes::from(text.clone());
        driftless::Edit::Operate(match self {
            What::Text(len) => return driftless::Edit::Put(text(*len)),
            What::Delete => return driftless::Edit::Delete,
            What::Number(number) => return driftless::Edit::Put(number.to_string().into()),
            What::Elements(set) => {
                return driftless::Edit::Put(Elements(set.iter().map(bytes).collect()).to_bytes());
            }
            What::Fields(fields) => {
                let fields = fields.iter().map(|(path, value)| (path.clone(), bytes(value)));
                return driftless::Edit::Put(Fields(fields.collect()).to_bytes());
            }
            What::Add(amount) => Operation::Add(*amount),
            What::Insert(element) => Operation::Insert(bytes(element)),
            What::Remove(element) => Operation::Remove(bytes(element)),
            What::SetField(path, value) => Operation::SetField { path: path.clone(), value: bytes(value) },
            What::RemoveField(path) => Operation::RemoveField { path: path.clone() },
            What::Append(text) => Operation::Named { merge: joined(), operation: bytes(text) },
        })
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row;
        match &self.what {
            What::Text(bytes) => write!(f, "{row}={bytes}"),
            What::Delete => write!(f, "{row}-"),
            What::Number(number) => write!(f, "{row}=#{number}"),
            What::Elements(set) => {
                write!(f, "{row}={{{}}}", set.iter().map(String::as_str).collect::<Vec<_>>().join(","))
            }
            What::Fields(fields) => {
                let fields = fields.iter().map(|(path, value)| format!("{}:{value}", path.join(".")));
                write!(f, "{row}=[{}]", fields.collect::<Vec<_>>().join(","))
            }
            What::Add(amount) => write!(f, "{row}+{amount}"),
            What::Insert(element) => write!(f, "{row}+{{{element}}}"),
            What::Remove(element) => write!(f, "{row}-{{{element}}}"),
            What::SetField(path, value) => write!(f, "{row}.{}={value}", path.join(".")),
            What::RemoveField(path) => write!(f, "{row}.{}-", path.join(".")),
            What::Append(text) => write!(f, "{row}*{text}"),
        }
    }
}

impl FromStr for Edit {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotALabel(text.to_owned());
        // The row ends with the digits of its key.
        let key = text.rfind("/k").ok_or_else(wrong)? + 2;
        let rest = text.get(key..).unwrap_or_default();
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let (row, what) = text.split_at(key + end);
        Ok(Self { row: row.parse()?, what: what_of(what).ok_or_else(wrong)? })
    }
}

fn what_of(text: &str) -> Option<What> {
    let within = |text: &str, open, close| Some(text.strip_prefix(open)?.strip_suffix(close)?.to_owned());
    let word = |text: String| {
        let is_word = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_word.then_some(text)
    };
    let words =
        |text: &str, by: char| text.split(by).map(|part| word(part.to_owned())).collect::<Option<_>>();
    let path = |text: &str| words(text, '.').filter(|path: &Vec<String>| !path.is_empty());
    let (sign, rest) = (text.get(..1)?, text.get(1..)?);
    Some(match sign {
        "-" if rest.is_empty() => What::Delete,
        "-" => What::Remove(word(within(rest, '{', '}')?)?),
        "+" if rest.starts_with('{') => What::Insert(word(within(rest, '{', '}')?)?),
        "+" => What::Add(rest.parse().ok()?),
        "*" => What::Append(word(rest.to_owned())?),
        "." => match rest.split_once('=') {
            Some((names, value)) => What::SetField(path(names)?, word(value.to_owned())?),
            None => What::RemoveField(path(rest.strip_suffix('-')?)?),
        },
        "=" if rest.starts_with('#') => What::Number(rest.get(1..)?.parse().ok()?),
        "=" if rest == "{}" => What::Elements(BTreeSet::new()),
        "=" if rest.starts_with('{') => What::Elements(
            words(&within(rest, '{', '}')?, ',').map(|list: Vec<String>| list.into_iter().collect())?,
        ),
        "=" if rest == "[]" => What::Fields(BTreeMap::new()),
        "=" if rest.starts_with('[') => {
            let field = |field: &str| {
                let (names, value) = field.split_once(':')?;
                Some((path(names)?, word(value.to_owned())?))
            };
            What::Fields(within(rest, '[', ']')?.split(',').map(field).collect::<Option<_>>()?)
        }
        "=" => What::Text(rest.parse().ok()?),
        _ => return None,
    })
}

/// A rule of a schema, by the start of the keys: `k1=counter`; `=app` is for all rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleText {
    /// Rows whose keys start so.
    pub prefix: String,
    /// What becomes of their conflicts.
    pub policy: Policy,
}

/// The policies that plans know, by their names.
pub(crate) fn policies() -> [(&'static str, Policy); 8] {
    [
        ("last", Policy::LastWins),
        ("defer", Policy::Defer),
        ("app", Policy::AppResolves),
        ("batch", Policy::BatchWins),
        ("counter", Policy::Merge(Merge::Counter)),
        ("set", Policy::Merge(Merge::Set)),
        ("fields", Policy::Merge(Merge::Fields)),
        ("joined", Policy::Merge(Merge::Named(joined()))),
    ]
}

impl fmt::Display for RuleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = policies().into_iter().find(|(_, policy)| *policy == self.policy);
        write!(f, "{}={}", self.prefix, named.map_or("last", |(name, _)| name))
    }
}

impl FromStr for RuleText {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotALabel(text.to_owned());
        let (prefix, name) = text.split_once('=').ok_or_else(wrong)?;
        let named = policies().into_iter().find(|(known, _)| *known == name);
        Ok(Self { prefix: prefix.to_owned(), policy: named.ok_or_else(wrong)?.1 })
    }
}

/// A change of one rule: `k1=counter` sets it, `k1=none` takes it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleChange {
    /// Rows whose keys start so.
    pub prefix: String,
    /// What becomes of their conflicts from then on; `None` is what the other rules say.
    pub policy: Option<Policy>,
}

impl fmt::Display for RuleChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.prefix.clone();
        match self.policy.clone() {
            Some(policy) => RuleText { prefix, policy }.fmt(f),
            None => write!(f, "{prefix}=none"),
        }
    }
}

impl FromStr for RuleChange {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(prefix) = text.strip_suffix("=none") {
            return Ok(Self { prefix: prefix.to_owned(), policy: None });
        }
        let RuleText { prefix, policy } = text.parse()?;
        Ok(Self { prefix, policy: Some(policy) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_read_back_as_it_is_written() {
        for text in [
            "g0/c1/k3=40",
            "g0/c1/k3-",
            "g0/c1/k3=#-12",
            "g0/c1/k3={a,b}",
            "g0/c1/k3={}",
            "g0/c1/k3=[x.y:3,z:1]",
            "g0/c1/k3=[]",
            "g0/c1/k3+5",
            "g0/c1/k3+-5",
            "g0/c1/k3+{a}",
            "g0/c1/k3-{a}",
            "g0/c1/k3.x.y=3",
            "g0/c1/k3.x.y-",
            "g0/c1/k3*a",
        ] {
            assert_eq!(text.parse::<Edit>().unwrap().to_string(), text);
        }
        for wrong in
            ["g0/c1/k3", "g0/c1/k3+", "g0/c1/k3+{}", "g0/c1/k3.=3", "g0/c1/k3.x", "g0/c1/k3={a", "k3-"]
        {
            assert!(wrong.parse::<Edit>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn rules_are_read_back_as_they_are_written() {
        for text in ["k1=counter", "=app", "b=joined", "=last"] {
            assert_eq!(text.parse::<RuleText>().unwrap().to_string(), text);
        }
        assert!("k1=maybe".parse::<RuleText>().is_err());
        for text in ["k1=counter", "k1=none", "=none"] {
            assert_eq!(text.parse::<RuleChange>().unwrap().to_string(), text);
        }
        assert!("none".parse::<RuleChange>().is_err());
    }
}

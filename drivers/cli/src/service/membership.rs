//! What an admin decides about members.

use driftless::{DeviceId, Member, Rights, User, Wall};
use driftless_tokio::Syncgroup;

use crate::protocol::Problem;

/// The shortest start of an id that names somebody.
const SHORTEST: usize = 4;

/// Whose rights can be changed.
#[derive(Clone)]
pub(super) enum Holder {
    Device(DeviceId),
    User(User),
}

/// Somebody who may be meant by a text.
pub(super) struct Candidate<T> {
    who: T,
    /// What comes before the id where it is listed.
    kind: &'static str,
    id: String,
    name: String,
    is_current: bool,
}

/// Who is meant where somebody who is no member any more is called as somebody who is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Former {
    /// Whoever is one: that is whom something can be taken from.
    GivesWay,
    /// Neither: something can be given to both, and whoever is one may have taken the other's name to get it.
    RanksAlike,
}

impl<T> Candidate<T> {
    /// How far a text is from meaning this one; `None` if it cannot. Whoever has a name chose it, so a whole id comes
    /// before all names.
    fn distance(&self, text: &str, former: Former) -> Option<u8> {
        let is_called = self.name == text || text.len() >= SHORTEST && self.id.starts_with(text);
        match self.is_current || former == Former::RanksAlike {
            _ if self.id == text => Some(0),
            true => is_called.then_some(1),
            false => is_called.then_some(2),
        }
    }
}

pub(super) fn devices<'m, T>(
    members: impl IntoIterator<Item = &'m Member>,
    who: impl Fn(DeviceId) -> T,
) -> impl Iterator<Item = Candidate<T>> {
    members.into_iter().map(move |member| Candidate {
        who: who(member.device),
        kind: "",
        id: member.device.to_string(),
        name: member.name.to_string(),
        // Whose time is over has been no less than a member, and can be one again.
        is_current: member.rights.is_some() || member.expired,
    })
}

fn users(users: Vec<User>) -> impl Iterator<Item = Candidate<Holder>> {
    users.into_iter().map(|user| Candidate {
        kind: "user ",
        id: user.user.to_string(),
        name: user.name.to_string(),
        is_current: user.rights.is_some() || user.expired,
        who: Holder::User(user),
    })
}

/// The one that is meant by a text: an id, the start of one, or a name; `None` if that is nobody.
pub(super) fn choose<T: Clone>(
    candidates: &[Candidate<T>],
    text: &str,
    former: Former,
) -> Result<Option<T>, Problem> {
    let nearest = candidates.iter().filter_map(|it| it.distance(text, former)).min();
    let is_meant = |it: &&Candidate<T>| nearest.is_some() && it.distance(text, former) == nearest;
    let mut found: Vec<_> = candidates.iter().filter(is_meant).collect();
    // Several syncgroups may have the same one, by several names.
    found.sort_by_key(|it| (it.kind, &it.id));
    found.dedup_by_key(|it| (it.kind, &it.id));
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.who.clone())),
        _ => {
            let message = format!("\"{text}\" can be {}; give the id", listed(&found));
            Err(Problem { refused: false, message })
        }
    }
}

/// As [`choose`], of the members of a syncgroup.
fn choose_member<T: Clone>(candidates: &[Candidate<T>], text: &str, former: Former) -> Result<T, Problem> {
    choose(candidates, text, former)?.ok_or_else(|| {
        let present: Vec<_> = candidates.iter().filter(|it| it.is_current).collect();
        let message = format!("no member is called \"{text}\"; the members are: {}", listed(&present));
        Problem { refused: false, message }
    })
}

fn listed<T>(candidates: &[&Candidate<T>]) -> String {
    let one = |it: &&Candidate<T>| format!("{}{} ({})", it.kind, it.id, it.name);
    candidates.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The member that is meant by a text.
pub(super) async fn find_member(syncgroup: &Syncgroup, text: &str) -> Result<DeviceId, Problem> {
    let members = syncgroup.members().await?;
    choose_member(&devices(&members, |device| device).collect::<Vec<_>>(), text, Former::GivesWay)
}

/// The member, or the user, that is meant by a text. Users choose their names, too: neither comes before the other.
pub(super) async fn find_holder(
    syncgroup: &Syncgroup,
    text: &str,
    former: Former,
) -> Result<Holder, Problem> {
    let (members, all) = (syncgroup.members().await?, syncgroup.users().await?);
    choose_member(&devices(&members, Holder::Device).chain(users(all)).collect::<Vec<_>>(), text, former)
}

/// Gives a member other rights, or none.
pub(super) async fn set_rights(
    syncgroup: &Syncgroup,
    device: DeviceId,
    wanted: Option<(Rights, Option<Wall>)>,
) -> Result<(), Problem> {
    match wanted {
        Some((rights, None)) => syncgroup.set_rights(device, rights).await?,
        Some((rights, Some(ends))) => syncgroup.set_rights_until(device, rights, ends).await?,
        None => syncgroup.eject(device).await?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_means_one_or_nobody() {
        let one = |id: &str, name: &str, is_current| Candidate {
            who: id.to_owned(),
            kind: "",
            id: id.to_owned(),
            name: name.to_owned(),
            is_current,
        };
        let all = [
            one("0011aa", "laptop", true),
            one("0011bb", "laptop", false),
            one("2233cc", "0011aa", true),
            one("4455dd", "phone", true),
            one("6677ee", "phone", true),
            one("8899ff", "tablet", false),
        ];
        let chosen = |text| choose_member(&all, text, Former::GivesWay).map_err(|problem| problem.message);
        // By a whole id, whatever others are called; by a name, and by the start of an id; not by a shorter one.
        assert_eq!(chosen("0011aa").as_deref(), Ok("0011aa"));
        assert_eq!(chosen("0011bb").as_deref(), Ok("0011bb"));
        assert_eq!(chosen("8899").as_deref(), Ok("8899ff"));
        assert_eq!(chosen("tablet").as_deref(), Ok("8899ff"));
        assert!(chosen("889").is_err_and(|why| why.contains("members are") && !why.contains("8899ff")));
        // Who was one gives way; two that are equal both do.
        assert_eq!(chosen("laptop").as_deref(), Ok("0011aa"));
        assert!(chosen("phone").is_err_and(|why| why.contains("4455dd") && why.contains("6677ee")));
        // Who was one does not give way where it can be let in again.
        let chosen = |text| choose_member(&all, text, Former::RanksAlike).map_err(|problem| problem.message);
        assert!(chosen("laptop").is_err_and(|why| why.contains("0011aa") && why.contains("0011bb")));
        assert_eq!(chosen("0011bb").as_deref(), Ok("0011bb"));
        assert_eq!(chosen("tablet").as_deref(), Ok("8899ff"));
    }
}

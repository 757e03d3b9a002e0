//! Answers requests on a node: the one place where commands meet the engine, whether they come over the control
//! socket or from within the process.

use driftless::read::prefix_end;
use driftless::{
    IncompleteBatch, Invitation, JoinRefusal, Member, Merge, Policy, Refusal, Rights, Rule, Split,
    SyncgroupInfo, SyncgroupState, User, Wall,
};
use driftless_tokio::{Collection, Database, Error, InviteOptions, Node, Range, Row, Syncgroup};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;

use crate::protocol::{
    self, Change, CollectionRef, IncompleteText, Kind, LinkText, MemberText, Problem, Request, Response,
    RowText, StatusText, SyncgroupRef, SyncgroupText, TrafficText,
};

mod about;
mod conflicts;
mod create;
mod history;
mod key;
mod membership;
mod operations;
mod publish;
mod resolve;
mod schema;
mod users;
mod watch;
mod who;

use self::membership::{Former, Holder};
pub(crate) use self::schema::word as policy_word;

/// Rows in one item of a scan; fewer if they are large.
const PAGE_ROWS: usize = 512;
/// Bytes of keys and values after which an item is full.
const PAGE_BYTES: usize = 256 << 10;

/// Answers a request: its items, and at last [`Response::End`] or [`Response::Error`]. It ends early when nobody
/// takes the items any more.
///
/// Nearly all of it reads, which waits for the disk and must not hold up the executor: so it has a thread of its own.
pub async fn answer(node: &Node, request: Request, out: &Sender<Response>) {
    let (node, items_out, handle) = (node.clone(), out.clone(), Handle::current());
    let answering = tokio::task::spawn_blocking(move || {
        handle.block_on(async {
            tokio::select! {
                answered = items(&node, request, &items_out) => answered,
                // Nobody aborts a thread.
                () = items_out.closed() => Ok(()),
            }
        })
    });
    let last = match answering.await {
        Ok(Ok(())) => Response::End,
        Ok(Err(problem)) => Response::Error(problem),
        Err(error) => Response::Error(problem(false, &error)),
    };
    // Who asked may have gone; then there is nobody to tell.
    let _ = out.send(last).await;
}

async fn items(node: &Node, request: Request, out: &Sender<Response>) -> Result<(), Problem> {
    match request {
        Request::Write { of, changes } => write(node, &of, changes).await,
        Request::Get { of, key } => {
            let collection = find(node, &of).await?;
            let rules = collection.schema()?;
            let row = collection.get(&key)?.map(|row| row_text(row, &rules, true));
            tell(out, Response::Row { row }).await
        }
        Request::Scan { of, range, values } => scan(node, &of, range, values, out).await,
        Request::Operate { of, key, operations } => operations::operate(node, &of, &key, operations).await,
        Request::Count { of, range } => {
            let (collection, range) = (find(node, &of).await?, to_range(range));
            tell(out, Response::Count { rows: collection.count(range)? }).await
        }
        Request::Watch { of, prefix, from } => watch::watch(node, &of, &prefix, from, out).await,
        Request::Schema { of } => schema::show(node, &of, out).await,
        Request::SetRule { of, prefix, policy } => schema::set_rule(node, &of, prefix, policy, out).await,
        Request::Conflicts { of, prefix, limit, brief } => {
            conflicts::list(node, &of, prefix, limit, brief, out).await
        }
        Request::Resolve { of, answers, key_base64, state, leave_others } => {
            let asked = resolve::Asked { answers, key_base64, state, leave_others };
            resolve::resolve(node, &of, asked, out).await
        }
        Request::History { of, key, limit } => history::history(node, &of, &key, limit, out).await,
        Request::CreateSyncgroup { database, name, collections, another } => {
            let database = node.database(database.as_str())?;
            if !another {
                create::check(&database, &name, &collections).await?;
            }
            let collections: Vec<&str> = collections.iter().map(driftless::Name::as_str).collect();
            let made = database.create_syncgroup(name.as_str(), &collections).await?;
            tell_syncgroup(&made, out).await
        }
        Request::AddCollection { of, collection } => {
            let syncgroup = find_syncgroup(node, &of).await?;
            syncgroup.create_collection(collection.as_str()).await?;
            tell_syncgroup(&syncgroup, out).await
        }
        Request::Invite { of, rights, ends, valid_for, reusable } => {
            let options = InviteOptions { rights, valid_for, reusable, ends: ends.map(Wall) };
            let made = find_syncgroup(node, &of).await?.invite(options).await?;
            let addresses = made.addresses().iter().map(ToString::to_string).collect();
            tell(out, Response::Invitation { invitation: made.to_string(), addresses }).await
        }
        Request::Join { database, invitation, timeout } => {
            let invitation: Invitation = invitation.parse().map_err(|error| problem(false, &error))?;
            let joined = node.database(database.as_str())?.join(&invitation, timeout).await?;
            tell_syncgroup(&joined, out).await
        }
        Request::Leave { of } => {
            let syncgroup = find_syncgroup(node, &of).await?;
            syncgroup.leave().await?;
            tell_syncgroup(&syncgroup, out).await
        }
        Request::SetRights { of, device, rights, ends } => {
            let wanted = rights.map(|rights| (rights, ends.map(Wall)));
            let syncgroup = find_syncgroup(node, &of).await?;
            let former = if rights.is_some() { Former::RanksAlike } else { Former::GivesWay };
            let device = match membership::find_holder(&syncgroup, &device, former).await? {
                Holder::Device(device) => device,
                Holder::User(user) => return users::set_rights(&syncgroup, &user, wanted, out).await,
            };
            membership::set_rights(&syncgroup, device, wanted).await?;
            let (members, users) = (syncgroup.members().await?, syncgroup.users().await?);
            let member = members.iter().find(|member| member.device == device);
            match member {
                Some(member) => tell(out, Response::Member(member_text(node, member, &users))).await,
                None => Ok(()),
            }
        }
        Request::About { of } => tell_syncgroup(&find_syncgroup(node, &of).await?, out).await,
        Request::Describe { of, description, meet, meet_here, unless_changed } => {
            let syncgroup = find_syncgroup(node, &of).await?;
            let meet = about::places(&syncgroup, meet, meet_here).await?;
            about::describe(&syncgroup, description, meet, unless_changed).await?;
            tell_syncgroup(&syncgroup, out).await
        }
        Request::Publish { of, device, rights, at } => {
            publish::publish(node, &of, (device, rights), &at, out).await
        }
        Request::Offers => publish::offers(node, out).await,
        Request::Decline { invitation } => publish::decline(node, &invitation).await,
        Request::SetOpen { of, rights, ends } => {
            let syncgroup = find_syncgroup(node, &of).await?;
            match rights {
                Some(rights) => syncgroup.open(rights, ends.map(Wall)).await?,
                None => syncgroup.close().await?,
            }
            tell_syncgroup(&syncgroup, out).await
        }
        Request::Destroy { of } => {
            let syncgroup = find_syncgroup(node, &of).await?;
            syncgroup.destroy().await?;
            tell_syncgroup(&syncgroup, out).await
        }
        Request::Syncgroups { database } => {
            for info in node.database(database.as_str())?.syncgroups().await? {
                tell(out, Response::Syncgroup(syncgroup_text(info))).await?;
            }
            Ok(())
        }
        Request::Members { of } => {
            let syncgroup = find_syncgroup(node, &of).await?;
            let users = syncgroup.users().await?;
            for member in syncgroup.members().await? {
                tell(out, Response::Member(member_text(node, &member, &users))).await?;
            }
            Ok(())
        }
        Request::User(request) => users::answer(node, *request, out).await,
        Request::Status => tell(out, Response::Status(status(node).await?)).await,
        Request::RotateKey(new) => {
            let chain = node.take_key(key::read(&new)?).await?;
            let (device, key) = (chain.device().to_string(), chain.current().to_string());
            tell(out, Response::KeyRotated { device, key, rollovers: chain.rollovers() as u64 }).await
        }
        Request::Reissue => {
            let it = node.reissue().await?;
            let (batches, dropped) = (it.batches as u64, it.dropped as u64);
            tell(out, Response::Reissued { author: it.author.to_string(), batches, dropped }).await
        }
        Request::SetOnline { on } => {
            node.set_online(on);
            Ok(())
        }
        Request::SetPaused { database, paused } => {
            let database = node.database(database.as_str())?;
            let noted = if paused { database.pause().await } else { database.resume().await };
            Ok(noted?)
        }
    }
}

async fn write(node: &Node, of: &CollectionRef, changes: Vec<Change>) -> Result<(), Problem> {
    let collection = find(node, of).await?;
    let mut batch = collection.database().batch();
    for Change { key, value } in changes {
        match value {
            Some(value) => batch.put(&collection, key, value),
            None => batch.delete(&collection, key),
        };
    }
    batch.commit().await?;
    Ok(())
}

async fn scan(
    node: &Node,
    of: &CollectionRef,
    range: protocol::Range,
    values: bool,
    out: &Sender<Response>,
) -> Result<(), Problem> {
    let collection = find(node, of).await?;
    let rules = collection.schema()?;
    let mut rows = collection.scan(to_range(range))?;
    loop {
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < PAGE_ROWS && bytes < PAGE_BYTES {
            let Some(row) = rows.next().transpose()? else { break };
            bytes += row.key.len() + if values { row.value.len() } else { 0 };
            page.push(row_text(row, &rules, values));
        }
        if page.is_empty() {
            return Ok(());
        }
        tell(out, Response::Rows { rows: page }).await?;
    }
}

async fn status(node: &Node) -> Result<StatusText, Problem> {
    let status = node.status().await?;
    let links = status.replica.links.iter().map(|link| LinkText {
        device: link.device.to_string(),
        shared: link.shared as u64,
        agreed: link.agreed,
    });
    Ok(StatusText {
        device: status.replica.device.to_string(),
        addresses: status.listening.iter().map(ToString::to_string).collect(),
        online: status.online,
        key_ended: status.replica.key_ended.map(|key| key.to_string()),
        ahead_ms: status.ahead.map(|ahead| u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX)),
        links: links.collect(),
        wanted: status.replica.wanted.iter().map(ToString::to_string).collect(),
        incomplete: status.replica.incomplete.iter().map(incomplete_text).collect(),
        paused: status.replica.paused.iter().map(ToString::to_string).collect(),
        syncgroups: status.replica.syncgroups.into_iter().map(syncgroup_text).collect(),
        traffic: TrafficText {
            sent: status.traffic.wire_bytes_sent,
            received: status.traffic.wire_bytes_received,
            frames_sent: status.traffic.frames_sent,
            frames_received: status.traffic.frames_received,
        },
    })
}

fn incomplete_text(batch: &IncompleteBatch) -> IncompleteText {
    let explained = match batch.shown {
        None => "its rows are shown when the rest has come, or has not come for a minute",
        Some(Split::Time) => "the rest had not come for a minute",
        Some(Split::Number) => "more was waiting than this device waits for",
        Some(_) => "this device has left a syncgroup with a part of it",
    };
    IncompleteText {
        syncgroup: batch.syncgroup.to_string(),
        version: batch.version.to_string(),
        device: batch.version.author.device.to_string(),
        missing: batch.missing.iter().map(ToString::to_string).collect(),
        since_ms: batch.since.0,
        shown: batch.shown.is_some(),
        explained: explained.to_owned(),
    }
}

/// Hands an item over. Where nobody takes it, the request has been given up, and how it ends is told to nobody.
async fn tell(out: &Sender<Response>, item: Response) -> Result<(), Problem> {
    out.send(item).await.map_err(|_| Problem { refused: false, message: "nobody takes the answer".into() })
}

async fn tell_syncgroup(syncgroup: &Syncgroup, out: &Sender<Response>) -> Result<(), Problem> {
    tell(out, Response::Syncgroup(syncgroup_text(syncgroup.info().await?))).await
}

async fn find(node: &Node, of: &CollectionRef) -> Result<Collection, Problem> {
    let database = node.database(of.database.as_str())?;
    match &of.syncgroup {
        Some(name_or_id) => Ok(database.syncgroup(name_or_id).await?.collection(of.collection.as_str())?),
        None => Ok(database.collection(of.collection.as_str())?),
    }
}

async fn find_syncgroup(node: &Node, of: &SyncgroupRef) -> Result<Syncgroup, Problem> {
    let database: Database = node.database(of.database.as_str())?;
    Ok(database.syncgroup(&of.syncgroup).await?)
}

fn to_range(range: protocol::Range) -> Range {
    let from = range.from.unwrap_or_default().max(range.prefix.clone());
    let mut out = Range::starting(from);
    for end in [range.to, prefix_end(&range.prefix)].into_iter().flatten() {
        out = out.ending(end);
    }
    if range.reverse {
        out = out.reversed();
    }
    match range.limit {
        Some(limit) => out.limit(usize::try_from(limit).unwrap_or(usize::MAX)),
        None => out,
    }
}

fn row_text(row: Row, rules: &[Rule], value: bool) -> RowText {
    RowText {
        kind: kind(rules, &row.key),
        key: row.key.into(),
        value: if value { row.value.into() } else { Vec::new() },
        in_conflict: row.in_conflict,
    }
}

/// What the value of a row is, by the policy of the longest prefix.
fn kind(rules: &[Rule], key: &[u8]) -> Kind {
    let matching = rules.iter().filter(|rule| key.starts_with(&rule.prefix));
    match matching.max_by_key(|rule| rule.prefix.len()).map(|rule| &rule.policy) {
        Some(Policy::Merge(Merge::Counter)) => Kind::Counter,
        Some(Policy::Merge(Merge::Set)) => Kind::Set,
        Some(Policy::Merge(Merge::Fields)) => Kind::Fields,
        _ => Kind::Bytes,
    }
}

fn syncgroup_text(info: SyncgroupInfo) -> SyncgroupText {
    SyncgroupText {
        id: info.id.to_string(),
        name: info.name.map(|name| name.to_string()),
        database: info.database.to_string(),
        state: state_word(info.state),
        explained: explained(info.state),
        rights: info.rights.map(rights_word),
        until: info.ends.map(moment),
        open: info.open.map(|open| rights_word(open.rights)),
        open_until: info.open.and_then(|open| open.ends).map(moment),
        collections: info.collections.iter().map(ToString::to_string).collect(),
        members: info.members as u64,
        generations: info.generations,
        waiting: info.waiting,
        description: info.spec.description,
        meet: info.spec.rendezvous.iter().map(about::meet_text).collect(),
        version: info.spec_version.to_string(),
        publications: info.publications.iter().map(publish::publication_text).collect(),
    }
}

fn member_text(node: &Node, member: &Member, users: &[User]) -> MemberText {
    let user = users.iter().find(|user| member.user == Some(user.user));
    MemberText {
        this: member.device == node.device(),
        device: member.device.to_string(),
        name: member.name.to_string(),
        rights: member.rights.map(rights_word),
        until: member.ends.map(moment),
        expired: member.expired,
        removed: member.removed,
        rollovers: member.rollovers as u64,
        disputed: member.disputed,
        user: member.user.map(|user| user.to_string()),
        user_name: user.map(|user| user.name.to_string()),
    }
}

/// A moment, for people and programs.
fn moment(wall: Wall) -> String {
    crate::text::time(wall.0)
}

fn rights_word(rights: Rights) -> String {
    match rights {
        Rights::Read => "read",
        Rights::Write => "write",
        Rights::Admin => "admin",
    }
    .to_owned()
}

fn state_word(state: SyncgroupState) -> String {
    match state {
        SyncgroupState::Joining => "joining".to_owned(),
        SyncgroupState::Pending => "arriving".to_owned(),
        SyncgroupState::Active => "active".to_owned(),
        SyncgroupState::Leaving => "leaving".to_owned(),
        SyncgroupState::Left => "left".to_owned(),
        SyncgroupState::Removed => "removed".to_owned(),
        SyncgroupState::Expired => "expired".to_owned(),
        SyncgroupState::Refused(_) => "refused".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// What a word does not say, and what can be done.
fn explained(state: SyncgroupState) -> Option<String> {
    match state {
        SyncgroupState::Joining => {
            Some("not admitted yet: that needs driftless serve here, and an admin that can be reached".into())
        }
        SyncgroupState::Leaving => Some(
            "others may still count this device as a member: that ends when driftless serve runs here and an \
             admin can be reached"
                .into(),
        ),
        SyncgroupState::Refused(why) => Some(refusal(why)),
        SyncgroupState::Expired => Some(
            "the time is over for which this device was a member: what is here can be read; an admin can extend it: \
             driftless syncgroup grant"
                .into(),
        ),
        SyncgroupState::Removed => Some(
            "an admin has removed this device, or its user: what is here can be read; to be a member again, ask for an \
             invitation"
                .into(),
        ),
        _ => None,
    }
}

/// Why a device was not admitted, and what can be done.
pub(crate) fn refusal(why: JoinRefusal) -> String {
    match why {
        JoinRefusal::NotValid => format!("{why}; ask an admin for a new one: driftless syncgroup invite"),
        JoinRefusal::Full => format!("{why}; somebody must leave first"),
        // The others say it themselves.
        _ => why.to_string(),
    }
}

/// What to do about a refusal; `None` if it says that itself.
fn next_step(refusal: &Refusal) -> Option<String> {
    match refusal {
        // Not by an invitation: a member takes none.
        Refusal::Forbidden(to) => Some(format!(
            "this device lacks the right to {to} in the syncgroup; an admin can grant it: driftless syncgroup grant \
             SYNCGROUP DEVICE RIGHTS"
        )),
        Refusal::NotOpen => Some(format!(
            "{refusal}: driftless syncgroup open SYNCGROUP --rights PRESET; what everybody is granted is told by driftless \
             syncgroup about SYNCGROUP"
        )),
        Refusal::NoUser(user) => Some(format!(
            "nothing is granted to user {user} there; an admin can: driftless syncgroup invite, and driftless syncgroup \
             join on a device of the user"
        )),
        Refusal::DeviceOf { device, user } => Some(format!(
            "device {device} is a member as one of user {user}'s: the user can strike it off, driftless device revoke; \
             and driftless syncgroup eject SYNCGROUP {user} removes the user with all its devices"
        )),
        Refusal::Expired(end) => Some(format!(
            "the time for which this device may do that was over at {}: what it has can be read, and an admin can extend \
             it: driftless syncgroup grant SYNCGROUP DEVICE RIGHTS",
            moment(*end)
        )),
        Refusal::InThePast(end) => {
            Some(format!("{} lies in the past; name a time that is still to come", moment(*end)))
        }
        Refusal::Certificate(why) => Some(format!(
            "the certificate is not valid: {why}. Make another where the user's key is: driftless device add KEY NAME"
        )),
        Refusal::Invitation(why) if why.contains("devices of") => Some(format!(
            "the invitation is not valid: {why}. On a device of that user: driftless device join PASS"
        )),
        refusal => schema::next_step(refusal),
    }
}

fn problem(refused: bool, error: &dyn std::fmt::Display) -> Problem {
    Problem { refused, message: error.to_string() }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let message = match &error {
            Error::UnknownCollection { name, .. } => format!(
                "{error}. Create it with: driftless syncgroup create NAME \"{name}\", or, in a syncgroup that is \
                 there: driftless syncgroup add-collection SYNCGROUP \"{name}\""
            ),
            Error::AmbiguousCollection { name, candidates, .. } => {
                let choices = candidates.iter().map(|id| format!("--syncgroup {:.12}", id.to_string()));
                format!(
                    "several syncgroups here have a collection \"{name}\": choose one by {}; driftless syncgroup \
                     list tells more of them",
                    choices.collect::<Vec<_>>().join(" or ")
                )
            }
            Error::UnknownSyncgroup { .. } => {
                format!(
                    "{error}. Create one with: driftless syncgroup create NAME, or join one by an invitation"
                )
            }
            Error::Refused(refusal) => next_step(refusal).unwrap_or_else(|| error.to_string()),
            Error::JoinRefused(why) => format!("the request to join was refused: {}", refusal(*why)),
            _ => error.to_string(),
        };
        let refused = match &error {
            Error::Refused(refusal) => !matches!(
                refusal,
                Refusal::KeyTooLong { .. } | Refusal::ValueTooLong { .. } | Refusal::BatchTooLarge { .. }
            ),
            Error::JoinRefused(_) | Error::JoinGivenUp { .. } | Error::JoinTimeout { .. } => true,
            _ => false,
        };
        Self { refused, message }
    }
}

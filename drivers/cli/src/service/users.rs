//! Users with several devices, on a node.

use driftless::{
    Certificate, Incarnation, Invitation, Member, Rights, SyncgroupInfo, SyncgroupState, UserId, Wall,
};
use driftless_tokio::{Database, Node, Syncgroup};
use tokio::sync::mpsc::Sender;

use super::membership::{Former, choose, devices};
use super::{member_text, moment, problem, rights_word, tell, tell_syncgroup};
use crate::protocol::{DrawnUp, Problem, Response, UserRequest, UserText};

pub(super) async fn answer(node: &Node, request: UserRequest, out: &Sender<Response>) -> Result<(), Problem> {
    match request {
        UserRequest::Device => {
            let (device, key) = (node.device().to_string(), node.public_key().to_string());
            tell(out, Response::Device { device, key }).await
        }
        UserRequest::AddDevice { database, certificate, own, valid_for } => {
            let database = node.database(database.as_str())?;
            for (syncgroup, info) in active(&database).await? {
                if !brings_user(&syncgroup, &info, &own).await? {
                    continue;
                }
                syncgroup.enrol(&own).await?;
                syncgroup.enrol(&certificate).await?;
                let made = syncgroup.invite_device(certificate.user(), valid_for).await?;
                let addresses = made.addresses().iter().map(ToString::to_string).collect();
                tell(out, Response::Invitation { invitation: made.to_string(), addresses }).await?;
            }
            Ok(())
        }
        UserRequest::Join { database, invitation, certificate, timeout } => {
            let invitation: Invitation = invitation.parse().map_err(|error| problem(false, &error))?;
            let database = node.database(database.as_str())?;
            let joined = database.join_as(&invitation, &certificate, timeout).await?;
            tell_syncgroup(&joined, out).await
        }
        UserRequest::Devices { database, user } => {
            let user = parse_user(&user)?;
            for (syncgroup, info) in active(&node.database(database.as_str())?).await? {
                let (name, users) = (info.name.map(|name| name.to_string()), syncgroup.users().await?);
                for member in syncgroup.members().await?.iter().filter(|it| it.user == Some(user)) {
                    let (member, syncgroup) = (member_text(node, member, &users), info.id.to_string());
                    tell(out, Response::MemberOf { syncgroup, name: name.clone(), member }).await?;
                }
            }
            Ok(())
        }
        UserRequest::DrawUp { database, user, device } => {
            let (user, mut enrolled) = (parse_user(&user)?, Vec::new());
            for (syncgroup, info) in active(&node.database(database.as_str())?).await? {
                for member in syncgroup.members().await? {
                    // A device that is let in by itself as well still is the user's.
                    if let Some(known) = syncgroup.known_of(member.device, user).await? {
                        let drawn_up = drawn_up(&info, &member, known);
                        enrolled.push((member, drawn_up));
                    }
                }
            }
            // Those without rights, too: the id of one means no other one.
            let candidates: Vec<_> = devices(enrolled.iter().map(|(member, _)| member), |it| it).collect();
            let meant = choose(&candidates, &device, Former::GivesWay)?;
            enrolled.retain(|(member, _)| {
                Some(member.device) == meant && (member.rights.is_some() || member.expired)
            });
            if enrolled.is_empty() {
                let message = format!(
                    "the user has no device \"{device}\" that is a member of a syncgroup of this database: driftless \
                     device list tells which are"
                );
                return Err(Problem { refused: false, message });
            }
            for (_, drawn_up) in enrolled {
                tell(out, Response::DrawnUp(drawn_up)).await?;
            }
            Ok(())
        }
        UserRequest::StrikeOff { database, syncgroup, striking } => {
            let syncgroup = node.database(database.as_str())?.syncgroup(&syncgroup).await?;
            Ok(syncgroup.pass_on(striking).await?)
        }
    }
}

/// The syncgroups of a database of which this device is a member.
async fn active(database: &Database) -> Result<Vec<(Syncgroup, SyncgroupInfo)>, Problem> {
    let mut all = Vec::new();
    for info in database.syncgroups().await? {
        if info.state == SyncgroupState::Active {
            all.push((database.syncgroup(&info.id.to_string()).await?, info));
        }
    }
    Ok(all)
}

/// Whether something is granted to the user in a syncgroup, after this device has seen to that where it may.
async fn brings_user(
    syncgroup: &Syncgroup,
    info: &SyncgroupInfo,
    own: &Certificate,
) -> Result<bool, Problem> {
    let users = syncgroup.users().await?;
    // What was granted to the user until some time is not made more of here.
    let is_there = users.iter().any(|it| it.user == own.user() && (it.rights.is_some() || it.expired));
    if !is_there && info.rights == Some(Rights::Admin) {
        syncgroup.admit_user(own.user_key(), own.user_name(), Rights::Admin).await?;
        return Ok(true);
    }
    Ok(is_there)
}

/// What a device's striking-off has to say: see [`Syncgroup::known_of`].
type KnownOf = (u64, Vec<(Incarnation, u64)>);

fn drawn_up(info: &SyncgroupInfo, member: &Member, (number, until): KnownOf) -> DrawnUp {
    DrawnUp {
        syncgroup: info.id.to_string(),
        name: info.name.as_ref().map(ToString::to_string),
        device: member.device.to_string(),
        device_name: member.name.to_string(),
        number,
        until: until.into_iter().map(|(Incarnation(incarnation), last)| (incarnation, last)).collect(),
    }
}

fn parse_user(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|error| problem(false, &error))
}

/// Gives a user other rights, or none.
pub(super) async fn set_rights(
    syncgroup: &Syncgroup,
    user: &driftless::User,
    wanted: Option<(Rights, Option<Wall>)>,
    out: &Sender<Response>,
) -> Result<(), Problem> {
    match wanted {
        Some((rights, None)) => syncgroup.admit_user(user.key, &user.name, rights).await?,
        Some((rights, Some(ends))) => {
            syncgroup.admit_user_until(user.key, &user.name, rights, ends).await?;
        }
        None => syncgroup.eject_user(user.user).await?,
    }
    let (id, name) = (user.user.to_string(), user.name.to_string());
    let (rights, until) = (wanted.map(|(rights, _)| rights_word(rights)), wanted.and_then(|(_, ends)| ends));
    tell(out, Response::User(UserText { user: id, name, rights, until: until.map(moment) })).await
}

//! What an admin decides about members.

use driftless::{DeviceId, Rights};
use driftless_tokio::Syncgroup;

use crate::protocol::Problem;

/// The shortest start of an id that names a device.
const SHORTEST: usize = 4;

/// The member of an id, of the start of one, or of a name.
pub(super) async fn find_member(syncgroup: &Syncgroup, text: &str) -> Result<DeviceId, Problem> {
    let members = syncgroup.members().await?;
    let matches = |member: &&driftless::Member| {
        let id = member.device.to_string();
        id == text || member.name.as_str() == text || text.len() >= SHORTEST && id.starts_with(text)
    };
    // Who is none any more is only meant if nobody else can be.
    let mut found: Vec<_> = members.iter().filter(matches).collect();
    if found.iter().any(|member| member.rights.is_some()) {
        found.retain(|member| member.rights.is_some());
    }
    let listed = |members: &[&driftless::Member]| -> String {
        let one = |member: &&driftless::Member| format!("{} ({})", member.device, member.name);
        members.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    match found[..] {
        [member] => Ok(member.device),
        [] => {
            let present: Vec<_> = members.iter().filter(|member| member.rights.is_some()).collect();
            let message = format!("no member is called \"{text}\"; the members are: {}", listed(&present));
            Err(Problem { refused: false, message })
        }
        _ => {
            let message = format!("\"{text}\" can be {}; give the id", listed(&found));
            Err(Problem { refused: false, message })
        }
    }
}

/// Gives a member other rights, or none.
pub(super) async fn set_rights(
    syncgroup: &Syncgroup,
    device: DeviceId,
    rights: Option<Rights>,
) -> Result<(), Problem> {
    match rights {
        Some(rights) => syncgroup.set_rights(device, rights).await?,
        None => syncgroup.eject(device).await?,
    }
    Ok(())
}

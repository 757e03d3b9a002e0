//! `syncgroup about`: what members are told of a syncgroup, and who says it.

use anyhow::{Result, bail};

use super::syncgroup::{asked, reference, remark_how_others_learn};
use super::{Context, membership};
use crate::args::About;
use crate::protocol::{MeetText, PublicationText, Request, SyncgroupText};
use crate::session::Reach;
use crate::text;

pub(super) async fn about(context: &mut Context, args: About) -> Result<()> {
    let meets = args.meet_nobody || args.meet_here || !args.meet.is_empty();
    let changes = args.description.is_some() || meets;
    if !changes && args.unless_changed.is_some() {
        bail!("--unless-changed says when not to change something: say what, with --description or --meet");
    }
    let of = reference(context, args.syncgroup);
    let meet =
        meets.then(|| args.meet.into_iter().map(|(member, address)| MeetText { member, address }).collect());
    let request = match changes {
        true => Request::Describe {
            of,
            description: args.description,
            meet,
            meet_here: args.meet_here,
            unless_changed: args.unless_changed,
        },
        false => Request::About { of },
    };
    let session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    if args.meet_here && !served {
        session.close().await;
        bail!("this device listens nowhere that would last: start `driftless serve` here first");
    }
    let syncgroup = asked(context, session, request).await?;
    if !context.out.json {
        lines(&syncgroup).iter().try_for_each(|line| context.out.line(line))?;
    }
    if changes {
        remark_how_others_learn(context, served);
    }
    Ok(())
}

fn lines(syncgroup: &SyncgroupText) -> Vec<String> {
    let name = syncgroup.name.as_deref().unwrap_or("?");
    let mut lines = vec![format!("{} ({})", text::escape(name.as_bytes()), syncgroup.id)];
    match syncgroup.description.as_str() {
        "" => lines.push("nobody has said what it is for".to_owned()),
        description => lines.extend(description.lines().map(|line| text::escape(line.as_bytes()))),
    }
    for place in &syncgroup.meet {
        let (member, address) =
            (text::escape(place.member.as_bytes()), text::escape(place.address.as_bytes()));
        lines.push(format!("meet {member} at {address}"));
    }
    if syncgroup.open.is_some() {
        lines.push(membership::openness(syncgroup));
    }
    for publication in &syncgroup.publications {
        let PublicationText { device, rights, status, .. } = publication;
        lines.push(format!("published at {device}, which may {rights}: {status}"));
    }
    lines.push(format!("version {}", syncgroup.version));
    lines
}

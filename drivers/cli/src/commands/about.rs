//! `syncgroup about`: what members are told of a syncgroup, and who says it.

use anyhow::{Result, bail};

use super::Context;
use super::syncgroup::reference;
use crate::args::About;
use crate::protocol::{MeetText, Request, Response, SyncgroupText};
use crate::session::Reach;
use crate::text;

pub(super) async fn about(context: &mut Context, args: About) -> Result<()> {
    let changes = args.description.is_some() || args.meet_nobody || !args.meet.is_empty() || args.meet_here;
    if !changes && args.unless_changed.is_some() {
        bail!("--unless-changed says when not to change something: say what, with --description or --meet");
    }
    let of = reference(context, args.syncgroup);
    let meet = (args.meet_nobody || args.meet_here || !args.meet.is_empty())
        .then(|| args.meet.into_iter().map(|(member, address)| MeetText { member, address }).collect());
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
    let mut session = context.session(Reach::Alone).await?;
    let served = session.is_remote();
    if args.meet_here && !served {
        session.close().await;
        bail!("this device listens nowhere that would last: start `driftless serve` here first");
    }
    let answer = session.one(request).await;
    session.close().await;
    let Response::Syncgroup(syncgroup) = answer? else {
        bail!("the answer is not a syncgroup; this is a defect");
    };
    if context.out.json {
        context.out.object(&serde_json::to_value(&syncgroup)?)?;
    } else {
        lines(&syncgroup).iter().try_for_each(|line| context.out.line(line))?;
    }
    if changes && !served {
        context.out.remark("the others learn of it when a server runs here: driftless serve");
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
    lines.push(format!("version {}", syncgroup.version));
    lines
}

//! `serve`: holds the data directory, connects it to others, and answers the other commands.

use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

use anyhow::{Result, bail};
use driftless::{DeviceId, Name, Notice, SyncgroupState};
use driftless_tokio::{News, Node, Notices, Options};
use tracing_subscriber::EnvFilter;

use super::Context;
use crate::args::Serve;
use crate::control::Server;
use crate::service::refusal;
use crate::session::Session;

pub(super) async fn serve(context: &mut Context, args: Serve) -> Result<()> {
    start_log(context.global.quiet);
    // Only for opening the directory: who serves for weeks keeps no passphrase in memory.
    let unlock = std::mem::take(&mut context.unlock);
    let options = || {
        let store = unlock.options(&context.dir)?.accept_loss(args.repair.accept_loss);
        let (discovery, peers) = (!args.no_discovery, args.peers.clone());
        Ok(Options { discovery, peers, store, ..Options::default() })
    };
    let node = match Session::reach_or_hold(&context.dir, args.listen, options).await? {
        Session::Local(node) => node,
        Session::Remote(connection) => bail!(
            "device {} is already being served from {}; end that server first, or name another directory with --dir",
            connection.device(),
            context.dir.display()
        ),
    };
    drop(unlock);
    let mut notices = node.notices();
    let server = match Server::bind(&context.dir).await {
        Ok(server) => server,
        Err(error) => {
            node.shutdown().await;
            return Err(error);
        }
    };
    greet(context, &node)?;
    let why = {
        let stop = async {
            tokio::select! {
                () = interrupted() => Ok("interrupted"),
                () = stdin_ended(), if args.until_stdin_ends => Ok("standard input ended"),
                () = log(&mut notices) => Err(()),
                () = host(&node, &context.global.db, &args.hosts) => Err(()),
            }
        };
        let (done, stopped) = tokio::sync::oneshot::channel();
        let running = server.run(&node, async move {
            let _ = stopped.await;
        });
        let (why, ()) = tokio::join!(
            async {
                let why = stop.await;
                let _ = done.send(());
                why
            },
            running
        );
        why
    };
    let Ok(why) = why else {
        // The news end only when the node does, and by itself it does so only after a fault.
        let reason =
            node.status().await.err().map_or_else(|| "for no reason".to_owned(), |error| error.to_string());
        bail!("the server stopped: {reason}");
    };
    tracing::info!("{why}: finishing");
    // Whoever asks from now on is to wait for the directory, and not for an answer that does not come.
    drop(server);
    tokio::select! {
        () = node.shutdown() => {}
        () = interrupted() => bail!("interrupted again: stopped without a good-bye; nothing that was reported is lost"),
    }
    tracing::info!("stopped");
    Ok(())
}

fn start_log(quiet: bool) {
    let filter = EnvFilter::builder()
        .with_env_var("DRIFTLESS_LOG")
        .try_from_env()
        .unwrap_or_else(|_| EnvFilter::new(if quiet { "warn" } else { "info" }));
    // It can only be started once, which is here.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
}

fn greet(context: &mut Context, node: &Node) -> Result<()> {
    let addresses: Vec<String> = node.local_addrs().iter().map(ToString::to_string).collect();
    if context.out.json {
        let object = serde_json::json!({ "device": node.device().to_string(), "addresses": addresses });
        context.out.object(&object)?;
    } else {
        context.out.line(&format!("device {}", node.device()))?;
        for address in &addresses {
            context.out.line(&format!("listening on {address}"))?;
        }
    }
    Ok(context.out.flush()?)
}

/// Logs what happens, until nothing can happen any more.
async fn log(notices: &mut Notices) {
    while let Some(news) = notices.next().await {
        match news {
            News::Linked { device, address, initiated } => {
                let how = if initiated { "reached" } else { "was reached by" };
                tracing::info!("{how} {device} at {address}");
            }
            News::Unlinked { device, reason } => tracing::info!("link to {device} ended: {reason}"),
            News::Missed(count) => {
                tracing::warn!("too much happened at once: {count} lines are missing here");
            }
            News::Notice(notice) => log_notice(&notice),
            _ => {}
        }
    }
}

/// How often it is looked at what is offered here, whatever is told: of a device that offers much not all of it is.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Takes part in whatever some devices publish here, until nothing can happen any more.
async fn host(node: &Node, database: &Name, hosts: &[DeviceId]) {
    let mut notices = node.notices();
    loop {
        // All that is open, as news of some may have been missed.
        for invitation in node.invitations().await.unwrap_or_default() {
            let by = invitation.issuer().device();
            if !hosts.contains(&by) {
                continue;
            }
            let Ok(database) = node.database(database.as_str()) else { continue };
            tracing::info!(
                "taking part in syncgroup {}, which {by} has published here",
                invitation.syncgroup()
            );
            // What becomes of the request is logged as news.
            if let Err(error) = database.join_later(&invitation).await {
                tracing::warn!("cannot take part: {error}");
            }
        }
        let again = tokio::time::sleep(LOOK_AGAIN);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                news = notices.next() => match news {
                    Some(News::Notice(Notice::Invited { .. }) | News::Missed(_)) => break,
                    Some(_) => {}
                    None => return,
                },
            }
        }
    }
}

fn log_notice(notice: &Notice) {
    match notice {
        Notice::Syncgroup { syncgroup, state } => match state {
            SyncgroupState::Joining => tracing::info!("joining syncgroup {syncgroup}"),
            SyncgroupState::Pending => {
                tracing::info!("admitted to syncgroup {syncgroup}, its rows are arriving");
            }
            SyncgroupState::Active => tracing::info!("syncgroup {syncgroup} is complete"),
            SyncgroupState::Leaving => {
                tracing::info!("leaving syncgroup {syncgroup}; done when an admin has been asked");
            }
            SyncgroupState::Left => tracing::info!("left syncgroup {syncgroup}"),
            SyncgroupState::Removed => tracing::warn!(
                "an admin has removed this device from syncgroup {syncgroup}; what is here can be read"
            ),
            SyncgroupState::Expired => tracing::warn!(
                "the time is over for which this device was a member of syncgroup {syncgroup}; what is here can be read, and \
                 an admin can extend it: driftless syncgroup grant"
            ),
            SyncgroupState::Refused(why) => {
                tracing::warn!("not admitted to syncgroup {syncgroup}: {}", refusal(*why));
            }
            other => tracing::info!("syncgroup {syncgroup} is {other:?}"),
        },
        Notice::KeyEnded { current, .. } => tracing::error!(
            "members go by key {current} in the place of this device's, and take nothing from it any more: put the newest \
             device.key into the data directory, or let in a new device and remove this one"
        ),
        Notice::KeyRotated { syncgroup, device, .. } => {
            tracing::info!("device {device} has another key in syncgroup {syncgroup}");
        }
        Notice::KeysDisputed { syncgroup, device } => tracing::error!(
            "in syncgroup {syncgroup} two keys take the place of one of device {device}'s, and one of them is a thief's: \
             an admin should remove it"
        ),
        Notice::Admitted { syncgroup, device, .. } | Notice::Enrolled { syncgroup, device, .. } => {
            tracing::info!("admitted device {device} to syncgroup {syncgroup}");
        }
        Notice::Invited { invitation } => tracing::info!(
            "device {} has published \"{}\" here, syncgroup {}: see driftless invitations",
            invitation.issuer().device(),
            crate::text::escape(invitation.name().as_str().as_bytes()),
            invitation.syncgroup()
        ),
        Notice::Openness { syncgroup } => {
            tracing::info!(%syncgroup, "everybody is granted something else now: driftless syncgroup about");
        }
        Notice::Publications { syncgroup } => {
            tracing::info!(
                "where syncgroup {syncgroup} is published has changed: see driftless syncgroup about"
            );
        }
        Notice::Declined { syncgroup, device, .. } => {
            tracing::info!("device {device} declines to take part in syncgroup {syncgroup}");
        }
        Notice::Judged { syncgroup, device, voided, restored } => tracing::warn!(
            "{voided} batches of device {device} in syncgroup {syncgroup} do not count any more, and {restored} do \
             again: an admin has removed it, or changed its rights"
        ),
        Notice::SetBack { syncgroup, author, successor } => tracing::warn!(
            "this data directory was set back: others have later writes of {author} in syncgroup {syncgroup}; \
             going on as {successor}"
        ),
        Notice::Forked { syncgroup, author, last, .. } => tracing::warn!(
            "{author} has written two logs under one name in syncgroup {syncgroup}: what it wrote after its batch {last} does \
             not count; if this is a copy of a device that runs elsewhere, or was restored, it is written again"
        ),
        Notice::WrittenAgain { syncgroup, author, successor, batches } => tracing::warn!(
            "{batches} batches of {author} in syncgroup {syncgroup} were written again as {successor}"
        ),
        Notice::Diverged { device } => tracing::error!(
            "device {device} shows other rows though it knows the same: a defect or a damaged store; please report it"
        ),
        Notice::PeerFault { device, reason, detail } => {
            tracing::warn!("device {device} broke the protocol ({reason:?}): {detail}");
        }
        Notice::FromTheFuture { author, syncgroup } => tracing::warn!(
            "writes of {author} in syncgroup {syncgroup} are from the future and wait: check the clocks"
        ),
        Notice::Ahead { by, written } => tracing::warn!(
            "what is written here is stamped {} s ahead of the clock, and others do not take it before, nor {written} \
             generations that were written so; if the clock is right now: driftless reissue",
            by.0 / 1_000
        ),
        Notice::BatchSplit { syncgroup, version, missing, why } => tracing::warn!(
            "a batch is shown in part: {version:?} in syncgroup {syncgroup} without its parts in {missing:?} ({why:?})"
        ),
        other => tracing::info!("{other:?}"),
    }
}

/// Completes when the user or the system wants this to end.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => return,
                outcome = tokio::signal::ctrl_c() => if outcome.is_ok() { return },
            }
        }
    }
    #[cfg(not(unix))]
    if tokio::signal::ctrl_c().await.is_ok() {
        return;
    }
    // Signals cannot be had: then they end the process by themselves.
    std::future::pending::<()>().await;
}

/// Completes when standard input ends: when the program at its other end is gone, however it went.
async fn stdin_ended() {
    let mut nowhere = tokio::io::sink();
    let _ = tokio::io::copy(&mut tokio::io::stdin(), &mut nowhere).await;
    let _ = io::stdout().flush();
}

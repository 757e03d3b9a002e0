//! `passphrase`: locks the device's key, or stops that.

use anyhow::{Result, bail};
use driftless_fjall::{see_unused, set_passphrase};
use serde_json::json;

use super::Context;
use crate::args;
use crate::passphrase;
use crate::session::{explain_alone, is_initialised};

pub(super) async fn passphrase(context: &mut Context, action: args::Passphrase) -> Result<()> {
    let (dir, unlock) = (context.dir.clone(), context.unlock.clone());
    if !is_initialised(&dir) {
        bail!("there is no data directory {}; name another with --dir", dir.display());
    }
    let locks = matches!(action, args::Passphrase::Set { .. });
    // Trying a passphrase is hard work on purpose.
    tokio::task::spawn_blocking(move || {
        // Before anybody is asked for a passphrase.
        see_unused(&dir).map_err(|error| explain_alone(error, &dir))?;
        let present = unlock.present(&dir)?;
        let new = match action {
            args::Passphrase::Set { new_file } => Some(passphrase::new(new_file.as_deref())?),
            args::Passphrase::Remove => None,
        };
        set_passphrase(&dir, present.as_ref(), new.as_ref()).map_err(|error| explain_alone(error, &dir))
    })
    .await??;
    if context.out.json {
        context.out.object(&json!({ "locked": locks }))?;
    } else if locks {
        context
            .out
            .line("the device's key is locked: `serve`, and commands without one, ask for the passphrase")?;
    } else {
        context.out.line("the device's key is not locked any more")?;
    }
    Ok(())
}

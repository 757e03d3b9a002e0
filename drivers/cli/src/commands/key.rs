//! `key`: puts another key in the place of the device's.

use anyhow::{Context as _, Result, bail};
use data_encoding::HEXLOWER;
use serde_json::json;

use super::Context;
use crate::protocol::{NewKeyText, Request, Response};
use crate::session::is_initialised;

/// Takes another key. It is in the data directory before anybody is told of it: a server that stops in between, or that is
/// not running at all, takes it when it starts.
pub(super) async fn rotate(context: &mut Context, anyway: bool) -> Result<()> {
    let (dir, unlock) = (context.dir.clone(), context.unlock.clone());
    if !is_initialised(&dir) {
        bail!("there is no data directory {}; name another with --dir", dir.display());
    }
    // Before the file is touched: it may be older than the store, and then nothing is to go on from it.
    let Response::Status(status) = context.one(Request::Status).await? else {
        bail!("the answer does not say how the device is; this is a defect");
    };
    if let Some(key) = status.key_ended.filter(|_| !anyway) {
        bail!(
            "members go by key {key} in the place of this device's. If this is a copy from before that, put the newest \
             device.key into the data directory. If somebody has stolen the key and made that one, have an admin remove \
             this device, or try --anyway"
        );
    }
    // Trying a passphrase is hard work on purpose.
    let made = tokio::task::spawn_blocking(move || {
        let passphrase = unlock.present(&dir)?;
        driftless_fjall::rotate_key(&dir, passphrase.as_ref()).map_err(anyhow::Error::from)
    });
    let new = made.await??;
    let text =
        NewKeyText { secret: HEXLOWER.encode(&new.secret.0), chain: HEXLOWER.encode(&new.chain.to_bytes()) };
    let told = context.one(Request::RotateKey(text)).await;
    let told = told.context("the new key is kept, and the device takes it when its server starts again")?;
    let Response::KeyRotated { device, key, rollovers } = told else {
        bail!("the answer does not say which key the device has; this is a defect");
    };
    if context.out.json {
        return Ok(context.out.object(&json!({ "device": device, "key": key, "rollovers": rollovers }))?);
    }
    context.out.remark(&format!(
        "device {device} has another key, its {}.; what it had before ends wherever that is known",
        rollovers + 1
    ));
    Ok(())
}

//! Another key for the device.

use data_encoding::HEXLOWER;
use driftless::{KeyChain, NewKey, SecretKey};

use crate::protocol::{NewKeyText, Problem};

/// Reads a key as it came from a client.
pub(super) fn read(text: &NewKeyText) -> Result<NewKey, Problem> {
    let bytes = |text: &str| HEXLOWER.decode(text.as_bytes()).ok();
    let secret = bytes(&text.secret).and_then(|bytes| bytes.try_into().ok()).map(SecretKey);
    let chain = bytes(&text.chain).and_then(|bytes| KeyChain::from_bytes(&bytes));
    let new = secret.zip(chain).map(|(secret, chain)| NewKey { secret, chain });
    new.ok_or_else(|| Problem { refused: false, message: "that is no key".into() })
}

//! Bodies for what people type and paste: invitations, certificates, names, addresses, identifiers.

use std::str::FromStr;

use driftless::{
    Address, Certificate, CollectionId, DeviceId, Ed25519, Invitation, InvitationError, KeyChain, Name,
    PublicKey, SecretKey, SignatureScheme, SyncgroupId, UserId, UserKey, Wall, limits,
};

/// An invitation's bytes, without the checksum that its text form carries: mutated inputs get past it only here.
pub fn invitation(data: &[u8]) {
    let Ok(invitation) = postcard::from_bytes::<Invitation>(data) else { return };
    let text = invitation.to_string();
    match text.parse::<Invitation>() {
        Ok(again) => assert_eq!(again, invitation, "an invitation changed on its way through text"),
        // The text form bounds what the bytes alone do not.
        Err(error) => {
            assert_eq!(error, InvitationError::Unreadable);
            assert!(invitation.addresses().len() > limits::MAX_ADDRESSES, "refused its own text");
        }
    }
}

/// An invitation as it is pasted.
pub fn invitation_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(invitation) = text.parse::<Invitation>() else { return };
    assert!(invitation.addresses().len() <= limits::MAX_ADDRESSES);
    assert_eq!(invitation.to_string().parse(), Ok(invitation));
}

/// A certificate as it is pasted.
pub fn certificate_text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(certificate) = text.parse::<Certificate>() else { return };
    assert_eq!(certificate.to_string().parse(), Ok(certificate));
}

/// A certificate's bytes, without the checksum of its text.
pub fn certificate(data: &[u8]) {
    let Ok(certificate) = postcard::from_bytes::<Certificate>(data) else { return };
    assert_eq!(certificate.to_string().parse(), Ok(certificate));
}

/// A chain of keys, as a caller shows it and a key file keeps it.
pub fn key_chain(data: &[u8]) {
    let Some(chain) = KeyChain::from_bytes(data) else { return };
    assert!(chain.rollovers() <= limits::MAX_ROLLOVERS);
    assert!(chain.starts_with(&chain), "a chain begins with itself");
    assert_eq!(KeyChain::from_bytes(&chain.to_bytes()).as_ref(), Some(&chain));
    // Whatever it says of signatures, that is found out without harm.
    let _ = chain.verify(&Ed25519);
}

/// Names, addresses and the hexadecimal forms of identifiers.
pub fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(name) = Name::new(&text) {
        assert!((1..=limits::MAX_NAME).contains(&name.as_str().len()));
        assert_eq!(name.as_str(), text);
    }
    if let Some(address) = Address::new(&text) {
        assert!((1..=limits::MAX_ADDRESS).contains(&address.as_str().len()));
        assert_eq!(address.to_string(), text);
    }
    survives_hex::<DeviceId>(&text);
    survives_hex::<UserId>(&text);
    survives_hex::<PublicKey>(&text);
    survives_hex::<SyncgroupId>(&text);
    survives_hex::<CollectionId>(&text);
    // Their encoded forms must refuse exactly what their constructors refuse.
    if let Ok(name) = postcard::from_bytes::<Name>(data) {
        assert_eq!(Name::new(name.as_str()), Ok(name));
    }
    if let Ok(address) = postcard::from_bytes::<Address>(data) {
        assert_eq!(Address::new(address.as_str()), Some(address));
    }
}

fn survives_hex<T: FromStr + ToString>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string(), text.to_lowercase(), "an identifier changed on its way through text");
    }
}

/// An invitation's fields in their order on the wire; its own constructor is for admins only.
pub(crate) fn invitation_seeds() -> Vec<Vec<u8>> {
    [0, 1, 2]
        .into_iter()
        .map(|rights: u8| {
            let user = (rights == 2).then_some([6_u8; 16]);
            let ends = (rights == 1).then_some(1_950_000_000_000_u64);
            let terms = ([1_u8; 32], rights, 1_900_000_000_000_u64, rights == 1, [2_u8; 16], user, ends);
            let addresses = vec!["quic:192.0.2.7:4433"; usize::from(rights) * 4];
            // A chain of one key, with nothing that goes on from it.
            let issuer = ([3_u8; 32], Vec::<([u8; 32], [u8; 32], [u8; 32])>::new());
            let fields = (terms, issuer, ([4_u8; 32], [5_u8; 32]), "notes", addresses);
            postcard::to_allocvec(&fields).expect("plain data encodes")
        })
        .collect()
}

pub(crate) fn invitation_text_seeds() -> Vec<Vec<u8>> {
    let decode = |bytes: Vec<u8>| postcard::from_bytes::<Invitation>(&bytes).expect("a seed is valid");
    invitation_seeds().into_iter().map(|bytes| decode(bytes).to_string().into_bytes()).collect()
}

fn certificates() -> Vec<Certificate> {
    let name = |text: &str| Name::new(text).expect("a seed is valid");
    let anna = UserKey::new(name("Anna"), SecretKey([7; 32]), &Ed25519);
    let key = |number: u64| PublicKey([number as u8; 32]);
    let lent = |end| anna.certify_until(key(3), name("lent"), 3, Wall(end));
    let for_ever = [1, 2, u64::MAX].map(|number| anna.certify(key(number), name("phone"), number));
    for_ever.into_iter().chain([0, u64::MAX].map(lent)).collect()
}

pub(crate) fn certificate_seeds() -> Vec<Vec<u8>> {
    let encode = |it: &Certificate| postcard::to_allocvec(it).expect("plain data encodes");
    certificates().iter().map(encode).collect()
}

pub(crate) fn certificate_text_seeds() -> Vec<Vec<u8>> {
    certificates().iter().map(|it| it.to_string().into_bytes()).collect()
}

pub(crate) fn key_chain_seeds() -> Vec<Vec<u8>> {
    let secret = |n: u8| SecretKey([n + 1; 32]);
    let mut chain = KeyChain::new(Ed25519.public(&secret(0)));
    let mut seeds = vec![chain.to_bytes()];
    for n in 0..3 {
        chain =
            chain.rolled_over(&secret(n), &secret(n + 1), &Ed25519).expect("a key that signs for the next");
        seeds.push(chain.to_bytes());
    }
    seeds
}

pub(crate) fn name_seeds() -> Vec<Vec<u8>> {
    let hex = "0123456789abcdefABCDEF0123456789";
    [hex, &hex.repeat(2), &hex[..16], "notes", "quic:[2001:db8::1]:4433", "\u{5}notes", "Grüße"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

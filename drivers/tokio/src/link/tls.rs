//! Who is at the other end: mutual authentication by device keys.
//!
//! TLS 1.3 with raw public keys (RFC 7250) on both sides: a device has no certificate, only its Ed25519 key.
//! Each end proves by a signature over the handshake that it owns the secret half. A device may have taken another key than
//! the one of which its id is a hash: then whoever is called shows with the key the chain that leads to it. So a caller knows
//! whether it has reached the device that it means before it shows anything of itself, and goes on with no other. It shows its
//! own chain right after the handshake (see `session`). Whoever is called goes on with every device, and leaves it to the core
//! what that one may see. There is no resumption and no early data: each link proves both keys anew.

use std::sync::Arc;

use driftless::{DeviceId, Ed25519, KeyChain, PublicKey, SecretKey};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    ServerConfig, SignatureScheme,
};

/// The protocol spoken on links. Another version gets another name, so that two that do not understand each
/// other part in the handshake.
const ALPN: &[u8] = b"driftless/1";
/// What comes before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What comes before the 32 secret bytes of an Ed25519 key in PKCS #8 (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// This device's key, ready for handshakes.
#[derive(Clone)]
pub(crate) struct DeviceKey {
    provider: Arc<CryptoProvider>,
    certified: Arc<CertifiedKey>,
    /// The same with the chain that leads to it, for those who call.
    with_chain: Arc<CertifiedKey>,
    chain: KeyChain,
}

impl DeviceKey {
    /// The chain must end with the public half of `secret`.
    pub(crate) fn new(secret: &SecretKey, chain: &KeyChain) -> Result<Self, Error> {
        let pkcs8 = [&PKCS8_PREFIX[..], &secret.0].concat();
        let key = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))?;
        let spki = [&SPKI_PREFIX[..], &chain.current().0].concat();
        let keys = if chain.rollovers() > 0 { chain.to_bytes() } else { Vec::new() };
        let certified = |shown: Vec<u8>| Arc::new(CertifiedKey::new(vec![shown.into()], key.clone()));
        Ok(Self {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            with_chain: certified([&spki[..], &keys].concat()),
            certified: certified(spki),
            chain: chain.clone(),
        })
    }

    /// What this device shows of its keys.
    pub(crate) fn chain(&self) -> &KeyChain {
        &self.chain
    }

    /// For those who call this device.
    pub(crate) fn server(&self) -> Result<QuicServerConfig, Error> {
        self.answering(self.verifier(None))
    }

    /// For seeing what callers show.
    #[cfg(test)]
    pub(crate) fn server_that_notes(&self, shown: Shown) -> QuicServerConfig {
        self.answering(Verifier { shown, ..self.verifier(None) }).unwrap()
    }

    fn verifier(&self, expected: Option<DeviceId>) -> Verifier {
        Verifier {
            provider: self.provider.clone(),
            expected,
            #[cfg(test)]
            shown: Shown::default(),
        }
    }

    fn answering(&self, verifier: Verifier) -> Result<QuicServerConfig, Error> {
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.with_chain.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.try_into().map_err(|error| Error::General(format!("{error}")))
    }

    /// For calling a device, and nobody else.
    pub(crate) fn client(&self, expected: DeviceId) -> Result<QuicClientConfig, Error> {
        let proof = Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.certified.clone()));
        self.caller(expected, proof, ALPN)
    }

    /// For showing that a caller without a key is refused.
    #[cfg(test)]
    pub(crate) fn client_without_key(&self, expected: DeviceId) -> QuicClientConfig {
        #[derive(Debug)]
        struct NoKey;
        impl ResolvesClientCert for NoKey {
            fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
                None
            }
            fn only_raw_public_keys(&self) -> bool {
                true
            }
            fn has_certs(&self) -> bool {
                false
            }
        }
        self.caller(expected, Arc::new(NoKey), ALPN).unwrap()
    }

    /// For showing that a caller of another protocol is refused.
    #[cfg(test)]
    pub(crate) fn client_speaking(&self, expected: DeviceId, protocol: &[u8]) -> QuicClientConfig {
        let proof = Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.certified.clone()));
        self.caller(expected, proof, protocol).unwrap()
    }

    fn caller(
        &self,
        expected: DeviceId,
        proof: Arc<dyn ResolvesClientCert>,
        protocol: &[u8],
    ) -> Result<QuicClientConfig, Error> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.verifier(Some(expected))))
            .with_client_cert_resolver(proof);
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = Resumption::disabled();
        // Names mean nothing here: keys do.
        config.enable_sni = false;
        config.try_into().map_err(|error| Error::General(format!("{error}")))
    }
}

/// The key that the other end of a connection has proven to own.
pub(crate) fn peer_key(connection: &quinn::Connection) -> Option<PublicKey> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    match identity.as_slice() {
        [shown] => parse_shown(shown).map(|(_, chain)| chain.current()),
        _ => None,
    }
}

/// The Ed25519 key in a SubjectPublicKeyInfo, of which there is exactly one way to write it, and the chain behind that which leads
/// to it; without one it is a device's first.
fn parse_shown(shown: &[u8]) -> Option<(&[u8], KeyChain)> {
    let (spki, keys) = shown.split_at_checked(SPKI_PREFIX.len() + 32)?;
    let key = PublicKey(spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?);
    let chain = match keys {
        [] => KeyChain::new(key),
        keys => {
            KeyChain::from_bytes(keys).filter(|chain| chain.current() == key && chain.verify(&Ed25519))?
        }
    };
    Some((spki, chain))
}

/// Accepts any proven Ed25519 key, or only that of one device.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    expected: Option<DeviceId>,
    /// What callers have shown.
    #[cfg(test)]
    shown: Shown,
}

impl Verifier {
    fn check(&self, shown: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        let (_, chain) =
            parse_shown(shown).filter(|_| others.is_empty()).ok_or(CertificateError::BadEncoding)?;
        match self.expected {
            Some(device) if device != chain.device() => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(()),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (spki, _) = parse_shown(key).ok_or(CertificateError::BadEncoding)?;
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(spki),
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }
}

/// TLS 1.2 is not offered, so nobody can get here.
fn too_old() -> Error {
    PeerIncompatible::Tls12NotOffered.into()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        #[cfg(test)]
        self.shown.lock().unwrap().push(end_entity.to_vec());
        self.check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// What callers have shown.
#[cfg(test)]
pub(crate) type Shown = Arc<std::sync::Mutex<Vec<Vec<u8>>>>;

//! Who is at the other end: mutual authentication by device keys.
//!
//! TLS 1.3 with raw public keys (RFC 7250) on both sides: a device has no certificate, only its Ed25519 key.
//! Each end proves by a signature over the handshake that it owns the secret half. Which device has that key the chain of its
//! keys tells, which both show right after (see `session`), as a device may have taken another key than the one of which its id
//! is a hash. Whoever calls a device goes on with that one and no other; whoever is called goes on with every
//! device, and leaves it to the core what that one may see. There is no resumption and no early data: each link proves both keys anew.

use std::sync::Arc;

use driftless::{KeyChain, PublicKey, SecretKey};
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
    chain: KeyChain,
}

impl DeviceKey {
    /// The chain must end with the public half of `secret`.
    pub(crate) fn new(secret: &SecretKey, chain: &KeyChain) -> Result<Self, Error> {
        let pkcs8 = [&PKCS8_PREFIX[..], &secret.0].concat();
        let key = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))?;
        let spki = [&SPKI_PREFIX[..], &chain.current().0].concat();
        Ok(Self {
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            certified: Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], key)),
            chain: chain.clone(),
        })
    }

    /// What this device shows of its keys.
    pub(crate) fn chain(&self) -> &KeyChain {
        &self.chain
    }

    /// For those who call this device.
    pub(crate) fn server(&self) -> Result<QuicServerConfig, Error> {
        let verifier = Verifier { provider: self.provider.clone() };
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.certified.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.try_into().map_err(|error| Error::General(format!("{error}")))
    }

    /// For calling a device.
    pub(crate) fn client(&self) -> Result<QuicClientConfig, Error> {
        let proof = Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.certified.clone()));
        self.caller(proof, ALPN)
    }

    /// For showing that a caller without a key is refused.
    #[cfg(test)]
    pub(crate) fn client_without_key(&self) -> QuicClientConfig {
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
        self.caller(Arc::new(NoKey), ALPN).unwrap()
    }

    /// For showing that a caller of another protocol is refused.
    #[cfg(test)]
    pub(crate) fn client_speaking(&self, protocol: &[u8]) -> QuicClientConfig {
        let proof = Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.certified.clone()));
        self.caller(proof, protocol).unwrap()
    }

    fn caller(&self, proof: Arc<dyn ResolvesClientCert>, protocol: &[u8]) -> Result<QuicClientConfig, Error> {
        let verifier = Verifier { provider: self.provider.clone() };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
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
        [spki] => parse_spki(spki),
        _ => None,
    }
}

/// The Ed25519 key in a SubjectPublicKeyInfo; there is exactly one way to write it.
fn parse_spki(der: &[u8]) -> Option<PublicKey> {
    der.strip_prefix(&SPKI_PREFIX)?.try_into().ok().map(PublicKey)
}

/// Accepts any proven Ed25519 key.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn check(key: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), Error> {
        parse_spki(key).filter(|_| others.is_empty()).ok_or(CertificateError::BadEncoding)?;
        Ok(())
    }

    fn check_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(key.as_ref()),
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
        Self::check(end_entity, intermediates).map(|()| ServerCertVerified::assertion())
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
        Self::check(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
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

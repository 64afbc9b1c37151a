//! OpenSSL contexts for each of our roles, from one set of files.

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslOptions, SslVerifyMode, SslVersion,
};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509PurposeId};

use super::key_log;
use super::keys::{KeyError, KeyFiles};
use super::pem::{self, Complaint};

/// OpenSSL's reasons for refusing our own certificate.
const EE_KEY_TOO_SMALL: i32 = 399;
const CA_KEY_TOO_SMALL: i32 = 397;
const CA_MD_TOO_WEAK: i32 = 398;

/// Everything that the files held, ready for use.
#[derive(Clone)]
pub struct Material {
    chain: Vec<X509>,
    trusted: Vec<X509>,
    dialler: SslContext,
    prober: SslContext,
    listener: SslContext,
    receiver: SslContext,
    lenient_receiver: SslContext,
}

impl Material {
    /// Reads the files; whoever is in `trusted_before` is trusted as well.
    pub(super) fn read(files: &KeyFiles, trusted_before: &[X509]) -> Result<Self, KeyError> {
        let chain = pem::certificates(&files.certificate)
            .map_err(|complaint| complaint.about(&files.certificate))?;
        let key = read_key(files)?;
        let mut trusted =
            pem::certificates(files.ca()).map_err(|complaint| complaint.about(files.ca()))?;
        for other in trusted_before {
            if !trusted.iter().any(|known| is_same(known, other)) {
                trusted.push(other.clone());
            }
        }
        let maker = Maker { files, chain: &chain, key: &key, trusted: &trusted };
        let (dialler, listener) = (maker.dialler()?, maker.listener()?);
        let prober = maker.prober()?;
        let (receiver, lenient_receiver) = (maker.receiver(true)?, maker.receiver(false)?);
        Ok(Self { chain, trusted, dialler, prober, listener, receiver, lenient_receiver })
    }

    /// Our certificate and its intermediates.
    pub fn chain(&self) -> &[X509] {
        &self.chain
    }

    /// Whom we trust.
    pub fn trusted(&self) -> &[X509] {
        &self.trusted
    }

    /// The common name of our certificate.
    pub fn common_name(&self) -> Option<String> {
        let leaf = self.chain.first()?;
        let entry = leaf.subject_name().entries_by_nid(Nid::COMMONNAME).next()?;
        Some(entry.data().to_string().ok()?.to_string())
    }

    /// For links that we make.
    pub fn dialler(&self) -> &SslContext {
        &self.dialler
    }

    /// For looks at a peer: shows our certificate and takes any of the peer's.
    pub fn prober(&self) -> &SslContext {
        &self.prober
    }

    /// For links that members make.
    pub fn listener(&self) -> &SslContext {
        &self.listener
    }

    /// For the donor's connections, with or without a look at its certificate.
    pub fn receiver(&self, verifies: bool) -> &SslContext {
        if verifies { &self.receiver } else { &self.lenient_receiver }
    }
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").finish_non_exhaustive()
    }
}

fn is_same(one: &X509, other: &X509) -> bool {
    matches!((one.to_der(), other.to_der()), (Ok(one), Ok(other)) if one == other)
}

fn read_key(files: &KeyFiles) -> Result<PKey<Private>, KeyError> {
    let passphrase = match &files.password {
        Some(path) => Some(pem::first_line(path).map_err(|complaint| complaint.about(path))?),
        None => None,
    };
    pem::private_key(&files.key, passphrase.as_deref())
        .map_err(|complaint| complaint.about(&files.key))
}

/// What contexts are made of.
struct Maker<'a> {
    files: &'a KeyFiles,
    chain: &'a [X509],
    key: &'a PKey<Private>,
    trusted: &'a [X509],
}

impl Maker<'_> {
    fn dialler(&self) -> Result<SslContext, KeyError> {
        let mut context = self.common(SslMethod::tls_client())?;
        end_like_tcp(&mut context);
        self.verify(&mut context)?;
        Ok(context.build())
    }

    fn prober(&self) -> Result<SslContext, KeyError> {
        let mut context = self.common(SslMethod::tls_client())?;
        end_like_tcp(&mut context);
        context.set_verify(SslVerifyMode::NONE);
        Ok(context.build())
    }

    fn listener(&self) -> Result<SslContext, KeyError> {
        let mut context = self.common(SslMethod::tls_server())?;
        end_like_tcp(&mut context);
        self.verify(&mut context)?;
        // Each link is one session.
        context.set_num_tickets(0)?;
        Ok(context.build())
    }

    fn receiver(&self, verifies: bool) -> Result<SslContext, KeyError> {
        let mut context = self.common(SslMethod::tls_server())?;
        send_nothing_unasked(&mut context)?;
        if verifies {
            self.verify(&mut context)?;
            // Certificates that servers generate say nothing about their purpose.
            context.verify_param_mut().set_purpose(X509PurposeId::ANY)?;
        }
        Ok(context.build())
    }

    fn common(&self, method: SslMethod) -> Result<SslContextBuilder, KeyError> {
        let mut context = SslContext::builder(method)?;
        // EL7's socat and libraries of its time know nothing newer than 1.2.
        context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        if let Some(list) = self.files.ciphers.as_deref().filter(|list| !list.is_empty()) {
            let refused = |_| KeyError::Ciphers { list: list.to_owned() };
            context.set_cipher_list(list).map_err(refused)?;
        }
        key_log::write_secrets_of(&mut context);
        self.set_certificate(&mut context)?;
        self.set_key(&mut context)?;
        Ok(context)
    }

    fn set_certificate(&self, context: &mut SslContextBuilder) -> Result<(), KeyError> {
        let about = |source| complaint_of(self.chain, source).about(&self.files.certificate);
        let Some((leaf, intermediates)) = self.chain.split_first() else { return Ok(()) };
        context.set_certificate(leaf).map_err(about)?;
        for certificate in intermediates {
            context.add_extra_chain_cert(certificate.clone()).map_err(about)?;
        }
        Ok(())
    }

    fn set_key(&self, context: &mut SslContextBuilder) -> Result<(), KeyError> {
        let is_pair = self.chain.first().is_some_and(|leaf| {
            leaf.public_key().is_ok_and(|certified| certified.public_eq(self.key))
        });
        if !is_pair {
            let certificate = self.files.certificate.display().to_string();
            return Err(Complaint::Mismatch(certificate).about(&self.files.key));
        }
        let about = |source| Complaint::Refused(source).about(&self.files.key);
        context.set_private_key(self.key).map_err(about)
    }

    fn verify(&self, context: &mut SslContextBuilder) -> Result<(), KeyError> {
        context.set_cert_store(store(self.trusted)?.build());
        context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        if let Some(name) = &self.files.peer_name {
            context.verify_param_mut().set_host(name)?;
        }
        Ok(())
    }
}

/// A store in the making that trusts these certificates.
pub(super) fn store(trusted: &[X509]) -> Result<X509StoreBuilder, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for certificate in trusted {
        store.add_cert(certificate.clone())?;
    }
    Ok(store)
}

/// Members end links with a bare FIN; frames tell where they end (spec 01 §6.4).
fn end_like_tcp(context: &mut SslContextBuilder) {
    context.set_options(SslOptions::IGNORE_UNEXPECTED_EOF);
}

/// A donor behind `socat -u` never reads, so that tickets would lie unread in its socket, and
/// closing a socket with unread bytes resets the connection.
fn send_nothing_unasked(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    context.set_options(SslOptions::NO_TICKET);
    context.set_num_tickets(0)
}

fn complaint_of(chain: &[X509], source: ErrorStack) -> Complaint {
    let has = |code| source.errors().iter().any(|error| error.reason_code() == code);
    let leaf = chain.first();
    if has(EE_KEY_TOO_SMALL) || has(CA_KEY_TOO_SMALL) {
        let key = leaf.and_then(|leaf| leaf.public_key().ok());
        return Complaint::WeakKey { bits: key.map_or(0, |key| key.bits()) };
    }
    if has(CA_MD_TOO_WEAK) {
        let name = leaf.and_then(|leaf| leaf.signature_algorithm().object().nid().long_name().ok());
        return Complaint::WeakSignature(name.unwrap_or("an old digest").to_owned());
    }
    Complaint::Refused(source)
}

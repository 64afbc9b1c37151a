//! Certificates of the kinds that MySQL how-tos produce: no alternative names, version 1 leaves.

use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::BasicConstraints;
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

/// Version field of an X.509 certificate: counts from zero.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    /// What `openssl x509 -req` makes without an extension file.
    V1 = 0,
    /// What everybody else makes.
    V3 = 2,
}

/// A certificate authority.
pub(crate) struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate with its key, both as PEM files in one directory.
pub(crate) struct Identity {
    /// The certificate.
    pub(crate) certificate: PathBuf,
    /// The key.
    pub(crate) key: PathBuf,
}

impl Authority {
    /// Makes one.
    pub(crate) fn new(name: &str) -> Self {
        let key = new_key().expect("make a key");
        let certificate = self_signed(name, &key).expect("sign");
        Self { certificate, key }
    }

    /// Writes its certificate.
    pub(crate) fn write(&self, path: &Path) {
        std::fs::write(path, self.certificate.to_pem().expect("PEM")).expect("write");
    }

    /// Issues a certificate for `name` as files `name.crt` and `name.key`.
    pub(crate) fn issue(&self, directory: &Path, name: &str, version: Version) -> Identity {
        let key = new_key().expect("make a key");
        let certificate = self.sign(name, &key, version).expect("sign");
        let identity = Identity {
            certificate: directory.join(format!("{name}.crt")),
            key: directory.join(format!("{name}.key")),
        };
        std::fs::write(&identity.certificate, certificate.to_pem().expect("PEM")).expect("write");
        std::fs::write(&identity.key, key.private_key_to_pem_pkcs8().expect("PEM")).expect("write");
        identity
    }

    fn sign(&self, name: &str, key: &PKey<Private>, version: Version) -> Result<X509, ErrorStack> {
        let mut builder = new_certificate(name, key, version)?;
        builder.set_issuer_name(self.certificate.subject_name())?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        Ok(builder.build())
    }
}

fn new_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn self_signed(name: &str, key: &PKey<Private>) -> Result<X509, ErrorStack> {
    let mut builder = new_certificate(name, key, Version::V3)?;
    builder.set_issuer_name(common_name(name)?.as_ref())?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

fn new_certificate(
    name: &str,
    key: &PKey<Private>,
    version: Version,
) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(version as i32)?;
    let mut serial = BigNum::new()?;
    serial.rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(common_name(name)?.as_ref())?;
    builder.set_not_before(Asn1Time::from_unix(0)?.as_ref())?;
    builder.set_not_after(Asn1Time::days_from_now(2)?.as_ref())?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

fn common_name(name: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, name)?;
    Ok(builder.build())
}

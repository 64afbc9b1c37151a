//! Certificates read aloud: what is in them, and whether a chain holds, for `doctor` and for people
//! who have to find out which side is wrong.

use std::fmt;

use galera_protocol::tls::Objection;
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::stack::Stack;
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509, X509NameRef, X509Ref, X509StoreContext};
use serde::Serialize;

use super::context::store;
use super::failure::of_verification;

/// Days before the end of a certificate's time at which people should hear of it.
const RENEWAL_DAYS: u32 = 14;

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// X.509 version, counted from 1 as people do.
    pub version: i32,
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Alternative names.
    pub names: Vec<String>,
    /// When its time begins.
    pub not_before: String,
    /// When its time ends.
    pub not_after: String,
    /// Kind and length of the key.
    pub key: String,
    /// How it is signed.
    pub signature: String,
    /// Whether its time is now.
    pub validity: Validity,
}

/// A certificate's time against ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// It is valid.
    Valid,
    /// It is valid, and soon no more.
    EndsSoon,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
}

/// Reads a certificate.
pub fn read(certificate: &X509Ref) -> Reading {
    let names = certificate.subject_alt_names().into_iter().flatten();
    let names = names.filter_map(|name| {
        let text = name.dnsname().map(str::to_owned);
        let uri = || name.uri().map(str::to_owned);
        text.or_else(|| name.ipaddress().and_then(ip)).or_else(uri)
    });
    Reading {
        version: certificate.version() + 1,
        subject: name(certificate.subject_name()),
        issuer: name(certificate.issuer_name()),
        names: names.collect(),
        not_before: certificate.not_before().to_string(),
        not_after: certificate.not_after().to_string(),
        key: key(certificate),
        signature: long_name(certificate.signature_algorithm().object().nid()),
        validity: validity(certificate.not_before(), certificate.not_after()),
    }
}

fn ip(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(std::net::IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(std::net::IpAddr::from);
    v4.or_else(v6).map(|address| address.to_string())
}

fn name(name: &X509NameRef) -> String {
    let entry = |entry: &openssl::x509::X509NameEntryRef| {
        let key = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string().map(|text| text.to_string()).unwrap_or_default();
        format!("{key}={value}")
    };
    name.entries().map(entry).collect::<Vec<_>>().join(", ")
}

fn key(certificate: &X509Ref) -> String {
    let Ok(key) = certificate.public_key() else { return "unreadable".to_owned() };
    let kind = match key.id() {
        openssl::pkey::Id::RSA => "RSA",
        openssl::pkey::Id::EC => "EC",
        openssl::pkey::Id::ED25519 => "Ed25519",
        _ => "key",
    };
    format!("{kind} {} bits", key.bits())
}

fn long_name(nid: Nid) -> String {
    nid.long_name().unwrap_or("unknown").to_owned()
}

fn validity(from: &Asn1TimeRef, to: &Asn1TimeRef) -> Validity {
    let (Ok(now), Ok(soon)) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(RENEWAL_DAYS))
    else {
        return Validity::Valid;
    };
    if *from > now {
        Validity::NotYetValid
    } else if *to < now {
        Validity::Expired
    } else if *to < soon {
        Validity::EndsSoon
    } else {
        Validity::Valid
    }
}

/// Whether `chain`, whose first certificate is the leaf, leads to one of `trusted` and carries
/// `name` if there is one, and what speaks against it if not.
pub fn check_chain(
    chain: &[X509],
    trusted: &[X509],
    name: Option<&str>,
) -> Result<Result<(), Broken>, ErrorStack> {
    let Some((leaf, others)) = chain.split_first() else {
        return Ok(Err(Broken { objection: Objection::Missing, depth: 0, detail: String::new() }));
    };
    let mut intermediates = Stack::new()?;
    for certificate in others {
        intermediates.push(certificate.clone())?;
    }
    let mut builder = store(trusted)?;
    if let Some(name) = name {
        let mut parameters = X509VerifyParam::new()?;
        parameters.set_host(name)?;
        builder.set_param(&parameters)?;
    }
    let trusted = builder.build();
    let mut context = X509StoreContext::new()?;
    context.init(&trusted, leaf, &intermediates, |context| {
        let holds = context.verify_cert()?;
        Ok(if holds { Ok(()) } else { Err(Broken::of(context)) })
    })
}

/// Where and why a chain breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// What is wrong.
    pub objection: Objection,
    /// How many certificates above the leaf.
    pub depth: u32,
    /// OpenSSL's words.
    pub detail: String,
}

impl Broken {
    fn of(context: &openssl::x509::X509StoreContextRef) -> Self {
        Self {
            objection: of_verification(context.error().as_raw()),
            depth: context.error_depth(),
            detail: context.error().error_string().to_owned(),
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X.509 version {}, {}, signed by {}", self.version, self.subject, self.issuer)?;
        if self.names.is_empty() {
            f.write_str(", no alternative names")?;
        } else {
            write!(f, ", also {}", self.names.join(", "))?;
        }
        write!(f, ", {}, {}", self.key, self.signature)?;
        write!(f, ", valid from {} to {}", self.not_before, self.not_after)
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.depth {
            0 => write!(f, "the certificate {} ({})", self.objection, self.detail),
            depth => write!(f, "the chain breaks at its {depth}. issuer: {}", self.detail),
        }
    }
}

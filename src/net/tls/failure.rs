//! What OpenSSL's errors mean: which side has what against the other.

use std::io;

use galera_protocol::tls::{Objection, Stranger, TlsFailure};
use openssl::error::ErrorStack;
use openssl::ssl::{self, ErrorCode, SslRef};

use crate::causes;

/// An alert of the peer's has this reason code plus its own number.
const ALERT_OFFSET: i32 = 1000;

/// OpenSSL's own reasons that have a meaning for people.
const NO_SHARED_CIPHER: i32 = 193;
const PEER_DID_NOT_RETURN_A_CERTIFICATE: i32 = 199;
const CERTIFICATE_VERIFY_FAILED: i32 = 134;
const UNSUPPORTED_PROTOCOL: i32 = 258;
const VERSION_TOO_LOW: i32 = 396;
const UNEXPECTED_EOF: i32 = 294;
const WRONG_VERSION_NUMBER: i32 = 267;

/// Why a handshake failed; `head` are the first bytes that the peer sent.
pub fn of_error(error: &ssl::Error, ssl: &SslRef, head: &[u8]) -> TlsFailure {
    if head.is_empty() {
        return if is_end(error) { TlsFailure::Closed } else { TlsFailure::Other };
    }
    if galera_protocol::frame::is_plain_greeting(head) {
        return TlsFailure::PeerIsPlain;
    }
    match Stranger::from_head(head) {
        Some(Stranger::Tls) | None => {}
        Some(stranger) => return TlsFailure::Stranger(stranger),
    }
    let known = error.ssl_error().and_then(|stack| of_stack(stack, ssl.verify_result().as_raw()));
    known.unwrap_or(if is_end(error) { TlsFailure::Closed } else { TlsFailure::Other })
}

/// What an error of an established TLS connection says, if TLS is what failed: with TLS 1.3 a
/// refused certificate of ours shows only after our own handshake.
pub fn of_io(error: &io::Error) -> Option<TlsFailure> {
    let error = error.get_ref()?.downcast_ref::<ssl::Error>()?;
    Some(of_stack(error.ssl_error()?, 0).unwrap_or(TlsFailure::Other))
}

/// Why TLS failed below another library's client, if TLS is what failed.
pub fn of_causes(error: &(dyn std::error::Error + 'static)) -> Option<TlsFailure> {
    let stack = causes::find::<ErrorStack>(error)?;
    let is_refused =
        stack.errors().iter().any(|error| error.reason_code() == CERTIFICATE_VERIFY_FAILED);
    if is_refused {
        let objection = causes::all(error).find_map(|error| of_words(&error.to_string()));
        let objection = objection.unwrap_or(Objection::Unspecified);
        return Some(TlsFailure::UntrustedPeer(objection));
    }
    Some(of_stack(stack, 0).unwrap_or(TlsFailure::Other))
}

/// The result of a verification is known to others in OpenSSL's words only.
fn of_words(text: &str) -> Option<Objection> {
    let found = VERIFICATIONS.iter().find(|(words, _)| text.contains(words));
    found.map(|(_, objection)| *objection)
}

const VERIFICATIONS: [(&str, Objection); 8] = [
    ("certificate has expired", Objection::Expired),
    ("certificate is not yet valid", Objection::NotYetValid),
    ("ostname mismatch", Objection::Name),
    ("IP address mismatch", Objection::Name),
    ("unable to get", Objection::UnknownAuthority),
    ("unable to verify the first certificate", Objection::UnknownAuthority),
    ("self-signed certificate", Objection::UnknownAuthority),
    ("self signed certificate", Objection::UnknownAuthority),
];

fn of_stack(stack: &ErrorStack, verify_result: i32) -> Option<TlsFailure> {
    stack.errors().iter().find_map(|error| of_reason(error.reason_code(), verify_result))
}

fn of_reason(reason: i32, verify_result: i32) -> Option<TlsFailure> {
    match reason {
        CERTIFICATE_VERIFY_FAILED => {
            Some(TlsFailure::UntrustedPeer(of_verification(verify_result)))
        }
        PEER_DID_NOT_RETURN_A_CERTIFICATE => Some(TlsFailure::UntrustedPeer(Objection::Missing)),
        NO_SHARED_CIPHER | UNSUPPORTED_PROTOCOL | VERSION_TOO_LOW => {
            Some(TlsFailure::NoCommonParameters)
        }
        UNEXPECTED_EOF => Some(TlsFailure::Closed),
        WRONG_VERSION_NUMBER => Some(TlsFailure::PeerIsPlain),
        alert if alert > ALERT_OFFSET => of_alert(alert - ALERT_OFFSET),
        _ => None,
    }
}

/// Numbers of RFC 8446 §6.
fn of_alert(alert: i32) -> Option<TlsFailure> {
    let objection = match alert {
        48 => Objection::UnknownAuthority,
        45 => Objection::Expired,
        43 => Objection::Purpose,
        116 => Objection::Missing,
        42 | 44 | 46 | 49 => Objection::Unspecified,
        40 | 70 | 71 => return Some(TlsFailure::NoCommonParameters),
        _ => return None,
    };
    Some(TlsFailure::RefusedByPeer(objection))
}

/// Numbers of `X509_V_ERR_…`.
pub(super) fn of_verification(result: i32) -> Objection {
    match result {
        9 => Objection::NotYetValid,
        10 => Objection::Expired,
        26 => Objection::Purpose,
        62..=64 => Objection::Name,
        66..=68 => Objection::Weak,
        2 | 7 | 18..=21 | 24 | 27 | 79 => Objection::UnknownAuthority,
        _ => Objection::Unspecified,
    }
}

fn is_end(error: &ssl::Error) -> bool {
    let is_closed = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
    };
    match error.code() {
        ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN => error.io_error().is_none_or(is_closed),
        _ => error.ssl_error().is_some_and(|stack| {
            stack.errors().iter().any(|error| error.reason_code() == UNEXPECTED_EOF)
        }),
    }
}

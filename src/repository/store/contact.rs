//! What stands between us and an object store when no answer comes back: a certificate, a name, a
//! closed port. Says it in the words that are used of members, and keeps the client from asking
//! again where TLS would fail in the same way.

use std::fmt;

use futures_util::future::BoxFuture;
use galera_protocol::tls::{Objection, TlsFailure};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, Error};

use crate::causes;
use crate::exit::ExitCode;
use crate::net::probe;
use crate::net::tls;
use crate::net::trouble::{Cause, Trouble};

/// An object store with which we do not come to speak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoContact(Trouble);

impl NoContact {
    /// What an error of a repository has to do with it, if anything.
    pub fn behind<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        causes::find(error)
    }

    /// True if TLS is what an error comes from: no command that ends with it may call it anything else.
    pub fn is_refusal_behind(error: &(dyn std::error::Error + 'static)) -> bool {
        Self::behind(error).is_some_and(|contact| contact.exit_code() == ExitCode::Refused)
    }

    /// The exit code of a command that ends for this.
    pub fn exit_code(&self) -> ExitCode {
        self.0.exit_code()
    }

    /// True if TLS would fail in the same way again.
    fn is_refusal(&self) -> bool {
        matches!(
            &self.0.cause,
            Cause::Tls(
                TlsFailure::PeerIsPlain
                    | TlsFailure::UntrustedPeer(_)
                    | TlsFailure::RefusedByPeer(_)
                    | TlsFailure::NoCommonParameters
            )
        )
    }

    /// What to try.
    pub fn remedy(&self) -> &'static str {
        match &self.0.cause {
            Cause::Tls(TlsFailure::UntrustedPeer(objection)) => objection_remedy(*objection),
            Cause::Tls(TlsFailure::PeerIsPlain) => {
                "begin --endpoint with http://, or switch TLS on at the store"
            }
            Cause::Tls(_) => "look into the store's log for the handshake's error",
            Cause::Unresolved
            | Cause::NobodyListens
            | Cause::NoRoute
            | Cause::NoAnswer
            | Cause::Silent
            | Cause::ClosedAtOnce
            | Cause::TakesEverything
            | Cause::Broken
            | Cause::PeerUsesTls
            | Cause::Stranger(_)
            | Cause::WrongGroup
            | Cause::Evicted
            | Cause::Duplicate
            | Cause::Other(_) => "check --endpoint, that the store runs, and the way to it",
        }
    }

    /// An error in whose words the client's own do not stand around this one.
    pub(super) fn plainly(error: Error) -> Error {
        match Self::behind(&error).cloned() {
            Some(contact) => Error::Generic { store: "object store", source: Box::new(contact) },
            None => error,
        }
    }

    fn explain(error: HttpError, at: String) -> HttpError {
        let Some(cause) = cause_of(&error) else { return error };
        tracing::debug!(
            at,
            error = causes::all(&error).last().map(ToString::to_string),
            "no contact"
        );
        let contact = Self(Trouble { at, cause });
        let kind = if contact.is_refusal() { HttpErrorKind::Unknown } else { error.kind() };
        HttpError::new(kind, contact)
    }
}

fn objection_remedy(objection: Objection) -> &'static str {
    match objection {
        Objection::UnknownAuthority => "give the CA of the store's certificate as --store-ca",
        Objection::Name => "use a name in --endpoint that is in the store's certificate",
        Objection::Expired => "renew the store's certificate",
        Objection::NotYetValid => "compare the clocks of both hosts",
        Objection::Weak | Objection::Purpose | Objection::Missing | Objection::Unspecified => {
            "look at the store's certificate: openssl s_client -connect HOST:PORT -showcerts"
        }
    }
}

fn cause_of(error: &HttpError) -> Option<Cause> {
    if let Some(failure) = tls::of_causes(error) {
        return Some(Cause::Tls(failure));
    }
    if error.kind() != HttpErrorKind::Connect {
        return None;
    }
    if causes::all(error).any(|cause| cause.to_string().contains(LOOKUP_FAILED)) {
        return Some(Cause::Unresolved);
    }
    let cause = probe::of_connect(causes::find(error)?);
    (!matches!(cause, Cause::Other(_))).then_some(cause)
}

/// How the standard library begins the error of a name that was not found.
const LOOKUP_FAILED: &str = "failed to lookup address information";

impl fmt::Display for NoContact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NoContact {}

/// Makes clients whose errors say what is in the way.
#[derive(Debug, Default)]
pub(super) struct Connector(ReqwestConnector);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct Service(HttpClient);

impl HttpService for Service {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> BoxFuture<'b, Result<HttpResponse, HttpError>>
    where
        'a: 'b,
        Self: 'b,
    {
        let authority = request.uri().authority();
        let at = authority.map_or_else(|| "the object store".to_owned(), ToString::to_string);
        Box::pin(async move {
            let answered = self.0.execute(request).await;
            answered.map_err(|error| NoContact::explain(error, at))
        })
    }
}

//! When to ask an object store again, and when its answer stands.

use std::time::Duration;

use object_store::Error;

use super::contact::NoContact;

/// Times that a question is asked again. The client below asks again by itself where it knows that
/// nothing was done; this is for answers that were lost or cut.
const TRIES_MAX: u32 = 4;

/// Time before the second try; each later one takes twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(250);

/// Counts tries and waits between them.
#[derive(Debug)]
pub(super) struct Backoff {
    tries: u32,
    tries_max: u32,
}

impl Backoff {
    /// At most so many further tries, and never more than a question is worth.
    pub(super) fn new(retries_max: usize) -> Self {
        let tries_max = u32::try_from(retries_max).map_or(TRIES_MAX, |most| most.min(TRIES_MAX));
        Self { tries: 0, tries_max }
    }

    /// Waits for the next try; false if there is none.
    pub(super) async fn wait(&mut self) -> bool {
        if self.tries >= self.tries_max {
            return false;
        }
        tokio::time::sleep(FIRST_DELAY * 2_u32.pow(self.tries)).await;
        self.tries += 1;
        true
    }
}

/// True if asking again would give the same answer.
pub(super) fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::NotFound { .. }
            | Error::InvalidPath { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::UnknownConfigurationKey { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
    ) || is_conflict(error)
        // The client below has tried as long as it may.
        || NoContact::behind(error).is_some()
}

/// True if an object is there that was not to be.
pub(super) fn is_conflict(error: &Error) -> bool {
    matches!(
        error,
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. }
    )
}

//! What is behind an error.

use std::error::Error;
use std::iter::successors;

/// An error and all its causes. What an [`std::io::Error`] carries is one of them, which its own
/// `source` passes over.
pub(crate) fn all<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| next(*error))
}

/// The first cause of a type.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    all(error).find_map(|error| error.downcast_ref())
}

/// An error with its causes in one sentence.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        // Transparent wrappers repeat their source's words.
        if !text.ends_with(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

fn next<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_an_io_error_carries_is_found() {
        let inner = io::Error::other("inner".parse::<u8>().expect_err("no number"));
        let outer = io::Error::other(inner);
        assert_eq!(all(&outer).count(), 3);
        assert!(find::<std::num::ParseIntError>(&outer).is_some());
        assert!(find::<std::fmt::Error>(&outer).is_none());
    }
}

//! Parse helpers and the one error that every decoder of this crate returns.

use nom::error::{ContextError, ErrorKind, ParseError};
use nom::{Err, IResult};

/// Why bytes could not be decoded: which message, which field, where. Never carries the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decode {message}: {field} at byte {offset}: {problem}")]
pub struct DecodeError {
    /// The message or structure that was being decoded.
    pub message: &'static str,
    /// The field that could not be read.
    pub field: &'static str,
    /// Offset of that field in the input, in bytes.
    pub offset: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The input ends inside the field.
    #[error("input ends inside it")]
    Truncated,
    /// The value is not one that the format allows.
    #[error("value not allowed")]
    Invalid,
    /// The value is beyond a limit of the format or of this implementation.
    #[error("over the limit")]
    TooLarge,
    /// Bytes are left over after the last field.
    #[error("bytes left over")]
    Trailing,
    /// A checksum does not match.
    #[error("checksum mismatch")]
    Checksum,
    /// The peer speaks a version that this implementation does not.
    #[error("unsupported version")]
    Version,
}

/// Position and cause inside a parser; becomes a [`DecodeError`] at the public border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure<'a> {
    rest: &'a [u8],
    field: &'static str,
    problem: Problem,
}

impl Failure<'_> {
    /// The field that could not be read, and why.
    pub(crate) fn cause(&self) -> (&'static str, Problem) {
        (self.field, self.problem)
    }
}

pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, Failure<'a>>;

impl<'a> ParseError<&'a [u8]> for Failure<'a> {
    fn from_error_kind(rest: &'a [u8], kind: ErrorKind) -> Self {
        let truncated = matches!(kind, ErrorKind::Eof | ErrorKind::Complete);
        let problem = if truncated { Problem::Truncated } else { Problem::Invalid };
        Self { rest, field: "", problem }
    }

    fn append(_: &'a [u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

impl<'a> ContextError<&'a [u8]> for Failure<'a> {
    fn add_context(rest: &'a [u8], field: &'static str, other: Self) -> Self {
        // The innermost name is the most precise one.
        if other.field.is_empty() { Self { rest, field, ..other } } else { other }
    }
}

/// Fails at `rest` (the input that starts with the offending field).
pub(crate) fn fail<'a, T>(rest: &'a [u8], field: &'static str, problem: Problem) -> Parsed<'a, T> {
    Err(Err::Error(Failure { rest, field, problem }))
}

/// Reads 16 raw bytes.
pub(crate) fn bytes16(input: &[u8]) -> Parsed<'_, [u8; 16]> {
    match input.split_first_chunk::<16>() {
        Some((bytes, rest)) => Ok((rest, *bytes)),
        None => fail(input, "", Problem::Truncated),
    }
}

/// Runs `parser` over all of `input`; bytes left over are an error.
pub(crate) fn whole<'a, T>(
    message: &'static str,
    input: &'a [u8],
    parser: impl FnOnce(&'a [u8]) -> Parsed<'a, T>,
) -> Result<T, DecodeError> {
    let at = |rest: &[u8]| input.len().saturating_sub(rest.len());
    match parser(input) {
        Ok(([], value)) => Ok(value),
        Ok((rest, _)) => {
            Err(DecodeError { message, field: "end", offset: at(rest), problem: Problem::Trailing })
        }
        Err(Err::Incomplete(_)) => Err(DecodeError {
            message,
            field: "end",
            offset: input.len(),
            problem: Problem::Truncated,
        }),
        Err(Err::Error(failure) | Err::Failure(failure)) => Err(DecodeError {
            message,
            field: failure.field,
            offset: at(failure.rest),
            problem: failure.problem,
        }),
    }
}

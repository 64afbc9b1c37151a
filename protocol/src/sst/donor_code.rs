//! What the code in a donor's JOIN message means: why its part of a state transfer ended.
//!
//! A donor's script ends with an exit status n, and the group sees −n. Its server and its provider
//! put −errno there. So the same number may come from either, and only the number is stable:
//! log texts differ between releases.

use core::fmt;

/// The code of a donor's JOIN message. Zero or more is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DonorCode(pub i64);

/// Where to look for the cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Nothing failed.
    Nobody,
    /// The donor's configuration, programs or state.
    Donor,
    /// The way between donor and receiver: address, firewall, TLS.
    Connection,
    /// The request that was sent.
    Request,
    /// The donor was busy with something else: another attempt may succeed.
    Retry,
    /// The number does not say.
    Unknown,
}

impl DonorCode {
    /// Did the donor finish its part?
    pub const fn is_success(self) -> bool {
        self.0 >= 0
    }

    /// The script's exit status or the errno value: the code without its sign.
    pub const fn number(self) -> u64 {
        if self.is_success() { 0 } else { self.0.unsigned_abs() }
    }

    /// Where to look for the cause.
    pub const fn blame(self) -> Blame {
        match self.number() {
            0 => Blame::Nobody,
            2 | 3 | 4 | 13 | 21 | 22 | 42 | 61 | 71 | 78 => Blame::Donor,
            32 => Blame::Connection,
            38 | 93 | 125 => Blame::Request,
            11 | 99 | 113 | 114 => Blame::Retry,
            _ => Blame::Unknown,
        }
    }

    /// One sentence for people: what happened, and where to look.
    pub const fn meaning(self) -> &'static str {
        match self.number() {
            0 => "the donor finished its part of the state transfer",
            2 => {
                "the donor has no SST script for this method, or a program that the script needs \
                 is missing or too old"
            }
            3 => "the donor encrypts the transfer (encrypt=1) but has no usable key",
            4 => "the donor's SST script was terminated by a signal",
            11 => "the donor cannot serve a state transfer now: retry, or choose another donor",
            13 => "the donor's SST script, or a program it needs, may not be executed",
            21 => "the donor's configuration contains characters that its SST script refuses",
            22 => {
                "the donor's backup program failed, its data connection broke, or its TLS or \
                 keyring configuration is wrong: see the donor's error log"
            }
            32 => {
                "the donor could not deliver its first connection: the address or port is wrong \
                 or filtered, or TLS was refused"
            }
            38 => "the group chose a member without data as donor",
            42 => {
                "the donor's backup or stream program was not found, or the donor expected a \
                 request with an IST part"
            }
            61 => "the donor lacks write-sets that the request asks for",
            71 => "the request reached the donor in a state in which it cannot serve it",
            78 => "the donor's history changed while it prepared the transfer",
            93 => "the donor does not know the protocol version in the request's address",
            99 | 113 => "the donor asks to try another donor",
            114 => "an earlier SST script is still running on the donor",
            125 => {
                "the donor's server refused the request: a character of the address, or a method \
                 that is not in wsrep_sst_allowed_methods"
            }
            255 => "the donor's SST script failed without saying why: see the donor's error log",
            _ => "the donor's SST script ended with a status that has no known meaning",
        }
    }
}

impl fmt::Display for DonorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_success() {
            f.write_str(self.meaning())
        } else {
            write!(f, "{} (code {})", self.meaning(), self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_zero_or_more() {
        for code in [0, 1, i64::MAX] {
            assert!(DonorCode(code).is_success());
            assert_eq!(DonorCode(code).blame(), Blame::Nobody);
        }
        for code in [-1, -22, -255, i64::MIN] {
            assert!(!DonorCode(code).is_success(), "{code}");
            assert_ne!(DonorCode(code).blame(), Blame::Nobody, "{code}");
        }
    }

    #[test]
    fn every_status_that_donors_use_has_its_own_sentence() {
        let unknown = DonorCode(-1000).meaning();
        for number in [2, 3, 4, 11, 13, 21, 22, 32, 38, 42, 61, 71, 78, 93, 99, 113, 114, 125] {
            let code = DonorCode(-number);
            assert_ne!(code.meaning(), unknown, "{number}");
            assert_ne!(code.blame(), Blame::Unknown, "{number}");
            assert!(code.to_string().ends_with(&format!("(code -{number})")));
        }
    }
}

//! From a session's secrets to what its records carry (RFC 5246 §6.3, RFC 8446 §5 and §7): suites
//! with AES-GCM and ChaCha20-Poly1305, which are all that today's servers choose.

use bytes::Bytes;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::md::{Md, MdRef};
use openssl::pkey::{Id, PKey};
use openssl::pkey_ctx::{HkdfMode, PkeyCtx};
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt_aead};

use super::hello::{ClientHello, ServerHello};
use super::key_log::Secrets;
use super::record::{ContentType, Record};

/// Length of a nonce and of a tag, in every suite.
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// The part of a nonce that AES-GCM of TLS 1.2 sends with each record.
const EXPLICIT_BYTES: usize = 8;

/// What a suite is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Suite {
    algorithm: Algorithm,
    hash: Hash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
}

impl Suite {
    fn from_number(number: u16) -> Option<Self> {
        let (algorithm, hash) = match number {
            0x1301 | 0x009c | 0x009e | 0xc02b | 0xc02f => (Algorithm::Aes128Gcm, Hash::Sha256),
            0x1302 | 0x009d | 0x009f | 0xc02c | 0xc030 => (Algorithm::Aes256Gcm, Hash::Sha384),
            0x1303 | 0xcca8..=0xccaa => (Algorithm::ChaCha20, Hash::Sha256),
            _ => return None,
        };
        Some(Self { algorithm, hash })
    }

    fn cipher(self) -> Cipher {
        match self.algorithm {
            Algorithm::Aes128Gcm => Cipher::aes_128_gcm(),
            Algorithm::Aes256Gcm => Cipher::aes_256_gcm(),
            Algorithm::ChaCha20 => Cipher::chacha20_poly1305(),
        }
    }

    fn md(self) -> &'static MdRef {
        match self.hash {
            Hash::Sha256 => Md::sha256(),
            Hash::Sha384 => Md::sha384(),
        }
    }

    fn digest(self) -> MessageDigest {
        match self.hash {
            Hash::Sha256 => MessageDigest::sha256(),
            Hash::Sha384 => MessageDigest::sha384(),
        }
    }
}

/// Opens the records of one direction.
#[derive(Debug)]
pub(super) struct Opener {
    suite: Suite,
    state: State,
}

#[derive(Debug)]
enum State {
    /// TLS 1.2, before ChangeCipherSpec.
    Clear(Keys),
    /// TLS 1.2, after it.
    Sealed(Keys),
    /// TLS 1.3: the secret in use, and the one after it where that is not its own successor.
    Secret { secret: Vec<u8>, keys: Keys, next: Option<Vec<u8>> },
}

#[derive(Clone, Debug)]
struct Keys {
    key: Vec<u8>,
    iv: Vec<u8>,
    sequence: u64,
}

/// Openers for what the client sends and for what the server sends; none if a secret was not logged,
/// or the suite is none of these.
pub(super) fn openers(
    secrets: &Secrets,
    client: &ClientHello,
    server: &ServerHello,
) -> Option<(Opener, Opener)> {
    let suite = Suite::from_number(server.suite)?;
    if server.is_1_3 {
        let of = |handshake: &Option<Vec<u8>>, traffic: &Option<Vec<u8>>| {
            Opener::of_secrets(suite, handshake.clone()?, traffic.clone()?)
        };
        let client = of(&secrets.client_handshake, &secrets.client_traffic)?;
        return Some((client, of(&secrets.server_handshake, &secrets.server_traffic)?));
    }
    let seed = [&server.random[..], &client.random[..]].concat();
    Opener::pair_of_master(suite, secrets.master.as_deref()?, &seed)
}

impl Opener {
    fn of_secrets(suite: Suite, secret: Vec<u8>, next: Vec<u8>) -> Option<Self> {
        let keys = traffic_keys(suite, &secret).ok()?;
        Some(Self { suite, state: State::Secret { secret, keys, next: Some(next) } })
    }

    fn pair_of_master(suite: Suite, master: &[u8], seed: &[u8]) -> Option<(Self, Self)> {
        let key_bytes = suite.cipher().key_len();
        let iv_bytes = match suite.algorithm {
            Algorithm::Aes128Gcm | Algorithm::Aes256Gcm => NONCE_BYTES - EXPLICIT_BYTES,
            Algorithm::ChaCha20 => NONCE_BYTES,
        };
        let length = 2 * (key_bytes + iv_bytes);
        let block = prf(suite, master, b"key expansion", seed, length).ok()?;
        let (keys, ivs) = block.split_at(2 * key_bytes);
        let of = |side: usize| {
            let key = keys[side * key_bytes..][..key_bytes].to_vec();
            let iv = ivs[side * iv_bytes..][..iv_bytes].to_vec();
            Self { suite, state: State::Clear(Keys { key, iv, sequence: 0 }) }
        };
        Some((of(0), of(1)))
    }

    /// What a record carries for the application; the record's length if it cannot be opened.
    pub(super) fn open(&mut self, record: &Record) -> Result<Option<Bytes>, u64> {
        let opened = match &mut self.state {
            State::Clear(keys) => {
                if record.content_type == ContentType::CHANGE_CIPHER_SPEC {
                    self.state = State::Sealed(keys.clone());
                }
                return Ok(None);
            }
            State::Sealed(keys) => keys.open_1_2(self.suite, record),
            State::Secret { .. } => {
                if record.content_type != ContentType::APPLICATION {
                    return Ok(None);
                }
                self.open_1_3(record)
            }
        };
        opened.ok_or(record.body.len() as u64).map(|(content_type, plain)| {
            (content_type == ContentType::APPLICATION).then_some(plain)
        })
    }

    /// A record that the keys in use do not open may be the first one under the next keys.
    fn open_1_3(&mut self, record: &Record) -> Option<(ContentType, Bytes)> {
        let State::Secret { secret, keys, next } = &mut self.state else { return None };
        if let Some(opened) = keys.open_1_3(self.suite, record) {
            return Some(opened);
        }
        let following = match next {
            Some(next) => next.clone(),
            None => expand_label(self.suite, secret, b"traffic upd", secret.len()).ok()?,
        };
        let mut later = traffic_keys(self.suite, &following).ok()?;
        let opened = later.open_1_3(self.suite, record)?;
        self.state = State::Secret { secret: following, keys: later, next: None };
        Some(opened)
    }
}

impl Keys {
    fn open_1_2(&mut self, suite: Suite, record: &Record) -> Option<(ContentType, Bytes)> {
        let (nonce, sealed) = match suite.algorithm {
            Algorithm::Aes128Gcm | Algorithm::Aes256Gcm => {
                let (explicit, sealed) = record.body.split_at_checked(EXPLICIT_BYTES)?;
                ([&self.iv, explicit].concat(), sealed)
            }
            Algorithm::ChaCha20 => (self.nonce(), &record.body[..]),
        };
        let length = u16::try_from(sealed.len().checked_sub(TAG_BYTES)?).ok()?;
        let aad =
            [&self.sequence.to_be_bytes()[..], &record.header[..3], &length.to_be_bytes()].concat();
        let plain = self.decrypt(suite, &nonce, &aad, sealed)?;
        Some((record.content_type, plain.into()))
    }

    fn open_1_3(&mut self, suite: Suite, record: &Record) -> Option<(ContentType, Bytes)> {
        let mut plain = self.decrypt(suite, &self.nonce(), &record.header, &record.body)?;
        // Zeros fill up behind the true type.
        let last = plain.iter().rposition(|byte| *byte != 0)?;
        let content_type = ContentType(plain[last]);
        plain.truncate(last);
        Some((content_type, plain.into()))
    }

    fn decrypt(
        &mut self,
        suite: Suite,
        nonce: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let (data, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_BYTES)?)?;
        let plain = decrypt_aead(suite.cipher(), &self.key, Some(nonce), aad, data, tag).ok()?;
        self.sequence += 1;
        Some(plain)
    }

    /// The sequence number in the last bytes of the initial one.
    fn nonce(&self) -> Vec<u8> {
        let sequence = [&[0; NONCE_BYTES - 8][..], &self.sequence.to_be_bytes()].concat();
        self.iv.iter().zip(sequence).map(|(iv, byte)| iv ^ byte).collect()
    }
}

fn traffic_keys(suite: Suite, secret: &[u8]) -> Result<Keys, ErrorStack> {
    let key = expand_label(suite, secret, b"key", suite.cipher().key_len())?;
    let iv = expand_label(suite, secret, b"iv", NONCE_BYTES)?;
    Ok(Keys { key, iv, sequence: 0 })
}

/// HKDF-Expand-Label without a context.
fn expand_label(
    suite: Suite,
    secret: &[u8],
    label: &[u8],
    length: usize,
) -> Result<Vec<u8>, ErrorStack> {
    let full = [b"tls13 ", label].concat();
    let [.., high, low] = length.to_be_bytes();
    let count = u8::try_from(full.len()).unwrap_or(u8::MAX);
    let info = [&[high, low, count][..], &full, &[0]].concat();
    let mut context = PkeyCtx::new_id(Id::HKDF)?;
    context.derive_init()?;
    context.set_hkdf_mode(HkdfMode::EXPAND_ONLY)?;
    context.set_hkdf_md(suite.md())?;
    context.set_hkdf_key(secret)?;
    context.add_hkdf_info(&info)?;
    let mut out = vec![0; length];
    context.derive(Some(&mut out))?;
    Ok(out)
}

/// The pseudorandom function of TLS 1.2.
fn prf(
    suite: Suite,
    secret: &[u8],
    label: &[u8],
    seed: &[u8],
    length: usize,
) -> Result<Vec<u8>, ErrorStack> {
    let key = PKey::hmac(secret)?;
    let hmac = |parts: [&[u8]; 2]| {
        let mut signer = Signer::new(suite.digest(), &key)?;
        parts.iter().try_for_each(|part| signer.update(part))?;
        signer.sign_to_vec()
    };
    let seed = [label, seed].concat();
    let (mut out, mut a) = (Vec::new(), seed.clone());
    while out.len() < length {
        a = hmac([&a, &[]])?;
        out.extend(hmac([&a, &seed])?);
    }
    out.truncate(length);
    Ok(out)
}

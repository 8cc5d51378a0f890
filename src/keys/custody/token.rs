//! PKCS#11: secrets wrapped by an AES key that never leaves a token.
//!
//! What lies on the disk is one line, worthless without the token and its PIN:
//!
//! ```text
//! cloison-wrapped-1:<kind>:aes-gcm:<iv, 12 bytes>:<ciphertext and tag, 48 bytes>
//! cloison-wrapped-1:<kind>:aes-key-wrap:<40 bytes>                                                all in hexadecimal digits
//! ```
//!
//! AES-GCM (NIST SP 800-38D) is the default: its associated data, `"cloison/v1/wrapped" ‖
//! LP(kind)`, binds what the secret is for, so that two files cannot be exchanged. AES-KEY-WRAP
//! (RFC 3394) is for tokens that wrap keys but do not encrypt data; it binds nothing, so there only
//! the first line says the kind.

use std::path::PathBuf;
use std::sync::Mutex;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::mechanism::Mechanism as Pkcs11Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use data_encoding::HEXLOWER;
use zeroize::Zeroize as _;

use super::PassphraseSource;
use crate::keys::file::{FileFault, SecretKind};
use crate::keys::{KEY_LEN, Key, lp};
use crate::lines;

/// Which token, and how it wraps.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// The PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub label: String,
    /// The label of the AES key in it.
    pub key: String,
    /// Where its user's PIN comes from; `None` where the token asks for it itself (a PIN pad).
    pub pin: Option<PassphraseSource>,
    /// How it wraps.
    pub mechanism: WrapMechanism,
}

/// How a token wraps a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WrapMechanism {
    /// AES-GCM: encrypted as data, bound to its kind.
    #[default]
    AesGcm,
    /// AES-KEY-WRAP: wrapped as a key.
    AesKeyWrap,
}

impl WrapMechanism {
    /// As configurations and wrapped files spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AesGcm => "aes-gcm",
            Self::AesKeyWrap => "aes-key-wrap",
        }
    }

    /// The mechanism of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::AesGcm, Self::AesKeyWrap]
            .into_iter()
            .find(|mechanism| mechanism.as_str() == text)
    }
}

/// A token with its user logged in.
pub struct Token {
    session: Mutex<Session>,
    key: String,
    mechanism: WrapMechanism,
}

/// Bytes of the IV that is given to AES-GCM.
const IV: usize = 12;
const FORM: FileFault = FileFault::Form("a line `cloison-wrapped-1:<kind>:<mechanism>:…`");

impl Token {
    /// Opens a session and logs in.
    ///
    /// # Errors
    /// [`FileFault::Token`], or what is wrong with the PIN's source.
    pub fn open(config: &TokenConfig) -> Result<Self, FileFault> {
        let pkcs11 = Pkcs11::new(&config.module)
            .map_err(|error| fault("the module does not load", error))?;
        match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            // Another keyring of this process may have started it.
            Ok(()) | Err(Pkcs11Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(fault("the module does not start", error)),
        }
        let slots = pkcs11
            .get_slots_with_token()
            .map_err(|error| fault("it has no slots", error))?;
        let labelled = |slot: &cryptoki::slot::Slot| {
            pkcs11
                .get_token_info(*slot)
                .is_ok_and(|info| info.label().trim_end() == config.label)
        };
        let mut found = slots.into_iter().filter(labelled);
        let slot = match (found.next(), found.next()) {
            (Some(slot), None) => slot,
            (None, _) => {
                return Err(FileFault::Token(format!(
                    "there is no token with the label `{}`",
                    config.label
                )));
            }
            _ => {
                return Err(FileFault::Token(format!(
                    "two tokens have the label `{}`",
                    config.label
                )));
            }
        };
        let session = pkcs11
            .open_rw_session(slot)
            .map_err(|error| fault("it opens no session", error))?;
        let pin = match &config.pin {
            None => None,
            Some(source) => {
                let read = source.read(&format!("PIN of token {}", config.label));
                Some(read.map_err(|error| FileFault::Token(format!("its PIN: {error}")))?)
            }
        };
        match session.login(UserType::User, pin.as_ref()) {
            Ok(()) | Err(Pkcs11Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(Pkcs11Error::Pkcs11(RvError::PinIncorrect, _)) => {
                return Err(FileFault::Token(
                    "the PIN is wrong; a token locks itself after a few of those".into(),
                ));
            }
            Err(error) => return Err(fault("it refuses the login", error)),
        }
        Ok(Self {
            session: Mutex::new(session),
            key: config.key.clone(),
            mechanism: config.mechanism,
        })
    }

    /// Makes the wrapping key in the token: AES-256, which never leaves it.
    ///
    /// # Errors
    /// [`FileFault::Exists`] when there is one of that label, or the token's refusal.
    pub fn make_key(&self) -> Result<(), FileFault> {
        let session = self.session();
        if !find(&session, &self.key)?.is_empty() {
            return Err(FileFault::Exists);
        }
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen((KEY_LEN as u64).into()),
            Attribute::Label(self.key.as_bytes().to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(true),
            Attribute::Unwrap(true),
        ];
        let made = session.generate_key(&Pkcs11Mechanism::AesKeyGen, &template);
        made.map(drop)
            .map_err(|error| fault("it makes no AES key", error))
    }

    /// The line that keeps a secret.
    ///
    /// # Errors
    /// [`FileFault::Token`]
    pub fn wrap(&self, kind: SecretKind, secret: &Key) -> Result<String, FileFault> {
        let session = self.session();
        let key = wrapping_key(&session, &self.key)?;
        let head = format!("cloison-wrapped-1:{kind}:{}:", self.mechanism.as_str());
        let body = match self.mechanism {
            WrapMechanism::AesGcm => {
                let (mut iv, bound) = (crate::clock::random::<IV>(), bound(kind));
                let params = GcmParams::new(&mut iv, &bound, 128.into())
                    .map_err(|error| fault("AES-GCM", error))?;
                let sealed =
                    session.encrypt(&Pkcs11Mechanism::AesGcm(params), key, secret.expose());
                let sealed =
                    sealed.map_err(|error| fault("it does not encrypt with AES-GCM", error))?;
                // Read after the call: some tokens insist on an IV of their own and write it over
                // ours.
                format!("{}:{}", HEXLOWER.encode(&iv), HEXLOWER.encode(&sealed))
            }
            WrapMechanism::AesKeyWrap => {
                let mut template = secret_object();
                template.push(Attribute::Value(secret.expose().to_vec()));
                let object = session.create_object(&template);
                template.iter_mut().for_each(|attribute| {
                    if let Attribute::Value(bytes) = attribute {
                        bytes.zeroize();
                    }
                });
                let object = object.map_err(|error| fault("it takes no key to wrap", error))?;
                let wrapped = session.wrap_key(&Pkcs11Mechanism::AesKeyWrap, key, object);
                let destroyed = session.destroy_object(object);
                let wrapped =
                    wrapped.map_err(|error| fault("it does not wrap with AES-KEY-WRAP", error))?;
                destroyed.map_err(|error| fault("it does not forget a key", error))?;
                HEXLOWER.encode(&wrapped)
            }
        };
        Ok(format!("{head}{body}\n"))
    }

    /// The secret behind such a line; both mechanisms are read.
    ///
    /// # Errors
    /// When the line has another form or kind, or does not open.
    pub fn unwrap(&self, line: &[u8], wanted: SecretKind) -> Result<Key, FileFault> {
        let (mechanism, iv, body) = parse(line, wanted)?;
        let session = self.session();
        let key = wrapping_key(&session, &self.key)?;
        let mut bytes = match mechanism {
            WrapMechanism::AesGcm => {
                let (mut iv, bound) = (iv, bound(wanted));
                let params = GcmParams::new(&mut iv, &bound, 128.into())
                    .map_err(|error| fault("AES-GCM", error))?;
                session
                    .decrypt(&Pkcs11Mechanism::AesGcm(params), key, &body)
                    .map_err(unopened)?
            }
            WrapMechanism::AesKeyWrap => {
                let object =
                    session.unwrap_key(&Pkcs11Mechanism::AesKeyWrap, key, &body, &secret_object());
                let object = object.map_err(unopened)?;
                let value = session.get_attributes(object, &[AttributeType::Value]);
                session
                    .destroy_object(object)
                    .map_err(|error| fault("it does not forget a key", error))?;
                match value
                    .map_err(|error| fault("it keeps the key to itself", error))?
                    .pop()
                {
                    Some(Attribute::Value(bytes)) => bytes,
                    _ => return Err(FileFault::Unopened),
                }
            }
        };
        let secret = match <&[u8; KEY_LEN]>::try_from(bytes.as_slice()) {
            Ok(whole) => Ok(Key::init(|key| key.copy_from_slice(whole))),
            Err(_) => Err(FileFault::Unopened),
        };
        bytes.zeroize();
        secret
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn parse(line: &[u8], wanted: SecretKind) -> Result<(WrapMechanism, [u8; IV], Vec<u8>), FileFault> {
    let rest = lines::only(line)
        .and_then(|line| line.strip_prefix("cloison-wrapped-1:"))
        .ok_or(FORM)?;
    let mut parts = rest.split(':');
    let mut next = || parts.next().ok_or(FORM);
    let found = SecretKind::parse(next()?).ok_or(FORM)?;
    let mechanism = WrapMechanism::parse(next()?).ok_or(FORM)?;
    let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).map_err(|_| FORM);
    let iv = match mechanism {
        WrapMechanism::AesGcm => hex(next()?)?.try_into().map_err(|_| FORM)?,
        WrapMechanism::AesKeyWrap => [0; IV],
    };
    let body = hex(next()?)?;
    if parts.next().is_some() {
        return Err(FORM);
    }
    if found != wanted {
        return Err(FileFault::Kind { found, wanted });
    }
    Ok((mechanism, iv, body))
}

/// What AES-GCM binds: what the secret is for.
fn bound(kind: SecretKind) -> Vec<u8> {
    let mut bound = b"cloison/v1/wrapped".to_vec();
    lp(&mut bound, kind.as_str().as_bytes());
    bound
}

/// The attributes of a key that ends with the session, or before.
fn secret_object() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ]
}

fn find(session: &Session, label: &str) -> Result<Vec<ObjectHandle>, FileFault> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    session
        .find_objects(&template)
        .map_err(|error| fault("it shows no keys", error))
}

fn wrapping_key(session: &Session, label: &str) -> Result<ObjectHandle, FileFault> {
    match find(session, label)?.as_slice() {
        [key] => Ok(*key),
        [] => Err(FileFault::Token(format!(
            "it has no AES key with the label `{label}`: `cloison secrets token-key`"
        ))),
        _ => Err(FileFault::Token(format!(
            "two of its keys have the label `{label}`"
        ))),
    }
}

fn fault(what: &str, error: Pkcs11Error) -> FileFault {
    FileFault::Token(match error {
        Pkcs11Error::Pkcs11(code, _) => format!("{what} ({code:?})"),
        other => format!("{what} ({other})"),
    })
}

/// The fault of a failed decryption, for which tokens have different codes.
fn unopened(error: Pkcs11Error) -> FileFault {
    match error {
        Pkcs11Error::Pkcs11(
            RvError::DeviceError | RvError::DeviceRemoved | RvError::SessionHandleInvalid,
            _,
        ) => fault("it does not work", error),
        _ => FileFault::Unopened,
    }
}

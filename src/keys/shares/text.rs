//! Sets and shares as texts.
//!
//! A set is public and is kept where shares are taken; a share is a secret and travels inside an
//! age file or TLS, with its set beside it in a custodian's file, so that shares alone recover what
//! was split:
//!
//! ```text
//! set    {"format":"cloison-share-set-1","custodians":[…],"secrets":[{"kind","name","public","commitments":[…]}],"threshold":3}
//! share  {"format":"cloison-share-1","custodian":"…","index":2,"set":"<digest>","values":[{"blinder":"…","value":"…"}]}
//! file   {"set":{…},"share":{…}}                                                     all bytes in hexadecimal digits
//! ```

use data_encoding::HEXLOWER;
use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{MAX_SHARES, Share, ShareError, ShareSet, SharedSecret};
use crate::id::Id;
use crate::json::{object, read_object};
use crate::keys::Key;
use crate::keys::file::SecretKind;

const SET: &str = "cloison-share-set-1";
const SHARE: &str = "cloison-share-1";

/// A custodian's file, decrypted: the share and the set that it is of.
pub struct ShareFile {
    /// The public part.
    pub set: ShareSet,
    /// The secret part.
    pub share: Share,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetText {
    format: String,
    custodians: Vec<Id>,
    secrets: Vec<SharedText>,
    threshold: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedText {
    commitments: Vec<String>,
    kind: String,
    name: String,
    public: String,
}

/// A share as it is sent.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareText {
    /// `cloison-share-1`
    format: String,
    /// Whose share it is.
    #[schema(value_type = String)]
    custodian: Id,
    /// Its number, from 1.
    index: usize,
    /// The digest of its set, hex.
    set: String,
    /// Its values, one for each secret of the set.
    values: Vec<ValueText>,
}

/// One secret's share.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ValueText {
    /// `g(i)`, hex.
    #[schema(value_type = String)]
    blinder: HexKey,
    /// `f(i)`, hex.
    #[schema(value_type = String)]
    value: HexKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    #[serde(deserialize_with = "object")]
    set: SetText,
    #[serde(deserialize_with = "object")]
    share: ShareText,
}

/// 32 secret bytes that are written as 64 hexadecimal digits.
struct HexKey(Key);

impl Serialize for HexKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(HEXLOWER.encode(self.0.expose())))
    }
}

impl<'de> Deserialize<'de> for HexKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = HexKey;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HexKey, E> {
                let mut readable = text.len() == 64;
                let key = Key::init(|key| {
                    readable = readable && HEXLOWER.decode_mut(text.as_bytes(), key).is_ok();
                });
                // The library's own error would quote the text.
                if readable {
                    Ok(HexKey(key))
                } else {
                    Err(E::custom("not 64 hexadecimal digits"))
                }
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

impl ShareSet {
    /// Canonical JSON (RFC 8785 for the strings and integers that it has).
    pub fn to_json(&self) -> String {
        // `Value` keeps its members sorted.
        serde_json::to_value(self.text())
            .expect("a set is plain data")
            .to_string()
    }

    /// Reads a set.
    ///
    /// # Errors
    /// [`ShareError::Form`], [`ShareError::Threshold`], [`ShareError::Twice`].
    pub fn from_json(text: &[u8]) -> Result<Self, ShareError> {
        Self::from_text(read_object(text).map_err(|_| ShareError::Form("share set"))?)
    }

    fn text(&self) -> SetText {
        let secret = |shared: &SharedSecret| SharedText {
            commitments: shared
                .commitments
                .iter()
                .map(|point| HEXLOWER.encode(point))
                .collect(),
            kind: shared.kind.to_string(),
            name: shared.name.clone(),
            public: HEXLOWER.encode(&shared.public),
        };
        SetText {
            format: SET.to_owned(),
            custodians: self.custodians.clone(),
            secrets: self.secrets.iter().map(secret).collect(),
            threshold: self.threshold,
        }
    }

    fn from_text(text: SetText) -> Result<Self, ShareError> {
        const FORM: ShareError = ShareError::Form("share set");
        let (threshold, shares) = (text.threshold, text.custodians.len());
        if text.format != SET || text.secrets.is_empty() {
            return Err(FORM);
        }
        if threshold < 2 || threshold > shares || shares > MAX_SHARES {
            return Err(ShareError::Threshold { threshold, shares });
        }
        let seen = &text.custodians;
        if let Some(twice) = (1..shares).find(|place| seen[..*place].contains(&seen[*place])) {
            return Err(ShareError::Twice(seen[twice].clone()));
        }
        let secret = |text: SharedText| {
            let point = |digits: String| HEXLOWER.decode(digits.as_bytes()).ok()?.try_into().ok();
            let commitments: Vec<[u8; 33]> = text
                .commitments
                .into_iter()
                .map(point)
                .collect::<Option<_>>()?;
            let kind = SecretKind::parse(&text.kind)?;
            let public = HEXLOWER.decode(text.public.as_bytes()).ok()?;
            (commitments.len() == threshold).then_some(SharedSecret {
                kind,
                name: text.name,
                public,
                commitments,
            })
        };
        let secrets = text
            .secrets
            .into_iter()
            .map(secret)
            .collect::<Option<Vec<_>>>()
            .ok_or(FORM)?;
        Ok(Self {
            threshold,
            custodians: text.custodians,
            secrets,
        })
    }
}

impl TryFrom<ShareText> for Share {
    type Error = ShareError;

    fn try_from(text: ShareText) -> Result<Self, ShareError> {
        const FORM: ShareError = ShareError::Form("share");
        let set = HEXLOWER
            .decode(text.set.as_bytes())
            .ok()
            .and_then(|digest| digest.try_into().ok())
            .ok_or(FORM)?;
        if text.format != SHARE {
            return Err(FORM);
        }
        let values = text
            .values
            .into_iter()
            .map(|pair| (pair.value.0, pair.blinder.0))
            .collect();
        Ok(Self {
            set,
            custodian: text.custodian,
            index: text.index,
            values,
        })
    }
}

impl From<Share> for ShareText {
    fn from(share: Share) -> Self {
        let pair = |(value, blinder)| ValueText {
            blinder: HexKey(blinder),
            value: HexKey(value),
        };
        Self {
            format: SHARE.to_owned(),
            custodian: share.custodian,
            index: share.index,
            set: HEXLOWER.encode(&share.set),
            values: share.values.into_iter().map(pair).collect(),
        }
    }
}

impl ShareFile {
    /// The text that goes into a custodian's age file.
    pub fn into_json(self) -> Zeroizing<Vec<u8>> {
        let text = FileText {
            set: self.set.text(),
            share: self.share.into(),
        };
        // Large enough from the start: growing would leave unwiped copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
        serde_json::to_writer(&mut *bytes, &text).expect("a share is plain data");
        bytes
    }

    /// Reads what was in a custodian's age file, and checks the share against its set.
    ///
    /// # Errors
    /// [`ShareError`]
    pub fn from_json(text: &[u8]) -> Result<Self, ShareError> {
        let FileText { set, share } =
            read_object(text).map_err(|_| ShareError::Form("share file"))?;
        let file = Self {
            set: ShareSet::from_text(set)?,
            share: share.try_into()?,
        };
        file.set.check(&file.share)?;
        Ok(file)
    }
}

/// Hides the values.
impl std::fmt::Debug for ShareText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ShareText({} of {})", self.index, self.custodian)
    }
}

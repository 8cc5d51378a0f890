//! The values in a configuration, each with its only spelling.

use std::net::SocketAddr;
use std::path::{Component, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use crate::keys::custody::{Custody, Deposit, PassphraseSource, is_credential_name, token};
use crate::register::read::{TomlField, wrong_type};

fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    value
        .as_str()
        .ok_or_else(|| wrong_type(value, "a text in quotes"))
}

/// Where a listener binds.
pub(super) struct ListenAddress(pub(super) SocketAddr);

impl TomlField for ListenAddress {
    const EXAMPLE: &'static str = "\"127.0.0.1:8443\", an IP address and a port";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        text(value)?
            .parse()
            .map(ListenAddress)
            .map_err(|_| "is not an IP address with a port".into())
    }
}

/// The same, where only this machine may reach it.
pub(super) struct LoopbackAddress(pub(super) SocketAddr);

impl TomlField for LoopbackAddress {
    const EXAMPLE: &'static str =
        "\"127.0.0.1:9443\", on loopback: this listener knows no certificates";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match ListenAddress::read(value)?.0 {
            address if address.ip().is_loopback() => Ok(LoopbackAddress(address)),
            _ => Err("is not a loopback address".into()),
        }
    }
}

/// A file or folder, as written.
pub(super) struct Place(pub(super) PathBuf);

impl TomlField for Place {
    const EXAMPLE: &'static str = "a path in quotes, from the folder of this file on";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let path = text(value)?;
        if path.is_empty() || path.chars().any(char::is_control) {
            Err("is not a path".into())
        } else {
            Ok(Place(PathBuf::from(path)))
        }
    }
}

impl Place {
    /// The path, seen from `folder`; an absolute one stays as it is.
    pub(super) fn within(&self, folder: &std::path::Path) -> PathBuf {
        folder
            .join(&self.0)
            .components()
            .filter(|part| *part != Component::CurDir)
            .collect()
    }
}

/// A certificate in PEM whose key is a pin.
pub(super) struct PinnedCertificate(pub(super) Place);

impl TomlField for PinnedCertificate {
    const EXAMPLE: &'static str = "\"tls/vault.pem\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        Place::read(value).map(PinnedCertificate)
    }
}

/// `https://host` or `https://host:port`, and nothing after it.
pub(super) struct BaseUrl(pub(super) String);

impl TomlField for BaseUrl {
    const EXAMPLE: &'static str = "\"https://vault.example:8443\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let url = text(value)?;
        let base = url.strip_suffix('/').unwrap_or(url);
        let whole = base.parse::<axum::http::Uri>().ok();
        let authority = whole
            .as_ref()
            .filter(|uri| uri.scheme_str() == Some("https"))
            .and_then(|uri| uri.authority());
        match authority {
            Some(authority)
                if base == format!("https://{authority}") && !authority.as_str().contains('@') =>
            {
                Ok(BaseUrl(base.into()))
            }
            _ => Err("is not https:// with a host, perhaps a port, and nothing else".into()),
        }
    }
}

/// A count from 1 to a million.
pub(super) struct Count(pub(super) usize);

impl TomlField for Count {
    const EXAMPLE: &'static str = "a number from 1 to 1000000";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match u64::read(value)? {
            number @ 1..=1_000_000 => Ok(Count(number as usize)),
            _ => Err("is not a number from 1 to 1000000".into()),
        }
    }
}

/// A time between two events: a number and `s`, `m`, `h` or `d`.
pub(super) struct Interval(pub(super) Duration);

impl TomlField for Interval {
    const EXAMPLE: &'static str =
        "\"15m\", \"1h\" or \"1d\": a whole number of seconds, minutes, hours or days";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let text = text(value)?;
        let unit = match text.chars().next_back() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => 0,
        };
        let number = text.get(..text.len().saturating_sub(1));
        let number: Option<u64> = number.and_then(|number| number.parse().ok());
        match number.map(|number| number.saturating_mul(unit)) {
            Some(seconds @ 10..=31_536_000) => Ok(Interval(Duration::from_secs(seconds))),
            _ => Err("is not an interval from 10 seconds to a year".into()),
        }
    }
}

/// Mebibytes of batches under way: at least room for one of the largest size (16 MiB).
pub(super) struct BodyMebibytes(pub(super) usize);

impl TomlField for BodyMebibytes {
    const EXAMPLE: &'static str = "a number from 17 to 65536";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match u64::read(value)? {
            number @ 17..=65_536 => Ok(BodyMebibytes(number as usize)),
            _ => Err("is not a number from 17 to 65536".into()),
        }
    }
}

/// Where a secret lies: a text, in the custody of its section, or a table that states its own.
pub(super) struct SecretLocation {
    custody: Option<Custody>,
    at: Place,
}

impl TomlField for SecretLocation {
    const EXAMPLE: &'static str = "a path in quotes, or { custody = \"token\", at = \"…\" }";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let Some(table) = value.as_table() else {
            return Ok(Self {
                custody: None,
                at: Place::read(value)?,
            });
        };
        if table
            .keys()
            .any(|name| !matches!(name.get_ref().as_ref(), "custody" | "at"))
        {
            return Err("has something beside `custody` and `at`".into());
        }
        let custody = table
            .get("custody")
            .map(|value| Custody::read(value.get_ref()))
            .transpose()?;
        let at = table.get("at").ok_or("has no `at`")?;
        Ok(Self {
            custody,
            at: Place::read(at.get_ref())?,
        })
    }
}

impl SecretLocation {
    /// The deposit, its path seen from `folder`.
    pub(super) fn within(self, folder: &std::path::Path, custody: Custody) -> Deposit {
        deposit(&self.at, self.custody.unwrap_or(custody), folder)
    }
}

/// A deposit with that path, or credential's name.
pub(super) fn deposit(at: &Place, custody: Custody, folder: &std::path::Path) -> Deposit {
    match custody {
        Custody::Credential => Deposit {
            custody,
            at: at.0.clone(),
        },
        _ => Deposit {
            custody,
            at: at.within(folder),
        },
    }
}

/// Whether a deposit in a credential has something else than a credential's name.
pub(super) fn is_bad_credential_name(deposit: &Deposit) -> bool {
    deposit.custody == Custody::Credential && !deposit.at.to_str().is_some_and(is_credential_name)
}

impl TomlField for Custody {
    const EXAMPLE: &'static str = "\"file\", \"passphrase\", \"credential\" or \"token\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        Custody::parse(text(value)?).ok_or_else(|| "is not a custody".into())
    }
}

/// The custody of an authority's key.
pub(super) enum KeyCustody {
    /// The node has it.
    Own(Custody),
    /// Its custodians do.
    Shares,
}

impl TomlField for KeyCustody {
    const EXAMPLE: &'static str =
        "\"shares\", \"file\", \"passphrase\", \"credential\" or \"token\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match text(value)? {
            "shares" => Ok(Self::Shares),
            _ => Custody::read(value).map(Self::Own),
        }
    }
}

impl TomlField for PassphraseSource {
    const EXAMPLE: &'static str = "\"terminal\", \"fd:3\", \"file:PATH\" or \"credential:NAME\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        PassphraseSource::parse(text(value)?).ok_or_else(|| {
            "is not a source of a passphrase (and never the passphrase itself)".into()
        })
    }
}

/// The label of a token, or of a key in it.
pub(super) struct TokenLabel(pub(super) String);

impl TomlField for TokenLabel {
    const EXAMPLE: &'static str = "a label in quotes, of at most 32 characters";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let label = text(value)?;
        if (1..=32).contains(&label.len()) && !label.chars().any(char::is_control) {
            Ok(TokenLabel(label.to_owned()))
        } else {
            Err("is not a label".into())
        }
    }
}

impl TomlField for token::WrapMechanism {
    const EXAMPLE: &'static str = "\"aes-gcm\" or \"aes-key-wrap\"";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        token::WrapMechanism::parse(text(value)?).ok_or_else(|| "is not a mechanism".into())
    }
}

/// Mebibytes of memory for the index, up to 64 TiB.
pub(super) struct IndexMebibytes(pub(super) u64);

impl TomlField for IndexMebibytes {
    const EXAMPLE: &'static str = "a number from 1 to 67108864";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match u64::read(value)? {
            number @ 1..=67_108_864 => Ok(IndexMebibytes(number)),
            _ => Err("is not a number from 1 to 67108864".into()),
        }
    }
}

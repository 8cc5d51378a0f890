//! The identity sources that a register states: whose they are, and which share of every quota each
//! counts.

use std::collections::BTreeMap;
use std::fmt;

use ed25519_dalek::VerifyingKey;
use toml::de::DeValue;

use super::file::{IdentityEntry, RegisterFile};
use super::read::{Faults, TomlField, wrong_type};
use super::{Custodian, Id, Quota, SpkiDigest};

/// The id by which the log names the vault where it calls an identity source.
pub(super) const VAULT: &str = "vault";

/// The vault as a caller of identity sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredVault {
    /// `vault`: how the log names it.
    pub id: Id,
    /// The body that runs it.
    pub organisation: Id,
    /// The certificate key with which it calls identity sources.
    pub certificate: SpkiDigest,
}

/// A process of another body than the vault's, which holds the identity secret, derives UTIs for
/// the vault, and counts them.
#[derive(Debug, Clone)]
pub struct RegisteredIdentity {
    /// Stable id.
    pub id: Id,
    /// The body that runs it: neither the vault's nor an authority.
    pub organisation: Id,
    /// The certificate key with which it reaches the vault.
    pub certificate: SpkiDigest,
    /// The key (Ed25519) that signs the checkpoints of its log.
    pub checkpoint_key: VerifyingKey,
    /// The share of every organisation's quota that it counts by itself.
    pub share: QuotaShare,
    /// Those who look after it, and hold shares of its secret where that is split.
    pub custodians: BTreeMap<Id, Custodian>,
}

/// A share of every quota, more than none and at most the whole: in millionths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaShare(u32);

impl QuotaShare {
    /// All of it.
    pub const WHOLE: Self = Self(1_000_000);

    /// This share of a quota, rounded down, and at least one item: a quota of none would refuse
    /// all.
    #[must_use]
    pub fn of(self, quota: Quota) -> Quota {
        let part = |items: u64| {
            let part = u128::from(items) * u128::from(self.0) / u128::from(Self::WHOLE.0);
            u64::try_from(part).unwrap_or(items).max(1)
        };
        Quota {
            items_per_second: part(quota.items_per_second),
            items_per_day: part(quota.items_per_day),
        }
    }

    /// The share as a number from 0 to 1.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE.0)
    }
}

impl fmt::Debug for QuotaShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

impl TomlField for QuotaShare {
    const EXAMPLE: &'static str = "a number above 0 and at most 1, as 0.5";

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let written = match value {
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            other => return Err(wrong_type(other, "a number")),
        };
        let number: f64 = written.parse().unwrap_or(f64::NAN);
        let millionths = (number * f64::from(Self::WHOLE.0)).floor();
        if millionths >= 1.0 && number <= 1.0 {
            // In the range of the type, as was just checked.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "1 to a million"
            )]
            Ok(Self(millionths as u32))
        } else {
            Err("is not above 0 and at most 1, in millionths".into())
        }
    }
}

/// Notes every fault of the identity sources that no single field shows.
pub(super) fn check(file: &RegisterFile, faults: &mut Faults) {
    let Some(first) = file.identities.first() else {
        return;
    };
    check_vault(file, first, faults);
    file.identities
        .iter()
        .for_each(|identity| check_organisation(file, identity, faults));
    check_shares(&file.identities, faults);
}

/// Where there is an identity source, the register has to say who runs the vault, and with which
/// key it calls.
fn check_vault(file: &RegisterFile, first: &IdentityEntry, faults: &mut Faults) {
    let vault = file.vault.as_ref();
    let has = [
        (
            "organisation",
            vault.is_some_and(|vault| vault.organisation.is_some()),
        ),
        (
            "certificate",
            vault.is_some_and(|vault| vault.certificate.is_some()),
        ),
    ];
    for (field, _) in has.iter().filter(|(_, is_there)| !is_there) {
        let what = format!("there is an identity source, and [vault] has no `{field}`");
        let instead = match *field {
            "organisation" => "[vault] organisation = the body that runs the vault",
            _ => "[vault] certificate = the key with which the vault calls identity sources",
        };
        faults.push(first.line, what, instead);
    }
}

/// Those who hold the identity secret hold none of the other secrets.
fn check_organisation(file: &RegisterFile, identity: &IdentityEntry, faults: &mut Faults) {
    let Some(organisation) = &identity.organisation else {
        return;
    };
    let vault = file.vault.as_ref();
    let vault = vault.and_then(|vault| vault.organisation.as_ref());
    let mut authorities = file.authorities.iter().filter_map(|one| one.id.as_ref());
    let whose = if vault.is_some_and(|vault| vault.value == organisation.value) {
        "the vault"
    } else if authorities.any(|authority| authority.value == organisation.value) {
        "an authority"
    } else {
        return;
    };
    let what = format!(
        "an identity source belongs to `{}`, which is also the organisation of {whose}: one body would hold both secrets",
        organisation.value
    );
    faults.push(
        organisation.line,
        what,
        "organisation = a body that runs neither the vault nor an authority's node",
    );
}

/// Each source counts by itself, so that together they must not allow more than the quota.
fn check_shares(identities: &[IdentityEntry], faults: &mut Faults) {
    if identities.len() > 1 {
        for identity in identities.iter().filter(|identity| !identity.has_share) {
            let what = "there are several identity sources, and one has no `share` of the quotas";
            faults.push(
                identity.line,
                what,
                "share = 0.5, so that all together are at most 1",
            );
        }
    }
    let stated = identities.iter().filter(|identity| identity.has_share);
    let mut shares = stated.filter_map(|identity| identity.share.as_ref());
    let sum: u64 = shares.clone().map(|share| u64::from(share.value.0)).sum();
    if sum > u64::from(QuotaShare::WHOLE.0)
        && let Some(last) = shares.next_back()
    {
        let what = "the shares of the identity sources are more than 1 together: they would let through more than a quota";
        faults.push(last.line, what, "shares that are at most 1 together");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_a_quota_is_never_more_than_its_part_and_never_none() {
        let quota = Quota {
            items_per_second: 9,
            items_per_day: 1_000,
        };
        let half = QuotaShare(500_000).of(quota);
        assert_eq!((half.items_per_second, half.items_per_day), (4, 500));
        let least = QuotaShare(1).of(quota);
        assert_eq!((least.items_per_second, least.items_per_day), (1, 1));
        assert_eq!(QuotaShare::WHOLE.of(quota), quota);
    }
}

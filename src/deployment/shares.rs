//! Makes the authority's key in custodians' shares.

use secrecy::ExposeSecret as _;

use super::layout::NewFolder;
use super::register_text::AUTHORITY_KEY;
use crate::keys::custody::passphrase::{self, AgeLock, new_identity};
use crate::keys::file::SecretKind;
use crate::keys::shares::{Share, ShareError, ShareFile, ShareSet, split};
use crate::keys::{AuthoritySecret, Key};
use crate::register::{Id, Suite};
use crate::seal::segment::AuthorityPrivateKey;
use crate::terminal::CommandError;

/// Makes the key, its set, and each custodian's share with the identity that opens it. The caller
/// needs the key's public half, and wipes the private half by dropping it.
pub(super) fn make(
    folder: &NewFolder,
    threshold: usize,
    count: usize,
) -> Result<(AuthorityPrivateKey, Vec<Id>), CommandError> {
    let scalar = AuthoritySecret(Key::random());
    let key = AuthorityPrivateKey::derive(&scalar, AUTHORITY_KEY, Suite::X25519);
    let ids: Vec<Id> = (1..=count)
        .filter_map(|number| Id::parse(&format!("custodian-{number}")))
        .collect();
    let secrets = [(
        SecretKind::Authority,
        AUTHORITY_KEY.to_owned(),
        key.public().to_vec(),
        &scalar.0,
    )];
    let unsplit =
        |error: ShareError| CommandError::usage(error, "choose --custodians and --threshold anew");
    let (set, shares) = split(&secrets, &ids, threshold).map_err(unsplit)?;
    folder.public(&format!("{AUTHORITY_KEY}.set"), &(set.to_json() + "\n"))?;
    for share in shares {
        let path = format!("secrets/custodians/{}", share.custodian());
        let (identity, recipient) = new_identity();
        let fault = || CommandError::bug("a new age identity has no valid recipient");
        let age = seal_share(
            set.clone(),
            share,
            AgeLock::recipient(&recipient).ok_or_else(fault)?,
        )?;
        folder.secret(
            &format!("{path}.key"),
            &format!("{}\n", identity.expose_secret()),
        )?;
        folder.secret(&format!("{path}.share"), &age)?;
    }
    Ok((key, ids))
}

/// The text of a share's file, encrypted under `lock`.
///
/// # Errors
/// When it cannot be encrypted.
pub fn seal_share(set: ShareSet, share: Share, lock: AgeLock) -> Result<String, CommandError> {
    let sealed = passphrase::encrypt(&ShareFile { set, share }.into_json(), lock);
    let sealed = sealed.ok().and_then(|age| String::from_utf8(age).ok());
    sealed.ok_or_else(|| CommandError::bug("a share could not be encrypted"))
}

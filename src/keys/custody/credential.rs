//! Credentials that systemd hands to a service (`LoadCredential=`, `LoadCredentialEncrypted=`):
//! files in the folder that `$CREDENTIALS_DIRECTORY` names, in memory, for this service alone.
//!
//! systemd may leave the file to root and let the service's user in by an access list, which shows
//! as a permission of the group: so these files may belong to root and be readable by their group,
//! but writable by nobody else and for others not at all.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::keys::file::{FileError, FileFault, at, open_plain, read_whole};
use crate::system;

/// The variable that systemd sets for a service with credentials.
const FOLDER: &str = "CREDENTIALS_DIRECTORY";

/// Whether a text is a credential's name: letters, digits, `-`, `_` and `.`, as in a file's name,
/// and no hidden file.
pub fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Reads a credential whole.
pub(crate) fn read(name: &str) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let path = path(name)?;
    let read = || {
        let mut file = open_plain(&path)?;
        let facts = file.metadata()?;
        let user = system::user();
        if facts.uid() != user && facts.uid() != 0 {
            return Err(FileFault::Owner {
                owner: facts.uid(),
                user,
            });
        }
        if facts.mode() & 0o037 != 0 {
            return Err(FileFault::Mode(facts.mode() & 0o7777));
        }
        read_whole(&mut file)
    };
    read().map_err(at(&path))
}

/// The path of a credential.
pub(crate) fn path(name: &str) -> Result<PathBuf, FileError> {
    let folder = std::env::var_os(FOLDER)
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute());
    match folder {
        Some(folder) if is_name(name) => Ok(folder.join(name)),
        Some(_) => Err(at(name.as_ref())(FileFault::Form(
            "the name of a credential",
        ))),
        None => Err(at(name.as_ref())(FileFault::NoCredentials)),
    }
}

/// Numbers `n` for which a credential `<name>-<n>` is here.
pub(crate) fn versions(name: &str) -> Result<Vec<u32>, FileError> {
    let folder = path(name)?.with_file_name("");
    let entries = std::fs::read_dir(&folder).map_err(|error| at(&folder)(error.into()))?;
    let number = |entry: std::io::Result<std::fs::DirEntry>| {
        let file = entry.ok()?.file_name().into_string().ok()?;
        let digits = file.strip_prefix(name)?.strip_prefix('-')?;
        digits
            .parse::<u32>()
            .ok()
            .filter(|number| *number > 0 && number.to_string() == digits)
    };
    let mut found: Vec<u32> = entries.filter_map(number).collect();
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for good in ["identity", "sector-1", "court_2026.key"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "../x", "a b", "é"] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}

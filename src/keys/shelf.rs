//! Where the versions of a root secret lie: a folder with one file for each, `1.secret`, `2.secret`, …

use std::path::{Path, PathBuf};

use super::file::{FileError, FileFault, SecretKind, read_secret, write_secret};
use super::{Key, SectorSecret};

/// Versions of the sector secret: all that are here, and a place for new ones.
pub trait SecretShelf: Send + Sync {
    /// Every version that is here.
    ///
    /// # Errors
    /// When one cannot be read.
    fn load(&self) -> Result<Vec<(u32, SectorSecret)>, FileError>;

    /// Makes a new random version, durable before it is returned, with a number above all that are here and above `used`,
    /// the highest that was ever used: the number of a destroyed version never comes back.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn create(&self, used: u32) -> Result<(u32, SectorSecret), FileError>;
}

/// A folder of sector secrets.
pub struct SecretFolder(pub PathBuf);

impl SecretShelf for SecretFolder {
    fn load(&self) -> Result<Vec<(u32, SectorSecret)>, FileError> {
        Ok(read_versions(&self.0, SecretKind::Sector)?.into_iter().map(|(v, key)| (v, SectorSecret(key))).collect())
    }

    fn create(&self, used: u32) -> Result<(u32, SectorSecret), FileError> {
        let next = versions(&self.0)?.into_iter().map(|(version, _)| version).fold(used, u32::max) + 1;
        let secret = Key::random();
        write_secret(&self.0.join(format!("{next}.secret")), SecretKind::Sector, &secret)?;
        Ok((next, SectorSecret(secret)))
    }
}

/// All versions of a secret in a folder, by number; never none.
///
/// # Errors
/// When the folder or a file cannot be read, or there is no version.
pub fn read_versions(folder: &Path, kind: SecretKind) -> Result<Vec<(u32, Key)>, FileError> {
    let found = versions(folder)?;
    if found.is_empty() {
        let fault = FileFault::Form("a folder with at least one version, `1.secret`");
        return Err(FileError { path: folder.to_owned(), fault });
    }
    found.into_iter().map(|(version, path)| Ok((version, read_secret(&path, kind)?))).collect()
}

fn versions(folder: &Path) -> Result<Vec<(u32, PathBuf)>, FileError> {
    let at = |error: std::io::Error| FileError { path: folder.to_owned(), fault: error.into() };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let version = name.strip_suffix(".secret").and_then(|number| number.parse::<u32>().ok());
        // `01.secret` would be a second spelling of version 1.
        if let Some(version) = version.filter(|version| *version > 0 && name == format!("{version}.secret")) {
            found.push((version, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

//! Where versions of a root secret lie.

use std::io;

use super::SectorSecret;

/// Versions of the sector secret: all that are here, and a place for new ones.
pub trait SecretShelf: Send + Sync {
    /// Every version that is here.
    ///
    /// # Errors
    /// When one cannot be read, or none is there.
    fn load(&self) -> io::Result<Vec<(u32, SectorSecret)>>;

    /// Makes a new random version, durable before it is returned, with a number never used before.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn create(&self) -> io::Result<(u32, SectorSecret)>;
}

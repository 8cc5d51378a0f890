//! The paths of C2SP `tlog-tiles`: `checkpoint`, `tile/<L>/<N>[.p/<W>]`,
//! `tile/entries/<N>[.p/<W>]`.

use std::fmt;

use super::tree::{LEVELS, TILE_WIDTH, TileId};

/// One of the static resources that make up a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogResource {
    /// The signed head.
    Checkpoint,
    /// `width` hashes, 1 to 256.
    Tile(TileId, u16),
    /// `width` entries from number `256 · index` on, each with its length before it (u16,
    /// big-endian).
    Entries(u64, u16),
}

impl LogResource {
    /// Reads a path, in its one spelling.
    pub fn parse(path: &str) -> Option<Self> {
        if path == "checkpoint" {
            return Some(Self::Checkpoint);
        }
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            None => (number(rest)?, TILE_WIDTH as u16),
            Some((index, width)) => (
                number(index)?,
                decimal(width).filter(|width| (1..256).contains(width))? as u16,
            ),
        };
        match kind {
            "entries" => Some(Self::Entries(index, width)),
            level => {
                let level = decimal(level).filter(|level| *level < LEVELS.into())? as u8;
                Some(Self::Tile(TileId { level, index }, width))
            }
        }
    }
}

impl fmt::Display for LogResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, index, width) = match self {
            Self::Checkpoint => return f.write_str("checkpoint"),
            Self::Tile(id, width) => (id.level.to_string(), id.index, *width),
            Self::Entries(index, width) => ("entries".to_owned(), *index, *width),
        };
        write!(f, "tile/{kind}/{}", TileNumber(index))?;
        if usize::from(width) < TILE_WIDTH {
            write!(f, ".p/{width}")
        } else {
            Ok(())
        }
    }
}

/// A number in groups of three digits, all but the last group with an `x` before it:
/// `x001/x234/067`.
struct TileNumber(u64);

impl fmt::Display for TileNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups = vec![self.0 % 1_000];
        let mut rest = self.0 / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        groups[1..]
            .iter()
            .rev()
            .try_for_each(|group| write!(f, "x{group:03}/"))?;
        write!(f, "{:03}", groups[0])
    }
}

fn number(text: &str) -> Option<u64> {
    let mut number = 0u64;
    for group in text.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let plain = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        number = number
            .checked_mul(1_000)?
            .checked_add(plain.then(|| digits.parse().ok())??)?;
    }
    // The one spelling: no group too many, and `x` where it belongs.
    (TileNumber(number).to_string() == text).then_some(number)
}

fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_spelling() {
        let tile = |level, index| TileId { level, index };
        for (path, resource) in [
            ("checkpoint", LogResource::Checkpoint),
            ("tile/0/000", LogResource::Tile(tile(0, 0), 256)),
            (
                "tile/2/x001/x234/067",
                LogResource::Tile(tile(2, 1_234_067), 256),
            ),
            (
                "tile/0/x273/112.p/255",
                LogResource::Tile(tile(0, 273_112), 255),
            ),
            ("tile/entries/007.p/1", LogResource::Entries(7, 1)),
            ("tile/entries/x001/000", LogResource::Entries(1_000, 256)),
        ] {
            assert_eq!(LogResource::parse(path), Some(resource), "{path}");
            assert_eq!(resource.to_string(), path);
        }
        for path in [
            "",
            "/checkpoint",
            "checkpoint/",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/8/000",
            "tile/-1/000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/x001/x002",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p/+1",
            "tile/0/+00",
            "tile/entries/../000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
            "tile/entries/000/",
        ] {
            assert_eq!(LogResource::parse(path), None, "{path}");
        }
    }
}

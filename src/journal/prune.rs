//! Prunes a place: segments go whole, and only those that lie before the first entry that a kept
//! backup needs. The oldest go first, each durably, so that a kill leaves a place that begins later
//! and is whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{UNPUBLISHED, segments, shard_folder};
use crate::files::sync_folder;
use crate::store::Shard;

/// The endings of segments that were put aside: one that was found damaged, and was written anew;
/// one in the way of the next, which no checkpoint ever covered.
const ASIDE: [&str; 2] = ["damaged", UNPUBLISHED];

/// A place in a log. Of a pruning: the first entry that a restore from a kept backup reads, which
/// is the one behind the oldest of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace {
    /// Its shard.
    pub shard: Shard,
    /// Its index in that shard.
    pub index: u64,
}

/// What a pruning removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrunedSegments {
    /// Segments.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Where the place begins now; `None` if it holds no entry.
    pub begins: Option<LogPlace>,
}

impl PrunedSegments {
    /// Removes a file, durably.
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let length = fs::symlink_metadata(path)?.len();
        fs::remove_file(path)?;
        sync_folder(path)?;
        self.files += 1;
        self.bytes += length;
        Ok(())
    }
}

/// Removes from the place in a folder every segment that lies wholly before `needed`, with those
/// before it that were put aside. The last segment stays: the checkpoint stands on it. Nobody may
/// write to the place meanwhile.
///
/// # Errors
/// Those of the operating system. What was removed until then is gone, and the place is whole.
pub fn prune_place(place: &Path, needed: LogPlace) -> io::Result<PrunedSegments> {
    let mut pruned = PrunedSegments::default();
    let mut shards = shards(place)?;
    shards.retain(|(shard, _)| *shard <= needed.shard);
    let newest = last_shard(place)?;
    for (shard, folder) in shards {
        let found = segments(&folder)?;
        let is_over = shard < needed.shard && Some(shard) != newest;
        let until = if shard < needed.shard {
            u64::MAX
        } else {
            needed.index
        };
        for pair in found.windows(2) {
            let [(_, path), (next, _)] = pair else { break };
            if *next <= until {
                pruned.remove(path)?;
            }
        }
        for (base, path) in put_aside(&folder)? {
            if base < until {
                pruned.remove(&path)?;
            }
        }
        if is_over {
            if let Some((_, last)) = found.last() {
                pruned.remove(last)?;
            }
            remove_if_empty(&folder)?;
        }
    }
    pruned.begins = begins(place)?;
    Ok(pruned)
}

/// Whether a folder is a place: it has segments of a log.
pub fn is_place(folder: &Path) -> bool {
    begins(folder).is_ok_and(|first| first.is_some())
}

/// The first entry of the oldest segment.
fn begins(place: &Path) -> io::Result<Option<LogPlace>> {
    for (shard, folder) in shards(place)? {
        if let Some((index, _)) = segments(&folder)?.first() {
            let index = *index;
            return Ok(Some(LogPlace { shard, index }));
        }
    }
    Ok(None)
}

/// The folders of shards in a place, oldest first.
pub(super) fn shards(place: &Path) -> io::Result<Vec<(Shard, PathBuf)>> {
    let mut found = vec![];
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        let name = entry.file_name();
        let shard = name.to_str().and_then(Shard::parse);
        let folder = shard.map(|shard| (shard, shard_folder(place, shard)));
        let folder = folder.filter(|(_, folder)| *folder == entry.path());
        if entry.file_type()?.is_dir() {
            found.extend(folder);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The last shard that has a segment in a place.
fn last_shard(place: &Path) -> io::Result<Option<Shard>> {
    for (shard, folder) in shards(place)?.into_iter().rev() {
        if !segments(&folder)?.is_empty() {
            return Ok(Some(shard));
        }
    }
    Ok(None)
}

/// Segments that were put aside, by the index that they began with.
fn put_aside(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = vec![];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let base = path.file_stem().and_then(|name| name.to_str());
        let base = base.and_then(|digits| digits.parse().ok());
        let end = path.extension().and_then(|end| end.to_str());
        if end.is_some_and(|end| ASIDE.contains(&end)) {
            found.extend(base.map(|base| (base, path)));
        }
    }
    Ok(found)
}

fn remove_if_empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment_path;
    use super::*;

    fn shard(text: &str) -> Shard {
        Shard::parse(text).unwrap()
    }

    /// A place with segments that begin at these indices.
    fn place(of: &[(&str, &[u64])]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for (name, bases) in of {
            let folder = shard_folder(place.path(), shard(name));
            fs::create_dir(&folder).unwrap();
            for base in *bases {
                fs::write(segment_path(&folder, *base), b"segment").unwrap();
            }
        }
        place
    }

    fn left(place: &Path) -> Vec<(String, Vec<u64>)> {
        let shards = shards(place).unwrap().into_iter();
        shards
            .map(|(shard, folder)| {
                let found = segments(&folder).unwrap().into_iter();
                (shard.to_string(), found.map(|(base, _)| base).collect())
            })
            .collect()
    }

    fn of(found: &[(&str, &[u64])]) -> Vec<(String, Vec<u64>)> {
        let found = found.iter();
        found
            .map(|(name, bases)| ((*name).to_owned(), bases.to_vec()))
            .collect()
    }

    fn prune(place: &Path, name: &str, index: u64) -> u64 {
        let needed = LogPlace {
            shard: shard(name),
            index,
        };
        prune_place(place, needed).unwrap().files
    }

    const WHOLE: &[(&str, &[u64])] = &[("2025", &[40, 70]), ("2026", &[0, 10, 20])];

    #[test]
    fn segments_go_only_when_they_lie_wholly_before_what_is_needed() {
        let place = place(WHOLE);
        let place = place.path();
        assert_eq!(prune(place, "2025", 69), 0);
        assert_eq!(left(place), of(WHOLE));
        assert_eq!(prune(place, "2025", 70), 1);
        assert_eq!(left(place), of(&[("2025", &[70]), WHOLE[1]]));
        assert_eq!(prune(place, "2025", 500), 0, "it holds the last of 2025");
        assert_eq!(prune(place, "2026", 9), 1);
        assert_eq!(left(place), of(&[WHOLE[1]]), "a shard goes with its folder");
        assert_eq!(prune(place, "2026", 10), 1);
        assert_eq!(prune(place, "2026", 10), 0);
        assert_eq!(left(place), of(&[("2026", &[10, 20])]));
    }

    #[test]
    fn the_last_segment_stays_even_where_the_place_is_behind() {
        let place = place(WHOLE);
        let place = place.path();
        assert_eq!(prune(place, "2027", 5), 4);
        assert_eq!(left(place), of(&[("2026", &[20])]));
        assert_eq!(prune(place, "2027", 5), 0);
    }

    #[test]
    fn what_is_not_of_a_place_stays_and_no_link_is_followed() {
        let place = place(WHOLE);
        let place = place.path();
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join(format!("{:020}.journal", 0)), b"").unwrap();
        std::os::unix::fs::symlink(other.path(), place.join("2024")).unwrap();
        let old = shard_folder(place, shard("2025"));
        fs::write(old.join("notes"), b"people's").unwrap();
        fs::write(old.join(format!("{:020}.damaged", 3)), b"").unwrap();
        fs::write(old.join(format!("{:020}.unpublished", 80)), b"").unwrap();
        let present = shard_folder(place, shard("2026"));
        fs::write(present.join(format!("{:020}.damaged", 10)), b"").unwrap();
        fs::write(present.join(format!("{:020}.unpublished", 9)), b"").unwrap();
        assert_eq!(prune(place, "2026", 10), 6);
        assert!(old.join("notes").exists());
        assert!(present.join(format!("{:020}.damaged", 10)).exists());
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    }
}

//! How much memory this process may have: the machine's, or what its control group leaves of it.

use std::path::{Path, PathBuf};

/// Taken where the system does not say how much there is.
const UNKNOWN: u64 = 4 << 30;

/// Half of the memory that this process may have, in bytes.
pub(super) fn half() -> u64 {
    let whole = machine().into_iter().chain(group_limits()).min().unwrap_or(UNKNOWN);
    whole / 2
}

/// `MemTotal` of `/proc/meminfo`.
fn machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The limits of this process's control group and of those around it (cgroup v2, or v1 mounted as usual).
fn group_limits() -> Vec<u64> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let path = path.trim_start_matches('/');
            match controllers {
                "" => Some((Path::new("/sys/fs/cgroup"), "memory.max", path)),
                list if list.split(',').any(|one| one == "memory") => {
                    Some((Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", path))
                }
                _ => None,
            }
        })
        .flat_map(|(root, file, path)| around(root, file, path))
        .collect()
}

fn around(root: &Path, file: &str, path: &str) -> Vec<u64> {
    let mut limits = vec![];
    let mut folder = PathBuf::from(path);
    loop {
        // `max`, where there is none.
        let limit = std::fs::read_to_string(root.join(&folder).join(file)).ok();
        limits.extend(limit.and_then(|text| text.trim().parse::<u64>().ok()));
        if !folder.pop() {
            return limits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_some() {
        assert!(half() >= 64 << 20, "{}", half());
        assert!(half() <= machine().unwrap() / 2);
    }

    #[test]
    fn every_group_around_counts() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        for (path, text) in [("memory.max", "max\n"), ("a/memory.max", "4096\n"), ("a/b/memory.max", "8192\n")] {
            std::fs::write(root.path().join(path), text).unwrap();
        }
        assert_eq!(around(root.path(), "memory.max", "a/b"), [8192, 4096]);
    }
}

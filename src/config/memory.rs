//! How much memory this process may have: the machine's, or what its control group leaves of it.
//!
//! The machine is asked by `sysinfo(2)` and not by `/proc/meminfo`, which a unit with
//! `ProcSubset=pid` does not see. A limit that is not set reads `max` (cgroup v2) or as some eight
//! exbibytes (v1): neither is less than the machine's memory.

use std::path::{Path, PathBuf};

use crate::system::memory::of_machine;

/// Taken where the system does not say how much there is.
const UNKNOWN: u64 = 4 << 30;

/// Where control groups are mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// Half of the memory that this process may have, in bytes.
pub(super) fn half() -> u64 {
    let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    least(of_machine(), Path::new(GROUPS), &membership) / 2
}

/// The least of what the machine has and what the control groups of a process leave it.
fn least(machine: Option<u64>, groups: &Path, membership: &str) -> u64 {
    machine
        .into_iter()
        .chain(group_limits(groups, membership))
        .min()
        .unwrap_or(UNKNOWN)
}

/// The limits of the control groups that `membership` (`/proc/self/cgroup`) names, and of those
/// around them: cgroup v2, or v1 mounted as usual. Beyond `memory.high` a group is slowed down
/// until it hardly runs, so that is a limit, too.
fn group_limits(groups: &Path, membership: &str) -> Vec<u64> {
    membership
        .lines()
        .filter_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let path = path.trim_start_matches('/');
            match controllers {
                "" => Some((groups.to_owned(), &["memory.max", "memory.high"][..], path)),
                list if list.split(',').any(|one| one == "memory") => {
                    Some((groups.join("memory"), &["memory.limit_in_bytes"][..], path))
                }
                _ => None,
            }
        })
        .flat_map(|(root, files, path)| around(&root, files, path))
        .collect()
}

/// The numbers in those files of a group and of every group around it.
fn around(root: &Path, files: &[&str], path: &str) -> Vec<u64> {
    let mut limits = vec![];
    let mut folder = PathBuf::from(path);
    loop {
        for file in files {
            // `max`, where there is none.
            let limit = std::fs::read_to_string(root.join(&folder).join(file)).ok();
            limits.extend(limit.and_then(|text| text.trim().parse::<u64>().ok()));
        }
        if !folder.pop() {
            return limits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    /// Control groups in a folder: files and what they hold.
    fn groups(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, format!("{text}\n")).unwrap();
        }
        root
    }

    #[test]
    fn the_machine_is_known_without_proc() {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .unwrap();
        let total = line
            .trim()
            .strip_suffix(" kB")
            .unwrap()
            .trim()
            .parse::<u64>()
            .unwrap()
            << 10;
        assert_eq!(of_machine(), Some(total));
        assert!((64 << 20..=total / 2).contains(&half()), "{}", half());
    }

    /// What a machine with 16 GiB leaves a process with these control groups.
    fn least_of_16_gib(files: &[(&str, &str)], membership: &str) -> u64 {
        least(Some(16 * GIB), groups(files).path(), membership)
    }

    #[test]
    fn the_lesser_of_machine_and_group_wins() {
        const MAX: &str = "system.slice/vault.service/memory.max";
        const HIGH: &str = "system.slice/vault.service/memory.high";
        const AROUND: &str = "system.slice/memory.max";
        let least = |files: &[_]| least_of_16_gib(files, "0::/system.slice/vault.service\n");
        // No limit, however it is written; more than the machine has is none either.
        assert_eq!(least(&[]), 16 * GIB);
        assert_eq!(least(&[(MAX, "max"), (HIGH, "max")]), 16 * GIB);
        assert_eq!(least(&[(MAX, "68719476736")]), 16 * GIB);
        assert_eq!(least_of_16_gib(&[], ""), 16 * GIB);
        // Each limit by itself, and the lesser of both.
        assert_eq!(least(&[(MAX, "2147483648"), (HIGH, "max")]), 2 * GIB);
        assert_eq!(least(&[(MAX, "max"), (HIGH, "1073741824")]), GIB);
        assert_eq!(least(&[(MAX, "2147483648"), (HIGH, "1073741824")]), GIB);
        // The limit of a group around it.
        assert_eq!(least(&[(MAX, "max"), (AROUND, "3221225472")]), 3 * GIB);
        // A container whose own group is what it sees as the root.
        assert_eq!(
            least_of_16_gib(&[("memory.max", "1073741824")], "0::/\n"),
            GIB
        );
    }

    #[test]
    fn the_first_version_of_control_groups_is_read() {
        const OWN: &str = "memory/a/memory.limit_in_bytes";
        let least = |limit, membership: &str| least_of_16_gib(&[(OWN, limit)], membership);
        assert_eq!(least("9223372036854771712", "4:memory:/a\n"), 16 * GIB);
        assert_eq!(least("1073741824", "4:memory:/a\n0::/\n"), GIB);
        let container = [("memory/memory.limit_in_bytes", "1073741824")];
        assert_eq!(least_of_16_gib(&container, "4:memory:/docker/1f\n"), GIB);
    }

    #[test]
    fn without_any_limit_and_machine_a_guess_is_taken() {
        let root = groups(&[("memory.max", "max")]);
        assert_eq!(
            least(None, root.path(), "0::/\n"),
            UNKNOWN,
            "nothing says how much there is"
        );
    }
}

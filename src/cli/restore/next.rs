//! What people do after a restore, before and after the start: only what holds for this one.

use std::path::{Path, PathBuf};

use crate::cli::backup::BackupSide;
use crate::entity::Role;
use crate::serve::cosigned_folder;

/// What a restore started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RestoreWay {
    /// A backup, and places that held the log after it; or a store that was behind.
    FromPlaces,
    /// A backup alone, as two operators allowed.
    WithoutPlaces,
}

/// The files of a side that a start looks for.
#[derive(Debug)]
pub(super) struct SideFiles {
    role: Role,
    /// As it was named on the command line.
    config: PathBuf,
    cosigned: PathBuf,
    second: Option<PathBuf>,
}

impl SideFiles {
    /// Those of a side.
    pub(super) fn of(side: &BackupSide, config: &Path) -> Self {
        Self {
            role: side.role.clone(),
            config: config.to_owned(),
            cosigned: cosigned_folder(side.config.log(), &side.store),
            second: side.second.clone(),
        }
    }

    /// The steps, in their order, each with the command where there is one.
    pub(super) fn steps(&self, way: RestoreWay) -> Vec<String> {
        let mut steps = self.before_the_start(way);
        let program = match self.role {
            Role::Vault => "cloison serve",
            Role::Node(_) => "cloison authority serve",
            Role::Identity(_) => "cloison identity serve",
        };
        steps.push(format!(
            "start it: {program} --config {}",
            self.config.display()
        ));
        if way == RestoreWay::WithoutPlaces {
            steps.extend(self.after_a_loss());
        }
        steps
    }

    fn before_the_start(&self, way: RestoreWay) -> Vec<String> {
        let mut steps = vec![];
        if way == RestoreWay::WithoutPlaces {
            steps.push(
                "put the newest register there, and bring the suspensions that came after the backup again while the listeners are \
                 shut off from all but operators: cloison client suspend --statement FILE"
                    .to_owned(),
            );
        }
        if !self.cosigned.exists() {
            steps.push(format!(
                "{} is gone, which remembers what this side saw of the other side's log. Bring it back. If it is lost, verify \
                 the other side's log (cloison audit verify --client FILE --register register.toml --seen FOLDER), tell the \
                 commission, then: mkdir -m 700 {0}",
                self.cosigned.display()
            ));
        }
        if let Some(second) = &self.second
            && !second.join("checkpoint").exists()
        {
            steps.push(format!(
                "the second place, {}, is empty. See that its disk is mounted. If it is lost: cloison audit resume --second-lost \
                 --config {}",
                second.display(),
                self.config.display()
            ));
        }
        steps
    }

    /// What two operators and others confirm, once the side runs.
    fn after_a_loss(&self) -> Vec<String> {
        let side = self.role.local_name();
        let mut steps = vec![];
        if self.role.is_vault() {
            steps.push(
                "at each node an officer or a custodian: cloison authority acknowledge-resume --client clients/officer.toml".to_owned(),
            );
        }
        steps.push("at each witness: cloison witness acknowledge-resume --log NAME".to_owned());
        if self.role.is_vault() {
            steps.push(
                "for each sector, by two operators: cloison statement new --register register.toml --confirm-epoch SECTOR:EPOCH --out \
                 epoch.jws, then cloison restore confirm --statement epoch.jws --client clients/operator.toml"
                    .to_owned(),
            );
        }
        let client = match self.role {
            Role::Vault => "clients/operator.toml",
            Role::Node(_) => "clients/operator-node.toml",
            Role::Identity(_) => "clients/operator-identity.toml",
        };
        steps.push(format!(
            "once erasures were lodged again, by two operators: cloison statement new --register register.toml --erasures-lodged \
             {side} --out erasures.jws, then cloison restore confirm --statement erasures.jws --client {client}"
        ));
        steps.push(format!(
            "see what still waits: cloison restore state --client {client}"
        ));
        steps
    }
}

/// The steps as people read them.
pub(super) fn numbered(steps: &[String]) -> String {
    let lines = steps.iter().enumerate();
    let lines = lines.map(|(place, step)| format!("  {}. {step}", place + 1));
    format!("What comes next:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    #[test]
    fn a_whole_restore_only_names_what_is_missing_and_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let files = SideFiles {
            role: Role::Vault,
            config: "vault.toml".into(),
            cosigned: at("vault.cosigned"),
            second: Some(at("vault.place")),
        };
        let steps = files.steps(RestoreWay::FromPlaces);
        assert_eq!(steps.len(), 3, "{steps:?}");
        assert!(steps[0].contains("mkdir -m 700"), "{steps:?}");
        assert!(steps[1].contains("audit resume --second-lost --config vault.toml"));
        std::fs::create_dir(at("vault.cosigned")).unwrap();
        std::fs::create_dir(at("vault.place")).unwrap();
        std::fs::write(at("vault.place/checkpoint"), "x").unwrap();
        assert_eq!(
            files.steps(RestoreWay::FromPlaces),
            ["start it: cloison serve --config vault.toml"]
        );
    }

    #[test]
    fn after_a_loss_each_side_is_told_its_own_confirmations() {
        let files = |role| SideFiles {
            role,
            config: "x.toml".into(),
            cosigned: std::env::temp_dir(),
            second: None,
        };
        let vault = files(Role::Vault)
            .steps(RestoreWay::WithoutPlaces)
            .join("\n");
        assert!(
            vault.contains("--confirm-epoch") && vault.contains("authority acknowledge-resume")
        );
        let court = Role::Node(Id::parse("court").unwrap());
        let node = files(court).steps(RestoreWay::WithoutPlaces).join("\n");
        assert!(
            node.contains("--erasures-lodged node/court") && node.contains("operator-node.toml")
        );
        assert!(!node.contains("--confirm-epoch"));
    }
}

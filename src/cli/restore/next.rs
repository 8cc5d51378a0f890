//! What people do after a restore, before and after the start: only what holds for this one.

use std::path::{Path, PathBuf};

use crate::cli::backup::BackupSide;
use crate::entity::Role;
use crate::journal::place::JournalPlace;

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
            cosigned: side.config.log().cosigned_in(&side.store),
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
            "start it: `{program} --config {}`",
            self.config.display()
        ));
        if way == RestoreWay::WithoutPlaces {
            steps.extend(self.after_a_loss());
        }
        steps
    }

    /// The client file of an operator at this side.
    fn client(&self) -> &'static str {
        match self.role {
            Role::Vault => "clients/operator.toml",
            Role::Node(_) => "clients/operator-node.toml",
            Role::Identity(_) => "clients/operator-identity.toml",
        }
    }

    fn before_the_start(&self, way: RestoreWay) -> Vec<String> {
        let mut steps = vec![];
        if way == RestoreWay::WithoutPlaces {
            steps.push(format!(
                "put the newest register there. Shut the listeners off from all but operators, and open them only when every entry \
                 that was suspended after the backup is suspended again: after the start, {}",
                suspend_again("ENTRY", self.client())
            ));
        }
        if !self.cosigned.exists() {
            steps.push(format!(
                "{} is gone; it remembers what this side saw of the other side's log. Bring it back. If it is lost, verify \
                 the other side's log: `cloison audit verify --client FILE --register register.toml` (with --seen FILE for each \
                 checkpoint of it that people kept). Tell the commission, then: mkdir -m 700 {0}",
                self.cosigned.display()
            ));
        }
        if let Some(second) = &self.second
            && !JournalPlace::holds_checkpoint(second)
        {
            steps.push(format!(
                "the second place, {}, is empty. See that its disk is mounted. If it is lost: `cloison audit resume --second-lost \
                 --config {}`",
                second.display(),
                self.config.display()
            ));
        }
        steps
    }

    /// What two operators and others confirm, once the side runs.
    fn after_a_loss(&self) -> Vec<String> {
        let (side, client) = (self.role.local_name(), self.client());
        let mut steps = vec![];
        if self.role.is_vault() {
            steps.push(
                "at each node an officer or a custodian sees what was lost, `cloison authority acknowledge-resume --client \
                 clients/officer.toml`, and acknowledges the entry that this names: `cloison authority acknowledge-resume --client \
                 clients/officer.toml --entry DIGEST`"
                    .to_owned(),
            );
        }
        steps.push(
            "at each witness, for the log that it names when it refuses: `cloison witness acknowledge-resume --config witness.toml \
             --log LOG`"
                .to_owned(),
        );
        let by_two = |act: &str, file: &str| {
            format!(
                "`cloison statement new --register register.toml {act} --out {file}`; both sign it, `cloison statement sign --key KEY \
                 --kid OPERATOR --register register.toml {file}`; then `cloison restore confirm --statement {file} --client {client}`"
            )
        };
        if self.role.is_vault() {
            steps.push(format!(
                "for each sector, by two operators: {}",
                by_two("--confirm-epoch SECTOR:EPOCH", "epoch.jws")
            ));
        }
        steps.push(format!(
            "once erasures were lodged again, by two operators: {}",
            by_two(&format!("--erasures-lodged {side}"), "erasures.jws")
        ));
        steps.push(format!(
            "see what still waits: `cloison restore state --client {client}`"
        ));
        steps
    }
}

/// The command that suspends a register entry again.
pub(super) fn suspend_again(entry: &str, client: &str) -> String {
    format!(
        "`cloison client suspend {entry} --reason CODE --register register.toml --key KEY --kid KID --client {client}`"
    )
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
    use crate::cli::help::tests::faults_of_commands;
    use crate::id::Id;

    fn files_in(folder: &Path, role: Role) -> SideFiles {
        SideFiles {
            role,
            config: "vault.toml".into(),
            cosigned: folder.join("vault.cosigned"),
            second: Some(folder.join("vault.place")),
        }
    }

    #[test]
    fn a_whole_restore_only_names_what_is_missing_and_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let files = files_in(folder.path(), Role::Vault);
        let steps = files.steps(RestoreWay::FromPlaces);
        assert_eq!(steps.len(), 3, "{steps:?}");
        assert!(steps[0].contains("mkdir -m 700"), "{steps:?}");
        assert!(steps[1].contains("audit resume --second-lost --config vault.toml"));
        std::fs::create_dir(at("vault.cosigned")).unwrap();
        std::fs::create_dir(at("vault.place")).unwrap();
        std::fs::write(at("vault.place/checkpoint"), "x").unwrap();
        assert_eq!(
            files.steps(RestoreWay::FromPlaces),
            ["start it: `cloison serve --config vault.toml`"]
        );
    }

    #[test]
    fn every_step_names_whole_commands_of_this_version() {
        let folder = tempfile::tempdir().unwrap();
        let id = |text| Id::parse(text).unwrap();
        for role in [
            Role::Vault,
            Role::Node(id("court")),
            Role::Identity(id("trust")),
        ] {
            let steps = files_in(folder.path(), role).steps(RestoreWay::WithoutPlaces);
            for step in steps {
                assert!(step.contains('`'), "{step}");
                assert_eq!(faults_of_commands(&step), [""; 0], "{step}");
            }
        }
    }

    #[test]
    fn after_a_loss_each_side_is_told_its_own_confirmations() {
        let files = |role| files_in(&std::env::temp_dir(), role);
        let vault = files(Role::Vault).steps(RestoreWay::WithoutPlaces);
        let vault = vault.join("\n");
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

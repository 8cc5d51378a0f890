//! Tells what kind of file a TOML file is, by its fields.

use toml::de::DeTable;

/// A file that people write for cloison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `register.toml`
    Register,
    /// `vault.toml`
    Vault,
    /// `node.toml`
    Node,
    /// `identity.toml`
    Identity,
    /// `witness.toml`
    Witness,
    /// `clients/*.toml`
    Client,
}

impl FileKind {
    /// The kind of a file, by a field that only this kind has. `None` if it has no such field. In a
    /// broken file, the readable fields count.
    pub fn of(text: &str) -> Option<Self> {
        let (table, _) = DeTable::parse_recoverable(text);
        let table = table.get_ref();
        let is_text = |name: &str| {
            table
                .get(name)
                .is_some_and(|value| value.get_ref().is_str())
        };
        let has_table = |name: &str| {
            table
                .get(name)
                .is_some_and(|value| value.get_ref().is_table())
        };
        let has_list = |name: &str| {
            table
                .get(name)
                .is_some_and(|value| value.get_ref().is_array())
        };
        let told = [
            (is_text("url"), Self::Client),
            (
                has_list("sector") || has_list("organisation") || has_list("authority"),
                Self::Register,
            ),
            (is_text("identity"), Self::Identity),
            (is_text("authority") || has_table("vault"), Self::Node),
            (has_list("log") || has_table("state"), Self::Witness),
            (has_table("data"), Self::Vault),
        ];
        told.into_iter()
            .find_map(|(it_is, kind)| it_is.then_some(kind))
    }

    /// How messages call it.
    pub const fn called(self) -> &'static str {
        match self {
            Self::Register => "a register",
            Self::Vault => "a vault's configuration",
            Self::Node => "an authority node's configuration",
            Self::Identity => "an identity source's configuration",
            Self::Witness => "a witness's configuration",
            Self::Client => "a client's file",
        }
    }

    /// How `cloison init` names it.
    pub const fn usual_name(self) -> &'static str {
        match self {
            Self::Register => "register.toml",
            Self::Vault => "vault.toml",
            Self::Node => "node.toml",
            Self::Identity => "identity.toml",
            Self::Witness => "witness.toml",
            Self::Client => "clients/*.toml",
        }
    }

    /// What takes such a file.
    pub const fn taken_by(self) -> &'static str {
        match self {
            Self::Register => "`[register] file` of a configuration",
            Self::Vault => "`cloison serve --config`",
            Self::Node => "`cloison authority serve --config`",
            Self::Identity => "`cloison identity serve --config`",
            Self::Witness => "`cloison witness serve --config`",
            Self::Client => "`--client`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_even_when_broken() {
        for (text, kind) in [
            (
                include_str!("../../tests/data/register.toml"),
                Some(FileKind::Register),
            ),
            (
                "deployment = \"demo\"\n[[authority]]\nid = \"court\"\n",
                Some(FileKind::Register),
            ),
            (
                "deployment = \"demo\"\n[data]\nlisten = \"…\"\n[secrets]\nidentity = \"…\"\n",
                Some(FileKind::Vault),
            ),
            (
                "deployment = \"demo\"\n[data]\nlisten = \n[tls]\nkey = \n",
                Some(FileKind::Vault),
            ),
            (
                "deployment = \"demo\"\nauthority = \"court\"\n[tls]\n",
                Some(FileKind::Node),
            ),
            (
                "[vault]\nurl = \"https://localhost\"\n",
                Some(FileKind::Node),
            ),
            (
                "deployment = \"demo\"\nidentity = \"trust\"\n[vault]\nurl = \"…\"\n",
                Some(FileKind::Identity),
            ),
            (
                "name = \"cndp\"\n[[log]]\nowner = \"demo/vault\"\n",
                Some(FileKind::Witness),
            ),
            ("url = \"https://localhost\"\n", Some(FileKind::Client)),
            ("deployment = \"demo\"\n[tls]\n", None),
            ("", None),
        ] {
            assert_eq!(FileKind::of(text), kind, "{text}");
        }
    }
}

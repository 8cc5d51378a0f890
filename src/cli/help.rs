//! The help of `cloison` itself: the commands by who uses them, as the README's first table has
//! them.

use std::fmt::Write as _;

use clap::Command;

/// The commands of each kind of people.
const GROUPS: &[(&str, &[&str])] = &[
    ("To begin", &["demo", "init", "status", "ready"]),
    ("Sector systems", &["client"]),
    (
        "Regal authorities (approvers, officers, custodians)",
        &["order", "reidentify", "delivery", "migrate", "authority"],
    ),
    (
        "Operations",
        &[
            "serve",
            "check",
            "doctor",
            "register",
            "epoch",
            "secrets",
            "backup",
            "restore",
            "statement",
            "clock",
            "store",
            "bench",
        ],
    ),
    ("The identity source", &["identity"]),
    (
        "The commission (auditors, witnesses)",
        &["audit", "witness"],
    ),
    ("Persons' rights", &["rights"]),
    ("Implementers", &["spec"]),
];

/// Gives the command its grouped help.
pub(super) fn grouped(command: Command) -> Command {
    let mut template = "{about}\n\n{usage-heading} {usage}\n".to_owned();
    for (title, names) in GROUPS {
        // Writing to a String cannot fail.
        let _ = write!(template, "\n{title}:\n");
        let known = names
            .iter()
            .filter_map(|name| command.find_subcommand(name));
        for command in known {
            let about = command.get_about().map(ToString::to_string);
            let (name, about) = (command.get_name(), about.unwrap_or_default());
            let _ = writeln!(template, "  {name:<11} {about}");
        }
    }
    template += "\nOptions:\n{options}{after-help}";
    command.help_template(template)
}

#[cfg(test)]
pub(super) mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    /// The examples of a command's help: lines that its shell would read as one are joined.
    fn examples(command: &Command) -> Vec<(String, usize)> {
        let help = command
            .get_after_long_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let mut lines = help
            .lines()
            .skip_while(|line| !line.starts_with("Example"))
            .skip(1)
            .take_while(|line| line.starts_with(' '));
        let mut found = vec![];
        while let Some(line) = lines.next() {
            let (mut text, mut widest) = (line.trim().to_owned(), line.chars().count());
            while let Some(begun) = text.strip_suffix('\\') {
                let next = lines.next().expect("a line goes on");
                widest = widest.max(next.chars().count());
                text = format!("{begun}{}", next.trim());
            }
            found.push((text, widest));
        }
        found
    }

    /// The command lines of cloison in a line of a shell: words as a shell would split them.
    fn command_lines(line: &str) -> Vec<Vec<String>> {
        let (mut words, mut all) = (vec![String::new()], vec![]);
        let mut quote = None;
        for c in line.chars() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, '#' | '<' | '>') if words.last().is_some_and(String::is_empty) => {
                    // What follows is a comment or a file of the shell's.
                    all.push(std::mem::take(&mut words));
                    words.push("-".to_owned());
                }
                (None, '|' | '&' | ';') => {
                    all.push(std::mem::replace(&mut words, vec![String::new()]));
                }
                (None, c) if c.is_whitespace() => words.push(String::new()),
                (_, c) => words.last_mut().expect("there is one").push(c),
            }
        }
        all.push(words);
        let begins = |words: &[String]| words.first().is_some_and(|word| word == "cloison");
        all.into_iter()
            .map(|words| words.into_iter().filter(|w| !w.is_empty()).collect())
            .filter(|words: &Vec<String>| begins(words))
            .collect()
    }

    /// What words in capitals stand for, where an argument takes not every text.
    const SAMPLES: [(&str, &str); 5] = [
        ("CODE", "precaution"),
        ("ENTRY", "cnss-health"),
        ("KID", "operations"),
        ("ID", "20261128T081500Z-1f3a9c07"),
        ("SECTOR:EPOCH", "health:3"),
    ];

    /// Why commands that a text prints between backticks are none of this version, or lack an
    /// argument.
    pub fn faults_of_commands(text: &str) -> Vec<String> {
        let printed = text.split('`').skip(1).step_by(2);
        let commands = printed.filter(|printed| printed.starts_with("cloison "));
        let fault = |command: &str| {
            let sample = |word| SAMPLES.iter().find(|(named, _)| *named == word);
            let words = command.split_whitespace();
            let words = words.map(|word| sample(word).map_or(word, |(_, sample)| *sample));
            let error = Cli::command().try_get_matches_from(words).err()?;
            Some(format!("{command}: {error}"))
        };
        commands.filter_map(fault).collect()
    }

    #[test]
    fn every_example_fits_its_line_and_is_a_command_of_this_version() {
        fn check(path: &str, command: &Command, faults: &mut Vec<String>) {
            for (line, widest) in examples(command) {
                if widest > 100 {
                    faults.push(format!("{path}: {widest} columns: {line}"));
                }
                let commands = command_lines(&line);
                if commands.is_empty() {
                    faults.push(format!("{path}: no command of cloison: {line}"));
                }
                for words in commands {
                    // The shell of an example may have CLOISON_CLIENT.
                    let by_environment = [&words[..], &["--client".into(), "x".into()]].concat();
                    let read = |words: &[String]| Cli::command().try_get_matches_from(words);
                    if let Err(error) = read(&words).or_else(|_| read(&by_environment)) {
                        let error = error.to_string();
                        let why = error.lines().next().unwrap_or_default();
                        faults.push(format!("{path}: {line}: {why}"));
                    }
                }
            }
            for inner in command.get_subcommands() {
                check(&format!("{path} {}", inner.get_name()), inner, faults);
            }
        }
        let mut faults = vec![];
        check("cloison", &Cli::command(), &mut faults);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn every_command_is_in_one_group_and_its_line_fits() {
        let command = Cli::command();
        for shown in command
            .get_subcommands()
            .filter(|shown| !shown.is_hide_set())
        {
            let name = shown.get_name();
            let groups = GROUPS.iter().filter(|(_, names)| names.contains(&name));
            assert_eq!(groups.count(), 1, "{name} is in one group of the help");
            let about = shown.get_about().unwrap().to_string();
            assert!(about.chars().count() <= 86, "{name}: {about}");
        }
    }
}

//! A page's blocks: which run, after what, and which are left out, and why.

/// A block of shell commands.
pub struct Block {
    /// The line of its first command.
    pub line: usize,
    /// What runs first.
    before: String,
    text: String,
}

#[derive(Default)]
pub struct Page {
    name: String,
    pub run: Vec<Block>,
    /// Line and reason of each block that is left out.
    pub left: Vec<(usize, String)>,
    /// Commands that no shell block has, and which therefore nothing would run.
    pub faults: Vec<String>,
}

/// What a command line of these pages begins with.
const COMMANDS: [&str; 6] = ["cloison ", "ops/", "benches/", "cargo ", "curl ", "$ "];

impl Page {
    pub fn read(name: &str, text: &str) -> Self {
        let all = text
            .lines()
            .find_map(|line| comment(line, "no block of this page is run:"));
        let mut page = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        let mut lines = (1..).zip(text.lines());
        let mut above = "";
        while let Some((number, line)) = lines.next() {
            match line.trim_start().strip_prefix("```") {
                Some(language) => {
                    let block: Vec<&str> = lines
                        .by_ref()
                        .map(|(_, line)| line)
                        .take_while(|line| line.trim() != "```")
                        .collect();
                    let left = comment(above, "not run:").or(all);
                    page.add(
                        number + 1,
                        language,
                        &block,
                        left,
                        comment(above, "before:"),
                    );
                }
                None if line.starts_with("    ") && is_command(line) => {
                    page.faults.push(format!(
                        "{name}:{number}: commands stand in a fenced block labelled sh"
                    ));
                }
                None => {}
            }
            above = line;
        }
        page
    }

    fn add(
        &mut self,
        line: usize,
        language: &str,
        block: &[&str],
        left: Option<&str>,
        before: Option<&str>,
    ) {
        match (language, left) {
            ("sh", Some(why)) => self.left.push((line, why.to_owned())),
            ("sh", None) => {
                let before = before.unwrap_or("").to_owned();
                self.run.push(Block {
                    line,
                    before,
                    text: block.join("\n"),
                });
            }
            _ if block.iter().any(|line| is_command(line)) => {
                self.faults.push(format!(
                    "{}:{line}: a block of commands is labelled sh",
                    self.name
                ));
            }
            _ => {}
        }
    }

    /// Its blocks one after the other, each announced.
    pub fn script(&self) -> String {
        let block = |Block { line, before, text }: &Block| {
            format!("announce {}:{line}\n{before}\n{text}\n", self.name)
        };
        self.run.iter().map(block).collect()
    }
}

/// What a comment says behind its key.
fn comment<'t>(line: &'t str, key: &str) -> Option<&'t str> {
    let said = line
        .trim()
        .strip_prefix("<!-- ")?
        .strip_suffix(" -->")?
        .strip_prefix(key)?
        .trim();
    assert!(!said.is_empty(), "`{key}` says nothing");
    Some(said)
}

fn is_command(line: &str) -> bool {
    COMMANDS
        .iter()
        .any(|command| line.trim_start().starts_with(command))
}

#[test]
fn a_block_runs_unless_a_comment_says_why_not_and_no_command_hides() {
    let page = |text: &str| Page::read("p", text);
    let two = page("```sh\ncloison a\n```\n\n<!-- not run: slow -->\n```sh\nops/test\n```\n");
    assert_eq!(
        (two.run.len(), two.left.as_slice()),
        (1, &[(7, "slow".to_owned())][..])
    );
    let after = page("<!-- before: restart -->\n```sh\ncloison a \\\n  b\n```\n");
    assert_eq!(after.script(), "announce p:3\nrestart\ncloison a \\\n  b\n");
    assert_eq!(
        page("<!-- no block of this page is run: why -->\n```sh\na\n```\n```sh\nb\n```\n")
            .left
            .len(),
        2
    );
    for hidden in [
        "```\ncloison a\n```",
        "```text\n$ cloison\n```",
        "    ops/test",
        "```sh\nb\n```\n```\ncargo b\n```",
    ] {
        assert_eq!(page(hidden).faults.len(), 1, "{hidden}");
    }
    assert!(
        page("```json\n{}\n```\n```\nK = HKDF\n```\n")
            .faults
            .is_empty()
    );
}

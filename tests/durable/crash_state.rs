//! What a disk may hold when the power goes: rebuilt from a copy of a folder and from what
//! `ops/powerloss.c` wrote down since.
//!
//! The rules are those of POSIX, and no kinder. What was written to a file before its last fsync is
//! there; of each later write, all, some sectors or nothing, in whatever order. The names of a
//! folder are there up to its last fsync, and after it up to some moment; the fsync of a file says
//! nothing about its name. A rename within a folder happens or does not.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Permissions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::common::seeded::SeededRandom;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What is kept of what was not fsynced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// All: the state that the process saw.
    Nothing,
    /// What the seed says.
    Random(u64),
    /// Nothing.
    Everything,
}

/// A file or a folder.
type Object = Rc<RefCell<Contents>>;

enum Contents {
    File {
        /// Where its bytes were when the log began.
        base: Option<PathBuf>,
        mode: u32,
        /// What was done to the bytes, and how much of that an fsync covers.
        done: Vec<FileStep>,
        synced: usize,
    },
    Folder {
        /// The names when the log began, and those that the process sees.
        base: BTreeMap<String, Object>,
        live: BTreeMap<String, Object>,
        mode: u32,
        done: Vec<NameStep>,
        synced: usize,
    },
}

#[derive(Clone)]
enum FileStep {
    Write { at: u64, bytes: Rc<[u8]> },
    Length(u64),
}

/// What happens to the names of one folder at once: a name leads to an object, or nowhere.
type NameStep = Vec<(String, Option<Object>)>;

impl Contents {
    fn folder(mode: u32) -> Self {
        Self::Folder {
            base: BTreeMap::new(),
            live: BTreeMap::new(),
            mode,
            done: vec![],
            synced: 0,
        }
    }

    /// What a folder's names lead to after so many steps.
    fn names(&self, steps: usize) -> BTreeMap<String, Object> {
        let Self::Folder { base, done, .. } = self else {
            panic!("a folder")
        };
        let mut names = base.clone();
        done[..steps]
            .iter()
            .for_each(|step| change(&mut names, step));
        names
    }

    fn steps(&self) -> usize {
        match self {
            Self::File { done, .. } => done.len(),
            Self::Folder { done, .. } => done.len(),
        }
    }

    fn sync(&mut self) {
        let all = self.steps();
        match self {
            Self::File { synced, .. } | Self::Folder { synced, .. } => *synced = all,
        }
    }
}

fn change(names: &mut BTreeMap<String, Object>, step: &NameStep) {
    for (name, object) in step {
        match object {
            Some(object) => drop(names.insert(name.clone(), object.clone())),
            None => drop(names.remove(name)),
        }
    }
}

/// A disk while the log is read.
pub struct Disk {
    /// Paths in the log are below it.
    root: PathBuf,
    top: Object,
    /// The open files and folders of the log by their numbers.
    inodes: HashMap<u64, Object>,
}

impl Disk {
    /// The disk as it was when `copy` was made of `root`, and what a log says was done since.
    pub fn read(root: &Path, copy: &Path, log: &[u8]) -> Self {
        let mut disk = Self {
            root: root.to_owned(),
            top: load(copy),
            inodes: HashMap::new(),
        };
        let mut log = log;
        while let Some((record, rest)) = Record::read(log) {
            disk.apply(&record);
            log = rest;
        }
        disk
    }

    /// Makes an empty folder hold what the disk holds after the power went, or the whole of it.
    pub fn write(&self, to: &Path, loss: Loss) {
        let luck = match loss {
            Loss::Nothing => None,
            Loss::Random(seed) => Some(Luck::new(seed)),
            Loss::Everything => Some(Luck::none()),
        };
        let written = HashMap::new();
        Writer { luck, written }.write(&self.top, to);
    }

    fn apply(&mut self, record: &Record<'_>) {
        match record.kind {
            b'o' => self.open(record),
            b'w' => self.change(
                record.inode,
                FileStep::Write {
                    at: record.a,
                    bytes: record.bytes.into(),
                },
            ),
            b't' => self.change(record.inode, FileStep::Length(record.a)),
            b'c' => {
                if let Some(object) = self.inodes.get(&record.inode)
                    && let Contents::File { mode, .. } = &mut *object.borrow_mut()
                {
                    *mode = record.a as u32;
                }
            }
            b's' => {
                if let Some(object) = self.inodes.get(&record.inode) {
                    object.borrow_mut().sync();
                }
            }
            b'm' => self.name(record.first, Some(made(Contents::folder(record.a as u32)))),
            b'u' => self.name(record.first, None),
            b'l' => self.name(record.second, Some(self.find(record.first))),
            b'r' => self.rename(record.first, record.second),
            other => panic!("a record of kind {other}"),
        }
    }

    fn open(&mut self, record: &Record<'_>) {
        let object = if record.a == 1 {
            let object = made(Contents::File {
                base: None,
                mode: record.b as u32,
                done: vec![],
                synced: 0,
            });
            self.name(record.first, Some(object.clone()));
            object
        } else {
            self.find(record.first)
        };
        self.inodes.insert(record.inode, object);
    }

    /// Files elsewhere are no part of this disk.
    fn change(&self, inode: u64, step: FileStep) {
        if let Some(object) = self.inodes.get(&inode)
            && let Contents::File { done, .. } = &mut *object.borrow_mut()
        {
            done.push(step);
        }
    }

    fn find(&self, path: &str) -> Object {
        let below = Path::new(path).strip_prefix(&self.root).expect(path);
        below.iter().fold(self.top.clone(), |folder, name| {
            let Contents::Folder { live, .. } = &*folder.borrow() else {
                panic!("{path}: {name:?} is below a file")
            };
            live.get(name.to_str().unwrap())
                .unwrap_or_else(|| panic!("{path} is not there"))
                .clone()
        })
    }

    fn step(&self, folder: &str, step: NameStep) {
        let object = self.find(folder);
        let Contents::Folder { live, done, .. } = &mut *object.borrow_mut() else {
            panic!("{folder} is a folder")
        };
        change(live, &step);
        done.push(step);
    }

    fn name(&self, path: &str, object: Option<Object>) {
        let (folder, name) = path.rsplit_once('/').unwrap();
        self.step(folder, vec![(name.to_owned(), object)]);
    }

    fn rename(&self, from: &str, to: &str) {
        let moved = self.find(from);
        let ((folder, old), (other, new)) =
            (from.rsplit_once('/').unwrap(), to.rsplit_once('/').unwrap());
        assert_eq!(folder, other, "a rename stays within a folder: {from} {to}");
        let step = vec![(old.to_owned(), None), (new.to_owned(), Some(moved))];
        self.step(folder, step);
    }
}

/// One record of `ops/powerloss.c`.
struct Record<'a> {
    kind: u8,
    inode: u64,
    a: u64,
    b: u64,
    first: &'a str,
    second: &'a str,
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The next one; none where the kill came within it.
    fn read(log: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = log.split_at_checked(40)?;
        let short = |at: usize| usize::from(u16::from_ne_bytes([head[at], head[at + 1]]));
        let long = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
        let length = u32::from_ne_bytes(head[..4].try_into().unwrap()) as usize;
        let (body, rest) = rest.split_at_checked(length)?;
        let (first, body) = body.split_at(short(4));
        let (second, bytes) = body.split_at(short(6));
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let record = Self {
            kind: long(8) as u8,
            inode: long(16),
            a: long(24),
            b: long(32),
            first: text(first),
            second: text(second),
            bytes,
        };
        Some((record, rest))
    }
}

fn made(contents: Contents) -> Object {
    Rc::new(RefCell::new(contents))
}

fn load(path: &Path) -> Object {
    let mode = fs::metadata(path).unwrap().permissions().mode();
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap().map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                load(&entry.path()),
            )
        });
        let base: BTreeMap<_, _> = entries.collect();
        let live = base.clone();
        made(Contents::Folder {
            base,
            live,
            mode,
            done: vec![],
            synced: 0,
        })
    } else {
        let base = Some(path.to_owned());
        made(Contents::File {
            base,
            mode,
            done: vec![],
            synced: 0,
        })
    }
}

/// One power cut's luck: how much is kept at all, and whether writes reach the disk in order.
struct Luck {
    random: SeededRandom,
    kept: usize,
    in_order: bool,
    /// Whether anything may be kept.
    any: bool,
}

impl Luck {
    fn new(seed: u64) -> Self {
        let mut random = SeededRandom::new(seed);
        let kept = [0, 50, 90, 100][random.below(4)];
        let in_order = random.percent(50);
        Self {
            random,
            kept,
            in_order,
            any: true,
        }
    }

    fn none() -> Self {
        Self {
            random: SeededRandom::new(0),
            kept: 0,
            in_order: true,
            any: false,
        }
    }

    /// So many of the first are kept, where they reach the disk in order.
    fn first(&mut self, of: usize) -> usize {
        if !self.any {
            0
        } else if self.random.percent(self.kept) {
            of
        } else {
            self.random.below(of + 1)
        }
    }

    /// What of the steps that were not fsynced is on the disk.
    fn survivors(&mut self, steps: &[FileStep]) -> Vec<FileStep> {
        if self.in_order {
            let whole = self.first(steps.len());
            let torn = steps.get(whole).filter(|_| self.any);
            let torn = torn.map(|step| self.torn(step));
            return [&steps[..whole], &torn.unwrap_or_default()].concat();
        }
        let mut left = vec![];
        for step in steps {
            if self.random.percent(self.kept) {
                left.push(step.clone());
            } else if self.random.percent(50) {
                left.extend(self.torn(step));
            }
        }
        left
    }

    /// The first sectors of a write; or any of them, where they do not reach the disk in order.
    fn torn(&mut self, step: &FileStep) -> Vec<FileStep> {
        let FileStep::Write { at, bytes } = step else {
            return vec![];
        };
        // The first piece ends where a sector of the file does.
        let head = (SECTOR - (*at as usize) % SECTOR).min(bytes.len());
        let (head, rest) = bytes.split_at(head);
        let pieces: Vec<&[u8]> = std::iter::once(head).chain(rest.chunks(SECTOR)).collect();
        let end = self.random.below(pieces.len() + 1);
        let mut at = *at;
        let mut left = vec![];
        for (n, piece) in pieces.into_iter().enumerate() {
            let is_kept = if self.in_order {
                n < end
            } else {
                self.random.percent(50)
            };
            if is_kept {
                let bytes = piece.into();
                left.push(FileStep::Write { at, bytes });
            }
            at += piece.len() as u64;
        }
        left
    }
}

/// Writes a disk's state to real files.
struct Writer {
    luck: Option<Luck>,
    /// Files that are written already: another name of one leads to the same.
    written: HashMap<*const RefCell<Contents>, PathBuf>,
}

impl Writer {
    fn write(&mut self, object: &Object, to: &Path) {
        if let Some(first) = self.written.get(&Rc::as_ptr(object)) {
            fs::hard_link(first, to).unwrap();
            return;
        }
        let contents = object.borrow();
        let mode = match &*contents {
            Contents::Folder {
                done, synced, mode, ..
            } => {
                fs::create_dir_all(to).unwrap();
                let later = done.len() - synced;
                let kept = self.luck.as_mut().map_or(later, |luck| luck.first(later));
                for (name, object) in contents.names(synced + kept) {
                    self.write(&object, &to.join(name));
                }
                mode
            }
            Contents::File {
                base,
                mode,
                done,
                synced,
            } => {
                let (safe, later) = done.split_at(*synced);
                let left = match &mut self.luck {
                    Some(luck) => luck.survivors(later),
                    None => later.to_vec(),
                };
                write_file(to, base.as_deref(), safe.iter().chain(&left));
                self.written.insert(Rc::as_ptr(object), to.to_owned());
                mode
            }
        };
        fs::set_permissions(to, Permissions::from_mode(mode & 0o7777)).unwrap();
    }
}

fn write_file<'a>(to: &Path, base: Option<&Path>, steps: impl Iterator<Item = &'a FileStep>) {
    match base {
        Some(base) => {
            fs::copy(base, to).unwrap();
        }
        None => fs::write(to, "").unwrap(),
    }
    let mut file = fs::OpenOptions::new().write(true).open(to).unwrap();
    for step in steps {
        match step {
            FileStep::Write { at, bytes } => {
                file.seek(SeekFrom::Start(*at)).unwrap();
                file.write_all(bytes).unwrap();
            }
            FileStep::Length(length) => file.set_len(*length).unwrap(),
        }
    }
}

//! A file of answers that is whole or not there.
//!
//! It grows as `NAME.partial`, with its progress in `NAME.progress`, both for their owner only.
//! Each piece is durable before the progress that speaks of it; what a crash leaves behind that
//! progress is cut off when the work goes on. When all is there the partial file gets its name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::input::InputMark;
use super::resume::{FilePlace, TransferJob, TransferProgress};
use crate::files::{create_new, name_new, put_in_place, sync_folder};

/// The mode of all three files: what is in them is about persons.
const MODE: u32 = 0o600;
/// The longest progress file.
const MAX_PROGRESS: u64 = 1 << 20;

/// Where answers go.
pub trait AnswerSink {
    /// Appends answers.
    ///
    /// # Errors
    /// [`OutputError`]
    fn append(&mut self, answers: &[u8]) -> Result<(), OutputError>;

    /// Makes durable what was appended, with the progress that speaks of it.
    ///
    /// # Errors
    /// [`OutputError`]
    fn commit(&mut self, progress: &mut TransferProgress) -> Result<(), OutputError>;
}

/// Why answers cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Standard output takes no more.
    #[error("standard output: {0}")]
    Stream(io::Error),
    /// A file cannot be written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file is there.
    #[error("{}: is there already", .0.display())]
    Exists(PathBuf),
    /// The path is not one of a file.
    #[error("{}: is {what}, not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// An earlier run was interrupted.
    #[error("{}: an earlier run was interrupted and left this", .0.display())]
    Interrupted(PathBuf),
    /// Another process writes it.
    #[error("{}: another process is writing it", .0.display())]
    Busy(PathBuf),
    /// What an earlier run left is not what it wrote.
    #[error("{}: is not what the earlier run wrote", .0.display())]
    Foreign(PathBuf),
    /// The earlier run asked for something else.
    #[error("{}: the earlier run asked for something else: {}", path.display(), differences.join("; "))]
    OtherJob {
        /// The progress file.
        path: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
}

/// How a file is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputPlan {
    /// Go on with what an earlier run left, if it left something.
    pub resume: bool,
    /// Replace a file of that name, and drop what an earlier run left.
    pub force: bool,
}

/// A file that was begun, or was finished before.
#[derive(Debug)]
pub enum OutputStart {
    /// There is something to do.
    Begun(Box<OutputFile>, TransferProgress),
    /// An earlier run had finished it.
    Done(TransferProgress),
}

/// A file of answers under way.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    partial: PathBuf,
    progress: PathBuf,
    file: File,
    written: Sha256,
    bytes: u64,
    force: bool,
}

impl OutputFile {
    /// Whether a file could be begun, as far as a look tells: before work that takes its time.
    ///
    /// # Errors
    /// [`OutputError`]
    pub fn look(path: &Path, plan: OutputPlan) -> Result<(), OutputError> {
        let is_there = look(path)?.is_some();
        let goes_on = plan.resume && look(&beside(path, ".progress"))?.is_some();
        refuse_existing(path, is_there && !goes_on, plan)
    }

    /// Begins a file, or goes on with one.
    ///
    /// # Errors
    /// [`OutputError`]; nothing was changed then.
    pub fn begin(
        path: &Path,
        plan: OutputPlan,
        job: TransferJob,
    ) -> Result<OutputStart, OutputError> {
        let (partial, progress) = (beside(path, ".partial"), beside(path, ".progress"));
        let is_there = look(path)?;
        let left = (look(&partial)?, look(&progress)?);
        if plan.resume && left.1.is_some() {
            let known = read_progress(&progress)?;
            let differences = job.differences(&known.job);
            if !differences.is_empty() {
                let path = progress;
                return Err(OutputError::OtherJob { path, differences });
            }
            if let Some(whole) = &is_there
                && is_finished(path, whole, left.0.as_ref(), &known)?
            {
                remove(&partial)?;
                remove(&progress)?;
                return Ok(OutputStart::Done(known));
            }
            refuse_existing(path, is_there.is_some(), plan)?;
            let file = Self::open_again(path, partial, progress, &known, plan)?;
            return Ok(OutputStart::Begun(Box::new(file), known));
        }
        refuse_existing(path, is_there.is_some(), plan)?;
        if let Some((path, _)) = [(&partial, &left.0), (&progress, &left.1)]
            .into_iter()
            .find(|(_, left)| left.is_some() && !plan.force)
        {
            return Err(if plan.resume {
                OutputError::Foreign(path.clone())
            } else {
                OutputError::Interrupted(path.clone())
            });
        }
        if left.0.is_some() {
            drop(lock(&partial, open_partial(&partial)?)?);
        }
        remove(&partial)?;
        // The progress comes first: a partial file without one is somebody else's.
        let known = TransferProgress::begin(job);
        put_progress(&progress, &known)?;
        let file = create_new(&partial, MODE).map_err(|error| at(&partial, error));
        let file = file.inspect_err(|_| drop(fs::remove_file(&progress)))?;
        let file = lock(&partial, file)?;
        let begun = Self {
            path: path.to_owned(),
            partial,
            progress,
            file,
            written: Sha256::new(),
            bytes: 0,
            force: plan.force,
        };
        Ok(OutputStart::Begun(Box::new(begun), known))
    }

    /// Opens the partial file of an earlier run and cuts off what its progress does not speak of.
    fn open_again(
        path: &Path,
        partial: PathBuf,
        progress: PathBuf,
        known: &TransferProgress,
        plan: OutputPlan,
    ) -> Result<Self, OutputError> {
        let file = match open_partial(&partial) {
            // It was interrupted before there was anything.
            Err(OutputError::File { error, .. })
                if error.kind() == io::ErrorKind::NotFound && known.written.bytes == 0 =>
            {
                create_new(&partial, MODE).map_err(|error| at(&partial, error))?
            }
            opened => opened?,
        };
        let mut file = lock(&partial, file)?;
        let (mark, written) =
            digest_of(&mut file, known.written.bytes).map_err(|error| at(&partial, error))?;
        if Some(mark) != known.written.mark() {
            return Err(OutputError::Foreign(partial));
        }
        let cut = file
            .set_len(mark.bytes)
            .and_then(|()| file.seek(SeekFrom::Start(mark.bytes)));
        cut.map_err(|error| at(&partial, error))?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            progress,
            file,
            written,
            bytes: mark.bytes,
            force: plan.force,
        })
    }

    /// Gives the file its name, now that all is there.
    ///
    /// # Errors
    /// [`OutputError`]; the partial file and its progress are still there then.
    pub fn finish(self) -> Result<(), OutputError> {
        self.file
            .sync_all()
            .map_err(|error| at(&self.partial, error))?;
        let named = if self.force {
            fs::rename(&self.partial, &self.path)
        } else {
            name_new(&self.partial, &self.path)
        };
        named
            .and_then(|()| sync_folder(&self.path))
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => OutputError::Exists(self.path.clone()),
                _ => at(&self.path, error),
            })?;
        remove(&self.progress)
    }

    /// The partial file.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Removes what was begun, where nothing was written.
    ///
    /// # Errors
    /// [`OutputError`]
    pub fn discard_empty(self) -> Result<(), OutputError> {
        if self.bytes > 0 {
            return Ok(());
        }
        remove(&self.partial)?;
        remove(&self.progress)
    }
}

impl AnswerSink for OutputFile {
    fn append(&mut self, answers: &[u8]) -> Result<(), OutputError> {
        self.file
            .write_all(answers)
            .map_err(|error| at(&self.partial, error))?;
        self.written.update(answers);
        self.bytes += answers.len() as u64;
        Ok(())
    }

    fn commit(&mut self, progress: &mut TransferProgress) -> Result<(), OutputError> {
        self.file
            .sync_data()
            .map_err(|error| at(&self.partial, error))?;
        progress.written = FilePlace::of(&InputMark {
            bytes: self.bytes,
            digest: self.written.clone().finalize().into(),
        });
        put_progress(&self.progress, progress)
    }
}

/// Any stream: what was appended is kept, and nothing tells where to go on.
pub struct StreamSink<W>(pub W);

impl<W: Write> AnswerSink for StreamSink<W> {
    fn append(&mut self, answers: &[u8]) -> Result<(), OutputError> {
        self.0.write_all(answers).map_err(OutputError::Stream)
    }

    fn commit(&mut self, _: &mut TransferProgress) -> Result<(), OutputError> {
        Ok(())
    }
}

fn at(path: &Path, error: io::Error) -> OutputError {
    let path = path.to_owned();
    OutputError::File { path, error }
}

/// A name in the same folder.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(end);
    path.with_file_name(name)
}

/// What is at a path; nothing if there is nothing.
fn look(path: &Path) -> Result<Option<fs::Metadata>, OutputError> {
    let what = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(path, error)),
        Ok(there) if there.is_file() => return Ok(Some(there)),
        Ok(there) if there.is_dir() => "a directory",
        Ok(there) if there.is_symlink() => "a link",
        Ok(_) => "a device or a pipe",
    };
    let path = path.to_owned();
    Err(OutputError::NotAFile { path, what })
}

fn refuse_existing(path: &Path, is_there: bool, plan: OutputPlan) -> Result<(), OutputError> {
    if is_there && !plan.force {
        return Err(OutputError::Exists(path.to_owned()));
    }
    Ok(())
}

fn read_progress(path: &Path) -> Result<TransferProgress, OutputError> {
    let mut bytes = vec![];
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    file.and_then(|file| file.take(MAX_PROGRESS).read_to_end(&mut bytes))
        .map_err(|error| at(path, error))?;
    TransferProgress::read(&bytes).ok_or_else(|| OutputError::Foreign(path.to_owned()))
}

fn put_progress(path: &Path, progress: &TransferProgress) -> Result<(), OutputError> {
    put_in_place(&beside(path, ".new"), path, &progress.to_bytes(), MODE)
        .map_err(|error| at(path, error))
}

fn open_partial(path: &Path) -> Result<File, OutputError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|error| at(path, error))
}

/// Takes the lock that keeps a second process from writing the same file.
fn lock(path: &Path, file: File) -> Result<File, OutputError> {
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutputError::Busy(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(at(path, error)),
    }
}

/// Whether an earlier run gave the file its name and ended before it removed the progress.
fn is_finished(
    path: &Path,
    whole: &fs::Metadata,
    partial: Option<&fs::Metadata>,
    known: &TransferProgress,
) -> Result<bool, OutputError> {
    let is_same =
        |partial: &fs::Metadata| (partial.dev(), partial.ino()) == (whole.dev(), whole.ino());
    if !partial.is_none_or(is_same) || whole.len() != known.written.bytes {
        return Ok(false);
    }
    let mut file = File::open(path).map_err(|error| at(path, error))?;
    let (mark, _) = digest_of(&mut file, whole.len()).map_err(|error| at(path, error))?;
    Ok(Some(mark) == known.written.mark())
}

/// The digest of the first bytes of a file, as many as there are.
fn digest_of(file: &mut File, bytes: u64) -> io::Result<(InputMark, Sha256)> {
    file.seek(SeekFrom::Start(0))?;
    let (mut digest, mut done) = (Sha256::new(), 0);
    let mut rest = file.take(bytes);
    let mut piece = vec![0; 1 << 20];
    loop {
        let there = rest.read(&mut piece)?;
        if there == 0 {
            break;
        }
        digest.update(&piece[..there]);
        done += there as u64;
    }
    let mark = InputMark {
        bytes: done,
        digest: digest.clone().finalize().into(),
    };
    Ok((mark, digest))
}

fn remove(path: &Path) -> Result<(), OutputError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: OutputPlan = OutputPlan {
        resume: false,
        force: false,
    };
    const RESUME: OutputPlan = OutputPlan {
        resume: true,
        force: false,
    };

    fn begun(path: &Path, plan: OutputPlan) -> Result<(Box<OutputFile>, TransferProgress), String> {
        match OutputFile::begin(path, plan, TransferJob::default().with("scheme", "cnie")) {
            Ok(OutputStart::Begun(file, progress)) => Ok((file, progress)),
            Ok(OutputStart::Done(_)) => Err("done".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let name =
            |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = folder.read_dir().unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let (mut file, mut progress) = begun(&path, NEW).unwrap();
        file.append(b"one\n").unwrap();
        file.commit(&mut progress).unwrap();
        file.append(b"half of the sec").unwrap();
        assert_eq!(names(folder.path()), ["out.partial", "out.progress"]);
        assert!(
            begun(&path, RESUME)
                .unwrap_err()
                .contains("another process")
        );
        drop(file);
        assert!(begun(&path, NEW).unwrap_err().contains("interrupted"));
        let (mut file, mut progress) = begun(&path, RESUME).unwrap();
        assert_eq!(progress.written.bytes, 4);
        file.append(b"two\n").unwrap();
        file.commit(&mut progress).unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, MODE);
        assert_eq!(names(folder.path()), ["out"]);
        for plan in [NEW, RESUME] {
            assert!(begun(&path, plan).unwrap_err().contains("there already"));
        }
    }

    #[test]
    fn an_old_file_stays_until_the_new_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        let force = OutputPlan { force: true, ..NEW };
        let (mut file, mut progress) = begun(&path, force).unwrap();
        file.append(b"new").unwrap();
        file.commit(&mut progress).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        // Another forced run drops what was left.
        let (mut file, mut progress) = begun(&path, force).unwrap();
        file.append(b"newer").unwrap();
        file.commit(&mut progress).unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"newer");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn killed_between_its_last_two_steps_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let (mut file, mut progress) = begun(&path, NEW).unwrap();
        file.append(b"one\n").unwrap();
        file.commit(&mut progress).unwrap();
        drop(file);
        fs::hard_link(folder.path().join("out.partial"), &path).unwrap();
        assert_eq!(begun(&path, RESUME).unwrap_err(), "done");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let other = |name: &str| folder.path().join(name);
        fs::write(other("out.partial"), "theirs").unwrap();
        assert!(begun(&path, RESUME).unwrap_err().contains("not what"));
        assert!(begun(&path, NEW).unwrap_err().contains("interrupted"));
        fs::remove_file(other("out.partial")).unwrap();
        fs::write(other("out.progress"), "{}").unwrap();
        assert!(begun(&path, RESUME).unwrap_err().contains("not what"));
        fs::remove_file(other("out.progress")).unwrap();
        std::os::unix::fs::symlink(other("victim"), &path).unwrap();
        assert!(begun(&path, NEW).unwrap_err().contains("is a link"));
        assert!(
            begun(folder.path(), NEW)
                .unwrap_err()
                .contains("is a directory")
        );
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn a_partial_file_that_was_changed_and_another_job_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let (mut file, mut progress) = begun(&path, NEW).unwrap();
        file.append(b"one\n").unwrap();
        file.commit(&mut progress).unwrap();
        drop(file);
        let other = TransferJob::default().with("scheme", "passport");
        let refused = OutputFile::begin(&path, RESUME, other)
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("scheme was cnie and is passport"),
            "{refused}"
        );
        for changed in ["onE\n", "on", ""] {
            fs::write(folder.path().join("out.partial"), changed).unwrap();
            assert!(begun(&path, RESUME).unwrap_err().contains("not what"));
        }
    }
}

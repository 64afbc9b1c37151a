//! Files and pipes as one stream: a concatenation of streams is a stream.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Size that a pipe is given, if the system allows it: at the usual 64 KiB, reader and writer wake each
/// other all the time.
const PIPE_BYTES: usize = 1 << 20;

/// The inputs of a command, read one after the other.
#[derive(Debug)]
pub struct Input {
    files: VecDeque<File>,
}

/// An input that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("open {path}")]
pub struct InputError {
    path: String,
    #[source]
    source: io::Error,
}

impl Input {
    /// Opens all of them, so that a missing one is noticed before anything is done. `-` is standard
    /// input, and so is no path at all.
    pub fn open(paths: &[PathBuf]) -> Result<Self, InputError> {
        let standard = [PathBuf::from("-")];
        let paths = if paths.is_empty() { &standard[..] } else { paths };
        let files = paths.iter().map(|path| open(path)).collect::<Result<_, _>>()?;
        Ok(Self { files })
    }
}

fn open(path: &Path) -> Result<File, InputError> {
    let is_standard = path == Path::new("-");
    let opened = if is_standard { standard_input() } else { File::open(path) };
    let shown = if is_standard { "standard input".to_owned() } else { path.display().to_string() };
    let refused = |source| InputError { path: shown.clone(), source };
    let file = opened.map_err(refused)?;
    if file.metadata().map_err(refused)?.is_dir() {
        return Err(refused(io::ErrorKind::IsADirectory.into()));
    }
    // Only pipes have a size; others refuse, which does not matter.
    let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE_BYTES);
    Ok(file)
}

fn standard_input() -> io::Result<File> {
    Ok(File::from(io::stdin().as_fd().try_clone_to_owned()?))
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(file) = self.files.front_mut() {
            match file.read(buffer)? {
                0 => drop(self.files.pop_front()),
                length => return Ok(length),
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_files_are_read_as_one_and_a_missing_one_is_named() {
        let directory = tempfile::tempdir().expect("directory");
        let paths = ["a", "empty", "b"].map(|name| directory.path().join(name));
        for (path, content) in paths.iter().zip(["first ", "", "second"]) {
            std::fs::write(path, content).expect("written");
        }
        let mut text = String::new();
        Input::open(&paths).expect("open").read_to_string(&mut text).expect("read");
        assert_eq!(text, "first second");
        let error = Input::open(&[directory.path().join("c")]).expect_err("missing");
        assert!(error.to_string().ends_with("/c"), "{error}");
        assert!(Input::open(&[directory.path().into()]).is_err(), "a directory is no stream");
    }
}

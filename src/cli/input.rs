//! A file that a command reads: one on the disk, or what comes through a pipe.
//!
//! Easy to get wrong: a file is read twice, once to see what it is; a pipe gives its bytes once. So they are put into a file
//! without a name first.
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

/// Stands for standard input.
const STANDARD_INPUT: &str = "-";

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// It is not there, not readable, or a folder.
    #[error("open {name}: {source}")]
    Open { name: String, source: io::Error },
    /// It came through a pipe and could not be kept.
    #[error("keep what comes from {name} in a temporary file: {source}")]
    Keep { name: String, source: io::Error },
}

/// A file that can be read again and again.
pub(super) struct Input(File);

impl Input {
    /// Opens a file, or reads a pipe to its end; `-` is standard input.
    pub(super) fn open(path: &Path) -> Result<Self, InputError> {
        let failed = |source| InputError::Open { name: name(path), source };
        if is_standard_input(path) {
            return keep(io::stdin().lock(), path);
        }
        let file = File::open(path).map_err(failed)?;
        let kind = file.metadata().map_err(failed)?.file_type();
        if kind.is_dir() {
            return Err(failed(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")));
        }
        if kind.is_file() { Ok(Self(file)) } else { keep(file, path) }
    }

    /// The file from its beginning, for whoever reads it once.
    pub(super) fn into_reader(mut self) -> Result<BufReader<File>, InputError> {
        let rewound = self.0.rewind().map_err(|source| InputError::Open { name: "an input".into(), source });
        rewound.map(|()| BufReader::new(self.0))
    }

    /// The file from its beginning.
    pub(super) fn rewound(&mut self) -> io::Result<&File> {
        self.0.rewind()?;
        Ok(&self.0)
    }
}

/// How a file is called in messages.
pub(super) fn name(path: &Path) -> String {
    if is_standard_input(path) { "standard input".into() } else { path.display().to_string() }
}

pub(super) fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == STANDARD_INPUT
}

/// Reads a pipe to its end into a file that goes with the process.
fn keep(mut from: impl Read, path: &Path) -> Result<Input, InputError> {
    let kept = |source| InputError::Keep { name: name(path), source };
    let mut file = tempfile::tempfile().map_err(kept)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(Input(file)),
            Ok(read) => io::Write::write_all(&mut file, &buffer[..read]).map_err(kept)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(InputError::Open { name: name(path), source }),
        }
    }
}

//! What `reconcile` and `dedupe` share around their results: the flags, the folder of files, the end of the command.
use super::output::{complain, say};
use super::reconcile::Failure;
use crate::reconcile::report::Cells;
use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

/// What comes of what was found.
#[derive(Clone, Debug, clap::Args)]
pub struct ResultFlags {
    /// Directory for the result files, made if needed; without it only the summary is printed
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write CSV for a spreadsheet: what it would take for a formula gets a ' before it; numbers stay numbers
    #[arg(long, value_name = "FOR")]
    pub safe: Option<Safe>,
    /// Stop at the first row that cannot be read, instead of reporting it and going on
    #[arg(long)]
    pub strict: bool,
    /// Print the rules that would be used, as JSON, and stop
    #[arg(long)]
    pub print_rules: bool,
}

/// For whom the result files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Safe {
    /// A spreadsheet, which runs formulas.
    Spreadsheet,
}

/// Makes a file of the directory by its name.
type Make<'a> = &'a dyn Fn(&str) -> std::io::Result<File>;

impl ResultFlags {
    /// Has `files` write the result files, if they are wanted; it gives the name of a file that failed, and the reason.
    pub(super) fn write(
        &self,
        files: impl FnOnce(Make<'_>, Cells) -> Result<(), (String, String)>,
    ) -> Result<(), Failure> {
        let Some(directory) = &self.out else { return Ok(()) };
        let failed = |path: PathBuf, reason: String| Failure::Write { path: path.display().to_string(), reason };
        std::fs::create_dir_all(directory).map_err(|error| failed(directory.clone(), error.to_string()))?;
        let cells = if self.safe.is_some() { Cells::Spreadsheet } else { Cells::Exact };
        files(&|name| File::create(directory.join(name)), cells)
            .map_err(|(name, reason)| failed(directory.join(name), reason))
    }

    /// Where the files are, or how to get them: `--out DIR` and this.
    pub(super) fn line(&self, purpose: &str) -> String {
        match &self.out {
            Some(directory) => format!("results in {}\n", directory.display()),
            None => format!("add --out DIR {purpose}\n"),
        }
    }
}

/// Prints what a command has to say, or why it failed, and gives its exit code.
pub(super) fn end(command: &str, outcome: Result<String, Failure>) -> ExitCode {
    match outcome {
        Ok(text) => say(&text, ExitCode::SUCCESS),
        Err(failure) => {
            complain(&format!("tieout {command}: {failure}"));
            failure.code()
        }
    }
}

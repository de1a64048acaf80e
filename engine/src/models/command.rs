//! `orchestratord models`: fetch, list and remove models' files by hand.
//!
//! Exit codes: 0 all is as asked, 1 a model could not be fetched or is not there to be removed, 2 the
//! settings can't be used.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Models,
    cache::Entry,
    progress::Bar,
    reference::{BadReference, ModelRef, Place, Source},
};
use crate::{
    cli::ServeArguments,
    digest::Digest,
    settings::{self, StartError},
};

/// Commands about models' files.
#[derive(Clone, Debug, Subcommand)]
pub enum ModelsCommand {
    /// Download models, unless they are here, and print their paths and digests.
    Fetch(ReferenceArguments),
    /// Print what has been downloaded: reference, bytes and digest.
    List(ListArguments),
    /// Remove what has been downloaded.
    Remove(ReferenceArguments),
}

/// Which models.
#[derive(Clone, Debug, Args)]
pub struct ReferenceArguments {
    /// `https://host/path[#sha256=HEX]` or `hf:org/repo[/file][@revision]`.
    #[arg(required = true, value_name = "REF")]
    pub references: Vec<String>,
    /// How it is said.
    #[command(flatten)]
    pub list: ListArguments,
}

/// How it is said, and where the models are.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// Print a line of JSON for each model.
    #[arg(long)]
    pub json: bool,
    /// The settings.
    #[command(flatten)]
    pub serve: ServeArguments,
}

impl ModelsCommand {
    /// The settings, which may stand in the settings file.
    pub fn serve_mut(&mut self) -> &mut ServeArguments {
        match self {
            Self::Fetch(arguments) | Self::Remove(arguments) => &mut arguments.list.serve,
            Self::List(arguments) => &mut arguments.serve,
        }
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// When the settings can't be used.
    pub fn run(self) -> Result<ExitCode, StartError> {
        match self {
            Self::Fetch(arguments) => {
                let models = settings::models(&arguments.list.serve)?;
                Ok(each(&arguments, |reference| fetch(&models, reference)))
            }
            Self::Remove(arguments) => {
                let models = settings::models(&arguments.list.serve)?;
                Ok(each(&arguments, |reference| remove(&models, reference)))
            }
            Self::List(arguments) => {
                let models = settings::models(&arguments.serve)?;
                let entries = models.cache().entries().map_err(|error| {
                    StartError::new(
                        format!("the models' folder can't be read: {error}"),
                        "name another with --model-cache-dir",
                    )
                })?;
                for entry in entries {
                    print(&Told::of(&models, &entry), arguments.json);
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

/// What is said of a model.
struct Told {
    reference: String,
    path: String,
    bytes: u64,
    digest: Digest,
}

impl Told {
    fn of(models: &Models, entry: &Entry) -> Self {
        Self {
            reference: entry.reference.clone(),
            path: models.cache().blob(entry.digest).display().to_string(),
            bytes: entry.bytes,
            digest: entry.digest,
        }
    }

    fn json(&self) -> Value {
        json!({
            "reference": self.reference,
            "path": self.path,
            "bytes": self.bytes,
            "digest": self.digest,
        })
    }

    /// Columns between tabs.
    fn line(&self) -> String {
        let Self {
            reference,
            path,
            bytes,
            digest,
        } = self;
        format!("{reference}\t{path}\t{bytes}\t{digest}")
    }
}

/// Does it for each, and goes on with the next if one fails.
fn each(arguments: &ReferenceArguments, act: impl Fn(&str) -> Result<Told, String>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for reference in &arguments.references {
        match act(reference) {
            Ok(told) => print(&told, arguments.list.json),
            Err(problem) => {
                eprintln!("{reference}: {problem}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn print(told: &Told, as_json: bool) {
    let line = if as_json {
        told.json().to_string()
    } else {
        told.line()
    };
    // Whoever reads it may have read enough.
    let _ = writeln!(io::stdout(), "{line}");
}

fn fetch(models: &Models, reference: &str) -> Result<Told, String> {
    let source = source(reference)?;
    let bar = Bar::of(&source.place);
    let found = models.obtain(&source, &bar);
    let found = found.map_err(|error| error.to_string())?;
    let entry = found.entry.ok_or("nothing was downloaded for it")?;
    Ok(Told::of(models, &entry))
}

fn remove(models: &Models, reference: &str) -> Result<Told, String> {
    let source = source(reference)?;
    let (cache, reference) = (models.cache(), source.place.reference());
    let discarded = cache.discard(&reference, source.digest);
    let removed = discarded.and_then(|()| cache.remove(&reference));
    let removed = removed.map_err(|error| format!("it can't be removed: {error}"))?;
    let entry = removed.ok_or("it has not been downloaded")?;
    Ok(Told::of(models, &entry))
}

fn source(reference: &str) -> Result<Source, String> {
    let parsed = ModelRef::parse(reference).map_err(|bad: BadReference| bad.to_string())?;
    match parsed {
        ModelRef::Source(source) if !matches!(source.place, Place::File(_)) => Ok(source),
        ModelRef::Source(_) | ModelRef::Name(_) => Err(
            "nothing is downloaded for it; name a place as https://host/path or hf:org/repo"
                .to_owned(),
        ),
    }
}

//! The model hub: which file of a repository is meant, and where it is.
//!
//! Its paths are those of the hub's own documentation: `/api/models/{repository}/revision/{revision}`
//! lists a repository's files, `/{repository}/resolve/{revision}/{file}` is one of them.

use std::io::Read as _;

use http::Uri;
use serde::Deserialize;

use super::{
    error::FetchError,
    reference::HubFile,
    request::{Answer, Client, Trouble, broken},
};

/// Bytes of a list: repositories have some hundreds of files.
const LIST_BYTES_MAX: u64 = 4 << 20;
/// Files that are named to choose from.
const CHOICES_MAX: usize = 20;

/// What is read of a repository's description.
#[derive(Deserialize)]
struct Repository {
    /// The commit that the revision means now.
    #[serde(default)]
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// Where the file is, on the hub at this address; the hub is asked if nobody has named the file.
///
/// # Errors
///
/// When the hub does not answer, or there is not exactly one model to choose.
pub fn locate(client: &Client, base: &str, wanted: &HubFile) -> Result<Uri, Trouble> {
    let HubFile {
        repository,
        file,
        revision,
    } = wanted;
    let url = match file {
        Some(file) => url(base, repository, revision, file),
        None => {
            let found = list(client, base, wanted)?;
            let file = choose(found.siblings)?;
            // The list is of this commit, and so is the file.
            let revision = found.sha.as_ref().unwrap_or(revision);
            url(base, repository, revision, &file)
        }
    };
    // Names of the hub's answer may be anything.
    url.parse().map_err(|_| FetchError::NoModel.into())
}

fn url(base: &str, repository: &str, revision: &str, file: &str) -> String {
    let revision = escape(revision);
    format!("{base}/{repository}/resolve/{revision}/{file}")
}

/// The name of a revision is one segment of a path.
fn escape(revision: &str) -> String {
    revision.replace('/', "%2F")
}

fn list(client: &Client, base: &str, wanted: &HubFile) -> Result<Repository, Trouble> {
    let (repository, revision) = (&wanted.repository, escape(&wanted.revision));
    let url = format!("{base}/api/models/{repository}/revision/{revision}");
    let url: Uri = url.parse().map_err(|_| FetchError::NoModel)?;
    let Answer {
        mut response, host, ..
    } = client.get(&url, &[])?;
    let status = response.status().as_u16();
    if status != 200 {
        return Err(Trouble::of_status(host, status));
    }
    let mut body = Vec::new();
    let mut reader = response.body_mut().as_reader().take(LIST_BYTES_MAX);
    reader
        .read_to_end(&mut body)
        .map_err(|error| broken(&host, &error))?;
    serde_json::from_slice(&body).map_err(|_| Trouble::Lost {
        host,
        cause: "its list of files can't be read".to_owned(),
    })
}

fn choose(files: Vec<Sibling>) -> Result<String, FetchError> {
    let is_model = |name: &String| name.to_ascii_lowercase().ends_with(".gguf");
    let names = files.into_iter().map(|file| file.rfilename);
    let mut models: Vec<String> = names.filter(is_model).collect();
    match models.len() {
        0 => Err(FetchError::NoModel),
        1 => Ok(models.remove(0)),
        _ => {
            models.truncate(CHOICES_MAX);
            Err(FetchError::Choose { files: models })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Result<String, FetchError> {
        let file = |name: &&str| Sibling {
            rfilename: (*name).to_owned(),
        };
        choose(names.iter().map(file).collect())
    }

    #[test]
    fn the_only_model_is_meant_and_of_several_one_must_be_named() {
        let only = chosen(&["README.md", "deep/tale.GGUF"]);
        assert_eq!(only.unwrap(), "deep/tale.GGUF");
        assert!(matches!(chosen(&["README.md"]), Err(FetchError::NoModel)));
        let Err(FetchError::Choose { files }) = chosen(&["a.gguf", "b.gguf", "c.txt"]) else {
            panic!("two are too many");
        };
        assert_eq!(files, ["a.gguf", "b.gguf"]);
    }

    #[test]
    fn a_branch_with_a_slash_is_one_segment() {
        assert_eq!(
            url("https://hub", "org/repo", "refs/pr/1", "tale.gguf"),
            "https://hub/org/repo/resolve/refs%2Fpr%2F1/tale.gguf"
        );
    }
}

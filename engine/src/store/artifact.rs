//! Artifacts on the disk: put, find, forget the oldest.
//!
//! Whoever stores an artifact has it: two callers who store the same one have one each, under the
//! same id, and neither learns of the other.

use redb::ReadableTable as _;

use super::{
    Fault,
    books::{ARTIFACT_AGES, ARTIFACTS, Books, Totals},
};
use crate::{
    api::{
        self,
        artifact::{Artifact, ArtifactSpec},
        error::{ApiError, Code},
        whole_ms,
    },
    identity::{Caller, Scope},
};

/// Whose artifacts a caller may see.
#[derive(Clone, Debug)]
pub struct Viewer {
    identity: String,
    sees_all: bool,
}

impl From<&Caller> for Viewer {
    fn from(caller: &Caller) -> Self {
        Self {
            identity: caller.identity.to_string(),
            sees_all: caller.may(Scope::Control),
        }
    }
}

impl Viewer {
    /// Whose things alone may be known of, unless everybody's may.
    pub fn only(&self) -> Option<&str> {
        (!self.sees_all).then_some(&*self.identity)
    }

    /// Whether something of this owner may be known of.
    pub fn sees(&self, owner: &str) -> bool {
        self.sees_all || self.identity == owner
    }
}

/// Stores an artifact; one that its owner has already is left as it is.
///
/// # Errors
///
/// When the disk fails; within, when the artifact is larger than all may be together.
pub fn put(
    books: &mut Books<'_>,
    owner: &str,
    spec: ArtifactSpec,
) -> Result<Result<Artifact, ApiError>, Fault> {
    let artifact = Artifact::new(spec, books.now_ms);
    if let Some(known) = get(books, &artifact.id, owner)? {
        return Ok(Ok(known));
    }
    let bytes = api::json(&artifact);
    let len = bytes.len() as u64;
    if len > books.settings.retention.bytes_max {
        return Ok(Err(ApiError::invalid(
            "the artifact is larger than all artifacts may be together (--artifacts-bytes-max)",
        )));
    }
    let id = artifact.id.as_str();
    books
        .write(ARTIFACTS)?
        .insert((id, owner), bytes.as_slice())?;
    let mut ages = books.write(ARTIFACT_AGES)?;
    let newest = ages.last()?.map(|(number, _)| number.value());
    let number = newest.map_or(0, |newest| newest + 1);
    ages.insert(number, (artifact.created_ms, id, owner, len))?;
    drop(ages);
    let Totals { count, bytes } = &mut books.ledger.artifacts;
    *count += 1;
    *bytes += len;
    forget_old(books)?;
    Ok(Ok(artifact))
}

/// The artifact of that id, for a caller who may know of it.
///
/// # Errors
///
/// When the disk fails; within, when there is none.
pub fn find(
    books: &mut Books<'_>,
    id: &str,
    viewer: &Viewer,
) -> Result<Result<Artifact, ApiError>, Fault> {
    let own = get(books, id, &viewer.identity)?;
    let found = match own {
        None if viewer.sees_all => {
            let owner = any_owner(books, id)?;
            owner.map_or(Ok(None), |owner| get(books, id, &owner))?
        }
        own => own,
    };
    Ok(found.ok_or_else(|| ApiError::new(Code::NotFound, "there is no such artifact")))
}

/// Forgets the oldest until the rest is within the bounds.
///
/// # Errors
///
/// When the disk fails.
pub fn forget_old(books: &mut Books<'_>) -> Result<(), Fault> {
    let bounds = books.settings.retention;
    while let Some(oldest) = oldest(books)? {
        let Totals { count, bytes } = books.ledger.artifacts;
        let age_ms = books.now_ms.saturating_sub(oldest.created_ms);
        let is_young = age_ms <= whole_ms(bounds.age_max);
        if is_young && count <= bounds.count_max && bytes <= bounds.bytes_max {
            return Ok(());
        }
        books.write(ARTIFACT_AGES)?.remove(oldest.number)?;
        let key = (oldest.id.as_str(), oldest.owner.as_str());
        books.write(ARTIFACTS)?.remove(key)?;
        books.ledger.artifacts = Totals {
            count: count - 1,
            bytes: bytes - oldest.bytes,
        };
    }
    Ok(())
}

/// What is forgotten next.
struct Oldest {
    /// Its number in the order of storing.
    number: u64,
    created_ms: u64,
    id: String,
    owner: String,
    bytes: u64,
}

fn oldest(books: &Books<'_>) -> Result<Option<Oldest>, Fault> {
    let ages = books.read(ARTIFACT_AGES)?;
    let first = ages.first()?;
    Ok(first.map(|(number, age)| {
        let (created_ms, id, owner, bytes) = age.value();
        Oldest {
            number: number.value(),
            created_ms,
            id: id.to_owned(),
            owner: owner.to_owned(),
            bytes,
        }
    }))
}

/// Nothing, too, for a record that can't be read: it is put aside.
pub(super) fn get(books: &Books<'_>, id: &str, owner: &str) -> Result<Option<Artifact>, Fault> {
    let Some(bytes) = read(books, id, owner)? else {
        return Ok(None);
    };
    let found = books.decode("artifacts", id, &bytes)?;
    if found.is_none() {
        books.write(ARTIFACTS)?.remove((id, owner))?;
    }
    Ok(found)
}

fn read(books: &Books<'_>, id: &str, owner: &str) -> Result<Option<Vec<u8>>, Fault> {
    let artifacts = books.read(ARTIFACTS)?;
    let found = artifacts.get((id, owner))?;
    Ok(found.map(|bytes| bytes.value().to_vec()))
}

/// Somebody who has it.
fn any_owner(books: &Books<'_>, id: &str) -> Result<Option<String>, Fault> {
    let artifacts = books.read(ARTIFACTS)?;
    let Some(entry) = artifacts.range((id, "")..)?.next() else {
        return Ok(None);
    };
    let (key, _) = entry?;
    let (found, owner) = key.value();
    Ok((found == id).then(|| owner.to_owned()))
}

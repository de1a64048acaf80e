//! Servers of files beside the daemon: what they have, and what they were asked.

use std::fs;
use std::sync::Arc;

use cucumber::gherkin::Step;
use cucumber::{given, then, when};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};

use crate::certificate;
use crate::claim::{Claim, eventually};
use crate::mirror::{Mirror, Mishap, Page};
use crate::program::SHIPPED_MODEL;
use crate::world::World;

/// Its address is called by its name, and what the model hashes to is `{digest}`.
#[given(regex = r"^a mirror called ([a-z]+) with the shipped model at (\S+)$")]
fn start_with_model(world: &mut World, name: String, path: String) {
    put_up(world, name, &path, None);
}

/// Who vouches for it stands in a file of its name, as `near-ca.pem`.
#[given(
    regex = r"^a mirror called ([a-z]+) at https with a certificate for (\S+) with the shipped model at (\S+)$"
)]
fn start_at_https(world: &mut World, name: String, host: String, path: String) {
    certificate::write(world.dir.path(), &name, &host).holds();
    let file = |ending: &str| world.dir.path().join(format!("{name}.{ending}"));
    let certificate = CertificateDer::from_pem_file(file("pem")).holds();
    let key = PrivateKeyDer::from_pem_file(file("key")).holds();
    let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|tls| {
            tls.with_no_client_auth()
                .with_single_cert(vec![certificate], key)
        });
    put_up(world, name, &path, Some(Arc::new(tls.holds())));
}

fn put_up(world: &mut World, name: String, path: &str, tls: Option<Arc<ServerConfig>>) {
    let mirror = Mirror::start(tls).holds();
    let model = fs::read(SHIPPED_MODEL).holds();
    world.words.insert("digest".to_owned(), digest(&model));
    mirror.put(path, Page::File(model));
    world.words.insert(name.clone(), mirror.url());
    world.mirrors.insert(name, mirror);
}

/// As the hub does for large files, it tells what the file hashes to.
#[given(regex = r"^the mirror ([a-z]+) sends (\S+) on to (\S+)$")]
fn send_on(world: &mut World, name: String, path: String, url: String) {
    let url = world.fill(&url).holds();
    let digest = digest(&fs::read(SHIPPED_MODEL).holds());
    let page = Page::Elsewhere { url, digest };
    mirror(world, &name).put(&path, page);
}

#[given(regex = r"^the mirror ([a-z]+) says at (\S+)$")]
fn say(world: &mut World, name: String, path: String, #[step] step: &Step) {
    let text = step.docstring.clone().unwrap_or_default();
    mirror(world, &name).put(&path, Page::File(text.into_bytes()));
}

#[given(
    regex = r"^the next file of the mirror ([a-z]+) (breaks off|is held back) after (\d+) bytes$"
)]
fn befall(world: &mut World, name: String, mishap: String, bytes: usize) {
    let mishap = match mishap.as_str() {
        "breaks off" => Mishap::BreaksOff,
        _ => Mishap::IsHeldBack,
    };
    mirror(world, &name).befall(mishap, bytes);
}

#[when(regex = r"^the mirror ([a-z]+) goes on$")]
fn go_on(world: &mut World, name: String) {
    mirror(world, &name).go_on();
}

#[when(regex = r"^the mirror ([a-z]+) is gone$")]
fn go(world: &mut World, name: String) {
    let mirror = world.mirrors.remove(&name);
    mirror.ok_or("there is no such mirror").holds();
}

#[given(regex = r"^the mirror ([a-z]+) was asked (\d+) times?$")]
#[then(regex = r"^the mirror ([a-z]+) was asked (\d+) times?$")]
fn was_asked(world: &mut World, name: String, times: usize) {
    let heard = mirror(world, &name).heard();
    assert_eq!(heard.len(), times, "{heard:#?}");
}

#[then(regex = r"^each request to the mirror ([a-z]+) (carries|lacks) (.+)$")]
fn carries(world: &mut World, name: String, how: String, field: String) {
    let heard = mirror(world, &name).heard();
    assert!(!heard.is_empty(), "{name} was asked nothing");
    for head in heard {
        assert_eq!(
            head.contains(&field.to_lowercase()),
            how == "carries",
            "{head}"
        );
    }
}

#[then(regex = r"^the last request to the mirror ([a-z]+) carries (.+)$")]
fn last_carries(world: &mut World, name: String, field: String) {
    let heard = mirror(world, &name).heard();
    let last = heard.last().ok_or("it was asked nothing").holds();
    assert!(last.contains(&field.to_lowercase()), "{last}");
}

/// No file of one, neither whole nor in part.
#[then("no model comes to be kept")]
fn nothing_kept(world: &mut World) {
    let models = world.dir.path().join("data/models");
    let gone = eventually(|| {
        let kept: Vec<_> = ["blobs", "references", "partial"]
            .iter()
            .filter_map(|folder| fs::read_dir(models.join(folder)).ok())
            .flatten()
            .filter_map(|file| Some(file.ok()?.path()))
            .collect();
        if kept.is_empty() {
            Ok(())
        } else {
            Err(format!("{kept:?}"))
        }
    });
    gone.holds();
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mirror<'w>(world: &'w World, name: &str) -> &'w Mirror {
    let mirror = world.mirrors.get(name);
    mirror
        .ok_or_else(|| format!("there is no mirror called {name}"))
        .holds()
}

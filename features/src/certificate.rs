//! Certificates for engines at https, each with an authority of its own.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// Writes `<name>.pem` and `<name>.key`, what an engine shows, and `<name>-ca.pem`, who vouches for it.
pub(crate) fn write(dir: &Path, name: &str, host: &str) -> Result<(), String> {
    let told = |error: rcgen::Error| error.to_string();
    let mut authority = CertificateParams::new(Vec::new()).map_err(told)?;
    // Authorities are told apart by their names, before anything is computed.
    let of_name = format!("the authority of {name}");
    authority
        .distinguished_name
        .push(DnType::CommonName, of_name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().map_err(told)?);
    let authority = authority.map_err(told)?;
    let key = KeyPair::generate().map_err(told)?;
    let engine = CertificateParams::new(vec![host.to_owned()]).map_err(told)?;
    let engine = engine.signed_by(&key, &authority).map_err(told)?;
    for (file, text) in [
        (format!("{name}.pem"), engine.pem()),
        (format!("{name}.key"), key.serialize_pem()),
        (format!("{name}-ca.pem"), authority.pem()),
    ] {
        fs::write(dir.join(file), text).map_err(|error| error.to_string())?;
    }
    Ok(())
}

//! The example of a settings file, held to the program and to the schema that it prints.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
};

fn orchestratord(arguments: &[&str], path: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestratord"));
    let command = command.args(arguments).env("PATH", path);
    let output = command.output().expect("it was built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("it writes text")
}

fn example() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("docs/orchestratord.toml");
    path.to_str()
        .expect("the folder has such a name")
        .to_owned()
}

#[test]
fn the_daemon_would_start_with_the_example() {
    let data = tempfile::tempdir().expect("there is room");
    let data_dir = data.path().to_str().expect("it is made of ASCII");
    // The programs that it has the daemon start; nothing is started here.
    for program in ["llama-server", "my-server"] {
        let file = data.path().join(program);
        fs::write(&file, "#!/bin/sh\n").expect("there is room");
        fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("it is ours");
    }
    let arguments = [
        "check",
        "--config",
        &example(),
        "--addr",
        "127.0.0.1:0",
        "--data-dir",
        data_dir,
    ];
    let said = orchestratord(&arguments, data.path());
    for pool in ["tales", "chat", "small", "special", "script"] {
        assert!(said.contains(&format!("pool `{pool}`")), "{said}");
    }
}

#[test]
fn the_schema_is_one_and_accepts_the_example() {
    let schema = orchestratord(&["check", "--schema"], Path::new(""));
    let schema = serde_json::from_str(&schema).expect("it prints JSON");
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).expect("it is valid");
    let file = fs::read_to_string(example()).expect("it lies there");
    let mut file: serde_json::Value = toml::from_str(&file).expect("it is TOML");
    let complaints = |file: &serde_json::Value| -> Vec<String> {
        validator
            .iter_errors(file)
            .map(|wrong| wrong.to_string())
            .collect()
    };
    assert_eq!(complaints(&file), Vec::<String>::new());
    file["slotz"] = 4.into();
    file["pool"][0]["slots"] = 0.into();
    assert_eq!(complaints(&file).len(), 2);
}

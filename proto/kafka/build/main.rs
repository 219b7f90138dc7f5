//! Generates the messages, the table of APIs and the error codes from `schema/`.
//!
//! Reads no file outside `schema/`; writes three files to `OUT_DIR`, which `src/` includes.

mod emit;
mod emit_api;
mod fields;
mod model;
mod names;
mod parse;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use model::{Api, Declared, Message};

#[expect(
    clippy::print_stdout,
    reason = "this is how a build script talks to cargo"
)]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=schema");
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let (apis, messages) = read_schema(Path::new("schema"))?;
    let errors = parse::parse_errors(&fs::read_to_string("schema/errors.kerr")?)?;

    let mut code = String::new();
    for api in &apis {
        code.push_str(&emit::api_module(api)?);
    }
    for message in &messages {
        code.push_str(&emit::message_module(message)?);
    }
    code.push_str(&emit_api::message_names(&apis, &messages));
    fs::write(out.join("messages.rs"), code)?;
    fs::write(out.join("api.rs"), emit_api::api(&apis))?;
    fs::write(out.join("error_code.rs"), emit_api::error_codes(&errors))?;
    Ok(())
}

/// All schema files, APIs by key.
fn read_schema(folder: &Path) -> Result<(Vec<Api>, Vec<Message>), Box<dyn Error>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "kmsg")
        {
            paths.push(path);
        }
    }
    paths.sort();
    let (mut apis, mut messages) = (Vec::<Api>::new(), Vec::new());
    for path in paths {
        let declared = parse::parse(&fs::read_to_string(&path)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        match declared {
            Declared::Api(api) => apis.push(*api),
            Declared::Message(message) => messages.push(message),
        }
    }
    apis.sort_by_key(|api| api.key);
    if let Some(pair) = apis.windows(2).find(|pair| pair[0].key == pair[1].key) {
        return Err(format!("API key {} is declared twice", pair[0].key).into());
    }
    Ok((apis, messages))
}

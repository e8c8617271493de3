//! Code from proto/, with a service of the one call that the peer serves: tonic wants all of them.
use std::{env, fs, path::Path};

const PROTO: &str = "../../../proto";

fn main() -> std::io::Result<()> {
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let whole = fs::read_to_string(format!("{PROTO}/events.proto"))?;
    let wanted = |line: &&str| {
        !line.trim_start().starts_with("rpc ") || line.contains("rpc GetEventStatus(")
    };
    let part: Vec<&str> = whole.lines().filter(wanted).collect();
    let events = Path::new(&out).join("events.proto");
    fs::write(&events, part.join("\n"))?;
    let files = [events, Path::new(PROTO).join("status_log.proto")];
    println!("cargo::rerun-if-changed={PROTO}");
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .compile_protos(&files, &[out.into(), PROTO.into(), "/usr/include".into()])
}

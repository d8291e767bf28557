# Sourced by findings about pingora's load balancer: its crate, pinned, and what they share.
mkdir "$folder/src"
cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"

[dependencies]
pingora-load-balancing = "=0.9.1"
futures = "=0.3.31"
TOML
cat >"$folder/src/lib.rs" <<'RUST'
use pingora_load_balancing::{selection::BackendSelection, Backend, LoadBalancer};

/// Takes the list of engines, as the background service of a proxy does.
pub fn update<S: BackendSelection + 'static>(balancer: &LoadBalancer<S>)
where
    S::Iter: pingora_load_balancing::selection::BackendIter,
{
    futures::executor::block_on(balancer.update()).unwrap();
}

/// A for 10.0.0.1, B for 10.0.0.2, and so on.
pub fn letter(backend: &Backend) -> char {
    let address = backend.addr.to_string();
    let last = address.split(['.', ':']).nth(3).unwrap();
    (b'A' + last.parse::<u8>().unwrap() - 1) as char
}
RUST
cargo_run() {
    (cd "$folder" && cargo run --quiet) 2>"$folder/log" ||
        { tail -n 20 "$folder/log"; exit 1; }
}

//! Links the module so that Envoy refuses it at start, naming the symbol, where a callback is missing;
//! resolved lazily, it would end the process in the middle of a request.

fn main() {
    println!("cargo::rustc-link-arg-cdylib=-Wl,-z,now");
}

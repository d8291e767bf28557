//! The modules of this crate have an order: none needs, in a circle, what needs it.
//!
//! `cargo test -p pointsman-ffi --test imports -- --nocapture` prints what each one imports, in that
//! order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "support/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};

/// Modules, and those that each one names.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn imports() -> Imports {
    let mut imports = Imports::new();
    for (module, path) in sources::all() {
        let text = std::fs::read_to_string(&path).unwrap();
        // What tests and comments name does not count.
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let named = imports.entry(module.clone()).or_default();
        for line in code {
            for name in line.split("crate::").skip(1) {
                let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '_');
                named.insert(name[..end.unwrap_or(name.len())].to_owned());
            }
            for (macro_call, of) in
                [("export! {", "boundary"), ("sized!(", "argument"), ("handle!(", "handle")]
            {
                if line.starts_with(macro_call) {
                    named.insert(of.to_owned());
                }
            }
        }
        named.remove(&module);
    }
    imports.remove("lib");
    imports
}

/// The modules in an order in which each comes after all that it names; else those of a circle, and
/// what needs them.
fn order(mut left: Imports) -> Result<Vec<String>, Imports> {
    let mut order = Vec::new();
    while !left.is_empty() {
        let next = left.iter().find(|(_, named)| !named.iter().any(|name| left.contains_key(name)));
        let Some(next) = next.map(|(module, _)| module.clone()) else { return Err(left) };
        left.remove(&next);
        order.push(next);
    }
    Ok(order)
}

#[test]
fn no_module_needs_what_needs_it() {
    let imports = imports();
    for named in imports.values().flatten() {
        assert!(imports.contains_key(named), "{named} is no module");
    }
    let order = order(imports.clone()).unwrap_or_else(|circle| panic!("a circle: {circle:#?}"));
    for module in &order {
        println!("{module}: {}", Vec::from_iter(imports[module].iter().cloned()).join(" "));
    }
    let place = |name: &str| order.iter().position(|module| module == name);
    assert!(place("boundary") < place("router") && place("router") < place("builder"), "{order:?}");
}

#[test]
fn a_circle_is_seen() {
    let edge = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let mut circle = Imports::from([edge("a", "b"), edge("b", "c")]);
    circle.entry("c".to_owned()).or_default();
    assert_eq!(order(circle.clone()), Ok(["c", "b", "a"].map(str::to_owned).to_vec()));
    circle.extend([edge("c", "a")]);
    assert!(order(circle).is_err());
}

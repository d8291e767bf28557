//! Generates the C header from the sources of this crate: one section per module, made by cbindgen.
//!
//! cbindgen does not look into macros, so the exports are unfolded first, from the same tokens that
//! the macro gets.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};

/// The sections of the header, in the order of reading, and the modules that each is made of.
const SECTIONS: [(&[&str], &str); 18] = [
    (&["version"], "Version"),
    (&["special"], "Special values"),
    (&["status", "errors"], "Errors"),
    (&["router"], "Router"),
    (&["role", "label", "worker"], "Workers"),
    (&["listing"], "Workers, looked up"),
    (&["request"], "Request"),
    (&["reason", "selection"], "Selection"),
    (&["outcome"], "Outcome"),
    (&["route"], "Routing"),
    (&["fingerprint"], "Fingerprints"),
    (&["fingerprinter"], "Prompts made into fingerprints"),
    (&["kv_event", "engine", "engine_load"], "What engines say"),
    (&["metrics"], "Metrics"),
    (&["log"], "Log"),
    (&["room"], "Waiting for room"),
    (&["policy"], "Policies of the host's own"),
    (&["builder"], "Builder"),
];

/// Fields whose INIT value is not zero.
const DEFAULTS: [(&str, &str, &str); 18] = [
    ("pointsman_label", "key_length", "POINTSMAN_NUL_TERMINATED"),
    ("pointsman_label", "value_length", "POINTSMAN_NUL_TERMINATED"),
    ("pointsman_worker_spec", "url_length", "POINTSMAN_NUL_TERMINATED"),
    ("pointsman_worker_spec", "group_length", "POINTSMAN_NUL_TERMINATED"),
    ("pointsman_worker_spec", "weight", "1.0"),
    ("pointsman_worker_spec", "kv_capacity_tokens", "POINTSMAN_UNKNOWN64"),
    ("pointsman_worker_change", "max_in_flight", "POINTSMAN_UNKNOWN"),
    ("pointsman_worker_change", "url_length", "POINTSMAN_NUL_TERMINATED"),
    ("pointsman_worker_change", "group_length", "POINTSMAN_NUL_TERMINATED"),
    ("pointsman_load", "kv_used_tokens", "POINTSMAN_UNKNOWN64"),
    ("pointsman_load", "kv_total_tokens", "POINTSMAN_UNKNOWN64"),
    ("pointsman_request", "cache_namespace_length", "POINTSMAN_NUL_TERMINATED"),
    ("pointsman_request", "routing_key_length", "POINTSMAN_NUL_TERMINATED"),
    ("pointsman_request", "expected_output_tokens", "POINTSMAN_UNKNOWN"),
    ("pointsman_completion", "prompt_tokens", "POINTSMAN_UNKNOWN"),
    ("pointsman_completion", "cached_tokens", "POINTSMAN_UNKNOWN"),
    ("pointsman_completion", "completion_tokens", "POINTSMAN_UNKNOWN"),
    ("pointsman_body", "max_tokens", "POINTSMAN_UNKNOWN"),
];

/// One module's part of the interface.
struct Section {
    items: Vec<syn::Item>,
    structs: Vec<syn::ItemStruct>,
    functions: Vec<syn::Signature>,
}

/// One line of an `export!`.
struct Export {
    attributes: Vec<syn::Attribute>,
    signature: syn::Signature,
}

impl Parse for Export {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(syn::Attribute::parse_outer)?;
        let signature = input.parse()?;
        input.parse::<syn::Token![=>]>()?;
        // The function that does the work, and what it is called with.
        input.parse::<syn::Ident>()?;
        input.parse::<proc_macro2::Group>()?;
        input.parse::<syn::Token![;]>()?;
        Ok(Export { attributes, signature })
    }
}

struct Exports(Vec<Export>);

impl Parse for Exports {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut exports = Vec::new();
        while !input.is_empty() {
            exports.push(input.parse()?);
        }
        Ok(Exports(exports))
    }
}

fn read(modules: &[&str]) -> Section {
    let mut section = Section { items: Vec::new(), structs: Vec::new(), functions: Vec::new() };
    for module in modules {
        read_module(module, &mut section);
    }
    section
}

fn read_module(module: &str, section: &mut Section) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(format!("{module}.rs"));
    let source = std::fs::read_to_string(&path).unwrap();
    let file = syn::parse_file(&source).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    for item in file.items {
        match &item {
            syn::Item::Macro(call) if call.mac.path.is_ident("export") => {
                let Exports(exports) = call.mac.parse_body().unwrap();
                for Export { attributes, signature } in exports {
                    section.functions.push(signature.clone());
                    section.items.push(syn::parse_quote! {
                        #(#attributes)*
                        #[unsafe(no_mangle)]
                        pub unsafe extern "C" #signature {}
                    });
                }
            }
            syn::Item::Struct(it) if it.ident.to_string().starts_with("pointsman_") => {
                let is_c = it.attrs.iter().any(|a| a.path().is_ident("repr"));
                if is_c {
                    section.structs.push(it.clone());
                }
                section.items.push(item);
            }
            syn::Item::Type(it) if it.ident.to_string().starts_with("pointsman_") => {
                section.items.push(item);
            }
            syn::Item::Const(it)
                if it.ident.to_string().starts_with("POINTSMAN_")
                    && it.ident != "POINTSMAN_NUL_TERMINATED" =>
            {
                section.items.push(item);
            }
            _ => {}
        }
    }
}

/// The names of all exported functions.
pub fn functions() -> Vec<String> {
    signatures().iter().map(|signature| signature.ident.to_string()).collect()
}

/// What all exported functions take and return.
pub fn signatures() -> Vec<syn::Signature> {
    SECTIONS.into_iter().flat_map(|(modules, _)| read(modules).functions).collect()
}

/// The names of all status codes.
pub fn statuses() -> Vec<String> {
    let of = |item: &syn::Item| match item {
        syn::Item::Const(it) if it.ty.to_token_stream().to_string() == "pointsman_status" => {
            Some(it.ident.to_string())
        }
        _ => None,
    };
    read(&["status"]).items.iter().filter_map(of).collect()
}

/// The names of all structs that cross the boundary, with their fields.
pub fn structs() -> Vec<(String, Vec<String>)> {
    let of = |it: &syn::ItemStruct| {
        let fields = it.fields.iter().filter_map(|f| f.ident.as_ref()).map(ToString::to_string);
        (it.ident.to_string(), fields.collect())
    };
    SECTIONS
        .into_iter()
        .flat_map(|(modules, _)| read(modules).structs.iter().map(of).collect::<Vec<_>>())
        .collect()
}

fn type_name(item: &syn::Item) -> Option<String> {
    match item {
        syn::Item::Struct(it) => Some(it.ident.to_string()),
        syn::Item::Type(it) => Some(it.ident.to_string()),
        _ => None,
    }
}

fn bindings(section: &Section) -> String {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = directory.join(format!("header_{}.rs", std::process::id()));
    let items = &section.items;
    std::fs::write(&source, quote!(#(#items)*).to_string()).unwrap();
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        no_includes: true,
        style: cbindgen::Style::Both,
        usize_is_size_t: true,
        documentation_style: cbindgen::DocumentationStyle::Doxy,
        line_length: 100,
        tab_width: 4,
        ..Default::default()
    };
    // Also what no function of this section mentions.
    config.export.include = items.iter().filter_map(type_name).collect();
    let mut text = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(&source)
        .generate()
        .unwrap()
        .write(&mut text);
    std::fs::remove_file(&source).unwrap();
    String::from_utf8(text).unwrap()
}

/// The macro that sets up a struct: every field in order, so that no compiler warns.
fn init_macro(it: &syn::ItemStruct) -> String {
    let name = it.ident.to_string();
    let fields = it.fields.iter().map(|field| {
        let field_name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
        if field_name == "size" {
            // Without a cast, which C++ compilers can be told to warn of.
            return format!("sizeof({name})");
        }
        let default = DEFAULTS.iter().find(|(of, which, _)| *of == name && *which == field_name);
        let kind = field.ty.to_token_stream().to_string();
        match default {
            Some((_, _, value)) => (*value).to_owned(),
            None if kind.starts_with('*') || kind.starts_with("Option") => "NULL".to_owned(),
            None if kind == "f64" => "0.0".to_owned(),
            None => "0".to_owned(),
        }
    });
    let mut text = format!("#define {}_INIT", name.to_uppercase());
    let mut line = String::from(" \\\n    {");
    let fields: Vec<String> = fields.collect();
    for (i, field) in fields.iter().enumerate() {
        let piece = if i + 1 < fields.len() { format!("{field}, ") } else { field.clone() };
        if line.trim_start_matches(" \\\n").len() + piece.len() > 92 {
            text.push_str(line.trim_end());
            line = String::from(" \\\n     ");
        }
        line.push_str(&piece);
    }
    text.push_str(&line);
    text.push_str("}\n");
    text
}

/// Structs that only the library fills, which need no INIT macro.
const LIBRARY_ONLY: [&str; 6] = [
    "pointsman_candidates",
    "pointsman_request_view",
    "pointsman_event",
    "pointsman_decision",
    "pointsman_decision_record",
    "pointsman_health_change",
];

/// The whole header. Made once: cbindgen reads it from a file, which tests must not write at once.
pub fn generate() -> &'static str {
    static HEADER: OnceLock<String> = OnceLock::new();
    HEADER.get_or_init(whole)
}

fn whole() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let numbers: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    let mut header = include_str!("preamble.h")
        .replace("@VERSION@", version)
        .replace("@MAJOR@", &numbers[0].to_string())
        .replace("@MINOR@", &numbers[1].to_string())
        .replace("@PATCH@", &numbers[2].to_string());
    for (modules, title) in SECTIONS {
        let section = read(modules);
        let _ = write!(header, "\n/* ---- {title} {}*/\n\n", "-".repeat(88 - title.len()) + " ");
        header.push_str(&constants_after_types(tidy(&bindings(&section)).trim(), &section));
        header.push('\n');
        for it in &section.structs {
            if !LIBRARY_ONLY.contains(&it.ident.to_string().as_str()) {
                header.push('\n');
                header.push_str(&init_macro(it));
            }
        }
    }
    header.push_str("\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
    header
}

/// One blank line at most, no space at line ends, types by one name only, comments of one line on one
/// line.
fn tidy(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() && lines.last().is_none_or(String::is_empty) {
            continue;
        }
        if line.trim_start() == "*/" && close_short_comment(&mut lines) {
            continue;
        }
        let defines = line.starts_with("typedef struct");
        lines.push(if defines {
            line.to_owned()
        } else {
            // The largest numbers as constants of their types, so that no expression with one gets
            // wider.
            line.replace("struct pointsman", "pointsman")
                .replace(" 4294967295", " UINT32_MAX")
                .replace(" 18446744073709551615ull", " UINT64_MAX")
        });
    }
    lines.join("\n") + "\n"
}

/// Puts constants after the type that they are of; cbindgen puts them after all types.
fn constants_after_types(text: &str, section: &Section) -> String {
    let of = |item: &syn::Item| match item {
        syn::Item::Const(it) => Some((it.ident.to_string(), it.ty.to_token_stream().to_string())),
        _ => None,
    };
    let types: BTreeMap<String, String> = section.items.iter().filter_map(of).collect();
    // Items are apart by an empty line, which none has inside.
    let type_of = |item: &str| {
        let line = item.lines().find_map(|line| line.strip_prefix("#define "))?;
        types.get(line.split(' ').next()?)
    };
    let is_of = |item: &str, name: &str| type_of(item).is_some_and(|of| of == name);
    let mut items = Vec::new();
    for item in text.split("\n\n") {
        let defined = item
            .lines()
            .last()
            .and_then(|line| line.strip_prefix("typedef ")?.strip_suffix(';')?.split(' ').nth(1));
        match (defined, type_of(item)) {
            (Some(name), _) => {
                items.push(item);
                items.extend(text.split("\n\n").filter(|constant| is_of(constant, name)));
            }
            (None, Some(of)) if of.starts_with("pointsman_") => {}
            _ => items.push(item),
        }
    }
    items.join("\n\n")
}

/// Puts a comment whose end is missing on one line, if it has but one line and fits.
fn close_short_comment(lines: &mut Vec<String>) -> bool {
    let [.., open, only] = lines.as_slice() else { return false };
    let Some(text) = only.trim_start().strip_prefix("* ") else { return false };
    let short = format!("{open} {text} */");
    if open.trim_start() != "/**" || short.len() > 100 {
        return false;
    }
    lines.truncate(lines.len() - 2);
    lines.push(short);
    true
}

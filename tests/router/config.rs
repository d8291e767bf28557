//! Configuration: one source of defaults, unknown fields refused, ranges checked.

use pointsman::{
    ConfigError, PolicyConfig, Router, RouterConfig,
    policy::{CacheAwareRule, LeastWorkConfig, PowerOfTwoConfig, ThresholdConfig},
};
use serde_json::Value;

fn parse(document: &str) -> Result<RouterConfig, ConfigError> {
    RouterConfig::from_json(document)
}

#[track_caller]
fn refused(document: &str, fragments: &[&str]) {
    let error = parse(document).expect_err("a refusal").to_string();
    for fragment in fragments {
        assert!(error.contains(fragment), "{document}: {error:?} does not say {fragment:?}");
    }
}

#[test]
fn an_empty_document_is_the_default() {
    assert_eq!(parse("{}").unwrap(), RouterConfig::default());
    let rule = |document| match parse(document).unwrap().policy {
        PolicyConfig::CacheAware(config) => config.rule,
        other => panic!("{other:?}"),
    };
    assert_eq!(rule("{}"), CacheAwareRule::default());
    assert_eq!(rule(r#"{"policy": "cache_aware"}"#), CacheAwareRule::default());
    assert_eq!(rule(r#"{"policy": {"cache_aware": {}}}"#), CacheAwareRule::default());
    assert_eq!(
        rule(r#"{"policy": {"cache_aware": {"rule": "least_work"}}}"#),
        CacheAwareRule::default()
    );
    assert_eq!(
        rule(r#"{"policy": {"cache_aware": {"rule": {"threshold": {}}}}}"#),
        CacheAwareRule::Threshold(Default::default())
    );
}

#[test]
fn documents_survive_a_round_trip() {
    let mut all = vec![RouterConfig::default()];
    for policy in [
        r#""random""#,
        r#""round_robin""#,
        r#"{"random": {}}"#,
        r#"{"power_of_two": {"max_report_age_secs": 3.5}}"#,
        r#"{"cache_aware": {"rule": {"threshold": {"balance_abs_threshold": 3}}}}"#,
        r#"{"cache_aware": {"rule": {"least_work": {"speed": "measured", "replicas": 3}}}}"#,
        r#"{"custom": {"name": "mine", "options": {"depth": [1, 2]}}}"#,
    ] {
        let document = format!(
            r#"{{"policy": {policy}, "prefill_policy": {policy}, "seed": 3, "slow_start_secs": 1.5,
                "tree": {{"budget_bytes": 100000}}, "health": {{"failures": 5}}}}"#
        );
        all.push(parse(&document).unwrap());
    }
    for config in all {
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(parse(&written).unwrap(), config, "{written}");
    }
}

#[test]
fn only_objects_are_documents() {
    for document in ["[]", r#"["random"]"#] {
        refused(document, &["invalid type: sequence, expected a map at line 1"]);
    }
    refused("null", &["invalid type: null"]);
    refused("", &["EOF", "line 1 column 0"]);
}

#[test]
fn unknown_fields_are_refused_with_the_known_ones_listed() {
    refused(r#"{"polcy": "random"}"#, &["polcy", "`policy`", "`max_tickets`", "line 1"]);
    refused(r#"{"tree": {"budget": 1}}"#, &["budget", "`budget_bytes`"]);
    refused(r#"{"health": {"fails": 1}}"#, &["fails", "`failures`"]);
    refused(r#"{"policy": {"random": {"weight": 1}}}"#, &["weight"]);
    refused(r#"{"policy": {"power_of_two": {"age": 1}}}"#, &["age", "max_report_age_secs"]);
    refused(
        r#"{"policy": {"cache_aware": {"rule": {"threshold": {"cache": 1}}}}}"#,
        &["cache", "cache_threshold"],
    );
    refused(
        r#"{"policy": {"cache_aware": {"rule": {"least_work": {"kappa": 1}}}}}"#,
        &["kappa", "max_kappa"],
    );
    refused(r#"{"policy": {"cache_aware": {"rule": "most_work"}}}"#, &["most_work", "least_work"]);
    refused(r#"{"policy": {"randon": {}}}"#, &["randon", "`random`"]);
    refused(r#"{"policy": 7}"#, &["7", "policy's name"]);
    refused(r#"{"policy": {"custom": {}}}"#, &["name"]);
}

#[test]
fn the_gateway_s_eviction_knobs_are_refused_with_the_way_out() {
    for field in ["eviction_interval_secs", "max_tree_size"] {
        let document = format!(
            r#"{{"policy": {{"cache_aware": {{"rule": {{"threshold": {{"{field}": 5}}}}}}}}}}"#
        );
        refused(&document, &[field, "tree.budget_bytes"]);
    }
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    for (document, field) in [
        (r#"{"max_workers": 0}"#, "max_workers"),
        (r#"{"max_workers": 1025}"#, "max_workers"),
        (r#"{"max_tickets": 0}"#, "max_tickets"),
        (r#"{"max_tickets": 1048577}"#, "max_tickets"),
        (r#"{"ticket_deadline_secs": 0}"#, "ticket_deadline_secs"),
        (r#"{"slow_start_secs": -1}"#, "slow_start_secs"),
        (r#"{"tree": {"budget_bytes": 1000}}"#, "tree.budget_bytes"),
        (r#"{"tree": {"block_bytes": 32}}"#, "tree.block_bytes"),
        (r#"{"tree": {"block_bytes": 272}}"#, "tree.block_bytes"),
        (r#"{"tree": {"block_bytes": 100}}"#, "multiple of 16"),
        (r#"{"tree": {"hash_key": "abc"}}"#, "64 hexadecimal digits"),
        (r#"{"body": {"max_bytes": 0}}"#, "body.max_bytes"),
        (r#"{"body": {"image_tokens": 1000001}}"#, "body.image_tokens"),
        (r#"{"health": {"max_ejected_share": 1.5}}"#, "health.max_ejected_share"),
        (r#"{"health": {"ejection_secs": 0}}"#, "health.ejection_secs"),
        (r#"{"health": {"max_ejection_secs": 5}}"#, "health.max_ejection_secs"),
        (r#"{"health": {"successes": 0}}"#, "health.successes"),
        (r#"{"health": {"overloaded_weight": 0}}"#, "health.overloaded_weight"),
        (r#"{"policy": {"power_of_two": {"max_report_age_secs": -1}}}"#, "max_report_age_secs"),
        (r#"{"decode_policy": {"power_of_two": {"max_report_age_secs": 1e9}}}"#, "max_report_age"),
        (
            r#"{"policy": {"cache_aware": {"rule": {"threshold": {"cache_threshold": 1.1}}}}}"#,
            "cache_threshold",
        ),
        (
            r#"{"policy": {"cache_aware": {"rule": {"threshold": {"balance_rel_threshold": 0.5}}}}}"#,
            "balance_rel_threshold",
        ),
        (
            r#"{"policy": {"cache_aware": {"rule": {"least_work": {"scored_workers": 1}}}}}"#,
            "scored_workers",
        ),
    ] {
        refused(document, &[field]);
    }
}

#[test]
fn numbers_set_in_rust_are_checked_as_well() {
    let breaks: [fn(&mut RouterConfig); 4] = [
        |config| config.ticket_deadline_secs = f64::NAN,
        |config| config.health.ejection_secs = f64::INFINITY,
        |config| config.max_workers = 5000,
        |config| config.tree.hash_key = Some("zz".repeat(32)),
    ];
    for break_it in breaks {
        let mut config = RouterConfig::default();
        break_it(&mut config);
        assert!(Router::new(config).is_err());
    }
}

#[test]
fn the_ends_of_the_ranges_are_allowed() {
    parse(
        r#"{"max_workers": 1, "max_tickets": 1, "slow_start_secs": 0,
            "tree": {"budget_bytes": 65536, "block_bytes": 256,
                     "hash_key": "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"},
            "health": {"failures": 0, "max_ejected_share": 0, "overloaded_weight": 1}}"#,
    )
    .and_then(Router::new)
    .unwrap();
}

#[test]
fn a_message_says_what_to_write_in_few_words() {
    refused(
        r#"{"policy": {"cache_aware": "least_work"}}"#,
        &[r#"expected {"rule": "least_work"} or the like"#],
    );
    refused(r#"{"split": 1}"#, &[r#"expected {"policy": ..., "share": ...}"#]);
    refused(
        r#"{"slow_start_secs": 1e300}"#,
        &["slow_start_secs = 1e300 is out of range: it must be between 0 and 86400"],
    );
}

/// Every field that holds no others, with its default.
fn leaves(path: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(&name, value, found);
            }
        }
        value => found.push(format!("| `{path}` | `{value}` |")),
    }
}

#[test]
fn the_list_of_all_fields_is_complete_and_has_the_defaults() {
    let text = include_str!("../../docs/configuration.md");
    let mut found = Vec::new();
    let mut router = serde_json::to_value(RouterConfig::default()).unwrap();
    router["policy"] = Value::Null;
    leaves("", &router, &mut found);
    found.retain(|row| !row.starts_with("| `policy`"));
    leaves("", &serde_json::to_value(PowerOfTwoConfig::default()).unwrap(), &mut found);
    leaves("", &serde_json::to_value(LeastWorkConfig::default()).unwrap(), &mut found);
    // Single precision: written as the number that it was set to.
    let ThresholdConfig { cache_threshold, balance_rel_threshold, balance_abs_threshold, .. } =
        ThresholdConfig::default();
    found.push(format!("| `cache_threshold` | `{cache_threshold}` |"));
    found.push(format!("| `balance_rel_threshold` | `{balance_rel_threshold}` |"));
    found.push(format!("| `balance_abs_threshold` | `{balance_abs_threshold}` |"));
    for row in &found {
        assert!(text.contains(row.as_str()), "docs/configuration.md lacks {row}");
    }
    let listed = text.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(listed, found.len() + 1, "a field that is none, beside the policy itself");
}

//! Every knob has a range, and a sentence in the documentation.

use pointsman::{RouterConfig, policy::LeastWorkConfig};

#[test]
fn knobs_out_of_range_are_refused_by_name() {
    for (knob, value) in [
        ("max_kappa", "-1"),
        ("busy_step", "2"),
        ("rate_decay", "1.5"),
        ("initial_rate", "0"),
        ("head_cap", "-0.1"),
        ("reliability_step", "7"),
        ("room_weight", "101"),
        ("replicas", "0"),
        ("replica_discount", "1.01"),
        ("scored_workers", "1"),
    ] {
        let document = format!(
            r#"{{"policy": {{"cache_aware": {{"rule": {{"least_work": {{"{knob}": {value}}}}}}}}}}}"#
        );
        let error = RouterConfig::from_json(&document).unwrap_err().to_string();
        assert!(error.contains(knob) && error.contains("between"), "{knob}: {error}");
    }
}

#[test]
fn the_operators_page_explains_every_knob() {
    let page = include_str!("../../../docs/least-work.md");
    let knobs = serde_json::to_value(LeastWorkConfig::default()).unwrap();
    for knob in knobs.as_object().unwrap().keys() {
        assert!(page.contains(&format!("`{knob}`")), "{knob} is not in docs/least-work.md");
    }
}

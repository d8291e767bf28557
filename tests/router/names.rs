//! Names and numbers as text, and records as JSON: what is written is read back, or says what it is.

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pointsman::{
    Outcome, PolicyConfig, Reason, Request, Role, Router, Ticket, UnknownName, Usage, WorkerId,
    WorkerSpec,
};
use serde_json::{Value, json};

use crate::support::{self, POLICIES, SECOND, add, add_many};

/// Every value comes back from its name, and no two have the same.
fn come_back<T: Display + FromStr<Err = UnknownName> + PartialEq + Debug>(kind: &str, all: &[T]) {
    let names: HashSet<String> = all.iter().map(T::to_string).collect();
    assert_eq!(names.len(), all.len());
    for value in all {
        assert_eq!(value.to_string().parse().as_ref(), Ok(value));
    }
    let unknown = "none of them".parse::<T>().unwrap_err();
    assert_eq!((unknown.kind, unknown.name.as_str()), (kind, "none of them"));
    assert!(names.iter().all(|name| unknown.known.split(", ").any(|known| known == name)));
    assert_eq!(unknown.known.split(", ").count(), all.len());
    assert!(unknown.to_string().starts_with(&format!("unknown {kind} \"none of them\"")));
}

#[test]
fn roles_reasons_and_outcomes_come_back_from_their_names() {
    come_back("role", &Role::ALL);
    come_back("reason", &Reason::ALL);
    come_back("outcome", &Outcome::ALL);
    for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
        assert_eq!(outcome.index(), index);
        assert_eq!(outcome.to_string(), Outcome::NAMES[index]);
    }
    for (index, role) in Role::ALL.into_iter().enumerate() {
        assert_eq!(role.index(), index);
        assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
    }
    for (index, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, index);
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
    // The name has no room for the pause.
    let long = Outcome::Overloaded { retry_after: Duration::from_secs(7) };
    assert_eq!(long.to_string().parse(), Ok(Outcome::from_http_status(429, None)));
}

#[test]
fn policies_come_back_from_their_names() {
    for name in POLICIES {
        let config = support::policy(name);
        assert_eq!(name.parse(), Ok(config.clone()));
        assert_eq!(config.to_string(), config.name());
        let with_defaults = PolicyConfig::named(config.name());
        assert_eq!(config.to_string().parse(), Ok(with_defaults));
    }
    let mine: PolicyConfig = "mine".parse().unwrap();
    assert_eq!(mine, PolicyConfig::named("mine"));
    assert_eq!(mine.to_string(), "mine");
}

#[test]
fn ids_and_tickets_come_back_from_their_numbers() {
    let router = support::router("random");
    let id = add_many(&router, Role::Regular, 3)[2];
    assert_eq!(id.to_string(), id.to_raw().to_string());
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(serde_json::to_value(id).unwrap(), id.to_raw());
    for wrong in ["", "0", "-1", "WorkerId(2.1)", "18446744073709551616"] {
        assert!(wrong.parse::<WorkerId>().is_err(), "{wrong}");
    }

    let selection = router.select(&Request::none()).unwrap();
    let ticket = selection.ticket();
    assert!(ticket.is_tracked());
    assert_eq!(ticket.to_string(), ticket.to_raw().to_string());
    assert_eq!(ticket.to_string().parse(), Ok(ticket));
    assert_eq!(serde_json::to_value(ticket).unwrap(), ticket.to_raw());
    assert_eq!("0".parse(), Ok(Ticket::UNTRACKED));
    assert!("one".parse::<Ticket>().is_err());
    selection.complete(Outcome::Success, Usage::default()).unwrap();
}

/// A router of one worker that has told of its decisions and of its workers' health, as JSON.
fn told() -> (Router, WorkerId, Arc<Mutex<Vec<Value>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let [decisions, changes] = [0, 1].map(|_| Arc::clone(&told));
    let mut config = support::config("least_work");
    config.health.max_ejected_share = 1.0;
    let router = Router::builder()
        .config(config)
        .decision_log(1, move |record| {
            decisions.lock().unwrap().push(serde_json::to_value(record).unwrap());
        })
        .health_log(move |change| {
            changes.lock().unwrap().push(serde_json::to_value(change).unwrap());
        })
        .build()
        .unwrap();
    let spec = WorkerSpec::new("http://a").label("tier", "batch").user_data(5);
    let worker = add(&router, spec);
    (router, worker, told)
}

#[test]
fn records_are_written_by_the_names_of_their_fields() {
    let (router, worker, told) = told();
    let info = router.worker(worker).unwrap();
    let written = json!({
        "id": worker.to_raw(), "url": "http://a", "role": "regular", "group": null,
        "kv_capacity_tokens": null, "labels": [["tier", "batch"]], "user_data": 5,
        "url_digest": info.url_digest,
    });
    for second in 1..=3 {
        let ticket = router.at(second * SECOND).select(&Request::none()).unwrap().into_ticket();
        router.at(second * SECOND).complete(ticket, Outcome::Timeout, Usage::default()).unwrap();
    }
    assert_eq!(serde_json::to_value(&*info).unwrap(), written);
    let told = told.lock().unwrap();
    let [first, _, _, ejected] = &told[..] else { panic!("{told:?}") };
    assert_eq!(first["worker"], worker.to_raw());
    assert_eq!((&first["role"], &first["reason"]), (&json!("regular"), &json!("least_work")));
    assert_eq!((&first["now"], &first["runner_up"]), (&json!(SECOND), &Value::Null));
    let state = json!({"ejected": {"until": 13 * SECOND}});
    assert_eq!(*ejected, json!({"now": 3 * SECOND, "worker": written, "state": state}));

    let status = serde_json::to_value(&router.workers()[0]).unwrap();
    assert_eq!(status["info"], written);
    assert_eq!((&status["healthy"], &status["selections"]), (&json!(false), &json!(3)));

    let metrics = serde_json::to_value(router.metrics()).unwrap();
    let row = json!({
        "policy": "cache_aware", "arm": "main", "role": "regular", "reason": "least_work", "count": 3,
    });
    assert_eq!(metrics["decisions"], json!([row]));
    let row = &metrics["workers"][0];
    assert_eq!(row["info"], written);
    let outcomes = row["outcomes"].as_object().unwrap();
    let expected =
        Outcome::NAMES.map(|name| (name.to_owned(), json!(3 * u64::from(name == "timeout"))));
    assert_eq!(*outcomes, serde_json::Map::from_iter(expected));
    assert_eq!(row["policy_gauges"]["reliability_ratio"], 1.0);
    assert_eq!(metrics["tickets"]["open"], 0);
    assert_eq!(metrics["tree"]["budget_bytes"], 1 << 20);
    assert_eq!(metrics["shadow"], Value::Null);
    assert_eq!(metrics["policies"][0]["policy"], "cache_aware");
}

//! What watches and divides decisions: a split, a shadow, the decision log.

use std::sync::{Arc, Mutex};

use pointsman::{PolicyConfig, Reason, Request, Role, Router, SplitConfig};

use crate::support::{self, add_many, assert_idle, assert_shares, pick};

fn split(policy: &str, share: f64) -> SplitConfig {
    let document = format!(r#"{{"policy": "{policy}", "share": {share}}}"#);
    serde_json::from_str(&document).unwrap()
}

#[test]
fn a_split_sends_its_share_to_the_second_policy() {
    let router = support::router("random");
    Role::ALL.iter().for_each(|&role| drop(add_many(&router, role, 3)));
    router.set_split(Some(&split("round_robin", 0.25))).unwrap();
    let mut counts = [0, 0, 0, 0];
    for _ in 0..8_000 {
        let second = router.select(&Request::none()).unwrap().reason() == Reason::RoundRobin;
        let pair = router.select_pair(&Request::none()).unwrap();
        let pair_second = pair.decode().reason() == Reason::RoundRobin;
        assert_eq!(pair.prefill().reason() == Reason::RoundRobin, pair_second, "one decision");
        counts[usize::from(second)] += 1;
        counts[2 + usize::from(pair_second)] += 1;
    }
    assert_shares(&counts[..2], &[0.75, 0.25]);
    assert_shares(&counts[2..], &[0.75, 0.25]);
    router.set_split(None).unwrap();
    let reason = || router.select(&Request::none()).unwrap().reason();
    assert!((0..100).all(|_| reason() == Reason::Random));
    assert_idle(&router);
}

#[test]
fn a_routing_key_stays_on_its_side_of_a_split() {
    let router = support::router("random");
    add_many(&router, Role::Regular, 3);
    router.set_split(Some(&split("round_robin", 0.5))).unwrap();
    let side = |key: usize| {
        let key = key.to_string();
        router.select(&Request::none().routing_key(&key)).unwrap().reason()
    };
    let sides: Vec<Reason> = (0..200).map(side).collect();
    assert_eq!(sides, (0..200).map(side).collect::<Vec<_>>());
    let second = sides.iter().filter(|&&reason| reason == Reason::RoundRobin).count();
    assert!((60..140).contains(&second), "{second} of 200 keys");
}

#[test]
fn shares_beyond_the_whole_are_refused_and_change_nothing() {
    let router = support::router("random");
    add_many(&router, Role::Regular, 3);
    for share in ["-0.1", "1.1"] {
        let document = format!(r#"{{"policy": "round_robin", "share": {share}}}"#);
        let config: SplitConfig = serde_json::from_str(&document).unwrap();
        assert!(router.set_split(Some(&config)).is_err());
    }
    for (share, reason) in [(0.0, Reason::Random), (1.0, Reason::RoundRobin)] {
        router.set_split(Some(&split("round_robin", share))).unwrap();
        let found = || router.select(&Request::none()).unwrap().reason();
        assert!((0..200).all(|_| found() == reason));
    }
}

#[test]
fn a_shadow_decides_nothing_and_charges_nothing() {
    let (plain, watched) = (support::router("round_robin"), support::router("round_robin"));
    for router in [&plain, &watched] {
        Role::ALL.iter().for_each(|&role| drop(add_many(router, role, 4)));
    }
    watched.set_shadow(Some(&PolicyConfig::named("random"))).unwrap();
    for _ in 0..200 {
        let pick = |router: &Router| {
            let pair = router.select_pair(&Request::none()).unwrap();
            (
                pick(router, &Request::none()).unwrap(),
                pair.prefill().worker(),
                pair.decode().worker(),
            )
        };
        assert_eq!(pick(&plain), pick(&watched));
    }
    assert_idle(&watched);
    let selections: u64 = watched.workers().iter().map(|status| status.selections).sum();
    assert_eq!(selections, 600);
    let shadow = watched.metrics().shadow.expect("a shadow");
    assert_eq!((shadow.compared, shadow.failed), (400, 0));
    // One in four agrees on one worker, one in sixteen on a pair.
    assert!((250..390).contains(&shadow.differing), "{shadow:?}");
    watched.set_shadow(Some(&PolicyConfig::named("power_of_two"))).unwrap();
    let shadow = watched.metrics().shadow.expect("a shadow");
    assert_eq!((shadow.policy.as_str(), shadow.compared), ("power_of_two", 0), "the new one's");
    watched.set_shadow(None).unwrap();
    assert!(watched.metrics().shadow.is_none());
}

#[test]
fn the_log_sees_every_decision_or_a_share_of_them() {
    let log = |every: u32| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&seen);
        let builder = Router::builder().config(support::config("power_of_two"));
        let builder = builder.decision_log(every, move |record| list.lock().unwrap().push(*record));
        let router = builder.build().unwrap();
        Role::ALL.iter().for_each(|&role| drop(add_many(&router, role, 3)));
        (router, seen)
    };
    let (router, seen) = log(1);
    let selection = router.select_at(&Request::text("four"), 77).unwrap();
    let pair = router.select_pair_at(&Request::none(), 78).unwrap();
    let told = std::mem::take(&mut *seen.lock().unwrap());
    let [one, prefill, decode] = &told[..] else { panic!("{told:?}") };
    assert_eq!((one.worker, one.role, one.now), (selection.worker(), Role::Regular, 77));
    assert_eq!((one.ticket, one.reason), (selection.ticket(), Reason::PowerOfTwo));
    assert_eq!(one.runner_up, selection.runner_up());
    assert_eq!((prefill.worker, prefill.role), (pair.prefill().worker(), Role::Prefill));
    assert_eq!((decode.worker, decode.role), (pair.decode().worker(), Role::Decode));
    assert_eq!((prefill.ticket, decode.ticket), (pair.ticket(), pair.ticket()));

    let (router, seen) = log(10);
    (0..10_000).for_each(|_| drop(pick(&router, &Request::none())));
    let count = seen.lock().unwrap().len() as u64;
    assert_shares(&[count, 10_000 - count], &[0.1, 0.9]);
}

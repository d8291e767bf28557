//! Eligibility: a worker that is not eligible influences nothing; the eligible ones share what is left by the
//! same law. Then every way of choosing, against a naive list.

use std::collections::BTreeSet;

use pointsman::{
    Request, Role, Router, RoutingError, Selection, WorkerId, WorkerSpec,
    policy::{Candidate, Candidates, Random, SlotSet},
};
use proptest::{prelude::*, sample::subsequence};

use crate::support::{
    self, POLICIES, add, add_many, add_weighted, assert_shares, pick, refusal, shares,
};

/// Workers of unequal weights, and those of them that a law must not see, neighbours all.
fn uneven(router: &Router) -> (Vec<WorkerId>, Vec<f64>) {
    let weights: Vec<f64> = (0..12).map(|i| 1.0 + f64::from(i % 3)).collect();
    (add_weighted(router, &weights), weights)
}

const OUT: std::ops::Range<usize> = 3..8;

fn without_out(weights: &[f64]) -> Vec<f64> {
    let is_out = |&(i, _): &(usize, &f64)| OUT.contains(&i);
    weights.iter().enumerate().map(|pair| if is_out(&pair) { 0.0 } else { *pair.1 }).collect()
}

fn hold_one_each(router: &Router, workers: &[WorkerId]) -> Vec<Selection> {
    let hold = |worker: &WorkerId| {
        router.select(&Request::none().allow(std::slice::from_ref(worker))).unwrap()
    };
    workers.iter().map(hold).collect()
}

#[test]
fn no_neighbour_inherits_the_share_of_an_excluded_worker() {
    for name in ["random", "round_robin"] {
        let router = support::router(name);
        let (workers, weights) = uneven(&router);
        let request = Request::none().exclude(&workers[OUT]);
        assert_shares(&shares(&router, &workers, &request, 20_000), &without_out(&weights));
    }
}

#[test]
fn no_neighbour_inherits_the_share_of_a_full_worker() {
    for name in ["random", "round_robin"] {
        let router = support::router(name);
        let (workers, weights) = uneven(&router);
        workers[OUT].iter().for_each(|&w| router.set_max_in_flight(w, Some(1)).unwrap());
        let held = hold_one_each(&router, &workers[OUT]);
        let observed = shares(&router, &workers, &Request::none(), 20_000);
        assert_shares(&observed, &without_out(&weights));
        drop(held);
        let observed = shares(&router, &workers, &Request::none(), 20_000);
        assert_shares(&observed, &weights);
    }
}

#[test]
fn no_neighbour_inherits_the_share_of_an_unhealthy_or_draining_worker() {
    for name in ["random", "round_robin"] {
        let router = support::router(name);
        let (workers, weights) = uneven(&router);
        for &worker in &workers[OUT] {
            if worker.slot() % 2 == 0 {
                router.set_health(worker, pointsman::HostHealth::Unhealthy).unwrap();
            } else {
                router.drain_worker(worker).unwrap();
            }
        }
        let observed = shares(&router, &workers, &Request::none(), 20_000);
        assert_shares(&observed, &without_out(&weights));
    }
}

#[test]
fn a_few_of_many_share_by_weight() {
    for name in ["random", "round_robin"] {
        let router = support::router(name);
        let weights: Vec<f64> = (0..500).map(|i| 1.0 + f64::from(i % 5)).collect();
        let workers = add_weighted(&router, &weights);
        // Too few to be hit by chance: the exact pass decides nearly every time.
        let request = Request::none().allow(&workers[250..254]);
        let observed = shares(&router, &workers[250..254], &request, 4_000);
        assert_shares(&observed, &weights[250..254]);
    }
}

#[test]
fn power_of_two_pairs_the_admitted_uniformly() {
    let router = support::router("power_of_two");
    let workers = add_many(&router, Role::Regular, 12);
    let request = Request::none().exclude(&workers[OUT]);
    let proportions = without_out(&[1.0; 12]);
    assert_shares(&shares(&router, &workers, &request, 20_000), &proportions);
}

#[test]
fn the_ineligible_are_never_chosen_and_decide_nothing() {
    for name in POLICIES {
        let router = support::router(name);
        let workers = add_many(&router, Role::Regular, 8);
        add_many(&router, Role::Prefill, 2);
        add_many(&router, Role::Decode, 2);
        // Idle, and still not to be taken for the least loaded.
        router.set_health(workers[0], pointsman::HostHealth::Unhealthy).unwrap();
        router.drain_worker(workers[1]).unwrap();
        router.set_max_in_flight(workers[2], Some(1)).unwrap();
        let mut held = hold_one_each(&router, &workers[2..3]);
        for _ in 0..3 {
            held.extend(hold_one_each(&router, &workers[4..]));
        }
        let request = Request::text("the same prompt each time").exclude(&workers[3..4]);
        for _ in 0..200 {
            let worker = pick(&router, &request).unwrap();
            assert!(workers[4..].contains(&worker), "{name} chose {worker:?}");
        }
    }
}

#[test]
fn one_admissible_worker_of_a_thousand_is_found() {
    for name in POLICIES {
        let router = support::router(name);
        let workers = add_many(&router, Role::Regular, 1024);
        let lonely = workers[777];
        let others: Vec<_> = workers.iter().copied().filter(|&w| w != lonely).collect();
        let mut words = [0; 16];
        words[lonely.slot() / 64] |= 1 << (lonely.slot() % 64);
        for request in [
            Request::none().exclude(&others),
            Request::none().allow(&[lonely]),
            Request::none().allow_slots(&words),
        ] {
            for _ in 0..20 {
                assert_eq!(pick(&router, &request), Ok(lonely), "{name}");
            }
        }
    }
}

#[test]
fn the_last_worker_with_room_is_found() {
    for name in POLICIES {
        let mut config = support::config(name);
        config.max_tickets = 4096;
        let router = Router::new(config).unwrap();
        let workers: Vec<_> = (0..1024)
            .map(|i| add(&router, WorkerSpec::new(format!("w{i}")).max_in_flight(1)))
            .collect();
        let held: Vec<_> = (0..1023).map(|_| router.select(&Request::none()).unwrap()).collect();
        let taken: BTreeSet<_> = held.iter().map(Selection::worker).collect();
        assert_eq!(taken.len(), 1023, "{name}");
        let last = router.select(&Request::none()).unwrap();
        assert!(workers.contains(&last.worker()) && !taken.contains(&last.worker()));
        let error = refusal(router.select(&Request::none()));
        assert_eq!(error, RoutingError::AllBusy { role: Role::Regular, busy: 1024 }, "{name}");
        drop(last);
        assert!(router.select(&Request::none()).is_ok());
    }
}

#[test]
fn errors_count_why_no_worker_is_eligible() {
    for name in POLICIES {
        let router = support::router(name);
        let none = |workers, unhealthy, draining, excluded| {
            let role = Role::Regular;
            Err(RoutingError::NoHealthyWorkers { role, workers, unhealthy, draining, excluded })
        };
        assert_eq!(pick(&router, &Request::none()), none(0, 0, 0, 0));
        add_many(&router, Role::Decode, 3);
        assert_eq!(pick(&router, &Request::none()), none(0, 0, 0, 0), "other roles do not count");
        let workers = add_many(&router, Role::Regular, 6);
        workers[..2]
            .iter()
            .for_each(|&w| router.set_health(w, pointsman::HostHealth::Unhealthy).unwrap());
        // Both unhealthy and draining: counted once.
        workers[1..4].iter().for_each(|&w| router.drain_worker(w).unwrap());
        let request = Request::none().exclude(&workers);
        assert_eq!(pick(&router, &request), none(6, 2, 2, 2), "{name}");
        let request = Request::none().allow(&workers[..3]);
        assert_eq!(pick(&router, &request), none(6, 2, 2, 2));
        workers[4..].iter().for_each(|&w| router.set_max_in_flight(w, Some(1)).unwrap());
        let held = hold_one_each(&router, &workers[4..]);
        let busy = |busy| Err(RoutingError::AllBusy { role: Role::Regular, busy });
        assert_eq!(pick(&router, &Request::none()), busy(2));
        assert_eq!(pick(&router, &Request::none().exclude(&workers[4..5])), busy(1));
        let refusal = pick(&router, &request);
        assert_eq!(refusal, none(6, 2, 2, 2), "excluded, not busy");
        // Health is not the only reason.
        assert!(refusal.unwrap_err().to_string().starts_with("no eligible"));
        drop(held);
        support::assert_idle(&router);
    }
}

#[test]
fn labels_must_all_match() {
    let router = support::router("random");
    let spec = |i: usize| WorkerSpec::new(format!("w{i}"));
    let plain = add(&router, spec(0));
    let gpu = add(&router, spec(1).label("gpu", "h100"));
    let both = add(&router, spec(2).label("gpu", "h100").label("zone", "a"));
    let seen = |labels: &[(&str, &str)]| -> BTreeSet<WorkerId> {
        let request = Request::none().labels(labels);
        (0..100).filter_map(|_| pick(&router, &request).ok()).collect()
    };
    assert_eq!(seen(&[]), BTreeSet::from([plain, gpu, both]));
    assert_eq!(seen(&[("gpu", "h100")]), BTreeSet::from([gpu, both]));
    assert_eq!(seen(&[("gpu", "h100"), ("zone", "a")]), BTreeSet::from([both]));
    assert_eq!(seen(&[("gpu", "a100")]), BTreeSet::new());
    assert_eq!(seen(&[("h100", "gpu")]), BTreeSet::new());
}

#[test]
fn ids_of_workers_that_left_exclude_nothing_and_admit_nothing() {
    let mut config = support::config("random");
    config.max_workers = 1;
    let router = Router::new(config).unwrap();
    let mut gone = Vec::new();
    // Until the slot of the first one is in use again.
    let now = loop {
        let worker = add(&router, WorkerSpec::new("w"));
        if gone.iter().any(|id: &WorkerId| id.slot() == worker.slot()) {
            break worker;
        }
        gone.push(worker);
        router.remove_worker(worker).unwrap();
    };
    assert_eq!(pick(&router, &Request::none().exclude(&gone)), Ok(now));
    assert!(pick(&router, &Request::none().allow(&gone)).is_err());
    assert_eq!(pick(&router, &Request::none().allow(&[gone[0], now])), Ok(now));
}

#[test]
fn an_empty_allow_set_admits_no_worker() {
    let router = support::router("random");
    add_many(&router, Role::Regular, 2);
    assert!(pick(&router, &Request::none().allow(&[])).is_err());
    assert!(pick(&router, &Request::none().allow_slots(&[])).is_err());
    assert!(pick(&router, &Request::none().exclude(&[])).is_ok());
}

/// One worker of the model.
#[derive(Clone, Debug)]
struct Member {
    role: Role,
    weight: f64,
    healthy: bool,
    draining: bool,
    full: bool,
    label: bool,
    /// Registered and removed again before the question.
    gone: bool,
}

fn member() -> impl Strategy<Value = Member> {
    let often = |role| (Just(role), proptest::bool::weighted(0.8)).prop_map(|(role, _)| role);
    let role =
        prop_oneof![6 => often(Role::Regular), 1 => often(Role::Prefill), 1 => often(Role::Decode)];
    let flag = |chance| proptest::bool::weighted(chance);
    let weight = prop::sample::select(&[1.0, 1.0, 2.0, 0.5][..]);
    (role, weight, flag(0.8), flag(0.15), flag(0.2), flag(0.5), flag(0.1)).prop_map(
        |(role, weight, healthy, draining, full, label, gone)| Member {
            role,
            weight,
            healthy,
            draining,
            full: full && role == Role::Regular,
            label,
            gone,
        },
    )
}

#[derive(Clone, Debug)]
struct Demand {
    excluded: Vec<usize>,
    allowed: Option<Vec<usize>>,
    slots: Option<Vec<usize>>,
    label: bool,
}

fn some_of(count: usize) -> impl Strategy<Value = Vec<usize>> {
    subsequence((0..count).collect::<Vec<_>>(), 0..=count)
}

fn scene() -> impl Strategy<Value = (Vec<Member>, Demand)> {
    proptest::collection::vec(member(), 0..40).prop_flat_map(|members| {
        let count = members.len();
        let maybe = || proptest::option::weighted(0.3, some_of(count));
        let excluded = prop_oneof![Just(Vec::new()), some_of(count)];
        let demand = (excluded, maybe(), maybe(), proptest::bool::weighted(0.2)).prop_map(
            |(excluded, allowed, slots, label)| Demand { excluded, allowed, slots, label },
        );
        (Just(members), demand)
    })
}

/// What all ways of choosing find.
struct Findings {
    all: Vec<(WorkerId, usize, f64)>,
    got: Vec<WorkerId>,
    drawn: Vec<Option<WorkerId>>,
    turns: Vec<Option<WorkerId>>,
    twos: Vec<Option<(WorkerId, Option<WorkerId>)>>,
    least: Option<WorkerId>,
    len: usize,
    none: RoutingError,
}

fn look(candidates: &Candidates<'_>) -> Findings {
    let random = Random::from_seed(3);
    let id = |candidate: Candidate<'_>| candidate.id();
    let by_reference = candidates.into_iter().map(id);
    assert!(by_reference.eq(candidates.iter().map(id)));
    Findings {
        all: candidates.iter().map(|c| (c.id(), c.in_flight(), c.weight())).collect(),
        got: (0..1030).filter_map(|slot| candidates.get(slot)).map(id).collect(),
        drawn: (0..30).map(|_| candidates.draw(&random).map(id)).collect(),
        turns: (0..30).map(|i| candidates.in_rotation(i * 7, &random).map(id)).collect(),
        twos: (0..30)
            .map(|_| candidates.draw_two(&random).map(|(a, b)| (a.id(), b.map(id))))
            .collect(),
        least: candidates.least_loaded(&random).map(id),
        len: candidates.len(),
        none: candidates.none(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_way_of_choosing_agrees_with_a_naive_list((members, demand) in scene()) {
        let router = support::router("random");
        let ids: Vec<WorkerId> = members.iter().enumerate().map(|(i, member)| {
            let spec = WorkerSpec::new(format!("w{i}")).role(member.role).weight(member.weight);
            add(&router, if member.label { spec.label("k", "v") } else { spec })
        }).collect();
        let mut held = Vec::new();
        for (member, &id) in members.iter().zip(&ids) {
            if member.full {
                router.set_max_in_flight(id, Some(1)).unwrap();
                held.extend(hold_one_each(&router, &[id]));
            }
            if member.draining {
                router.drain_worker(id).unwrap();
            }
            router.set_health(id, crate::support::host_health(member.healthy)).unwrap();
            if member.gone {
                router.remove_worker(id).unwrap();
            }
        }

        let of = |places: &[usize]| places.iter().map(|&i| ids[i]).collect::<Vec<_>>();
        let excluded = of(&demand.excluded);
        let allowed = demand.allowed.as_deref().map(of);
        let mut words = [0u64; 16];
        for id in demand.slots.as_deref().map(of).iter().flatten() {
            words[id.slot() / 64] |= 1 << (id.slot() % 64);
        }
        let mut request = Request::none().exclude(&excluded);
        if let Some(allowed) = &allowed {
            request = request.allow(allowed);
        }
        if demand.slots.is_some() {
            request = request.allow_slots(&words);
        }
        if demand.label {
            request = request.labels(&[("k", "v")]);
        }

        let listed = |list: &Option<Vec<usize>>, i| list.as_ref().is_none_or(|l| l.contains(&i));
        let regular = |&i: &usize| members[i].role == Role::Regular && !members[i].gone;
        let eligible = |i: &usize| members[*i].healthy && !members[*i].draining;
        let wanted = |i: &usize| !demand.excluded.contains(i) && listed(&demand.allowed, *i)
            && listed(&demand.slots, *i) && (members[*i].label || !demand.label);
        let regulars: Vec<usize> = (0..members.len()).filter(regular).collect();
        let eligibles: Vec<usize> = regulars.iter().copied().filter(eligible).collect();
        let admitted: Vec<usize> = eligibles.iter().copied().filter(wanted).collect();
        let free: Vec<usize> = admitted.iter().copied().filter(|&i| !members[i].full).collect();

        let found = router.at(0).with_candidates(Role::Regular, &request, |candidates, _| look(candidates));
        let expected: BTreeSet<WorkerId> = free.iter().map(|&i| ids[i]).collect();
        let all: BTreeSet<WorkerId> = found.all.iter().map(|&(id, ..)| id).collect();
        prop_assert_eq!(&all, &expected);
        prop_assert_eq!(found.all.len(), expected.len());
        prop_assert_eq!(&found.got.iter().copied().collect::<BTreeSet<_>>(), &expected);
        for &(id, load, weight) in &found.all {
            let i = ids.iter().position(|&other| other == id).unwrap();
            prop_assert_eq!((load, weight), (0, members[i].weight));
        }
        prop_assert_eq!(found.len, eligibles.len());
        for choice in found.drawn.iter().chain(&found.turns) {
            prop_assert_eq!(choice.is_some(), !expected.is_empty());
            prop_assert!(choice.is_none_or(|id| expected.contains(&id)));
        }
        for two in &found.twos {
            prop_assert_eq!(two.is_some(), !expected.is_empty());
            let Some((a, b)) = *two else { continue };
            // One that weighs as much as all others can be drawn twice, and one of few that are admitted.
            let equal = eligibles.iter().all(|&i| members[i].weight == members[eligibles[0]].weight);
            let alone = expected.len() == 1;
            prop_assert!(b.is_some() != alone || b.is_none() && !equal);
            prop_assert!(expected.contains(&a) && b != Some(a));
            prop_assert!(b.is_none_or(|b| expected.contains(&b)));
        }
        prop_assert_eq!(found.least.is_some(), !expected.is_empty());
        prop_assert!(found.least.is_none_or(|id| expected.contains(&id)), "all are idle, and equal");
        if free.is_empty() {
            let role = Role::Regular;
            let count = |test: &dyn Fn(&Member) -> bool| {
                regulars.iter().filter(|&&i| test(&members[i])).count() as u32
            };
            let expected = if admitted.is_empty() {
                RoutingError::NoHealthyWorkers {
                    role,
                    workers: regulars.len() as u32,
                    unhealthy: count(&|m| !m.healthy),
                    draining: count(&|m| m.healthy && m.draining),
                    excluded: eligibles.len() as u32,
                }
            } else {
                RoutingError::AllBusy { role, busy: admitted.len() as u32 }
            };
            prop_assert_eq!(found.none, expected);
        }
        drop(held);
        support::assert_idle(&router);
    }
}

#[test]
fn a_set_of_slots_gives_its_members_in_order_and_nothing_beyond_its_end() {
    let members = [0, 1, 63, 64, 127, 128, 700, 1022, 1023];
    let set: SlotSet = members.into_iter().rev().chain([700, 1024, usize::MAX]).collect();
    assert_eq!(set.iter().collect::<Vec<_>>(), members);
    assert_eq!((&set).into_iter().collect::<Vec<_>>(), members);
    let mut walked = Vec::new();
    for slot in set {
        walked.push(slot);
    }
    assert_eq!(walked, members);
    assert_eq!(SlotSet::EMPTY.into_iter().next(), None);
    assert!(SlotSet::FULL.into_iter().eq(0..1024));
    let mut rest = set.iter();
    assert_eq!(rest.by_ref().count(), members.len());
    assert_eq!(rest.next(), None);
}

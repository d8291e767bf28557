//! The factory: built-ins by configuration, others by registration, nothing global.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pointsman::{
    ConfigError, PolicyConfig, PolicyError, Request, Role, Router,
    policy::{PolicyFactory, random::RandomPolicy},
};
use serde_json::Value;

use crate::support::{self, First, POLICIES, add_many, pick};

#[test]
fn every_built_in_policy_is_created_under_its_name() {
    for name in POLICIES {
        let config = support::policy(name);
        assert_eq!(PolicyFactory::create(&config).unwrap().name(), config.name());
    }
    assert_eq!(PolicyFactory::create(&PolicyConfig::default()).unwrap().name(), "cache_aware");
}

#[test]
fn every_built_in_name_comes_back_from_its_policy_and_from_json() {
    let mut factory = PolicyFactory::with_builtins();
    let Err(ConfigError::Policy(PolicyError::Unknown { known, .. })) =
        factory.build(&PolicyConfig::named("none of them"))
    else {
        panic!("built")
    };
    // Names of a rule of the cache-aware policy, not of a policy.
    let aliases = ["least_work", "threshold"];
    for name in known.split(", ") {
        let config = PolicyConfig::named(name);
        assert!(!matches!(config, PolicyConfig::Custom(_)), "{name}");
        assert_eq!(config.check(), Ok(()));
        let built = factory.build(&config).unwrap();
        assert_eq!(built.name(), config.name());
        assert!(config.name() == name || aliases.contains(&name), "{name}");

        let by_name: PolicyConfig = serde_json::from_value(name.into()).unwrap();
        assert_eq!(by_name, config);
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(serde_json::from_value::<PolicyConfig>(written).unwrap(), config, "{name}");
        let by_object = serde_json::json!({ name: {} });
        assert_eq!(serde_json::from_value::<PolicyConfig>(by_object).unwrap(), config);
        assert_eq!(name.parse(), Ok(config.clone()));
        let taken = factory.register(name, |_| Ok(Arc::new(First)));
        assert_eq!(taken, Err(PolicyError::Duplicate { name: name.into() }));
    }
    assert!(POLICIES.iter().all(|policy| known.contains(policy)));
}

/// What a file or folder's name is in types.
fn camel(snake: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    snake.split('_').map(capital).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { sources(&path, found) } else { found.push(path) }
    }
}

/// A built-in policy is its file and its lines in the index of built-in policies: nothing else knows it.
#[test]
fn no_other_file_knows_a_built_in_policy() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let builtin = src.join("policy/builtin");
    let index = builtin.join("mod.rs");
    let mut found = Vec::new();
    sources(&src, &mut found);
    found.retain(|path| *path != index);
    let listed = fs::read_to_string(&index).unwrap();
    let mut policies = 0;
    for entry in fs::read_dir(&builtin).unwrap() {
        let own = entry.unwrap().path();
        let Some(name) = own.file_stem().and_then(|stem| stem.to_str()) else { continue };
        if own == index {
            continue;
        }
        policies += 1;
        let variant = format!("PolicyConfig::{}", camel(name));
        assert!(listed.contains(&variant), "{name}");
        let words = [variant, format!("{}Config", camel(name))];
        for path in found.iter().filter(|path| !path.starts_with(&own)) {
            let text = fs::read_to_string(path).unwrap();
            let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let knows = |line: &&str| words.iter().any(|word| line.contains(word.as_str()));
            assert_eq!(code.find(knows), None, "{}", path.display());
        }
    }
    assert!(policies >= 4);
    // As CONTRIBUTING.md says.
    assert_eq!(listed.matches("// Each policy").count(), 7);
    let contributing = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONTRIBUTING.md");
    assert!(fs::read_to_string(contributing).unwrap().contains("each of the seven places"));
}

#[test]
fn a_policy_decides_once_it_is_selected_and_survives_a_factory() {
    let mine = |name: &str| {
        Router::builder()
            .add_policy("mine", |_| Ok(Arc::new(First)))
            .unwrap()
            .set_policy(PolicyConfig::named(name))
            .config(support::config("random"))
            .factory(PolicyFactory::with_builtins())
            .build()
            .unwrap()
    };
    assert_eq!(mine("mine").policy(), "mine");
    assert_eq!(mine("round_robin").policy(), "round_robin");
    let unselected = Router::builder().add_policy("mine", |_| Ok(Arc::new(First))).unwrap();
    assert_eq!(unselected.build().unwrap().policy(), PolicyConfig::default().name());
}

#[test]
fn a_router_calls_a_policy_by_the_name_it_was_registered_under() {
    let router = Router::builder()
        .add_policy("mine", |_| Ok(Arc::new(RandomPolicy::new(None))))
        .unwrap()
        .set_policy(PolicyConfig::named("mine"))
        .build()
        .unwrap();
    add_many(&router, Role::Regular, 1);
    pick(&router, &Request::none()).unwrap();
    assert_eq!(router.policy(), "mine");
    let is_counted = |name| router.metrics().policies.iter().any(|policy| policy.policy == name);
    assert!(is_counted("mine"));
    router.set_policies(&PolicyConfig::Random, None, Some(&PolicyConfig::named("mine"))).unwrap();
    assert!(is_counted("random/mine"));
}

#[test]
fn an_unknown_policy_is_refused_with_the_known_ones_listed() {
    let mut factory = PolicyFactory::with_builtins();
    factory.register("mine", |_| Ok(Arc::new(First))).unwrap();
    let Err(error) = factory.build(&PolicyConfig::named("yours")) else { panic!("built") };
    let known =
        "random, round_robin, power_of_two, cache_aware, least_work, threshold, mine".to_owned();
    let unknown = PolicyError::Unknown { name: "yours".into(), known };
    assert_eq!(error, ConfigError::Policy(unknown));
    assert!(error.to_string().contains("\"yours\""));
}

#[test]
fn a_taken_name_is_refused() {
    let mut factory = PolicyFactory::with_builtins();
    let mut register = |name: &str| factory.register(name, |_| Ok(Arc::new(First)));
    for name in ["random", "round_robin", "power_of_two", "cache_aware"] {
        assert_eq!(register(name), Err(PolicyError::Duplicate { name: name.into() }));
    }
    assert_eq!(register("mine"), Ok(()));
    assert_eq!(register("mine"), Err(PolicyError::Duplicate { name: "mine".into() }));
}

#[test]
fn a_policy_registered_with_one_factory_is_unknown_to_another() {
    let mut factory = PolicyFactory::with_builtins();
    factory.register("mine", |_| Ok(Arc::new(First))).unwrap();
    assert!(factory.build(&PolicyConfig::named("mine")).is_ok());
    assert!(PolicyFactory::create(&PolicyConfig::named("mine")).is_err());
}

#[test]
fn ranges_are_checked_before_anything_is_built() {
    let config: PolicyConfig =
        serde_json::from_str(r#"{"power_of_two": {"max_report_age_secs": -1}}"#).unwrap();
    let Err(error) = PolicyFactory::create(&config) else { panic!("built") };
    let ConfigError::OutOfRange(found) = error else { panic!("{error}") };
    assert_eq!((found.field, found.value), ("power_of_two.max_report_age_secs", -1.0));
    assert_eq!((found.min, found.max), (0.0, 3600.0));
}

#[test]
fn options_reach_the_constructor_and_its_refusal_reaches_the_host() {
    let mut factory = PolicyFactory::with_builtins();
    let seeded = |options: &Value| match options["seed"].as_u64() {
        Some(seed) => Ok(Arc::new(RandomPolicy::new(Some(seed))) as Arc<_>),
        None => Err(PolicyError::Options("seed is missing".into())),
    };
    factory.register("seeded", seeded).unwrap();
    let document = r#"{"policy": {"custom": {"name": "seeded", "options": {"seed": 5}}}}"#;
    let config = pointsman::RouterConfig::from_json(document).unwrap();
    assert!(Router::builder().config(config).factory(factory).build().is_ok());

    let mut factory = PolicyFactory::with_builtins();
    factory.register("seeded", seeded).unwrap();
    let Err(error) = factory.build(&PolicyConfig::named("seeded")) else { panic!("built") };
    assert_eq!(error.to_string(), "options refused: seed is missing");
}

#[test]
fn a_router_that_cannot_be_built_says_why() {
    let mut config = support::config("random");
    config.decode_policy = Some(PolicyConfig::named("nobody's"));
    assert!(matches!(
        Router::new(config).unwrap_err(),
        ConfigError::Policy(PolicyError::Unknown { .. })
    ));
}

#[test]
fn a_factory_s_seed_makes_its_policies_repeatable() {
    let run = |seed| {
        let factory = PolicyFactory::with_builtins().seed(seed);
        let mut config = support::config("random");
        config.seed = None;
        let router = Router::builder().config(config).factory(factory).build().unwrap();
        add_many(&router, Role::Regular, 50);
        (0..20).map(|_| pick(&router, &Request::none()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

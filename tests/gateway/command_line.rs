//! What the command line refuses, and what it means without arguments.

use clap::Parser;

use pointsman::Router;
use pointsman::body::RenderProfile;

use crate::cli::Cli;

fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from([&["gateway"], arguments].concat())
}

#[test]
fn no_arguments_mean_the_demonstration() {
    let cli = parse(&[]).unwrap();
    assert!(cli.command.is_none() && !cli.gateway.is_gateway());
}

#[test]
fn bad_input_is_refused_with_exit_code_2() {
    let refused: [&[&str]; 8] = [
        &["--worker", "no-url"],
        &["--worker", "https://example"],
        &["--worker", "http://127.0.0.1:1", "--listen", "nowhere"],
        &["--prefill", "http://127.0.0.1:1"],
        &["--decode", "http://127.0.0.1:1"],
        &["--policy", "random"],
        &["demo", "--seconds", "-1"],
        &["no-such-command"],
    ];
    for arguments in refused {
        let error = parse(arguments).err().unwrap_or_else(|| panic!("{arguments:?} was accepted"));
        assert_eq!(error.exit_code(), 2, "{error}");
    }
}

#[test]
fn policies_are_named_or_given_as_json() {
    let worker = ["--worker", "http://127.0.0.1:1"];
    let policy =
        |text| parse(&[&worker[..], &["--policy", text]].concat()).unwrap().gateway.config();
    assert_eq!(policy("power_of_two").unwrap().router.policy.name(), "power_of_two");
    let json = r#"{"cache_aware": {"rule": {"threshold": {"cache_threshold": 0.5}}}}"#;
    assert_eq!(policy(json).unwrap().router.policy.name(), "cache_aware");
    let unknown = policy("fastest").unwrap().router;
    let message = Router::new(unknown).unwrap_err().to_string();
    assert!(message.contains("fastest") && message.contains("power_of_two"), "{message}");
    assert!(policy("{}").is_err());
}

#[test]
fn a_render_profile_is_named() {
    let worker = ["--worker", "http://127.0.0.1:1"];
    let profile = |name: &[&str]| {
        let cli = parse(&[&worker[..], name].concat())?;
        Ok::<_, clap::Error>(cli.gateway.config().unwrap().router.body.profile)
    };
    assert!(profile(&[]).unwrap().is_auto());
    assert_eq!(profile(&["--profile", "qwen3"]).ok(), RenderProfile::named("qwen3"));
    let refused = profile(&["--profile", "gpt-9"]).unwrap_err().to_string();
    assert!(refused.contains("gpt-9") && refused.contains("qwen3"), "{refused}");
}

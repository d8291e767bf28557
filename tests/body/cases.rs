//! Requests of agents as they follow each other: what the second one shares with the first, against what
//! engines keep of it, whose chat templates were rendered for `data/cases.json`.

use pointsman::body::{History, RenderProfile, ToolsAt};
use serde::Deserialize;

use crate::{options, read_written, shared_blocks};

#[derive(Deserialize)]
struct Case {
    name: String,
    right: Vec<Right>,
    before: String,
    after: String,
}

#[derive(Deserialize)]
struct Right {
    models: Vec<String>,
    share_percent: serde_json::Value,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("../data/cases.json")).unwrap()
}

/// Percent of the second prompt's blocks that the first one has.
fn claim(case: &Case, profile: RenderProfile) -> f64 {
    let options = options(|config| config.profile = profile);
    let (before, after) = (read_written(options, &case.before), read_written(options, &case.after));
    100.0 * shared_blocks(&before, &after) as f64 / after.blocks.len() as f64
}

/// The share that the engine keeps for a model, in percent, from and to.
fn right(case: &Case, model: &str) -> Option<(f64, f64)> {
    let right = case.right.iter().find(|right| right.models.iter().any(|known| known == model))?;
    let text = right.share_percent.to_string();
    let text = text.trim_matches('"');
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    Some((from.parse().unwrap(), to.parse().unwrap()))
}

/// A profile for each model whose template was rendered.
const MODELS: [(&str, &str); 40] = [
    ("qwen3", "Qwen3 (thinking)"),
    ("qwen3", "Qwen3-Next (thinking)"),
    ("qwen3.5", "Qwen3.5-4B"),
    ("qwen3.6", "Qwen3.6 (default)"),
    ("qwen3.6-preserve-thinking", "Qwen3.6 (preserve_thinking)"),
    ("qwen3.8", "Qwen3.8"),
    ("qwen2.5", "Qwen2.5-7B-Instruct"),
    ("qwen3-instruct", "Qwen3-Instruct-2507"),
    ("qwen3-instruct", "Qwen3-Coder"),
    ("qwq", "QwQ-32B"),
    ("glm-4.5", "GLM-4.5"),
    ("glm-4.5", "GLM-4.6"),
    ("glm-4.5", "GLM-4.7-Flash"),
    ("kimi-k2", "Kimi-K2-Instruct"),
    ("kimi-k2-thinking", "Kimi-K2-Thinking"),
    ("kimi-k2-thinking", "Kimi-K2.5"),
    ("kimi-k3", "Kimi-K3"),
    ("minimax-m2", "MiniMax-M2"),
    ("minimax-m3", "MiniMax-M3"),
    ("nemotron-3", "Nemotron-3-Nano"),
    ("nemotron-3", "Nemotron-3-Super"),
    ("nemotron-nano-v2", "Nemotron-Nano-v2"),
    ("gemma-4", "Gemma-4-31B (thinking)"),
    ("gpt-oss", "gpt-oss (harmony, vLLM path)"),
    ("step-3.5", "StepFun3.5-Flash"),
    ("deepseek-v3.2", "DeepSeek-V3.2 thinking (vLLM encoder)"),
    ("deepseek-v4", "DeepSeek-V4 thinking (vLLM encoder)"),
    ("deepseek-v4", "DeepSeek-V4.1 thinking (vLLM encoder)"),
    ("seed-oss", "Seed-OSS"),
    ("ling-3", "Ling-3.0-flash"),
    ("llama-3", "Llama-3.1-8B-Instruct"),
    ("llama-3", "Llama-3.2-3B-Instruct"),
    ("llama-3", "Llama-3.3-70B-Instruct"),
    ("llama-4", "Llama-4"),
    ("granite", "Granite-3.3"),
    ("granite", "Granite-4.0"),
    ("devstral", "Devstral-Small-2507 (unsloth jinja)"),
    ("ministral-3", "Ministral-3-14B-Reasoning-2512"),
    ("hermes", "Hermes-3"),
    ("mistral-v11", "Mistral-Small-3.2-2506 (jinja)"),
];

/// What is not within 5 points, with the claim and the reason. All but the last claim too little.
const FARTHER: [(&str, &str, f64); 9] = [
    // The reasoning that is dropped counts in the prompt's length.
    ("01", "drops", 36.0),
    // The answer's own text is not known to be held.
    ("01", "keeps", 86.0),
    // The words that templates put around tools weigh much in so short a prompt.
    ("02", "drops", 45.0),
    ("09", "before_system", 45.0),
    ("09", "after_system", 16.0),
    ("06", "before_system", 27.0),
    // Rendered in the middle of the messages.
    ("05", "keeps", 100.0),
    ("05", "drops", 100.0),
    ("05", "before_system", 100.0),
];

fn is_known(case: &Case, profile: &RenderProfile, claim: f64) -> bool {
    let groups = [
        if profile.history == History::Keep { "keeps" } else { "drops" },
        if profile.tools == ToolsAt::BeforeSystem { "before_system" } else { "after_system" },
    ];
    FARTHER.iter().any(|&(number, group, known)| {
        case.name.starts_with(number) && groups.contains(&group) && (claim - known).abs() < 1.0
    })
}

#[test]
fn claims_are_what_engines_keep_under_each_models_profile() {
    let (mut near, mut far) = (0, 0);
    for (name, model) in MODELS {
        let mut profile = RenderProfile::named(name).unwrap();
        profile.strip_billing_line = true;
        for case in cases() {
            let Some((from, to)) = right(&case, model) else { continue };
            let claim = claim(&case, profile);
            if (from - 5.0..=to + 5.0).contains(&claim) {
                near += 1;
            } else {
                far += 1;
                let known = is_known(&case, &profile, claim);
                assert!(known, "{} {model}: {claim:.0}, right: {from}-{to}", case.name);
                // Too much is claimed only where whether to think is rendered among the messages.
                assert!(claim < from || case.name.starts_with("05"), "{} {model}", case.name);
            }
        }
    }
    println!("{near} within 5 points, {far} known to be farther");
    assert!(near > 230 && far < 50, "{near} {far}");
}

#[test]
fn without_a_profile_nothing_is_scattered_by_what_is_not_rendered() {
    for (case, least) in [("03", 100.0), ("05", 100.0), ("06", 38.0), ("08", 100.0), ("01", 85.0)] {
        let cases = cases();
        let case = cases.iter().find(|known| known.name.starts_with(case)).unwrap();
        let claim = claim(case, RenderProfile::default());
        assert!(claim >= least, "{}: {claim:.0}", case.name);
    }
}

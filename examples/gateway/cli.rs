//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use pointsman::PolicyConfig;
use pointsman::body::RenderProfile;

use crate::engine::EngineConfig;
use crate::http::{AnyError, worker_url};
use crate::load::LoadConfig;
use crate::proxy::{GatewayConfig, PromptSource};

/// A gateway for LLM engines that routes with the pointsman library.
///
/// Without arguments: a demonstration. It starts simulated engines in this process, puts the gateway in
/// front of them, runs one policy after the other under the same chat load, kills a worker in each run,
/// and prints a table.
///
/// With --worker (or --prefill and --decode): a real gateway in front of real engines that speak
/// OpenAI's APIs or Anthropic's Messages. GET /workers lists the workers, POST adds one, PATCH /workers/{id}
/// drains or weights one, DELETE removes one; GET /metrics is Prometheus text.
#[derive(Parser)]
#[command(name = "gateway", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) gateway: GatewayArgs,
    /// The demonstration in a few seconds: shows that everything works, not how well
    #[arg(long, conflicts_with = "members")]
    pub(crate) quick: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The demonstration, with its knobs
    Demo(DemoArgs),
    /// One simulated engine
    Engine(EngineArgs),
    /// The chat load, against a gateway or an engine that runs already
    Load(LoadArgs),
}

#[derive(Args)]
#[command(group = ArgGroup::new("members").multiple(true))]
pub(crate) struct GatewayArgs {
    /// An engine that does prefill and decode; repeat for each
    #[arg(long = "worker", value_name = "URL", value_parser = worker_url, group = "members", conflicts_with = "prefill")]
    pub(crate) workers: Vec<String>,
    /// An engine that does prefill only; needs --decode
    #[arg(long, value_name = "URL", value_parser = worker_url, group = "members", requires = "decode")]
    pub(crate) prefill: Vec<String>,
    /// An engine that does decode only; needs --prefill
    #[arg(long, value_name = "URL", value_parser = worker_url, requires = "prefill")]
    pub(crate) decode: Vec<String>,
    /// random, round_robin, power_of_two, cache_aware, or a policy's JSON configuration such as
    /// '{"cache_aware": {"rule": "threshold"}}'
    #[arg(long, value_name = "POLICY", requires = "members", default_value_t = PolicyConfig::default().name().to_owned())]
    pub(crate) policy: String,
    /// The family of models that the engines serve, of docs/bodies.md, by which what they keep of a
    /// conversation is known; auto learns it
    #[arg(long, value_name = "NAME", requires = "members", default_value = "auto", value_parser = profile)]
    pub(crate) profile: RenderProfile,
    /// What of a request counts as its prompt
    #[arg(long, value_enum, default_value_t, requires = "members")]
    pub(crate) prompt: PromptSource,
    /// Address to serve on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", requires = "members", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Time between two health probes and load reports of a worker, in milliseconds; 0 = none
    #[arg(long, value_name = "MS", requires = "members", default_value_t = 1_000)]
    pub(crate) probe_interval: u64,
    /// Time in which a worker must begin its answer, in seconds
    #[arg(long, value_name = "S", requires = "members", default_value_t = GatewayConfig::default().first_byte_timeout.as_secs())]
    pub(crate) first_byte_timeout: u64,
    /// Longest request body, in MiB; a longer one is answered 413
    #[arg(long, value_name = "MIB", requires = "members", default_value_t = GatewayConfig::default().max_body_bytes >> 20)]
    pub(crate) max_body: usize,
    /// How long requests in flight may take to end after SIGINT or SIGTERM, in seconds
    #[arg(long, value_name = "S", requires = "members", default_value_t = 30)]
    pub(crate) grace: u64,
}

impl GatewayArgs {
    /// Whether any worker is named: otherwise there is nothing to be a gateway for.
    pub(crate) fn is_gateway(&self) -> bool {
        !self.workers.is_empty() || !self.prefill.is_empty()
    }

    pub(crate) fn config(&self) -> Result<GatewayConfig, AnyError> {
        let mut config = GatewayConfig {
            prompt: self.prompt,
            pairs: !self.prefill.is_empty(),
            probe_interval: Some(Duration::from_millis(self.probe_interval))
                .filter(|i| !i.is_zero()),
            first_byte_timeout: Duration::from_secs(self.first_byte_timeout),
            max_body_bytes: self.max_body.saturating_mul(1 << 20),
            ..GatewayConfig::default()
        };
        config.router.policy = policy(&self.policy)?;
        config.router.body.profile = self.profile;
        Ok(config)
    }
}

/// A render profile by its name.
fn profile(name: &str) -> Result<RenderProfile, String> {
    let known = || RenderProfile::names().collect::<Vec<_>>().join(", ");
    RenderProfile::named(name).ok_or_else(|| format!("known: {}", known()))
}

/// A built-in policy by its name, or any by its JSON.
fn policy(text: &str) -> Result<PolicyConfig, AnyError> {
    if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| format!("--policy: {error}").into())
    } else {
        // Whether there is such a policy is for the router's factory to say.
        Ok(PolicyConfig::named(text))
    }
}

#[derive(Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgsCommon,
    #[command(flatten)]
    pub(crate) engine: EngineSpeed,
    /// Simulated engines
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub(crate) workers: u16,
}

#[derive(Args)]
pub(crate) struct EngineArgs {
    /// Address to serve on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9001")]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) speed: EngineSpeed,
}

#[derive(Args)]
pub(crate) struct LoadArgs {
    /// Base URL to send the load to
    #[arg(long, value_name = "URL", value_parser = worker_url)]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) load: LoadArgsCommon,
}

/// Speed and size of a simulated engine.
#[derive(Args)]
pub(crate) struct EngineSpeed {
    /// Prompt tokens that an engine computes per second
    #[arg(long, value_name = "TOKENS/S", default_value_t = EngineConfig::default().prefill_rate, value_parser = positive)]
    pub(crate) prefill_rate: f64,
    /// KV cache of an engine, in tokens
    #[arg(long, value_name = "TOKENS", default_value_t = EngineConfig::default().kv_capacity_tokens)]
    pub(crate) kv_capacity: usize,
    /// Sequences that run at once on an engine
    #[arg(long, default_value_t = EngineConfig::default().max_sequences)]
    pub(crate) max_sequences: usize,
}

#[derive(Args)]
pub(crate) struct LoadArgsCommon {
    /// Length of a run, in seconds
    #[arg(long, value_name = "S", default_value_t = LoadConfig::default().length.as_secs_f64(), value_parser = positive)]
    pub(crate) seconds: f64,
    /// Users that talk at the same time
    #[arg(long, default_value_t = LoadConfig::default().users)]
    pub(crate) users: usize,
    /// Distinct system prompts; every conversation begins with one of them
    #[arg(long, default_value_t = LoadConfig::default().applications)]
    pub(crate) applications: usize,
    /// Size of a system prompt, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = LoadConfig::default().system_bytes)]
    pub(crate) system_bytes: usize,
    /// Mean size of what a user says, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = LoadConfig::default().message_bytes)]
    pub(crate) message_bytes: usize,
    /// Tokens of an answer
    #[arg(long, value_name = "TOKENS", default_value_t = LoadConfig::default().output_tokens)]
    pub(crate) output_tokens: usize,
    /// Mean pause between an answer and the next question, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = LoadConfig::default().think.as_millis() as u64)]
    pub(crate) think: u64,
    /// Mean turns of a conversation
    #[arg(long, default_value_t = LoadConfig::default().turns)]
    pub(crate) turns: u32,
    /// Seed of the conversations
    #[arg(long, default_value_t = LoadConfig::default().seed)]
    pub(crate) seed: u64,
}

impl EngineSpeed {
    pub(crate) fn config(&self) -> EngineConfig {
        EngineConfig {
            prefill_rate: self.prefill_rate,
            kv_capacity_tokens: self.kv_capacity,
            max_sequences: self.max_sequences,
            ..EngineConfig::default()
        }
    }
}

impl LoadArgsCommon {
    pub(crate) fn config(&self) -> LoadConfig {
        LoadConfig {
            length: Duration::from_secs_f64(self.seconds),
            users: self.users,
            turns: self.turns,
            seed: self.seed,
            applications: self.applications,
            system_bytes: self.system_bytes,
            message_bytes: self.message_bytes,
            output_tokens: self.output_tokens,
            think: Duration::from_millis(self.think),
            ..LoadConfig::default()
        }
    }
}

fn positive(text: &str) -> Result<f64, AnyError> {
    let number: f64 = text.parse()?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("must be above 0".into()) }
}

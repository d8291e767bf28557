//! What of a conversation an engine's chat template renders, and where.

use std::borrow::Cow;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether an engine keeps what an agent did since the user last spoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum History {
    /// It is rendered alike ever after.
    #[default]
    Keep,
    /// Once the user speaks, the reasoning before is no longer rendered; so it was rendered only where
    /// the client sent it back.
    DropReturned,
    /// Once the user speaks, it is rendered otherwise, with reasoning or without.
    DropAlways,
}

/// Where an engine renders the tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolsAt {
    /// Behind the system message.
    #[default]
    AfterSystem,
    /// Before everything.
    BeforeSystem,
    /// Before the last message of the user.
    LastUser,
}

/// What of a conversation an engine's chat template renders, and where. In a configuration document it is the
/// name of a family of models, one of [`names`](Self::names), or its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RenderProfile {
    /// Whether what an agent did since the user last spoke is kept. A router whose profile is
    /// [`auto`](Self::auto) learns it, unless this says that it is not.
    pub history: History,
    /// Where tools stand.
    pub tools: ToolsAt,
    /// Whether `enable_thinking`, `thinking` and their like are rendered before the messages.
    pub thinking_at_head: bool,
    /// Whether `reasoning_effort`, `reasoning.effort` and `output_config.effort` are.
    pub effort_at_head: bool,
    /// Whether `tool_choice` changes what is rendered before the messages, as where `none` drops the tools.
    pub tool_choice_at_head: bool,
    /// Whether `response_format` is rendered before the messages.
    pub response_format_at_head: bool,
    /// Whether the engine drops a block of the system text that begins with `x-anthropic-billing-header:`.
    pub strip_billing_line: bool,
    learns: bool,
}

impl Default for RenderProfile {
    fn default() -> Self {
        RenderProfile {
            history: History::Keep,
            tools: ToolsAt::AfterSystem,
            thinking_at_head: false,
            effort_at_head: true,
            tool_choice_at_head: false,
            response_format_at_head: false,
            strip_billing_line: false,
            learns: false,
        }
    }
}

const THINKING: u8 = 1;
const EFFORT: u8 = 2;

/// A family of models: its name, and what of the profile is its own.
type Family = (&'static str, History, ToolsAt, u8);

/// Names are those of the models whose templates were rendered; see `docs/bodies.md`.
const FAMILIES: &[Family] = &[
    ("qwen3", History::DropReturned, ToolsAt::AfterSystem, 0),
    ("qwen3.5", History::DropAlways, ToolsAt::BeforeSystem, 0),
    ("qwen3.6", History::DropAlways, ToolsAt::BeforeSystem, 0),
    ("qwen3.6-preserve-thinking", History::Keep, ToolsAt::BeforeSystem, 0),
    ("qwen3.8", History::Keep, ToolsAt::BeforeSystem, THINKING),
    ("qwen2.5", History::Keep, ToolsAt::AfterSystem, 0),
    ("qwen3-instruct", History::Keep, ToolsAt::AfterSystem, 0),
    ("qwq", History::Keep, ToolsAt::AfterSystem, 0),
    ("glm-4.5", History::DropReturned, ToolsAt::BeforeSystem, 0),
    ("kimi-k2", History::Keep, ToolsAt::BeforeSystem, 0),
    ("kimi-k2-thinking", History::DropReturned, ToolsAt::BeforeSystem, 0),
    ("kimi-k3", History::Keep, ToolsAt::BeforeSystem, 0),
    ("minimax-m2", History::DropReturned, ToolsAt::AfterSystem, 0),
    ("minimax-m3", History::Keep, ToolsAt::AfterSystem, 0),
    ("nemotron-3", History::DropReturned, ToolsAt::AfterSystem, 0),
    ("nemotron-nano-v2", History::Keep, ToolsAt::AfterSystem, 0),
    ("gemma-4", History::DropReturned, ToolsAt::AfterSystem, THINKING),
    ("gpt-oss", History::DropReturned, ToolsAt::AfterSystem, EFFORT),
    ("step-3.5", History::DropAlways, ToolsAt::AfterSystem, 0),
    ("deepseek-v3.2", History::DropAlways, ToolsAt::BeforeSystem, 0),
    ("deepseek-v4", History::Keep, ToolsAt::AfterSystem, THINKING | EFFORT),
    ("seed-oss", History::Keep, ToolsAt::AfterSystem, 0),
    ("ling-3", History::Keep, ToolsAt::AfterSystem, 0),
    ("llama-3", History::Keep, ToolsAt::AfterSystem, 0),
    ("llama-4", History::Keep, ToolsAt::AfterSystem, 0),
    ("granite", History::Keep, ToolsAt::AfterSystem, 0),
    ("devstral", History::Keep, ToolsAt::AfterSystem, 0),
    ("ministral-3", History::Keep, ToolsAt::AfterSystem, 0),
    ("hermes", History::Keep, ToolsAt::BeforeSystem, 0),
    ("mistral-v11", History::Keep, ToolsAt::LastUser, 0),
];

/// The name of the profile that is learned.
const AUTO: &str = "auto";

impl RenderProfile {
    /// A router learns from what its workers report whether history is kept, and until then takes it to be. A
    /// body that is read without a router is read so, too.
    pub fn auto() -> Self {
        RenderProfile { learns: true, ..RenderProfile::default() }
    }

    /// Whether a router learns from what its workers report whether history is kept.
    pub fn is_auto(&self) -> bool {
        self.learns && self.history == History::Keep
    }

    /// Whether it matters who speaks when.
    pub(super) fn follows_turns(&self) -> bool {
        self.learns || self.history != History::Keep || self.tools == ToolsAt::LastUser
    }

    /// The profile of a family of models, or [`auto`](Self::auto). O(families).
    pub fn named(name: &str) -> Option<Self> {
        if name == AUTO {
            return Some(Self::auto());
        }
        let &(_, history, tools, head) = FAMILIES.iter().find(|family| family.0 == name)?;
        Some(RenderProfile {
            history,
            tools,
            thinking_at_head: head & THINKING != 0,
            effort_at_head: head & EFFORT != 0,
            ..RenderProfile::default()
        })
    }

    /// The names: `auto`, and those of the families.
    pub fn names() -> impl Iterator<Item = &'static str> {
        [AUTO].into_iter().chain(FAMILIES.iter().map(|family| family.0))
    }
}

/// The fields, of a family's profile or of the default one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<History>,
    tools: Option<ToolsAt>,
    thinking_at_head: Option<bool>,
    effort_at_head: Option<bool>,
    tool_choice_at_head: Option<bool>,
    response_format_at_head: Option<bool>,
    strip_billing_line: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "the name of a render profile, or its fields")]
enum Document {
    Name(String),
    Fields(Fields),
}

impl Serialize for RenderProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Fields {
            name: self.is_auto().then_some(AUTO.into()),
            history: Some(self.history).filter(|_| !self.is_auto()),
            tools: Some(self.tools),
            thinking_at_head: Some(self.thinking_at_head),
            effort_at_head: Some(self.effort_at_head),
            tool_choice_at_head: Some(self.tool_choice_at_head),
            response_format_at_head: Some(self.response_format_at_head),
            strip_billing_line: Some(self.strip_billing_line),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RenderProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let known = |name: &str| {
            Self::named(name).ok_or_else(|| {
                let names: Vec<_> = Self::names().collect();
                Error::custom(format!("no render profile {name:?}; known: {}", names.join(", ")))
            })
        };
        match Document::deserialize(deserializer)? {
            Document::Name(name) => known(&name),
            Document::Fields(fields) => {
                let base = fields.name.as_deref().map_or(Ok(Self::default()), known)?;
                Ok(fields.over(base))
            }
        }
    }
}

impl Fields {
    fn over(&self, base: RenderProfile) -> RenderProfile {
        RenderProfile {
            history: self.history.unwrap_or(base.history),
            tools: self.tools.unwrap_or(base.tools),
            thinking_at_head: self.thinking_at_head.unwrap_or(base.thinking_at_head),
            effort_at_head: self.effort_at_head.unwrap_or(base.effort_at_head),
            tool_choice_at_head: self.tool_choice_at_head.unwrap_or(base.tool_choice_at_head),
            response_format_at_head: self
                .response_format_at_head
                .unwrap_or(base.response_format_at_head),
            strip_billing_line: self.strip_billing_line.unwrap_or(base.strip_billing_line),
            learns: base.learns && self.history.is_none(),
        }
    }
}

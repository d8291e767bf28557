//! Whose turn a message is, as far as chat templates care.

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Speaker {
    #[default]
    Other,
    /// Who gives the rules: `system` or `developer`.
    System,
    User,
}

/// The user speaks after an agent's loop: how much of the prompt, in bytes from its beginning, an engine still holds
/// that was sent the loop's last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserTurn {
    /// Where it keeps history: nearly all before the user's new word.
    pub kept: u64,
    /// Where it renders otherwise what was done since the user spoke last.
    pub dropped: u64,
    /// Whether the client returned reasoning of the loop. Where it did not, an engine that drops reasoning only
    /// renders as before.
    pub reasoned: bool,
}

impl UserTurn {
    /// Units to the whole of a prompt.
    pub(crate) const WHOLE: u32 = 0x7fff;

    /// The turn of a prompt of `total` bytes in 31 bits: whether there was reasoning, and the two lengths, 15 bits
    /// each.
    pub(super) fn packed(&self, total: u64) -> u32 {
        let [kept, dropped] = [self.kept, self.dropped].map(|part| Self::share(part, total));
        u32::from(self.reasoned) << 30 | kept << 15 | dropped
    }

    /// The two lengths in units of [`UserTurn::WHOLE`], and whether there was reasoning.
    pub(crate) fn unpacked(packed: u32) -> (u32, u32, bool) {
        (packed >> 15 & Self::WHOLE, packed & Self::WHOLE, packed >> 30 & 1 == 1)
    }

    /// A part of a length in units of [`UserTurn::WHOLE`].
    pub(crate) fn share(part: u64, whole: u64) -> u32 {
        let units = u128::from(part.min(whole)) * u128::from(Self::WHOLE);
        (units / u128::from(whole.max(1))) as u32
    }
}

/// What a message says about itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    pub(super) speaker: Speaker,
    /// Whether there is more in it than results of tools.
    pub(super) says_something: bool,
    /// Whether there is reasoning in it.
    pub(super) reasons: bool,
    /// Whether the part under way is a tool's result.
    is_result: bool,
}

impl Turn {
    /// Takes a short field of the message.
    pub(super) fn told(&mut self, name: &[u8], value: &[u8]) {
        match (name, value) {
            (b"role", b"system" | b"developer") => self.speaker = Speaker::System,
            (b"role", b"user") => self.speaker = Speaker::User,
            (b"type", b"reasoning") => self.reasons = true,
            _ => {}
        }
    }

    pub(super) fn begin_part(&mut self) {
        self.is_result = false;
    }

    /// Takes the type of the part under way.
    pub(super) fn part_is(&mut self, value: &[u8]) {
        self.is_result = value == b"tool_result";
        self.reasons |= matches!(value, b"thinking" | b"redacted_thinking" | b"reasoning");
    }

    pub(super) fn end_part(&mut self) {
        self.says_something |= !self.is_result;
    }

    /// Whether the user speaks, and not only tools answer.
    pub(super) fn is_users(&self) -> bool {
        self.speaker == Speaker::User && self.says_something
    }
}

/// Whether a field of a message holds reasoning.
pub(super) fn is_reasoning(name: &[u8]) -> bool {
    matches!(name, b"reasoning_content" | b"reasoning" | b"thinking")
}

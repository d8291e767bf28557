//! What has been found out about a body besides its prompt.

use arrayvec::ArrayVec;

use super::config::BodyOptions;
use super::digest::{Digester, Domain};
use super::fields::{Field, PromptField};
use super::fingerprint::{BodyFingerprint, BodyKind, NoPrefix};
use super::hasher::PromptHasher;
use super::profile::{History, RenderProfile, ToolsAt};
use super::turn::UserTurn;
use crate::prefix::{Declared, DeclaredAt, Fingerprint, Place, Rendering};

/// Messages of the shortest loop.
const LOOP: u32 = 3;
/// Tools that are told apart; the others count as one with the last.
const TOOLS: usize = 64;

/// An unordered set of digested fields.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FieldSet {
    /// Sum of the fields' digests.
    sum: u64,
    /// Number of fields.
    count: u32,
    /// Bytes that they stand for in the prompt.
    weight: u64,
}

impl FieldSet {
    pub(super) fn add(&mut self, entry: u64, weight: u64) {
        self.sum = self.sum.wrapping_add(entry);
        self.count = self.count.saturating_add(1);
        self.weight = self.weight.saturating_add(weight);
    }

    fn and(&self, other: &FieldSet) -> FieldSet {
        FieldSet {
            sum: self.sum.wrapping_add(other.sum),
            count: self.count.saturating_add(other.count),
            weight: self.weight.saturating_add(other.weight),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The field that holds the prompt.
    pub(super) prompt_field: Option<PromptField>,
    /// Every field that was seen which could hold it, one bit each.
    claimed: u8,
    /// Whether the engine puts the prompt through a chat template.
    pub(super) templated: bool,
    /// Prompts of a batch so far.
    pub(super) elements: u32,
    /// Whether what follows in the prompt array does not count.
    pub(super) rest_ignored: bool,
    /// What shapes the prompt, whatever it is made of.
    pub(super) shaping: FieldSet,
    /// What shapes only what is rendered: token ids are not.
    pub(super) rendering: FieldSet,
    pub(super) namespace: FieldSet,
    tools: ArrayVec<Declared, TOOLS>,
    /// Whether there was text before the messages.
    pub(super) first_seen: bool,
    /// Messages so far.
    pub(super) messages: u64,
    /// Whether there is an array of sampling parameters.
    pub(super) sampling_listed: bool,
    /// Where the first message ends, if it is a system message.
    pub(super) head: Option<Place>,
    /// Where the user's last message begins, and the blocks up to its end.
    pub(super) spoke: Option<(Place, usize)>,
    /// Whether there was reasoning since.
    pub(super) reasoned: bool,
    /// Messages since, and the text up to the end of that word.
    since: u32,
    spoken: u64,
    /// The user's turn that this is, if nobody has spoken since: its places are bytes of text.
    turn: Option<UserTurn>,
    pub(super) stream: bool,
    max_tokens: Option<u32>,
    old_max_tokens: Option<u32>,
    answers: Option<u32>,
    no_prefix: Option<NoPrefix>,
}

impl Facts {
    /// Takes `field` as one that holds the prompt; whether it is read.
    pub(super) fn claim(&mut self, field: PromptField) -> bool {
        let (ids, known) = (PromptField::InputIds, self.claimed);
        self.claimed |= field.bit();
        if known & field.bit() != 0 {
            self.no_prefix(NoPrefix::SeveralPrompts);
            return false;
        }
        if self.prompt_field == Some(ids) && field.yields_to_ids() {
            return false;
        }
        if field == ids && self.prompt_field.is_some_and(PromptField::yields_to_ids) {
            // What was wrong with the other prompt does not matter.
            self.no_prefix = None;
            (self.elements, self.rest_ignored, self.templated) = (0, false, false);
            (self.head, self.spoke, self.turn) = (None, None, None);
        } else if self.prompt_field.is_some() {
            // Told at the end.
            return false;
        }
        self.prompt_field = Some(field);
        true
    }

    /// Notes why there will be no fingerprint. Of several reasons the first in the order of
    /// [`NoPrefix`] stays, because the order of keys must not decide.
    pub(super) fn no_prefix(&mut self, reason: NoPrefix) {
        self.no_prefix = Some(self.no_prefix.map_or(reason, |known| known.min(reason)));
    }

    /// Takes a number that says how much is to be generated.
    pub(super) fn amount(&mut self, field: Field, amount: u64) {
        let amount = u32::try_from(amount).unwrap_or(u32::MAX);
        let most = |known: Option<u32>| known.map_or(Some(amount), |known| Some(known.max(amount)));
        match field {
            Field::OldMaxTokens => self.old_max_tokens = Some(amount),
            Field::MaxTokens => self.max_tokens = most(self.max_tokens),
            Field::Answers => self.answers = most(self.answers),
            _ => {}
        }
    }

    /// The user has spoken: from `begin` to `end` of the text, which end behind so many whole blocks.
    pub(super) fn user_spoke(&mut self, start: Place, blocks: usize, (begin, end): (u64, u64)) {
        // A loop has a call, its result and an answer at least.
        let was_loop = self.spoke.is_some() && self.since >= LOOP;
        let turn = UserTurn { kept: begin, dropped: self.spoken, reasoned: self.reasoned };
        self.turn = was_loop.then_some(turn);
        self.spoke = Some((start, blocks));
        (self.reasoned, self.since, self.spoken) = (false, 0, end);
    }

    /// Somebody else has.
    pub(super) fn other_spoke(&mut self, reasons: bool) {
        self.reasoned |= reasons;
        self.since = self.since.saturating_add(1);
        self.turn = None;
    }

    /// The user's turn that the prompt is, in bytes of the whole prompt: what is declared stands before the
    /// text.
    fn turn_of(&self, written: u64, fingerprint: Option<&Fingerprint<'_>>) -> Option<UserTurn> {
        let (turn, total) = (self.turn?, fingerprint?.total());
        let whole = |text: u64| total.saturating_sub(written.saturating_sub(text));
        Some(UserTurn { kept: whole(turn.kept), dropped: whole(turn.dropped), ..turn })
    }

    /// Takes the next tool.
    pub(super) fn tool(&mut self, digester: Digester<'_>, digest: u64, weight: u64) {
        if let Err(error) = self.tools.try_push((digest, weight)) {
            let (digest, weight) = error.element();
            if let Some(last) = self.tools.last_mut() {
                last.0 = digester.pair(Domain::Element, last.0, digest);
                last.1 = last.1.saturating_add(weight);
            }
        }
    }

    /// Whether more than one field holds a prompt, and none of them takes the others' place.
    fn several(&self) -> bool {
        let ids = PromptField::InputIds.bit();
        let yielding = PromptField::Messages.bit() | PromptField::Text.bit();
        match self.claimed & ids {
            0 => self.claimed.count_ones() > 1,
            _ => self.claimed & !ids & !yielding != 0,
        }
    }

    pub(super) fn finish<'b>(
        &mut self,
        digester: Digester<'_>,
        options: &BodyOptions,
        prompt: &mut PromptHasher<'_, 'b>,
    ) -> BodyFingerprint<'b> {
        let namespace = options.namespace.unwrap_or_else(|| self.namespace_digest(digester));
        if self.several() {
            self.no_prefix(NoPrefix::SeveralPrompts);
        }
        let written = prompt.written();
        let fingerprint = match self.no_prefix {
            None if self.prompt_field.is_some() => {
                self.render(digester, &options.config.profile, namespace, prompt)
            }
            _ => None,
        };
        let turn = self.turn_of(written, fingerprint.as_ref());
        let fingerprint = fingerprint
            .map(|print| print.with_turn(turn.map_or(0, |turn| turn.packed(print.total()))));
        let prompts = if fingerprint.is_some() { self.elements.max(1) } else { 1 };
        let absent = match self.prompt_field {
            None => NoPrefix::NoPrompt,
            Some(_) => NoPrefix::EmptyPrompt,
        };
        let no_prefix = self.no_prefix.or(fingerprint.is_none().then_some(absent));
        let field = self.prompt_field.filter(|_| no_prefix != Some(NoPrefix::SeveralPrompts));
        BodyFingerprint {
            fingerprint,
            no_prefix,
            kind: field.map_or(BodyKind::Unknown, BodyKind::from),
            namespace,
            stream: self.stream,
            max_tokens: self.max_tokens.or(self.old_max_tokens),
            answers: self.answers.unwrap_or(1).max(1).saturating_mul(prompts),
            turn,
        }
    }

    fn render<'b>(
        &self,
        digester: Digester<'_>,
        profile: &RenderProfile,
        namespace: u64,
        prompt: &mut PromptHasher<'_, 'b>,
    ) -> Option<Fingerprint<'b>> {
        let is_rendered = self.prompt_field != Some(PromptField::InputIds);
        let (shaping, tools) = match is_rendered {
            true => (self.shaping.and(&self.rendering), &self.tools[..]),
            false => (self.shaping, &[][..]),
        };
        let seed = self.shaping_digest(digester, &shaping);
        // What is rendered beside the tools takes its room before everything.
        let documents = (digester.pair(Domain::Seed, shaping.sum, 2), shaping.weight);
        let mut declared = ArrayVec::<Declared, { TOOLS + 1 }>::new();
        if shaping.weight > 0 {
            declared.push(documents);
        }
        declared.extend(tools.iter().copied());
        let passes = match profile.history {
            History::Keep => false,
            History::DropReturned => self.reasoned,
            History::DropAlways => true,
        };
        prompt.finish(&Rendering {
            namespace,
            shaping: seed,
            head: self.head,
            declared: &declared,
            declared_at: match (profile.tools, self.spoke) {
                (ToolsAt::BeforeSystem, _) => DeclaredAt::Start,
                (ToolsAt::LastUser, Some((place, _))) => DeclaredAt::Place(place),
                _ => DeclaredAt::Head,
            },
            passing: self.spoke.map(|(_, blocks)| blocks).filter(|_| passes),
        })
    }

    fn namespace_digest(&self, digester: Digester<'_>) -> u64 {
        match self.namespace.count {
            0 => 0,
            // 0 says that there is none.
            _ => digester.pair(Domain::Namespace, self.namespace.sum, 0).max(1),
        }
    }

    /// 0 for a bare prompt, so that it equals the same prompt given as text or tokens.
    fn shaping_digest(&self, digester: Digester<'_>, shaping: &FieldSet) -> u64 {
        if shaping.count == 0 && !self.templated {
            return 0;
        }
        digester.pair(Domain::Seed, shaping.sum, self.templated.into())
    }
}

//! From a request to a fingerprint and its lengths.

use super::core::{Core, NAMESPACE};
use crate::body::{BodyFingerprint, BodyOptions, BodyReader, read_value};
use crate::error::RoutingError;
use crate::prefix::{Fingerprint, FingerprintError, Fingerprinter, Unit};
use crate::request::{Prompt, Request};

/// A prompt's fingerprint, and what its body says beside.
pub(super) struct Printed<'b> {
    pub(super) fingerprint: Fingerprint<'b>,
    /// Most tokens that the body allows the answer.
    pub(super) max_tokens: Option<u32>,
}

impl<'b> Printed<'b> {
    pub(super) fn plain(fingerprint: Fingerprint<'b>) -> Self {
        Printed { fingerprint, max_tokens: None }
    }
}

/// Lengths of a request.
pub(super) struct Size {
    /// Of the prompt, in tokens.
    pub(super) tokens: u32,
    /// Of the prompt in bytes, where `tokens` is estimated from them; else 0.
    pub(super) bytes: u32,
    /// Of the answer in tokens, as far as the body limits it.
    pub(super) output: Option<u32>,
}

impl Core {
    /// The prompt's length in tokens, without reading it.
    #[inline]
    pub(super) fn estimated_tokens(&self, request: &Request<'_>) -> u32 {
        match &request.prompt {
            Prompt::None => 0,
            prompt => self.estimated_tokens_of(prompt),
        }
    }

    fn estimated_tokens_of(&self, prompt: &Prompt<'_>) -> u32 {
        match prompt {
            Prompt::None => 0,
            Prompt::Text(text) => (text.len() as f32 / self.bytes_per_token()) as u32,
            Prompt::Tokens(tokens) => clamp(tokens.len() as u64),
            Prompt::Json(body) => (body.len() as f32 / self.bytes_per_token()) as u32,
            // Its length is not known without reading it.
            Prompt::Value(_) => 0,
            Prompt::Fingerprint(fingerprint) => self.tokens_of(fingerprint),
        }
    }

    pub(super) fn tokens_of(&self, fingerprint: &Fingerprint<'_>) -> u32 {
        match fingerprint.header().unit {
            Unit::Tokens => clamp(fingerprint.total()),
            Unit::Text => (fingerprint.total() as f32 / self.bytes_per_token()) as u32,
        }
    }

    pub(super) fn tokens_per_block(&self, unit: Unit) -> f32 {
        match unit {
            Unit::Tokens => self.block.units(Unit::Tokens) as f32,
            Unit::Text => self.block.bytes() as f32 / self.bytes_per_token(),
        }
    }

    pub(super) fn namespace_of(&self, request: &Request<'_>) -> u64 {
        request.namespace.map_or(0, |namespace| self.digest(NAMESPACE, namespace.as_bytes()))
    }

    /// The options for a body in this namespace; without one, the body's own fields form it.
    pub(super) fn body_options(&self, namespace: Option<&str>) -> BodyOptions {
        let namespace = namespace.map(|text| self.digest(NAMESPACE, text.as_bytes()));
        BodyOptions { namespace, ..self.body }
    }

    pub(super) fn fingerprint<'b>(
        &self,
        request: &Request<'_>,
        buffer: &'b mut [u64],
    ) -> Result<Printed<'b>, RoutingError> {
        let print = |unit, buffer, push: &dyn Fn(&mut Fingerprinter<'_, '_>)| {
            let mut printer = Fingerprinter::new(&self.key, unit, self.block, buffer);
            push(&mut printer);
            Printed::plain(printer.finish(self.namespace_of(request), 0))
        };
        Ok(match &request.prompt {
            Prompt::None => print(Unit::Text, buffer, &|_| {}),
            Prompt::Text(text) => print(Unit::Text, buffer, &|printer| printer.push(text)),
            Prompt::Tokens(tokens) => {
                print(Unit::Tokens, buffer, &|printer| printer.push_tokens(tokens))
            }
            Prompt::Json(body) => {
                let options = self.body_options(request.namespace);
                let mut reader = BodyReader::new(&self.key, options, buffer);
                reader.push(body)?;
                self.of_body(reader.finish()?)
            }
            Prompt::Value(body) => {
                let options = self.body_options(request.namespace);
                self.of_body(read_value(&self.key, options, body, buffer)?)
            }
            Prompt::Fingerprint(given) => Printed::plain(self.copy(given, request, buffer)?),
        })
    }

    /// A body without a prompt that can be read has an empty fingerprint.
    fn of_body<'b>(&self, body: BodyFingerprint<'b>) -> Printed<'b> {
        let empty = || Fingerprinter::new(&self.key, Unit::Text, self.block, &mut []).finish(0, 0);
        Printed { fingerprint: body.fingerprint.unwrap_or_else(empty), max_tokens: body.max_tokens }
    }

    fn copy<'b>(
        &self,
        given: &Fingerprint<'_>,
        request: &Request<'_>,
        buffer: &'b mut [u64],
    ) -> Result<Fingerprint<'b>, FingerprintError> {
        self.check(given, request)?;
        let kept = given.blocks().len().min(buffer.len());
        let (buffer, blocks) = (&mut buffer[..kept], &given.blocks()[..kept]);
        buffer.copy_from_slice(blocks);
        let mut header = *given.header();
        header.blocks = kept as u32;
        Fingerprint::from_parts(header, buffer)
    }

    /// A fingerprint must come from this key and block size, and, where the request names a
    /// namespace, from that.
    pub(super) fn check(
        &self,
        given: &Fingerprint<'_>,
        request: &Request<'_>,
    ) -> Result<(), FingerprintError> {
        let namespace = match request.namespace {
            Some(_) => self.namespace_of(request),
            None => given.header().namespace,
        };
        given.check(&self.key, self.block, namespace)
    }
}

pub(super) fn clamp(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

//! From a prompt to the workers that probably hold its beginning.
//!
//! - [`hash`](HashKey): keyed block hashes with a published collision bound.
//! - [`fingerprint`](Fingerprint): a prompt as chained block hashes, with a wire form.
//! - [`fingerprinter`](Fingerprinter): hashes prompts as they stream past.
//! - `parts`: a prompt whose parts come in another order than they are rendered in.
//! - `tree`: which worker probably holds how many leading blocks, in fixed memory.

mod chacha;
mod fingerprint;
mod fingerprinter;
mod hash;
mod parts;
pub(crate) mod tree;

pub use fingerprint::{
    BlockSize, FORMAT_VERSION, Fingerprint, FingerprintError, FingerprintHeader, Unit,
};
pub use fingerprinter::Fingerprinter;
pub use hash::{Digest, HashKey};
pub(crate) use parts::{Declared, DeclaredAt, Place, Rendering};
pub(crate) use tree::breaks;
pub(crate) use tree::line::{Line, Lines};
pub(crate) use tree::{Holder, Matches, PrefixTree, Registration};

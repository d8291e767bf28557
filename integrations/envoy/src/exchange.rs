//! One request on its way through Envoy, as this module follows it, and how the policy finds it again.
//!
//! Filter and policy of a stream run on the same thread, but the policy sees neither the filter nor the body. So the
//! filter puts an id into the stream's filter state; the route's hash policy turns it into the
//! hash that the policy may ask for; and the hash leads to the exchange in a table of this thread. No header is
//! involved, and a retry, which asks for the same hash, finds the same exchange.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pointsman::prefix::FingerprintHeader;
use pointsman::{Fingerprint, Outcome, Prompt, Reason, Ticket, Usage};
use xxhash_rust::xxh64::xxh64;

use crate::abi::Buffer;
use crate::envoy::Stream;
use crate::filter::Filter;
use crate::pool::Handle;
use crate::usage::UsageReader;

/// The factory whose objects Envoy can hash, and so the key of the id in the filter state.
pub const FILTER_STATE: &str = "envoy.hashable_string";

/// Blocks of a prompt that are matched at most; see `Router::select`.
const MAX_BLOCKS: usize = 32_768;
/// Exchanges kept for reuse per thread, and the longest fingerprint kept with one.
const MAX_FREE: usize = 256;
const MAX_KEPT_BLOCKS: usize = 1024;

/// One request on its way.
pub struct Exchange {
    hash: Cell<u64>,
    state: RefCell<State>,
}

/// What is known of it.
#[derive(Default)]
pub struct State {
    /// The stream and the filter's settings, while there is a stream.
    pub owner: Option<(Stream, &'static Filter)>,
    /// The id, as it stands in the filter state.
    pub id: [u8; 16],
    /// Whether the request is held back until its body is there.
    pub reading: bool,
    header: Option<FingerprintHeader>,
    blocks: Vec<u64>,
    /// Most tokens that the body allows the answer.
    pub max_tokens: Option<u32>,
    /// What the request belongs to; empty where nothing is known.
    pub routing_key: Vec<u8>,
    /// The open ticket.
    pub attempt: Option<Attempt>,
    /// The host that has the request now, whether the router follows it there or not.
    pub picked: Option<Rc<str>>,
    /// Hosts that failed this request, by their addresses: a worker may be registered anew meanwhile.
    pub tried: Vec<Rc<str>>,
    /// The worker that was chosen last, for the response's headers.
    pub chosen: Option<Chosen>,
    /// The response's status.
    pub status: u16,
    /// Seconds that the response asks to stay away.
    pub retry_after: Option<u64>,
    /// Whether Envoy makes the response itself.
    pub local: bool,
    /// Whether the response has ended.
    pub finished: bool,
    /// Pieces of the response's body so far.
    pub pieces: u32,
    /// The engine's token counts in the response.
    pub usage: UsageReader,
}

/// An open ticket.
pub struct Attempt {
    /// Whose it is.
    pub pool: Rc<Handle>,
    /// The ticket.
    pub ticket: Ticket,
    /// When, in the router's time.
    pub since: u64,
}

/// The worker that was chosen, and why.
pub struct Chosen {
    /// The worker's address.
    pub address: Rc<str>,
    /// Why.
    pub reason: Reason,
    /// Leading tokens of the prompt that it is believed to hold.
    pub matched: u32,
}

impl State {
    /// The prompt, as far as it was read.
    pub fn prompt(&self) -> Prompt<'_> {
        let made = self.header.map(|header| Fingerprint::from_parts(header, &self.blocks));
        match made {
            Some(Ok(fingerprint)) => Prompt::Fingerprint(fingerprint),
            _ => Prompt::None,
        }
    }

    /// Keeps a fingerprint.
    pub fn keep(&mut self, fingerprint: &Fingerprint<'_>) {
        self.header = Some(*fingerprint.header());
        self.blocks.clear();
        self.blocks.extend_from_slice(fingerprint.blocks());
    }

    /// Closes the open ticket, if there is one.
    pub fn close(&mut self, outcome: Outcome, usage: Usage) {
        let Some(attempt) = self.attempt.take() else { return };
        // Fails where it was closed before: it expired, or its worker is gone.
        let _ = attempt.pool.router.complete(attempt.ticket, outcome, usage);
        if let Some((stream, filter)) = self.owner {
            filter.metrics.completed(stream, outcome, usage);
        }
    }

    fn clear(&mut self) {
        let State { blocks, routing_key, tried, .. } = std::mem::take(self);
        let mut kept = State { blocks, routing_key, tried, ..State::default() };
        kept.blocks.clear();
        if kept.blocks.capacity() > MAX_KEPT_BLOCKS {
            kept.blocks = Vec::new();
        }
        kept.routing_key.clear();
        kept.tried.clear();
        *self = kept;
    }
}

/// The exchanges of one thread.
struct Table {
    open: HashMap<u64, Rc<Exchange>>,
    free: Vec<Rc<Exchange>>,
    /// Ids begin with the thread's number.
    next: u64,
}

/// Threads that have a table.
static THREADS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static TABLE: RefCell<Table> = RefCell::new(Table {
        open: HashMap::new(),
        free: Vec::new(),
        next: THREADS.fetch_add(1, Relaxed) << 40,
    });
    /// Room for the block hashes of one body and for the list of its pieces.
    static ROOM: RefCell<(Vec<u64>, Vec<Buffer>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Exchange {
    /// Begins to follow a stream. O(1); allocates only where no ended exchange can be reused.
    pub fn open(stream: Stream, filter: &'static Filter) -> Rc<Exchange> {
        TABLE.with_borrow_mut(|table| {
            table.next += 1;
            let id = hexadecimal(table.next);
            let exchange = table.free.pop().unwrap_or_else(|| {
                Rc::new(Exchange { hash: Cell::new(0), state: RefCell::default() })
            });
            exchange.hash.set(xxh64(&id, 0));
            exchange.state.borrow_mut().owner = Some((stream, filter));
            exchange.state.borrow_mut().id = id;
            table.open.insert(exchange.hash.get(), Rc::clone(&exchange));
            exchange
        })
    }

    /// The exchange whose id has this hash.
    pub fn find(hash: u64) -> Option<Rc<Exchange>> {
        TABLE.with_borrow(|table| table.open.get(&hash).cloned())
    }

    /// How many exchanges this thread follows.
    pub fn count() -> usize {
        TABLE.with_borrow(|table| table.open.len())
    }

    /// Ends it: a ticket that is still open is given back.
    pub fn end(self: Rc<Self>) {
        self.with(|state| {
            state.close(Outcome::ClientCancelled, Usage::default());
            state.clear();
        });
        TABLE.with_borrow_mut(|table| {
            table.open.remove(&self.hash.get());
            if table.free.len() < MAX_FREE {
                table.free.push(self);
            }
        });
    }

    /// Works on what is known of it. Not to be nested.
    pub fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.borrow_mut())
    }
}

/// Lends room for the block hashes of one body and for a list of pieces. Not to be nested.
pub fn with_room<T>(work: impl FnOnce(&mut [u64], &mut Vec<Buffer>) -> T) -> T {
    ROOM.with_borrow_mut(|(blocks, pieces)| {
        blocks.resize(MAX_BLOCKS, 0);
        work(blocks, pieces)
    })
}

fn hexadecimal(number: u64) -> [u8; 16] {
    std::array::from_fn(|place| {
        let digit = (number >> (60 - 4 * place) & 15) as u8;
        if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
    })
}

//! Prefill on one engine, decode on another, with vLLM's request fields.
//!
//! 1. The gateway sends the request to the prefill engine with `stream: false`, `max_tokens: 1` and
//!    `kv_transfer_params: {"do_remote_decode": true}`. The engine computes the prompt, keeps its KV
//!    blocks pinned and answers with `kv_transfer_params` that say where they are: `do_remote_prefill`,
//!    `remote_engine_id`, `remote_request_id`, `remote_block_ids`, `remote_host`, `remote_port`.
//! 2. The gateway sends the original request, with these parameters added, to the decode engine. It
//!    fetches the blocks from the prefill engine (here: one HTTP call and the time that the transfer
//!    would take), which then unpins them, and streams the output.
//!
//! Blocks that are not fetched are freed after [`HOLD`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use super::scheduler::Sequence;
use super::wire::KvTransfer;
use crate::http::{AnyError, Client, call, client};

/// How long computed blocks wait to be fetched.
const HOLD: Duration = Duration::from_secs(120);

/// Sequences that were computed here and will be decoded elsewhere.
#[derive(Clone)]
pub(crate) struct Transfers {
    held: Arc<Mutex<HashMap<String, Sequence>>>,
    client: Client,
}

impl Transfers {
    pub(crate) fn new() -> Transfers {
        Transfers { held: Arc::default(), client: client(Duration::from_secs(1)) }
    }

    pub(crate) fn held(&self) -> usize {
        self.lock().len()
    }

    /// Keeps `sequence` for the decode engine and says how to get at it.
    pub(crate) fn hold(&self, id: &str, sequence: Sequence, host: &str, port: u16) -> Value {
        let blocks = sequence.blocks();
        self.lock().insert(id.to_owned(), sequence);
        let (transfers, forgotten) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(HOLD).await;
            transfers.take(&forgotten);
        });
        json!({
            "do_remote_prefill": true,
            "do_remote_decode": false,
            "remote_engine_id": format!("{host}:{port}"),
            "remote_request_id": id,
            "remote_block_ids": (0..blocks).collect::<Vec<_>>(),
            "remote_host": host,
            "remote_port": port,
        })
    }

    /// The decode engine has fetched `id`. False if it is not here (any more).
    pub(crate) fn take(&self, id: &str) -> bool {
        let sequence = self.lock().remove(id);
        sequence.map(|mut sequence| sequence.finish()).is_some()
    }

    /// Fetches the blocks that `params` point to from the engine that computed them.
    pub(crate) async fn fetch(&self, params: &KvTransfer) -> Result<(), AnyError> {
        let (Some(id), Some(host), Some(port)) =
            (&params.remote_request_id, &params.remote_host, params.remote_port)
        else {
            return Err(
                "kv_transfer_params lack remote_request_id, remote_host or remote_port".into()
            );
        };
        let url = format!("http://{host}:{port}/kv_transfer/{id}");
        match call(&self.client, Method::POST, &url, "").await? {
            (200, _) => Ok(()),
            (status, _) => Err(format!("the prefill engine answered {status} to {url}").into()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Sequence>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

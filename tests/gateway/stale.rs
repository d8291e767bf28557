//! Kept connections that a worker closes as the next request arrives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use axum::http::Method;
use pointsman::WorkerSpec;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{LOOPBACK, Rig};

/// A worker that answers the first request of each connection and closes it when the second has arrived.
async fn one_each() -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind(LOOPBACK).await.unwrap();
    let address = listener.local_addr().unwrap();
    let closed = Arc::<AtomicU32>::default();
    let count = closed.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move { serve(stream, &count).await });
        }
    });
    (address, closed)
}

async fn serve(mut stream: TcpStream, closed: &AtomicU32) {
    let mut seen = vec![0; 4096];
    if stream.read(&mut seen).await.is_ok_and(|length| length > 0) {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer).await.unwrap();
    }
    if stream.read(&mut seen).await.is_ok_and(|length| length > 0) {
        closed.fetch_add(1, Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_connection_is_no_failure_of_the_worker() {
    let rig = Rig::new(&[]).await;
    let (address, closed) = one_each().await;
    let id = rig.gateway.router().add_worker(WorkerSpec::new(format!("http://{address}"))).unwrap();
    for number in 0..20 {
        let body = json!({ "prompt": format!("request {number}") });
        assert_eq!(rig.call(Method::POST, "/v1/completions", body).await.0, 200, "{number}");
    }
    rig.idle().await;
    assert!(closed.load(Relaxed) >= 5, "the race was not there");
    let worker = rig.gateway.router().workers().remove(0);
    assert_eq!((worker.info.id, worker.healthy, worker.outcomes), (id, true, [0; 7]));
    assert_eq!(rig.metric("gateway_retries_total").await, 0.0);
}

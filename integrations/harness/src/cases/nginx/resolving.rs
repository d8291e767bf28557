//! Names whose addresses change while nginx runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;

use super::{attempts, sum};
use crate::bench::{Bench, until_ok};
use crate::cases::{Verdict, demand, quick};
use crate::engine::Engine;
use crate::http::AnyError;

/// A name server that answers each question for an address with those that it holds.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<Ipv4Addr>>>);

impl Names {
    fn set(&self, hosts: &[u8]) {
        let addresses = hosts.iter().map(|&host| Ipv4Addr::new(127, 0, 0, host)).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    async fn serve(self, address: SocketAddr) -> Result<(), AnyError> {
        let socket = UdpSocket::bind(address).await?;
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let _ = socket.send_to(&self.answer(&question[..length]), from).await;
            }
        });
        Ok(())
    }

    /// The question, and each address for one second.
    fn answer(&self, question: &[u8]) -> Vec<u8> {
        let addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = question.to_vec();
        // An answer, one question, so many addresses, nothing else.
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
        for address in addresses.iter() {
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            answer.extend_from_slice(&address.octets());
        }
        answer
    }
}

/// Each address that the name has is a worker, and only those are; one that stays keeps what is known of it.
pub(super) async fn follows(bench: &mut Bench) -> Verdict {
    let port = bench.site.engines[0].port();
    let second = Engine::start(quick(), ([127, 0, 0, 2], port).into()).await?;
    let third = Engine::start(quick(), ([127, 0, 0, 3], port).into()).await?;
    // Until there is a name server, the backup serves.
    let names = Names::default();
    names.clone().serve(bench.site.engines[1]).await?;
    let workers = [bench.engines[0].url(), second.url(), third.url()];
    let mut kept = 0;
    for (hosts, listed) in
        [(&[1, 2][..], &[0, 1][..]), (&[2, 3], &[1, 2]), (&[2], &[1]), (&[1, 2, 3], &[0, 1, 2])]
    {
        names.set(hosts);
        until_ok(&format!("the workers are {hosts:?}"), async || {
            let _ = attempts(bench, 0).await;
            let status = bench.status().await.unwrap_or_default();
            let label = |url: &String| format!("worker=\"{}\"", url.trim_start_matches("http://"));
            let there = |url| status.contains(&label(url));
            workers.iter().enumerate().all(|(number, url)| there(url) == listed.contains(&number))
        })
        .await?;
        for number in 0..20 {
            let tried = attempts(bench, number).await?;
            let host = tried.last().and_then(|worker| worker.split(&['.', ':'][..]).nth(3));
            let host = host.and_then(|host| host.parse().ok()).ok_or("no address")?;
            demand(hosts.contains(&host), || format!("{tried:?}, but the name has {hosts:?}"))?;
        }
        let label = format!("worker=\"127.0.0.2:{port}\"");
        let selections = sum(&bench.status().await?, "pointsman_worker_selections_total", &label);
        demand(selections > kept, || "the worker that stays began anew".to_owned())?;
        kept = selections;
    }
    Ok(format!("4 changes followed, {kept} requests at the one that stayed"))
}

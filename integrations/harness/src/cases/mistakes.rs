//! Configurations that must be refused.

use super::{Verdict, demand};
use crate::bench::{self, Bench};
use crate::gateway::Balance;
use crate::process::Process;

/// Each mistake is refused at start, with a line that names what is wrong.
pub(super) async fn named(bench: &mut Bench) -> Verdict {
    let mistakes = bench.gateway.mistakes();
    for mistake in &mistakes {
        bench.gateway.configure(&bench.site, Balance::Pointsman("cache_aware"))?;
        let path = bench.site.dir.join(mistake.file);
        let text = std::fs::read_to_string(&path)?;
        let (correct, mistaken) = (mistake.correct, mistake.mistaken);
        demand(text.contains(correct), || format!("the configuration has no `{correct}`"))?;
        std::fs::write(&path, text.replace(correct, mistaken))?;
        let log = bench.site.dir.join("mistake");
        let mut attempt = Process::start(bench.gateway.check(&bench.site), &log)?;
        // One that goes on running serves with the mistake.
        let ended = bench::until("it ends", || attempt.ended().is_some()).await;
        let refused = ended.is_ok() && attempt.ended().is_some_and(|status| !status.success());
        demand(refused, || format!("`{mistaken}` is accepted"))?;
        let named = attempt.log().lines().any(|line| line.contains(mistake.named));
        demand(named, || {
            format!("`{mistaken}`: no line names {}: {}", mistake.named, attempt.printed())
        })?;
    }
    Ok(format!("{} mistakes refused", mistakes.len()))
}

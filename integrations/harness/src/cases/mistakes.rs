//! Configurations that must be refused.

use super::{Verdict, demand};
use crate::bench::Bench;
use crate::gateway::Balance;
use crate::process;

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
        let printed = match process::run(&mut bench.gateway.check(&bench.site)) {
            Ok(_) => return Err(format!("`{mistaken}` is accepted").into()),
            Err(refusal) => refusal.to_string(),
        };
        let named = printed.lines().any(|line| line.contains(mistake.named));
        demand(named, || format!("`{mistaken}`: no line names {}: {printed}", mistake.named))?;
    }
    Ok(format!("{} mistakes refused", mistakes.len()))
}

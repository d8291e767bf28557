//! The snapshot as Prometheus text, which OpenMetrics parsers read as well.

use std::fmt::{self, Write};

use super::{MetricsSnapshot, PolicyMetrics, WorkerMetrics};
use crate::body::History;
use crate::worker::health::Outcome;

/// A number of one worker.
type Gauge = fn(&WorkerMetrics) -> f64;

/// The families with one sample per worker: name, type, help, value.
const PER_WORKER: [(&str, &str, &str, Gauge); 9] = [
    ("worker_healthy", "gauge", "Whether the worker takes new work.", |w| {
        f64::from(u8::from(w.healthy))
    }),
    ("worker_draining", "gauge", "Whether the worker is draining.", |w| {
        f64::from(u8::from(w.draining))
    }),
    ("worker_weight", "gauge", "Weight in force.", |w| w.weight),
    ("worker_in_flight", "gauge", "Requests in flight.", |w| w.in_flight as f64),
    (
        "worker_resident_tokens",
        "gauge",
        "KV tokens expected to be held by requests in flight.",
        |w| w.resident_tokens as f64,
    ),
    ("worker_selections", "counter", "Requests sent to the worker.", |w| w.selections as f64),
    (
        "worker_predicted_cached_tokens",
        "counter",
        "Cached tokens predicted, where usage was reported.",
        |w| w.predicted_cached_tokens as f64,
    ),
    ("worker_reported_cached_tokens", "counter", "Cached tokens reported by the worker.", |w| {
        w.reported_cached_tokens as f64
    }),
    (
        "worker_contradictory_reports",
        "counter",
        "Reports of token counts that contradict themselves.",
        |w| w.contradictory_reports as f64,
    ),
];

/// A number of one policy.
type Sum = fn(&PolicyMetrics) -> f64;

/// The families with one sample per policy: name, help, value.
const PER_POLICY: [(&str, &str, Sum); 4] = [
    ("policy_prompt_tokens", "Prompt tokens of requests routed by prefix.", |p| {
        p.prompt_tokens as f64
    }),
    ("policy_matched_tokens", "Of these, those believed to be held.", |p| p.matched_tokens as f64),
    ("policy_first_tokens", "First tokens reported.", |p| p.first_tokens as f64),
    ("policy_first_token_seconds", "Seconds from dispatch to first token.", |p| {
        p.first_token_seconds
    }),
];

impl MetricsSnapshot {
    /// What to serve the text as: OpenMetrics, which Prometheus asks for.
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Writes the snapshot as OpenMetrics text, ended by `# EOF`. Serve it as
    /// [`MetricsSnapshot::CONTENT_TYPE`].
    ///
    /// Cardinality: one sample per worker and family, per worker and unsuccessful outcome, and per
    /// policy, role and reason that occurred.
    pub fn write_prometheus(&self, out: &mut impl Write) -> fmt::Result {
        self.write_families(out)?;
        out.write_str("# EOF\n")
    }

    /// As [`MetricsSnapshot::write_prometheus`] without the final line, for hosts that write
    /// families of their own after it.
    pub fn write_families(&self, out: &mut impl Write) -> fmt::Result {
        family(out, "decisions", "counter", "Decisions by policy, role and reason.")?;
        for row in &self.decisions {
            let labels = [
                ("policy", row.policy.as_str()),
                ("arm", row.arm),
                ("role", row.role.as_str()),
                ("reason", row.reason.as_str()),
            ];
            sample(out, "decisions_total", &labels, row.count as f64)?;
        }
        self.write_policies(out)?;
        for (name, kind, help, value) in PER_WORKER {
            family(out, name, kind, help)?;
            let suffix = if kind == "counter" { "_total" } else { "" };
            for worker in &self.workers {
                sample(out, &format!("{name}{suffix}"), &labels_of(worker), value(worker))?;
            }
        }
        self.write_outcomes(out)?;
        self.write_gauges(out)?;
        self.write_tree(out)?;
        self.write_profile(out)?;
        self.write_tickets(out)
    }

    fn write_policies(&self, out: &mut impl Write) -> fmt::Result {
        for (name, help, value) in PER_POLICY {
            family(out, name, "counter", help)?;
            for policy in &self.policies {
                let labels = [("policy", policy.policy.as_str()), ("arm", policy.arm)];
                sample(out, &format!("{name}_total"), &labels, value(policy))?;
            }
        }
        let help =
            "Prompt tokens not found in a cache: held nowhere, passed over, or believed in error.";
        family(out, "policy_lost_tokens", "counter", help)?;
        for policy in &self.policies {
            let best = policy.best_tokens.max(policy.matched_tokens);
            let causes = [
                ("cold", policy.prompt_tokens.saturating_sub(best)),
                ("routing", best - policy.matched_tokens),
                ("belief", policy.refuted_tokens),
            ];
            for (cause, tokens) in causes {
                let arm = ("arm", policy.arm);
                let labels = [("policy", policy.policy.as_str()), arm, ("cause", cause)];
                sample(out, "policy_lost_tokens_total", &labels, tokens as f64)?;
            }
        }
        let Some(shadow) = &self.shadow else { return Ok(()) };
        let counts = [
            ("shadow_compared", "Decisions compared with the shadow's.", shadow.compared),
            ("shadow_differing", "Of these, those with another worker.", shadow.differing),
            ("shadow_failed", "Requests for which the shadow had no answer.", shadow.failed),
            ("shadow_work_tokens", "Tokens left to the workers chosen.", shadow.work_tokens),
            ("shadow_other_work_tokens", "Tokens left to the shadow's.", shadow.shadow_work_tokens),
        ];
        for (name, help, count) in counts {
            single(out, name, "counter", help, count as f64)?;
        }
        Ok(())
    }

    fn write_outcomes(&self, out: &mut impl Write) -> fmt::Result {
        family(out, "worker_failures", "counter", "Completions other than successes, by outcome.")?;
        for worker in &self.workers {
            let outcomes = Outcome::NAMES.iter().zip(worker.outcomes);
            for (outcome, count) in outcomes.skip(1) {
                let [url, role] = labels_of(worker);
                let labels = [url, role, ("outcome", *outcome)];
                sample(out, "worker_failures_total", &labels, count as f64)?;
            }
        }
        Ok(())
    }

    /// What policies know about workers: a family per name, in the order of first occurrence.
    fn write_gauges(&self, out: &mut impl Write) -> fmt::Result {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.workers.iter().flat_map(|worker| &worker.policy_gauges) {
            // Names come from policies, which may be the host's own.
            let valid = |name: &str| {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                !name.is_empty() && name.chars().all(plain)
            };
            if valid(name) && !names.contains(name) {
                names.push(name);
            }
        }
        for name in names {
            let family_name = format!("policy_worker_{name}");
            family(out, &family_name, "gauge", "What the policy at work knows about the worker.")?;
            for worker in &self.workers {
                let gauge = worker.policy_gauges.iter().find(|(other, _)| *other == name);
                if let Some((_, value)) = gauge {
                    sample(out, &family_name, &labels_of(worker), *value)?;
                }
            }
        }
        Ok(())
    }

    fn write_tree(&self, out: &mut impl Write) -> fmt::Result {
        let t = &self.tree;
        single(
            out,
            "tree_budget_bytes",
            "gauge",
            "Byte budget of the prefix tree.",
            t.budget_bytes as f64,
        )?;
        single(out, "tree_bytes", "gauge", "Bytes held by the prefix tree.", t.held_bytes as f64)?;
        single(out, "tree_nodes", "gauge", "Nodes in use.", t.nodes() as f64)?;
        single(out, "tree_node_capacity", "gauge", "Nodes that fit.", t.node_capacity as f64)?;
        single(
            out,
            "tree_evictions",
            "counter",
            "Nodes replaced to make room.",
            t.evicted_nodes as f64,
        )?;
        let help = "Inserts and touches left out because another thread was writing there.";
        single(out, "tree_skipped", "counter", help, t.skipped as f64)
    }

    fn write_profile(&self, out: &mut impl Write) -> fmt::Result {
        let Some(profile) = &self.profile else { return Ok(()) };
        let help = "1 for what engines are taken to keep of a loop once the user speaks.";
        family(out, "profile_history", "gauge", help)?;
        let histories = [
            (History::Keep, "keep"),
            (History::DropReturned, "drop_returned"),
            (History::DropAlways, "drop_always"),
        ];
        for (history, name) in histories {
            let is = f64::from(u8::from(history == profile.history));
            sample(out, "profile_history", &[("history", name)], is)?;
        }
        let help = "Reports at users' turns that tell whether engines keep history.";
        family(out, "profile_reports", "counter", help)?;
        for (reasoning, counts) in [("returned", profile.reasoned), ("none", profile.plain)] {
            for (kept, count) in ["yes", "no"].into_iter().zip(counts) {
                let labels = [("reasoning", reasoning), ("kept", kept)];
                sample(out, "profile_reports_total", &labels, count as f64)?;
            }
        }
        Ok(())
    }

    fn write_tickets(&self, out: &mut impl Write) -> fmt::Result {
        let t = &self.tickets;
        single(out, "tickets_open", "gauge", "Open tickets.", t.open as f64)?;
        single(out, "tickets_capacity", "gauge", "Tickets that can be open.", t.capacity as f64)?;
        let help = "Selections without a ticket, as the table was full.";
        single(out, "tickets_untracked", "counter", help, t.untracked as f64)?;
        single(
            out,
            "tickets_expired",
            "counter",
            "Tickets that expired before they were completed.",
            t.expired as f64,
        )
    }
}

fn labels_of(worker: &WorkerMetrics) -> [(&'static str, &str); 2] {
    [("worker", &worker.info.url), ("role", worker.info.role.as_str())]
}

fn single(out: &mut impl Write, name: &str, kind: &str, help: &str, value: f64) -> fmt::Result {
    family(out, name, kind, help)?;
    let suffix = if kind == "counter" { "_total" } else { "" };
    sample(out, &format!("{name}{suffix}"), &[], value)
}

fn family(out: &mut impl Write, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP pointsman_{name} {help}")?;
    writeln!(out, "# TYPE pointsman_{name} {kind}")
}

fn sample(out: &mut impl Write, name: &str, labels: &[(&str, &str)], value: f64) -> fmt::Result {
    write!(out, "pointsman_{name}")?;
    for (i, (key, text)) in labels.iter().enumerate() {
        write!(out, "{}{key}=\"", if i == 0 { '{' } else { ',' })?;
        escape(out, text)?;
        out.write_char('"')?;
    }
    if !labels.is_empty() {
        out.write_char('}')?;
    }
    // Rust prints infinities without the sign and capital that the format demands.
    match value {
        f64::INFINITY => out.write_str(" +Inf\n"),
        f64::NEG_INFINITY => out.write_str(" -Inf\n"),
        value => writeln!(out, " {value}"),
    }
}

fn escape(out: &mut impl Write, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| match c {
        '\\' => out.write_str("\\\\"),
        '"' => out.write_str("\\\""),
        '\n' => out.write_str("\\n"),
        c => out.write_char(c),
    })
}

//! What is printed.

use crate::CaseOutcome;

/// One case, as soon as it is over.
pub(crate) fn progress(outcome: &CaseOutcome) {
    let (mark, text) = match &outcome.result {
        Ok(text) => ("ok", text),
        Err(text) => ("FAILED", text),
    };
    let CaseOutcome { gateway, case, seconds, .. } = outcome;
    eprintln!("{gateway}: {case}: {mark} ({seconds:.1} s) {text}");
}

/// One line per case.
pub(crate) fn outcomes(outcomes: &[CaseOutcome]) -> String {
    let head = ["gateway", "case", "result", "s", "figures"].map(str::to_owned);
    let rows = outcomes.iter().map(|outcome| {
        let (mark, text) = match &outcome.result {
            Ok(text) => ("passed", text.as_str()),
            Err(text) => ("FAILED", text.lines().next().unwrap_or_default()),
        };
        let seconds = format!("{:.1}", outcome.seconds);
        [outcome.gateway.into(), outcome.case.into(), mark.into(), seconds, text.into()]
    });
    markdown(head, rows)
}

/// A Markdown table.
pub(crate) fn markdown<const N: usize>(
    head: [String; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let line = |cells: [String; N]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head);
    text.push_str(&line([const { String::new() }; N].map(|_| "---".to_owned())));
    rows.for_each(|row| text.push_str(&line(row)));
    text
}

//! The baselines against their projects' published examples and defaults.

use super::baseline::{Baseline, RuleView, dynamo, scorers, threshold::Threshold};
use super::gateway::Report;
use super::sim::rng::Rng;

fn view<'a>(blocks: &'a [u32], eligible: &'a [usize], leading: &'a [usize]) -> RuleView<'a> {
    let input = blocks.len() as u32 * 16;
    RuleView { id: 0, now: 0.0, input, block: 16, blocks, eligible, leading }
}

/// Dynamo's guide to its router: prefill 8, 5 and 2 blocks left, decode 10, 5 and 9: the second wins
/// with 10 over 18 and 11.
#[test]
fn dynamo_adds_prefill_and_decode_blocks() {
    let cost = |overlap, decode| dynamo::cost(0.0, 160.0, 16.0, overlap, decode);
    assert_eq!([cost(2.0, 10.0), cost(5.0, 5.0), cost(8.0, 9.0)], [18.0, 10.0, 11.0]);
    assert_eq!(cost(12.0, 3.0), 3.0, "a credit beyond the prompt gives nothing back");
}

#[test]
fn dynamo_counts_shared_active_blocks_once_and_gives_them_back() {
    let mut rule = dynamo::Dynamo::new(2, 8, 1);
    let mut rng = Rng::new(1);
    let prompt = [0, 1, 2];
    let only_first = view(&prompt, &[0], &[0, 0]);
    assert_eq!(rule.choose(&only_first, &mut rng), 0);
    rule.first_token(0.0, 0, 0, 0);
    // Both would hold three blocks; the overlap decides.
    let both = view(&prompt, &[0, 1], &[3, 0]);
    assert_eq!(rule.choose(&both, &mut rng), 0);
    rule.ended(0.0, 0, 0, &prompt);
    rule.ended(0.0, 0, 0, &prompt);
}

/// llm-d: a queue scores by where it lies between the shortest and the longest.
#[test]
fn llm_d_weighs_queue_utilisation_and_prefix() {
    assert_eq!(scorers::queue_score(5.0, 0.0, 10.0), 0.5);
    assert_eq!(scorers::queue_score(3.0, 3.0, 3.0), 1.0);
    let mut rule = scorers::Scorers::new(2);
    let mut rng = Rng::new(1);
    let report = |waiting| Report { running: 0, waiting, kv_used_tokens: 0, kv_total_tokens: 100 };
    rule.reported(0, &report(4));
    rule.reported(1, &report(0));
    // A whole prefix (3) outweighs the longest queue (2); three fifths of one (1.8) do not.
    assert_eq!(rule.choose(&view(&[0, 1, 2, 3, 4], &[0, 1], &[5, 0]), &mut rng), 0);
    assert_eq!(rule.choose(&view(&[0, 1, 2, 3, 4], &[0, 1], &[3, 0]), &mut rng), 1);
}

/// SMG: a match must be longer than half of the prompt, and affinity ends when one worker is more
/// than 32 requests and more than 1.1 times above another.
#[test]
fn smg_follows_a_long_match_until_the_loads_part() {
    let mut rule = Threshold::new(2, 100);
    let mut rng = Rng::new(1);
    let eligible = [0, 1];
    let prompt: Vec<u32> = (0..4).collect();
    let first = rule.choose(&view(&prompt, &eligible, &[0, 0]), &mut rng);
    for step in 0..32 {
        let again = rule.choose(&view(&prompt, &eligible, &[0, 0]), &mut rng);
        assert_eq!(again, first, "step {step}");
    }
    // 33 to 0: imbalanced.
    assert_eq!(rule.choose(&view(&prompt, &eligible, &[0, 0]), &mut rng), 1 - first);
    // Balanced again: half of a prompt is no match, more than half is.
    let half = [0, 1, 50, 51];
    assert_eq!(rule.choose(&view(&half, &eligible, &[0, 0]), &mut rng), 1 - first);
    let longer = [0, 1, 2, 60];
    let holder = rule.choose(&view(&longer, &eligible, &[0, 0]), &mut rng);
    assert!(eligible.contains(&holder));
    rule.ended(0.0, 0, first, &prompt);
}

/// One tree node names one holder; an excluded one counts as a miss.
#[test]
fn smg_sends_a_match_of_an_absent_worker_to_the_least_loaded() {
    let mut rule = Threshold::new(3, 10);
    let mut rng = Rng::new(1);
    let prompt = [0, 1, 2];
    assert_eq!(rule.choose(&view(&prompt, &[2], &[0, 0, 0]), &mut rng), 2);
    let elsewhere = rule.choose(&view(&prompt, &[0, 1], &[0, 0, 0]), &mut rng);
    assert_ne!(elsewhere, 2);
}

//! Which of the rules count for a metric.

use super::Rule;
use crate::metric::Metric;

/// All rules with their numbers, the gravest first: its alert covers what is no worse.
#[derive(Debug, Default)]
pub struct Rules(pub(super) Vec<(i64, Rule)>);

impl Rules {
    /// Puts them in order.
    pub fn new(mut rules: Vec<(i64, Rule)>) -> Self {
        rules.sort_by(|(_, one), (_, other)| {
            let rising = one.levels[0].total_cmp(&other.levels[0]);
            let gravest = if one.above { rising.reverse() } else { rising };
            one.above.cmp(&other.above).then(gravest)
        });
        Self(rules)
    }

    /// The rules that count for a metric. Those that name it count instead of those for each of its kind, if they look in
    /// the same direction.
    pub fn counting(&self, metric: &Metric) -> impl Iterator<Item = &(i64, Rule)> {
        let names_it = |rule: &Rule, above| rule.target == *metric && rule.above == above;
        let is_named = move |above| self.0.iter().any(|(_, rule)| names_it(rule, above));
        self.0.iter().filter(move |(_, rule)| {
            rule.applies_to(metric) && (rule.target == *metric || !is_named(rule.above))
        })
    }
}

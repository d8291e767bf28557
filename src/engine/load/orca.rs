//! The answer header `endpoint-load-metrics` of ORCA, the open standard by which servers tell load
//! balancers their load.

use super::loads::Loads;
use super::metric::{self, METRICS};
use super::prometheus::number;
use super::walk::{self, Listener};
use crate::engine::error::{EngineError, EngineErrorKind};

impl Loads {
    /// Reads the value of the header `endpoint-load-metrics` (ORCA), which vLLM and Triton answer to a
    /// request with `endpoint-load-metrics-format`: in TEXT, where names that stand more than once are
    /// those of one rank after the other, or in JSON, where vLLM tells the last rank alone.
    ///
    /// # Errors
    /// It is in neither of these, or a name that this reads has no number. Nothing is known then.
    pub fn read_orca(&mut self, header: &[u8]) -> Result<(), EngineError> {
        self.gather(|loads| read(header, loads))
    }
}

fn read(header: &[u8], loads: &mut Loads) -> Result<(), EngineError> {
    let form = header.iter().position(u8::is_ascii_whitespace).unwrap_or(header.len());
    let (form, body) = header.split_at(form);
    let start = form.len();
    if form.eq_ignore_ascii_case(b"TEXT") {
        return text(body, start, loads);
    }
    if !form.eq_ignore_ascii_case(b"JSON") {
        return Err(EngineError::new(EngineErrorKind::Format, 0));
    }
    let mut report = Report { loads, failed: None };
    walk::walk(body, &mut report)
        .map_err(|error| EngineError { position: start + error.position, ..error })?;
    report.failed.map_or(Ok(()), Err)
}

/// `name=value, name=value`: a name's first value is of the first rank, its second of the second.
fn text(body: &[u8], mut start: usize, loads: &mut Loads) -> Result<(), EngineError> {
    let mut ranks = [0; METRICS];
    for entry in body.split(|byte| *byte == b',') {
        let position = start;
        start += entry.len() + 1;
        let entry = entry.trim_ascii();
        let (name, value) = match entry.iter().position(|byte| *byte == b'=') {
            Some(middle) => (entry[..middle].trim_ascii(), Some(entry[middle + 1..].trim_ascii())),
            None => (entry, None),
        };
        let name = name.strip_prefix(b"named_metrics.").unwrap_or(name);
        let Some(metric) = metric::named(name) else { continue };
        let unread = EngineError::new(EngineErrorKind::Metric, position);
        let value = value.and_then(number).ok_or(unread)?;
        let rank = &mut ranks[metric as usize];
        loads.rank(*rank, position)?.put(metric, value);
        *rank += 1;
    }
    Ok(())
}

/// `{"named_metrics": {name: value}}`.
struct Report<'a> {
    loads: &'a mut Loads,
    failed: Option<EngineError>,
}

impl Listener for Report<'_> {
    fn number(&mut self, path: &walk::Path, value: f64) {
        let is_named = path.depth() == 2 && path.key(0) == b"named_metrics";
        let Some(metric) = metric::named(path.key(1)).filter(|_| is_named) else { return };
        match self.loads.rank(0, 0) {
            Ok(numbers) => numbers.put(metric, value),
            Err(error) => self.failed = Some(error),
        }
    }
}

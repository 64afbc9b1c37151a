//! The job as Prometheus metrics, beside those of its member.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Phase, Reporter};
use crate::ops::metrics;

/// A registry with everything about the job and its member.
pub fn registry(reporter: &Reporter) -> Registry {
    let mut registry = metrics::registry(&reporter.monitor);
    registry.register_collector(Box::new(JobMetrics(reporter.clone())));
    registry
}

#[derive(Debug)]
struct JobMetrics(Reporter);

impl Collector for JobMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (now, progress) = (self.0.phase(), self.0.progress.snapshot());
        let help = "The phase that the backup is in";
        let mut phases =
            encoder.encode_descriptor("backup_phase", help, None, MetricType::Gauge)?;
        for phase in Phase::ALL {
            let labels = [("phase", phase.to_string())];
            phases.encode_family(&labels)?.encode_gauge(&i64::from(phase == now))?;
        }
        let expected = self.0.total_bytes().unwrap_or(0);
        let numbers = [
            ("backup_stream_bytes", "Bytes of the stream that were good", progress.stream_bytes),
            ("backup_files_complete", "Files that are complete", progress.files_complete),
            (
                "backup_expected_bytes",
                "The donor's estimate or an earlier backup's size, 0 if there is none",
                expected,
            ),
        ];
        for (name, help, value) in numbers {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_phase_is_the_present_one() {
        let (reporter, _lines) = Reporter::new();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry(&reporter))
            .expect("encodes");
        let phases = text.lines().filter(|line| line.starts_with("galera_sst_backup_phase{"));
        let present: Vec<_> = phases.filter(|line| line.ends_with(" 1")).collect();
        assert_eq!(present, ["galera_sst_backup_phase{phase=\"starting\"} 1"]);
    }
}

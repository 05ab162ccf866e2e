//! What the dispatcher measures. Labels come from the image's configuration, never from senders.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, String)>;

/// The metrics, each a handle that may be cloned.
#[derive(Debug, Clone)]
pub struct Metrics {
    events: Family<Labels, Counter>,
    deliveries: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram>,
    open: Family<Labels, Gauge>,
    /// Deliveries that wait or run.
    pub queue: Gauge,
    /// Deliveries that were given up.
    pub dead: Gauge,
    /// Whether the database is there: 1 or 0.
    pub database: Gauge,
}

impl Metrics {
    /// New ones, all zero, in a registry.
    pub fn new(registry: &mut Registry) -> Self {
        let histogram = || Histogram::new([0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0]);
        let new = Self {
            events: Family::default(),
            deliveries: Family::default(),
            seconds: Family::new_with_constructor(histogram as fn() -> Histogram),
            open: Family::default(),
            queue: Gauge::default(),
            dead: Gauge::default(),
            database: Gauge::default(),
        };
        registry.register("webhook_events", "Requests by what became of them", new.events.clone());
        registry.register("webhook_deliveries", "Attempts to have an event handled", new.deliveries.clone());
        registry.register("webhook_handler_duration_seconds", "Time that handlers took", new.seconds.clone());
        registry.register("webhook_handler_paused", "Whether a handler is left alone", new.open.clone());
        registry.register("webhook_queue_depth", "Deliveries that wait or run", new.queue.clone());
        registry.register("webhook_dead_letters", "Deliveries that were given up", new.dead.clone());
        registry.register("webhook_database_up", "Whether the database is there", new.database.clone());
        new
    }

    /// Has everything of a handler begin with zero: of what is first seen with more, Prometheus knows no rate.
    pub fn begin(&self, handler: &str) {
        self.paused(handler, false);
        ["done", "failed", "dead"].iter().for_each(|result| drop(self.deliveries(handler, result)));
        drop(self.seconds.get_or_create(&vec![("handler", handler.to_owned())]));
    }

    /// The counter of requests with one outcome. `kind` is a pattern of the configuration.
    pub fn events(&self, source: &str, kind: Option<&str>, result: &str) -> Counter {
        let kind = kind.unwrap_or("other").to_owned();
        self.events.get_or_create_owned(&vec![
            ("source", source.to_owned()),
            ("type", kind),
            ("result", result.to_owned()),
        ])
    }

    /// The counter of attempts of a handler with one result: `done`, `failed`, or `dead` for the last that failed.
    pub fn deliveries(&self, handler: &str, result: &str) -> Counter {
        self.deliveries.get_or_create_owned(&vec![("handler", handler.to_owned()), ("result", result.to_owned())])
    }

    /// A handler took so long.
    pub fn took(&self, handler: &str, seconds: f64) {
        self.seconds.get_or_create(&vec![("handler", handler.to_owned())]).observe(seconds);
    }

    /// Whether a handler is left alone.
    pub fn paused(&self, handler: &str, paused: bool) {
        self.open.get_or_create(&vec![("handler", handler.to_owned())]).set(paused.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_measured_from_its_first_event_on() {
        let mut registry = Registry::default();
        Metrics::new(&mut registry).begin("deploy");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"webhook_deliveries_total{handler="deploy",result="done"} 0"#,
            r#"webhook_deliveries_total{handler="deploy",result="failed"} 0"#,
            r#"webhook_deliveries_total{handler="deploy",result="dead"} 0"#,
            r#"webhook_handler_duration_seconds_count{handler="deploy"} 0"#,
            r#"webhook_handler_paused{handler="deploy"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}

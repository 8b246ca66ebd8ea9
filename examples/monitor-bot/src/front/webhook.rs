//! Webhooks: what happens is sent to addresses of the configuration, and one more is called while all is well.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::time::interval;
use ureq::Agent;
use ureq::http::{Request, Uri, header};

use crate::app::App;
use crate::commands::{event_line, process_line};
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::rules::{Alert, Event, EventKind};
use crate::settings::{Secret, Webhook};
use crate::store::Receiver;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Webhook {
    /// Who sends what happens to this address.
    pub fn receiver(&self, name: &str) -> Receiver {
        let (webhook, agent, host) = (Arc::new(self.clone()), agent(), host());
        let tell = move |event: Event| {
            let (agent, request) = (agent.clone(), webhook.request(&host, &event));
            async move { send(&agent, request?).await }
        };
        Receiver::new(
            &format!("webhook.{name}"),
            Box::new(move |event| Box::pin(tell(event))),
        )
    }

    /// Whether it can be used: it is filled in once, with a made-up event.
    pub fn check(&self) -> Result<()> {
        let event = Alert::default().event(EventKind::Raised, 0, 0.0);
        let request = self.request("\"", &event)?;
        if self.is_json() && serde_json::from_str::<IgnoredAny>(request.body()).is_err() {
            return Err(Error::refused("The body is not JSON."));
        }
        Ok(())
    }

    fn is_json(&self) -> bool {
        self.content_type.contains("json")
    }

    fn request(&self, host: &str, event: &Event) -> Result<Request<String>> {
        let body = filled(&self.body, |name| {
            let value = value(name, host, event)?;
            Some(if self.is_json() {
                let quoted = json!(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            } else if self.content_type.contains("x-www-form-urlencoded") {
                utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string()
            } else {
                value
            })
        })?;
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(self.url.address()?)
            .header(header::CONTENT_TYPE, &self.content_type);
        for (name, value) in &self.headers {
            request = request.header(name, value.reveal());
        }
        // Such an error quotes nothing.
        request
            .body(body)
            .map_err(|error| Error::refused(format!("There is an {error}.")))
    }
}

impl Secret {
    /// The same as an address that can be called.
    pub fn address(&self) -> Result<Uri> {
        self.reveal()
            .parse::<Uri>()
            .ok()
            .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
            .ok_or_else(|| Error::refused("The url does not begin with http:// or https://."))
    }
}

/// Calls an address every minute while all is well. Who waits for that learns when it stays away, for whatever reason.
pub async fn heartbeat(app: Arc<App>, address: Uri) {
    let agent = agent();
    let mut minutes = interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            () = app.stopping() => return,
            _ = minutes.tick() => {}
        }
        let mut request = Request::new(String::new());
        *request.uri_mut() = address.clone();
        if app.is_well()
            && let Err(error) = send(&agent, request).await
        {
            tracing::warn!(%error, "the heartbeat was not heard");
        }
    }
}

/// A client that gives up in time. It follows no redirect: a secret in the request is for one receiver alone.
fn agent() -> Agent {
    Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .build()
        .into()
}

/// Sends a request; any answer but a good one is an error, which never quotes the address.
async fn send(agent: &Agent, request: Request<String>) -> Result<()> {
    let agent = agent.clone();
    let sent = tokio::task::spawn_blocking(move || agent.run(request)).await;
    let sent = sent.map_err(|error| Error::refused(format!("The request failed: {error}.")))?;
    let why = match sent {
        Ok(answer) if answer.status().is_success() => return Ok(()),
        Ok(answer) => format!("answered {}", answer.status()),
        Err(ureq::Error::Timeout(_)) => format!("gave no answer in {} s", PATIENCE.as_secs()),
        Err(ureq::Error::Io(error)) => format!("cannot be reached: {error}"),
        Err(ureq::Error::Rustls(error)) => format!("cannot be trusted: {error}"),
        Err(ureq::Error::HostNotFound) => "cannot be found".to_owned(),
        Err(_) => "cannot be reached".to_owned(),
    };
    Err(Error::refused(format!("The receiver {why}.")))
}

/// A template with its `{{names}}` replaced.
fn filled(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String> {
    let mut parts = template.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let known = part
            .split_once("}}")
            .and_then(|(name, rest)| Some((value(name.trim())?, rest)));
        let Some((value, rest)) = known else {
            return Err(Error::refused(format!(
                "“{{{{{part}” is not a placeholder."
            )));
        };
        filled.push_str(&value);
        filled.push_str(rest);
    }
    Ok(filled)
}

/// What a placeholder stands for.
fn value(name: &str, host: &str, event: &Event) -> Option<String> {
    let alert = &event.alert;
    Some(match name {
        "text" => event_line(event),
        "what" => json!(event.what).as_str()?.to_owned(),
        "metric" => alert.metric.clone(),
        "value" => match alert.metric.parse::<Metric>() {
            Ok(metric) => metric.show(event.value),
            Err(_) => String::new(),
        },
        "number" => event.value.to_string(),
        "rule" => alert.rule.clone(),
        "level" => alert.level.to_string(),
        "alert" => alert.id.to_string(),
        "host" => host.to_owned(),
        "time" => Timestamp::from_second(event.at).ok()?.to_string(),
        "processes" => alert
            .processes
            .as_deref()
            .map_or_else(String::new, process_line),
        _ => return None,
    })
}

fn host() -> String {
    sysinfo::System::host_name().unwrap_or_else(|_| "this machine".to_owned())
}

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
use crate::error::Result;
use crate::metric::Metric;
use crate::rules::{Alert, Event, EventKind};
use crate::sampler::{Processes, host_name};
use crate::settings::{Secret, Webhook};
use crate::store::{PATIENCE, Receiver};

impl Webhook {
    /// Who sends what happens to this address. It is filled in once, with a made-up event, to see whether that can be done.
    pub fn receiver(&self, name: &str) -> Result<Receiver> {
        let name = format!("webhook.{name}");
        let wrong = |error| refused!("{name} in the configuration: {error}");
        self.check().map_err(wrong)?;
        let (webhook, agent, host) = (Arc::new(self.clone()), agent(PATIENCE), host_name());
        let tell = move |event: Event| {
            let (agent, request) = (agent.clone(), webhook.request(&host, &event));
            async move { send(&agent, request?).await }
        };
        Ok(Receiver::new(&name, tell))
    }

    fn check(&self) -> Result<()> {
        let event = Alert::default().event(EventKind::Raised, 0, 0.0);
        let request = self.request("\"", &event)?;
        if self.is_json() && serde_json::from_str::<IgnoredAny>(request.body()).is_err() {
            refuse!("The body is not JSON.");
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
            .map_err(|error| refused!("There is an {error}."))
    }
}

impl Secret {
    /// The same as an address that can be called.
    pub fn address(&self) -> Result<Uri> {
        self.reveal()
            .parse::<Uri>()
            .ok()
            .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
            .ok_or_else(|| refused!("The url does not begin with http:// or https://."))
    }
}

/// Calls an address every minute while all is well. Who waits for that learns when it stays away, for whatever reason.
pub async fn heartbeat(app: Arc<App>, address: Uri) {
    let agent = agent(PATIENCE);
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
fn agent(patience: Duration) -> Agent {
    Agent::config_builder()
        .timeout_global(Some(patience))
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
    let sent = sent.map_err(|error| refused!("The request failed: {error}."))?;
    let why = match sent {
        Ok(answer) if answer.status().is_success() => return Ok(()),
        Ok(answer) => format!("answered {}", answer.status()),
        Err(ureq::Error::Timeout(_)) => "gave no answer in time".to_owned(),
        Err(ureq::Error::Io(error)) => format!("cannot be reached: {error}"),
        Err(ureq::Error::Rustls(error)) => format!("cannot be trusted: {error}"),
        Err(ureq::Error::HostNotFound) => "cannot be found".to_owned(),
        Err(_) => "cannot be reached".to_owned(),
    };
    Err(refused!("The receiver {why}."))
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
            refuse!("“{{{{{part}” is not a placeholder.");
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
        "text" => event.to_string(),
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
        "host" if alert.host.is_empty() => host.to_owned(),
        "host" => alert.host.clone(),
        "time" => Timestamp::from_second(event.at).ok()?.to_string(),
        "processes" => alert
            .processes
            .as_deref()
            .map_or_else(String::new, Processes::to_string),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{StatusCode, Uri as Path};
    use axum::response::{IntoResponse, Redirect, Response};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::sampler::Process;
    use dbm_core::prelude::*;
    use dbm_core::testing::fail_next;

    /// A server that answers as the path says, on a thread of its own: the test may stop the time. Gives its address, and
    /// the paths it is asked for.
    fn server() -> (String, mpsc::UnboundedReceiver<String>) {
        let (sender, paths) = mpsc::unbounded_channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let answer = move |path: Path| {
            let _ = sender.send(path.path().to_owned());
            async move {
                match path.path() {
                    "/fail" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                    "/redirect" => Redirect::temporary("/good").into_response(),
                    "/never" => std::future::pending::<Response>().await,
                    _ => StatusCode::NO_CONTENT.into_response(),
                }
            }
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_io().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                axum::serve(listener, Router::new().fallback(answer)).await
            })
        });
        (address, paths)
    }

    fn webhook(lines: &str) -> Webhook {
        toml::from_str(&format!("url = \"https://example.org/\"\n{lines}")).unwrap()
    }

    /// An alert on a process with quotes in its name.
    fn event() -> Event {
        let process = Process {
            id: 7,
            name: "a\"b".to_owned(),
            cpu: 12.34,
            memory: 2048.0,
        };
        let alert = Alert {
            id: 3,
            rule: "process stopped".to_owned(),
            metric: "process:a\"b\\c & d".to_owned(),
            level: 1,
            processes: Some(Json(Processes {
                cpu: vec![process],
                memory: Vec::new(),
            })),
            ..Alert::default()
        };
        alert.event(EventKind::Raised, 1_767_225_600, 0.0)
    }

    #[test]
    fn a_template_is_filled_in_as_the_content_type_has_it() {
        let every = "{{text}} {{what}} {{metric}} {{value}} {{number}} {{rule}} {{level}} {{alert}} {{ host }} {{time}} {{processes}}";
        let filled = "Process a\"b\\c & d stopped raised process:a\"b\\c & d stopped 0 process stopped 1 3 vm \
                      2026-01-01T00:00:00Z CPU: a\"b (7) 12.3 %";
        let body = |webhook: &Webhook| webhook.request("vm", &event()).unwrap().into_body();
        let plain = webhook(&format!(
            "content_type = \"text/plain\"\nbody = \"{every}\""
        ));
        assert_eq!(body(&plain), filled);
        let json = body(&webhook(&format!("body = '[\"{every}\"]'")));
        assert_eq!(
            serde_json::from_str::<Vec<String>>(&json).unwrap(),
            [filled]
        );
        let form = webhook(
            "content_type = \"application/x-www-form-urlencoded\"\nbody = \"to=me&text={{metric}}\"",
        );
        assert_eq!(body(&form), "to=me&text=process%3Aa%22b%5Cc%20%26%20d");
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        webhook("body = '{\"message\": \"{{ text }}\"}'")
            .check()
            .unwrap();
        webhook("content_type = \"text/plain\"\nbody = \"{{what}}\"")
            .check()
            .unwrap();
        for lines in [
            "method = \"NO METHOD\"",
            "headers = { \"not a name\" = \"\" }",
            "body = '{{text}}'",
            "body = '{\"text\": \"{{what they want}}\"}'",
            "body = '{\"text\": \"{{text\"}'",
        ] {
            assert!(webhook(lines).check().is_err(), "{lines}");
        }
        let nowhere: Webhook = toml::from_str("url = \"ntfy.sh/secret\"").unwrap();
        let error = nowhere.receiver("mine").err().unwrap().to_string();
        assert!(
            error.starts_with("webhook.mine") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn without_a_template_it_is_what_slack_takes() {
        let request = webhook("").request("vm", &event()).unwrap();
        assert_eq!(request.method(), "POST");
        let body: serde_json::Value = serde_json::from_str(request.body()).unwrap();
        assert_eq!(body, json!({ "text": "vm: Process a\"b\\c & d stopped" }));
    }

    #[tokio::test]
    async fn any_answer_but_a_good_one_is_an_error_that_does_not_quote_the_address() {
        let (server, mut paths) = server();
        // Nobody listens there any more.
        let away = std::net::TcpListener::bind("127.0.0.1:0").map(|port| port.local_addr());
        let away = format!("http://{}", away.unwrap().unwrap());
        let agent = agent(Duration::from_millis(500));
        for (server, path, why) in [
            (&server, "/fail", "answered 500 Internal Server Error"),
            (&server, "/redirect", "answered 307 Temporary Redirect"),
            (&server, "/never", "gave no answer in time"),
            (&away, "/secret", "cannot be reached"),
        ] {
            let request = Request::post(format!("{server}{path}"));
            let sent = send(&agent, request.body("{}".to_owned()).unwrap()).await;
            let error = sent.unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains(path), "{error}");
        }
        for path in ["/fail", "/redirect", "/never"] {
            assert_eq!(paths.recv().await.unwrap(), path, "no redirect is followed");
        }
        let request = Request::post(format!("{server}/good"));
        send(&agent, request.body("{}".to_owned()).unwrap())
            .await
            .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_heartbeat_is_sent_every_minute_while_readings_are_stored() {
        let (server, mut paths) = server();
        let app = App::fake().await;
        let address = format!("{server}/heartbeat").parse().unwrap();
        let beating = tokio::spawn(heartbeat(Arc::clone(&app), address));
        let start = tokio::time::Instant::now();
        for _ in 0..3 {
            assert_eq!(paths.recv().await.unwrap(), "/heartbeat");
        }
        assert_eq!(start.elapsed().as_secs(), 120);

        app.clock.advance(crate::span::Span::seconds(60));
        fail_next(&app.store, "record", dbm_core::Error::other("full"));
        app.sample().await.unwrap_err();
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert!(paths.try_recv().is_err(), "readings cannot be stored");
        app.sample().await.unwrap();
        assert_eq!(paths.recv().await.unwrap(), "/heartbeat");
        app.store.close().await.unwrap();
        beating.await.unwrap();
    }
}

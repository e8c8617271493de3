//! POST /api/v1/events: 202 once JetStream has acknowledged the event.

use crate::Failure;
use crate::event::{Bad, Event, JSON_TYPE, is_text};
use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use axum::Router;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use bytes::Bytes;
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_BODY: usize = 1 << 20;

pub async fn serve(address: &str, js: jetstream::Context) -> Result<(), Failure> {
    let app = Router::new()
        .route("/api/v1/events", post(take))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(js);
    let listener = tokio::net::TcpListener::bind(address)
        .await?
        .tap_io(|connection| {
            let _ = connection.set_nodelay(true);
        });
    axum::serve(listener, app).await?;
    Ok(())
}

type Body = Result<Bytes, BytesRejection>;

async fn take(State(js): State<jetstream::Context>, headers: HeaderMap, body: Body) -> Response {
    let mut response = match store(&js, &headers, body).await {
        Ok(response) | Err(response) => response,
    };
    let head = response.headers_mut();
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head.insert(REQUEST_ID, request_id(&headers));
    response
}

async fn store(
    js: &jetstream::Context,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(refuse(status, "unsupported-media-type", "not JSON", None));
    }
    let body = body.map_err(|e| refuse(e.status(), "too-large", &e.body_text(), None))?;
    let event = Event::parse(&body).map_err(explain_bad)?;
    let (id, digest) = (event.identity().to_string(), event.digest());
    let payload = match event.payload() {
        b"" => Bytes::new(),
        payload => body.slice_ref(payload),
    };
    let sent = js.publish_with_headers(event.subject(), event.headers(&id, &digest), payload);
    let ack = match sent.await {
        Ok(future) => future.await,
        Err(e) => Err(e),
    };
    let ack = ack.map_err(|e| explain(&e, &id))?;
    if ack.duplicate && !is_same(js, &ack, &digest).await {
        let detail = "another event has this id";
        return Err(refuse(StatusCode::CONFLICT, "id-reused", detail, Some(&id)));
    }
    Ok(accept(&id, ack.duplicate))
}

/// Whether what is stored under this id has the same content.
async fn is_same(
    js: &jetstream::Context,
    ack: &jetstream::publish::PublishAck,
    digest: &str,
) -> bool {
    let Ok(stream) = js.get_stream(&ack.stream).await else {
        return false;
    };
    let first = stream.get_raw_message(ack.sequence).await;
    first.is_ok_and(|m| {
        m.headers
            .get("Tidings-Digest")
            .is_some_and(|d| d.as_str() == digest)
    })
}

fn accept(id: &str, duplicate: bool) -> Response {
    let more = if duplicate {
        r#","duplicate":true"#
    } else {
        ""
    };
    let body = format!("{{\"event_id\":\"{id}\",\"status\":\"accepted\"{more}}}\n");
    let headers = [
        (CONTENT_TYPE, JSON_TYPE.into()),
        (LOCATION, format!("/api/v1/events/{id}")),
    ];
    (StatusCode::ACCEPTED, headers, body).into_response()
}

fn refuse(status: StatusCode, kind: &str, detail: &str, id: Option<&str>) -> Response {
    let mut problem = serde_json::json!({"type": format!("urn:tidings:problem:{kind}"),
        "status": status.as_u16(), "title": status.canonical_reason(), "detail": detail});
    if let Some(id) = id {
        problem["event_id"] = id.into();
    }
    (
        status,
        [(CONTENT_TYPE, "application/problem+json")],
        problem.to_string(),
    )
        .into_response()
}

fn explain_bad(bad: Bad) -> Response {
    match bad {
        Bad::Malformed(detail) => refuse(StatusCode::BAD_REQUEST, "malformed", &detail, None),
        Bad::Invalid(detail) => refuse(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail, None),
    }
}

fn explain(e: &PublishError, id: &str) -> Response {
    let detail = e.to_string();
    match e.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => refuse(
            StatusCode::GATEWAY_TIMEOUT,
            "unknown-outcome",
            &detail,
            Some(id),
        ),
        PublishErrorKind::MaxAckPending => refuse(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            &detail,
            None,
        ),
        PublishErrorKind::MaxPayloadExceeded => {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, "too-large", &detail, None)
        }
        _ if detail.contains("maximum") => {
            refuse(StatusCode::INSUFFICIENT_STORAGE, "log-full", &detail, None)
        }
        _ => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            &detail,
            None,
        ),
    }
}

fn is_json(value: &HeaderValue) -> bool {
    let kind = value.as_bytes().split(|c| *c == b';').next().unwrap_or(b"");
    kind.trim_ascii().eq_ignore_ascii_case(JSON_TYPE.as_bytes())
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers
        .get(REQUEST_ID)
        .filter(|v| v.to_str().is_ok_and(|t| is_text(t, 128)));
    let made = || HeaderValue::from_str(&Uuid::now_v7().to_string()).expect("ASCII");
    given.cloned().unwrap_or_else(made)
}

//! An event: read from plain JSON (docs/http-api.md), laid out for the bus (docs/bus.md).

use async_nats::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::{Uuid, uuid};

pub const EVENT_LOG: &str = "TIDINGS_EVENTS";
pub const SUBJECT_PREFIX: &str = "tidings.events.";
pub const DEFAULT_SOURCE: &str = "/tidings";
pub const JSON_TYPE: &str = "application/json";
const PRODUCER_NAMESPACE: Uuid = uuid!("8c3d57a5-fe0b-4f44-b934-24bc65a6c989");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
}

pub enum Bad {
    Malformed(String),
    Invalid(&'static str),
}

fn is_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    name.len() <= 128
        && name
            .as_bytes()
            .split(|c| *c == b'.')
            .all(|p| !p.is_empty() && p.iter().all(|c| allowed(*c)))
}

pub fn is_text(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && !text.bytes().any(|c| c < b' ' || c == 0x7f)
}

fn text_or_none(text: &Option<Cow<'_, str>>, most: usize) -> bool {
    text.as_ref().is_none_or(|t| is_text(t, most))
}

pub fn id_of(source: &str, producer_id: &str) -> Uuid {
    if producer_id.len() == 36 {
        if let Ok(id) = Uuid::try_parse(producer_id) {
            if !id.is_nil() {
                return id;
            }
        }
    }
    Uuid::new_v5(
        &PRODUCER_NAMESPACE,
        format!("{source}\n{producer_id}").as_bytes(),
    )
}

/// The value of a ce- header: the NATS binding's percent-encoding.
fn encoded(text: &str) -> Cow<'_, str> {
    let must = |c: u8| c <= b' ' || c >= 0x7f || c == b'"' || c == b'%';
    if !text.bytes().any(must) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.bytes() {
        if must(c) {
            let _ = write!(out, "%{c:02X}");
        } else {
            out.push(c as char);
        }
    }
    out.into()
}

/// RFC 3339 in UTC, with milliseconds.
fn now_text() -> String {
    let now = OffsetDateTime::now_utc();
    let (day, clock) = (now.date(), now.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        day.year(),
        u8::from(day.month()),
        day.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond()
    )
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
    out
}

impl<'a> Event<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, Bad> {
        let event: Event =
            serde_json::from_slice(body).map_err(|e| Bad::Malformed(e.to_string()))?;
        if !is_name(&event.name) {
            return Err(Bad::Invalid(
                "name: 1 to 128 of A-Z a-z 0-9 _ - in parts between dots",
            ));
        }
        if !text_or_none(&event.key, 256) || !text_or_none(&event.id, 256) {
            return Err(Bad::Invalid(
                "key, id: 1 to 256 bytes, no control characters",
            ));
        }
        if !text_or_none(&event.source, 512) {
            return Err(Bad::Invalid(
                "source: 1 to 512 bytes, no control characters",
            ));
        }
        if event
            .time
            .as_ref()
            .is_some_and(|t| OffsetDateTime::parse(t, &Rfc3339).is_err())
        {
            return Err(Bad::Invalid("time: an RFC 3339 date-time"));
        }
        Ok(event)
    }

    fn source(&self) -> &str {
        self.source.as_deref().unwrap_or(DEFAULT_SOURCE)
    }

    pub fn identity(&self) -> Uuid {
        self.id
            .as_deref()
            .map_or_else(Uuid::now_v7, |id| id_of(self.source(), id))
    }

    pub fn payload(&self) -> &'a [u8] {
        self.payload.map_or(b"", |p| p.get().as_bytes())
    }

    pub fn subject(&self) -> String {
        format!("{SUBJECT_PREFIX}{}", self.name)
    }

    fn content_type(&self) -> &'static str {
        if self.payload.is_some() {
            JSON_TYPE
        } else {
            ""
        }
    }

    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let key = self.key.as_deref().unwrap_or("");
        for field in [&*self.name, self.source(), key, self.content_type(), "", ""] {
            hash.update((field.len() as u32).to_be_bytes());
            hash.update(field);
        }
        hash.update((self.payload().len() as u32).to_be_bytes());
        hash.update(self.payload());
        hex(&hash.finalize()[..16])
    }

    pub fn headers(&self, id: &str, digest: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("Tidings-Event-Id", id);
        headers.insert("Tidings-Digest", digest);
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-source", &*encoded(self.source()));
        headers.insert("ce-type", &*self.name);
        if let Some(producer_id) = &self.id {
            headers.insert("Nats-Msg-Id", id);
            headers.insert("ce-id", &*encoded(producer_id));
        } else {
            headers.insert("ce-id", id);
        }
        match &self.time {
            Some(time) => headers.insert("ce-time", &**time),
            None => headers.insert("ce-time", now_text()),
        }
        if self.payload.is_some() {
            headers.insert("ce-datacontenttype", JSON_TYPE);
            headers.insert("content-type", JSON_TYPE);
        }
        if let Some(key) = &self.key {
            headers.insert("ce-partitionkey", &*encoded(key));
        }
        headers
    }
}

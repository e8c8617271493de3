//! GetEventStatus with tonic, from a map of values behind an RwLock that follows both logs.

use crate::Failure;
use crate::event::{DEFAULT_SOURCE, EVENT_LOG, SUBJECT_PREFIX, id_of, is_text};
use async_nats::jetstream::{self, consumer::pull::OrderedConfig};
use futures_util::TryStreamExt;
use prost::Message;
use proto::events::event_service_server::{EventService, EventServiceServer};
use proto::events::event_status::Status as State;
use proto::events::*;
use proto::log::StatusBatch;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use tonic::{Request, Response, Status};
use uuid::Uuid;

#[allow(dead_code)] // most of the API is not served here
mod proto {
    pub mod events {
        tonic::include_proto!("events");
    }
    pub mod log {
        include!(concat!(env!("OUT_DIR"), "/tidings.log.rs"));
    }
}

const STATUS_LOG: &str = "TIDINGS_STATUS_default";

/// What is known of an event.
#[derive(Clone, Default)]
struct Cell {
    name: Arc<str>,
    position: u64,
    updated: i64, // seconds since 1970
    attempt: u32,
    generation: u32,
    status: i32,
}

#[derive(Default)]
struct Table {
    cells: RwLock<HashMap<Uuid, Cell>>,
    position: AtomicU64, // of the status log
}

pub async fn serve(address: &str, js: jetstream::Context) -> Result<(), Failure> {
    let table = Arc::new(Table::default());
    follow(&js, EVENT_LOG, true, table.clone(), Table::add_event).await?;
    follow(&js, STATUS_LOG, false, table.clone(), Table::add_changes).await?;
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .add_service(EventServiceServer::from_arc(Arc::new(Service(table))))
        .serve(address.parse()?)
        .await?;
    Ok(())
}

// ---- both logs ----

type Take = fn(&Table, &jetstream::Message) -> Result<(), Failure>;

async fn follow(
    js: &jetstream::Context,
    log: &str,
    headers_only: bool,
    table: Arc<Table>,
    take: Take,
) -> Result<(), Failure> {
    let stream = js.get_stream(log).await?;
    let config = OrderedConfig {
        headers_only,
        ..Default::default()
    };
    let mut messages = stream.create_consumer(config).await?.messages().await?;
    let log = log.to_string();
    tokio::spawn(async move {
        loop {
            match messages.try_next().await {
                Ok(Some(message)) => {
                    if let Err(e) = take(&table, &message) {
                        eprintln!("{log}: {e}");
                    }
                }
                Ok(None) => break,
                Err(e) => eprintln!("{log}: {e}"),
            }
        }
    });
    Ok(())
}

impl Table {
    fn add_event(&self, message: &jetstream::Message) -> Result<(), Failure> {
        let info = message.info()?;
        let headers = message.headers.as_ref().ok_or("no headers")?;
        let id = headers.get("Tidings-Event-Id").ok_or("no event_id")?;
        let mut cells = self.cells.write().expect("nobody panics");
        let cell = cells.entry(Uuid::try_parse(id.as_str())?).or_default();
        if !cell.name.is_empty() {
            return Ok(()); // a copy
        }
        if cell.status == 0 {
            // else its outcome came before it, from the other log
            cell.status = State::Accepted.into();
            cell.updated = info.published.unix_timestamp();
        }
        cell.name = message
            .subject
            .strip_prefix(SUBJECT_PREFIX)
            .unwrap_or("")
            .into();
        cell.position = info.stream_sequence;
        Ok(())
    }

    fn add_changes(&self, message: &jetstream::Message) -> Result<(), Failure> {
        let position = message.info()?.stream_sequence;
        let batch = StatusBatch::decode(message.payload.clone())?;
        if batch.version != 1 {
            return Err("a version that is not known".into());
        }
        let mut cells = self.cells.write().expect("nobody panics");
        for (i, status) in batch.statuses.iter().enumerate() {
            let id = Uuid::from_slice(&batch.event_ids[i * 16..i * 16 + 16])?;
            let cell = cells.entry(id).or_default();
            let change = Cell {
                name: cell.name.clone(),
                position: batch.event_positions[i],
                updated: batch.times_ms[i] / 1000,
                attempt: batch.attempts[i],
                generation: batch.generations[i],
                status: (status & 15) as i32,
            };
            if change.wins(cell) {
                *cell = change;
            }
        }
        drop(cells);
        self.position.store(position, Ordering::Release);
        Ok(())
    }
}

impl Cell {
    fn wins(&self, old: &Cell) -> bool {
        if self.generation != old.generation {
            return self.generation > old.generation;
        }
        let ended = old.status >= State::Processed as i32;
        !ended && (self.attempt, self.status) > (old.attempt, old.status)
    }
}

// ---- the call ----

struct Service(Arc<Table>);

#[tonic::async_trait]
impl EventService for Service {
    async fn get_event_status(
        &self,
        request: Request<GetEventStatusRequest>,
    ) -> Result<Response<EventStatus>, Status> {
        let request = request.into_inner();
        if request.view() == EventView::Full {
            return Err(Status::unimplemented("BASIC only"));
        }
        if !is_text(&request.event_id, 256) {
            return Err(Status::invalid_argument("event_id: 1 to 256 bytes"));
        }
        let source = match request.source.as_str() {
            "" => DEFAULT_SOURCE,
            source => source,
        };
        let id = id_of(source, &request.event_id);
        let position = self.0.position.load(Ordering::Acquire);
        if position < request.min_position {
            return Err(Status::unavailable("not that far yet"));
        }
        let found = self
            .0
            .cells
            .read()
            .expect("nobody panics")
            .get(&id)
            .cloned();
        let found = found.filter(|cell| !cell.name.is_empty());
        let found = found.ok_or_else(|| Status::not_found("no such event"))?;
        Ok(Response::new(EventStatus {
            event_id: id.to_string(),
            status: found.status,
            name: found.name.to_string(),
            attempt: found.attempt,
            generation: found.generation,
            updated_at: Some(prost_types::Timestamp {
                seconds: found.updated,
                nanos: 0,
            }),
            event_position: found.position,
            position,
            ..Default::default()
        }))
    }
}

//! A peer of Tidings' services for `make bench`: the same jobs, as Rust programs do them today.
//!
//!     rust_peer post ADDRESS NATS_URL     POST /api/v1/events with axum and async-nats
//!     rust_peer status ADDRESS NATS_URL   GetEventStatus with tonic, fed from both logs

mod event;
mod post;
mod status;

use async_nats::jetstream::{self, context::ContextBuilder, stream};
use std::time::Duration;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MAX_IN_FLIGHT: usize = 8192;
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

async fn connect(url: &str) -> Result<jetstream::Context, Failure> {
    let client = async_nats::ConnectOptions::new()
        .client_capacity(MAX_IN_FLIGHT)
        .subscription_capacity(MAX_IN_FLIGHT * 8)
        .connect(url)
        .await?;
    Ok(ContextBuilder::new()
        .ack_timeout(PUBLISH_TIMEOUT)
        .timeout(PUBLISH_TIMEOUT)
        .max_ack_inflight(MAX_IN_FLIGHT)
        .backpressure_on_inflight(false)
        .build(client))
}

/// The stream as Tidings makes it; one that is there stays as it is.
async fn need_stream(js: &jetstream::Context) -> Result<(), Failure> {
    if js.get_stream(event::EVENT_LOG).await.is_ok() {
        return Ok(());
    }
    js.create_stream(stream::Config {
        name: event::EVENT_LOG.into(),
        subjects: vec![format!("{}>", event::SUBJECT_PREFIX)],
        storage: stream::StorageType::File,
        retention: stream::RetentionPolicy::Limits,
        discard: stream::DiscardPolicy::New,
        duplicate_window: Duration::from_secs(120),
        deny_delete: true,
        deny_purge: true,
        allow_direct: true,
        ..Default::default()
    })
    .await?;
    Ok(())
}

async fn run(job: &str, address: &str, url: &str) -> Result<(), Failure> {
    let js = connect(url).await?;
    need_stream(&js).await?;
    match job {
        "post" => post::serve(address, js).await,
        "status" => status::serve(address, js).await,
        _ => Err("post or status".into()),
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, job, address, url] = arguments.as_slice() else {
        return Err("usage: rust_peer post|status ADDRESS NATS_URL".into());
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if job == "status" {
        runtime.worker_threads(1); // measured faster than one a core beside its load on two
    }
    runtime
        .enable_all()
        .build()?
        .block_on(run(job, address, url))
}

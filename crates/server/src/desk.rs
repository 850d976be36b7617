//! The front desk: answers connections that want a page or a playlist, which shards hand over.
//!
//! One thread with a small tokio runtime; each visitor gets one answer and is let go. What the answers say is
//! [`funnel_control::pages`]' work; this is where it learns what is on air. A visitor who reads too slowly, or stays after the answer,
//! loses the connection after a few seconds, and so many at a time are served: pages never cost more than this thread.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use funnel_asf::Header;
use funnel_channel::{Air, Channel, Start};
use funnel_control::config::{ChannelConfig, Config, SourceConfig};
use funnel_control::directory::Directory;
use funnel_control::pages::{self, Elsewhere, Multicast, Show, Site, State, Way};
use funnel_ingest::{Stream, Visitor};
use funnel_session::server::Redirect;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::debug;

use crate::announce::Board;
use crate::failure::Failure;
use crate::probe::StreamReport;
use crate::sources;

/// A channel as the desk knows it.
pub struct Exhibit {
    /// Where state, header and viewers are looked up.
    pub channel: Arc<Channel>,
    /// It exists to be load tested.
    pub is_load_test: bool,
    /// It is sent to a group.
    pub is_multicast: bool,
    /// It is on another server.
    pub elsewhere: Option<Arc<Redirect>>,
}

/// The channels as the pages show them.
///
/// # Errors
/// Two channels of one name; a loaded configuration has none.
pub fn exhibits(config: &Config, channels: &[Arc<Channel>]) -> Result<Directory<Exhibit>, Failure> {
    let entry = |(channel, shared): (&ChannelConfig, &Arc<Channel>)| {
        let exhibit = Exhibit {
            channel: Arc::clone(shared),
            is_load_test: matches!(channel.source, SourceConfig::Probe { .. }),
            is_multicast: channel.multicast.is_some(),
            elsewhere: sources::redirect(channel),
        };
        (channel.name.clone(), exhibit)
    };
    let configured = config.channels.iter();
    Directory::new(configured.zip(channels).map(entry)).map_err(Failure::fault)
}

/// Opens the desk; it closes with the last sender.
///
/// # Errors
/// When there is no thread or no runtime to be had.
pub fn start(
    site: Site,
    channels: Directory<Exhibit>,
    board: Board,
) -> io::Result<Sender<Visitor>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (send, mut visitors) = mpsc::channel(WAITING_MAX);
    let desk = Arc::new(Desk {
        site,
        channels,
        board,
    });
    thread::Builder::new()
        .name("funnel-pages".into())
        .spawn(move || {
            runtime.block_on(async move {
                let room = Arc::new(Semaphore::new(SERVED_MAX));
                while let Some(visitor) = visitors.recv().await {
                    let Ok(place) = Arc::clone(&room).acquire_owned().await else {
                        return;
                    };
                    tokio::spawn(Arc::clone(&desk).serve(visitor, place));
                }
            });
        })?;
    Ok(send)
}

/// Visitors who wait for their turn; who comes then is turned away.
const WAITING_MAX: usize = 256;
/// Visitors served at one time.
const SERVED_MAX: usize = 256;
/// For the whole visit; tests have less patience.
const VISIT_MAX: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });

struct Desk {
    site: Site,
    channels: Directory<Exhibit>,
    board: Board,
}

impl Desk {
    async fn serve(self: Arc<Self>, visitor: Visitor, _place: OwnedSemaphorePermit) {
        let peer = visitor.peer;
        let Ok(stream) = visitor.into_stream() else {
            return;
        };
        match timeout(VISIT_MAX, self.answer(stream)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%peer, %error, "a visitor left early"),
            Err(_) => debug!(%peer, "a visitor was too slow"),
        }
    }

    async fn answer(&self, stream: Stream) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let peer = stream.peer();
        let way = match stream.is_encrypted() {
            true => Way::Secure,
            false => Way::Plain,
        };
        let answer = async |request: Request<Incoming>| {
            let (request, _) = request.into_parts();
            let look = |name: &str, exhibit: &Exhibit| exhibit.show(name, &self.board);
            let response = pages::answer(&self.site, &self.channels, look, &request, way);
            let status = response.status().as_u16();
            debug!(%peer, method = %request.method, path = request.uri.path(), status, "page");
            let response: Response<Full<Bytes>> = response.map(|body| Full::new(body.into()));
            Ok::<_, Infallible>(response)
        };
        let mut connection = http1::Builder::new()
            .keep_alive(false)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        let answered = (&mut connection).await;
        let stream = connection.into_parts().io.into_inner();
        // What is still on its way would make the kernel reset the connection, and the answer be lost with it.
        let mut rest = stream.take(LEFT_OVER_MAX);
        let _ = timeout(
            LINGER_MAX,
            tokio::io::copy(&mut rest, &mut tokio::io::sink()),
        )
        .await;
        Ok(answered?)
    }
}

/// Bytes behind a request that are read for politeness, and how long.
const LEFT_OVER_MAX: u64 = 64 * 1024;
const LINGER_MAX: Duration = Duration::from_secs(1);

impl Exhibit {
    /// What is known of the channel now.
    fn show(&self, name: &str, board: &Board) -> Show {
        let snapshot = self.channel.snapshot();
        let epoch = snapshot.epoch.as_deref();
        let header = epoch.and_then(|epoch| Header::parse(&epoch.header).ok());
        let texts = header.as_ref().map(Header::description);
        let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let multicast = match self.is_multicast {
            false => Multicast::None,
            true => board
                .read(name)
                .map_or(Multicast::Pending, Multicast::Announced),
        };
        let starts_with_viewer = self.channel.options().start == Start::FirstViewer;
        Show {
            name: name.to_owned(),
            title: texts.and_then(|texts| known(&texts.title)),
            author: texts.and_then(|texts| known(&texts.author)),
            state: match snapshot.air {
                Air::OnAir => State::OnAir,
                Air::Ready => State::Standby,
                Air::Waiting if starts_with_viewer => State::Standby,
                Air::Waiting => State::Waiting,
                Air::Gap => State::Interrupted,
                Air::Ended => State::Ended,
                Air::Lost => State::OffAir,
            },
            bit_rate: epoch.map(|epoch| epoch.bit_rate),
            streams: header.iter().flat_map(streams).collect(),
            viewers: self.channel.demand().viewers,
            is_load_test: self.is_load_test,
            multicast,
            elsewhere: self.elsewhere.as_deref().map(|redirect| Elsewhere {
                mms: redirect.mms.clone(),
                http: redirect.http.clone(),
            }),
        }
    }
}

fn streams(header: &Header) -> impl Iterator<Item = String> {
    header
        .streams()
        .iter()
        .map(|stream| StreamReport::new(stream).text())
}

#[cfg(test)]
mod tests;

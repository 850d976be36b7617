//! Another server as source: an encoder that waits to be asked, a Windows Media server, another funnel.
//!
//! A run is one session, asked for again when it ends. Packets keep their times; after a reconnection to the same broadcast nothing is
//! repeated ([`Splice`]). Redirects are followed to wherever they lead.

mod link;
mod splice;

use std::{ops::ControlFlow, rc::Rc, time::Instant};

use funnel_asf::Header;
use funnel_session::{
    client::{CloseReason, Event, Stage, full_size_packet},
    url::{Url, UrlError},
};
use tracing::{info, warn};

use self::{
    link::{Link, News, Tls},
    splice::Splice,
};
use crate::{
    intake::{Fault, Intake},
    live::{Kind, Run},
    runtime::PullOptions,
    trust::Trust,
};

/// What the log calls it.
pub(crate) const NAME: &str = "the origin";

/// A channel of another server.
#[derive(Debug)]
pub(crate) struct Pull {
    url: Url,
    tls: Rc<Tls>,
    splice: Splice,
}

impl Pull {
    pub(crate) fn new(options: &PullOptions) -> Result<Self, UrlError> {
        let trust = match &options.ca {
            Some(path) => Trust::Authorities(path.clone()),
            None => Trust::System,
        };
        Ok(Self {
            url: options.url.parse()?,
            tls: Rc::new(Tls::new(trust)),
            splice: Splice::default(),
        })
    }
}

impl Kind for Pull {
    type Run<'a> = Pulling<'a>;

    fn start(&mut self, intake: &Intake) -> Option<Pulling<'_>> {
        info!(channel = intake.name(), url = %self.url, "the origin is asked");
        Some(Pulling {
            link: Link::new(self.url.clone(), Rc::clone(&self.tls)),
            tls: &self.tls,
            redirects: 0,
            ear: Ear {
                url: self.url.clone(),
                splice: &mut self.splice,
                packet_bytes: 0,
                has_header: false,
                padded: Vec::new(),
                refused_at: None,
                redirect: None,
            },
        })
    }
}

/// One session.
pub(crate) struct Pulling<'a> {
    link: Link,
    tls: &'a Rc<Tls>,
    redirects: u8,
    ear: Ear<'a>,
}

impl Run for Pulling<'_> {
    type News = News;

    async fn news(&mut self) -> News {
        self.link.news(self.ear.splice.deadline()).await
    }

    fn take(&mut self, news: News, intake: &mut Intake) -> ControlFlow<()> {
        let ear = &mut self.ear;
        let mut heard = ear
            .splice
            .on_time(Instant::now(), intake)
            .map_err(End::from);
        self.link.take(news, |event| {
            if heard.is_ok() {
                heard = ear.hear(event, intake);
            }
        });
        let (channel, url) = (intake.name(), &ear.url);
        match heard {
            Ok(()) => return ControlFlow::Continue(()),
            Err(End::Redirected(to)) if self.redirects < REDIRECTS_MAX => {
                info!(channel, %url, %to, "the origin is elsewhere");
                self.redirects += 1;
                ear.url = to.clone();
                ear.has_header = false;
                self.link = Link::new(to, Rc::clone(self.tls));
                return ControlFlow::Continue(());
            }
            Err(End::Redirected(_)) => warn!(channel, %url, "the origin sends us round in circles"),
            Err(End::Unusable(fault)) => {
                warn!(channel, %url, %fault, "what the origin sends cannot be used");
            }
            Err(End::Closed(reason)) => {
                let packets = intake.packets();
                match self.link.fault() {
                    Some(fault) => warn!(channel, %url, %fault, "the origin cannot be asked"),
                    None => warn!(channel, %url, packets, "the origin ends the session: {reason}"),
                }
            }
        }
        ControlFlow::Break(())
    }

    async fn stop(self, _: &Intake) {
        self.link.leave().await;
    }
}

/// Hears what happens in a session.
struct Ear<'a> {
    url: Url,
    splice: &'a mut Splice,
    packet_bytes: usize,
    /// A header was there in this session.
    has_header: bool,
    padded: Vec<u8>,
    refused_at: Option<Stage>,
    redirect: Option<String>,
}

/// Why a session is over.
enum End {
    Closed(String),
    Redirected(Url),
    Unusable(Unusable),
}

#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Packets(#[from] Fault),
    #[error("its header is damaged: {0}")]
    Header(#[from] funnel_asf::HeaderError),
    #[error("a packet comes before the header")]
    NoHeader,
}

impl<E: Into<Unusable>> From<E> for End {
    fn from(fault: E) -> Self {
        Self::Unusable(fault.into())
    }
}

impl Ear<'_> {
    fn hear(&mut self, event: Event<'_>, intake: &mut Intake) -> Result<(), End> {
        match event {
            Event::Connected {
                server_version,
                product,
            } => {
                let channel = intake.name();
                info!(channel, server_version, product, "the origin answers");
            }
            Event::Header(bytes) => {
                let header = Header::parse(bytes)?;
                self.packet_bytes = header.packet_bytes() as usize;
                if std::mem::replace(&mut self.has_header, true) {
                    self.splice.change(header, intake);
                } else {
                    self.splice.begin(header, Instant::now(), intake);
                }
            }
            Event::Packet { bytes, .. } => self.packet(bytes, intake)?,
            Event::Refused { stage, .. } => self.refused_at = Some(stage),
            Event::Redirect(url) => self.redirect = Some(url),
            Event::Close(reason) => {
                let redirect = self.redirect.take().and_then(|url| url.parse().ok());
                return Err(match redirect {
                    Some(url) => End::Redirected(url),
                    None => End::Closed(self.why(&reason)),
                });
            }
            Event::Opened(_)
            | Event::Started
            | Event::Lost { .. }
            | Event::StreamChange(_)
            | Event::Stopped
            | Event::End(_) => {}
        }
        Ok(())
    }

    fn packet(&mut self, bytes: &[u8], intake: &mut Intake) -> Result<(), End> {
        if !self.has_header {
            return Err(Unusable::NoHeader.into());
        }
        let now = Instant::now();
        if bytes.len() == self.packet_bytes {
            self.splice.packet(bytes, now, intake)?;
        } else {
            full_size_packet(bytes, self.packet_bytes, &mut self.padded);
            self.splice.packet(&self.padded, now, intake)?;
        }
        Ok(())
    }

    fn why(&self, reason: &CloseReason) -> String {
        match reason {
            CloseReason::Finished => "its show is over".into(),
            CloseReason::Refused(hr) => match self.refused_at {
                Some(stage) => format!("refused at {stage:?}, {hr}"),
                None => format!("refused, {hr}"),
            },
            CloseReason::ConnectionLost => "the connection is lost".into(),
            CloseReason::TimedOut => "it is silent".into(),
            CloseReason::NoDatagrams => {
                "nothing comes over UDP, perhaps because of a firewall (mmst:// asks for TCP)"
                    .into()
            }
            CloseReason::Answered(status) => format!("its answer is {status}"),
            CloseReason::NoStream => "its answer is neither Windows Media nor ASF".into(),
            CloseReason::Framing(error) => format!("it does not speak MMS, {error}"),
            CloseReason::Http(error) => format!("it does not speak HTTP, {error}"),
            CloseReason::Damaged(what) => format!("it sent a damaged {what}"),
            reason => format!("{reason:?}"),
        }
    }
}

/// As with players.
const REDIRECTS_MAX: u8 = 5;

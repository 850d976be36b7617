//! A media file looked at before it goes on air: what it holds, and what will hurt.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use funnel_asf::{
    DeframeError, Family, Header, HeaderError, LiveHeader, LiveOptions, Survey, live_header,
};

use crate::cutter::Cutter;

/// What a media file holds.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// Its header, as it stands in the file.
    pub header: Header,
    /// The header viewers would get, with what was left out of it and the players it is too long for.
    pub live: LiveHeader,
    /// Packets, length, key frames, padding, rates, damage.
    pub survey: Survey,
}

/// Why a media file cannot be served. Every message names the file, and the place in it where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// The file cannot be opened or read.
    #[error("{}: cannot read it at byte {at}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Bytes read before.
        at: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Its bytes are not ASF, or its header breaks a rule.
    #[error("{}: {source} (within the first {before} bytes)", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Bytes read when it was noticed.
        before: u64,
        /// What is wrong.
        source: DeframeError,
    },
    /// The header cannot be rewritten for a live show.
    #[error("{}: its header cannot be sent: {source}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: HeaderError,
    },
    /// It ends within its header.
    #[error("{}: it ends after {bytes} bytes, within the header", path.display())]
    NoHeader {
        /// The file.
        path: PathBuf,
        /// Size of the file.
        bytes: u64,
    },
    /// There is nothing to send.
    #[error("{}: no packet with media behind its header ({damaged} damaged packets)", path.display())]
    NoPackets {
        /// The file.
        path: PathBuf,
        /// Packets that are none.
        damaged: u64,
    },
}

/// Reads a whole file and says what it holds. Blocks; reads the file once from end to end.
///
/// # Errors
/// When it could not be served.
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, InspectError> {
    let path = path.as_ref();
    let failed = |at| {
        move |source| InspectError::Read {
            path: path.to_owned(),
            at,
            source,
        }
    };
    let mut file = File::open(path).map_err(failed(0))?;
    let size = file.metadata().map_err(failed(0))?.len();
    let mut examiner = Examiner::new(path, size);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while !examiner.is_done() {
        let read = file.read(&mut chunk).map_err(failed(at))?;
        examiner.push(&chunk[..read])?;
        at += read as u64;
    }
    examiner.finish()
}

/// The same for a file in memory; `name` stands for the path in errors.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_bytes(name: &str, bytes: &[u8]) -> Result<Inspection, InspectError> {
    let mut examiner = Examiner::new(Path::new(name), bytes.len() as u64);
    examiner.push(bytes)?;
    examiner.finish()
}

impl Inspection {
    /// What the operator should know before viewers find out, one sentence each. `log` is how long the channel's log reaches back;
    /// `looped` whether the file will be repeated.
    pub fn warnings(&self, log: Duration, looped: bool) -> Vec<String> {
        let mut warnings: Vec<String> =
            self.live.warnings.iter().map(ToString::to_string).collect();
        self.warn_of_packets(&mut warnings);
        self.warn_of_key_frames(log, looped, &mut warnings);
        warnings.extend(warning_of_codecs(&self.header));
        warnings
    }

    fn warn_of_packets(&self, warnings: &mut Vec<String>) {
        let survey = &self.survey;
        warnings.extend(warning_of_packet_size(survey.packet_bytes));
        if survey.damaged > 0 {
            let all = survey.damaged + survey.packets;
            warnings.push(format!(
                "{} of {all} packets are damaged and will be left out",
                survey.damaged
            ));
        }
    }

    fn warn_of_key_frames(&self, log: Duration, looped: bool, warnings: &mut Vec<String>) {
        let survey = &self.survey;
        if survey.has_video && survey.key_frames == 0 {
            warnings.push("no key frame is marked in the video: viewers who join see a broken picture at first".to_owned());
        } else if let Some(gap_ms) = survey.key_frame_gap_ms_max {
            warnings.extend(warning_of_key_frames(
                Duration::from_millis(gap_ms.into()),
                log,
            ));
        }
        if looped && survey.has_video && survey.key_frames > 0 && !survey.first_packet_is_key {
            warnings.push(
                "the video does not begin with a key frame: the picture breaks at each repetition"
                    .to_owned(),
            );
        }
    }
}

/// Whether every packet will be cut in two on its way, and what to do.
pub(crate) fn warning_of_packet_size(packet_bytes: u32) -> Option<String> {
    (packet_bytes > NETWORK_PACKET_BYTES_MAX).then(|| {
        format!(
            "packets of {packet_bytes} bytes do not fit a network packet ({NETWORK_PACKET_BYTES_MAX} at most): each lost fragment costs a \
             whole packet; encode with -packet_size 1400"
        )
    })
}

/// Which codecs older players lack, and what to use instead.
pub(crate) fn warning_of_codecs(header: &Header) -> Option<String> {
    let foreign = |family| matches!(family, Family::Modern | Family::Unknown);
    let streams = header.streams().iter();
    let names: Vec<String> = streams
        .filter(|stream| foreign(stream.codec.family()))
        .map(|stream| stream.codec.name())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "{}: Windows Media Player and other older players cannot decode this; wmv2 and wmav2 play everywhere",
            names.join(", ")
        )
    })
}

/// That a viewer who falls behind finds no key frame in the log, and what to do.
pub(crate) fn warning_of_key_frames(gap: Duration, log: Duration) -> Option<String> {
    (gap > log).then(|| {
        format!(
            "key frames are up to {:.1} s apart, further than the log reaches ({} s): a viewer who falls behind waits for the next one; \
             encode with a shorter -g or raise log_seconds",
            gap.as_secs_f32(),
            log.as_secs()
        )
    })
}

/// Collects an inspection from a file's bytes, however they are read.
pub(crate) struct Examiner {
    path: PathBuf,
    cutter: Cutter,
    survey: Option<Survey>,
}

impl Examiner {
    pub(crate) fn new(path: &Path, file_bytes: u64) -> Self {
        Self {
            path: path.to_owned(),
            cutter: Cutter::new(file_bytes),
            survey: None,
        }
    }

    /// Takes the next bytes of the file; an empty slice for its end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), InspectError> {
        self.cutter.push(bytes);
        loop {
            let before = self.cutter.position();
            let wrong = |source| InspectError::Format {
                path: self.path.clone(),
                before,
                source,
            };
            let Some(packet) = self.cutter.next().map_err(wrong)? else {
                break;
            };
            if let Some(survey) = &mut self.survey {
                survey.packet(packet);
                continue;
            }
            // The first packet comes behind the header; cloning it once lets go of the cutter.
            let packet = packet.to_vec();
            let Some(header) = self.cutter.header() else {
                continue;
            };
            self.survey.insert(Survey::new(header)).packet(&packet);
        }
        if bytes.is_empty() && !self.cutter.is_over() {
            return Err(InspectError::NoHeader {
                path: self.path.clone(),
                bytes: self.cutter.position(),
            });
        }
        Ok(())
    }

    pub(crate) fn is_done(&self) -> bool {
        self.cutter.is_over()
    }

    pub(crate) fn finish(self) -> Result<Inspection, InspectError> {
        let Self {
            path,
            cutter,
            survey,
        } = self;
        let Some(header) = cutter.header().cloned() else {
            return Err(InspectError::NoHeader {
                path,
                bytes: cutter.position(),
            });
        };
        let survey = survey.unwrap_or_else(|| Survey::new(&header)).finish();
        if survey.packets == 0 {
            return Err(InspectError::NoPackets {
                path,
                damaged: survey.damaged,
            });
        }
        let options = LiveOptions {
            packet_bytes: survey.packet_bytes,
            bit_rates: &survey.bit_rates,
            ..LiveOptions::default()
        };
        let live = live_header(&header, &options)
            .map_err(|source| InspectError::Header { path, source })?;
        Ok(Inspection {
            header,
            live,
            survey,
        })
    }
}

/// What a file is read in.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// 1500 (Ethernet) − 20 (IPv4) − 8 (UDP) − 8 (our head, MS-MMSP 2.2.2).
const NETWORK_PACKET_BYTES_MAX: u32 = 1464;

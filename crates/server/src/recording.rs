//! A channel's packets as a file that plays.
//!
//! While recording the file is `FILE.part`: the header as received, whole, then full-size packets, so that even a crash leaves a
//! readable stream. [`Recording::finish`] makes it a proper file: times from 0, counts, sizes and durations in the header, broadcast
//! flag off; synchronised to the disk, and only then under its name. Layouts: `docs/protocol/asf.md` §3.1, §6.1.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use funnel_asf::header::DATA_HEAD_BYTES;
use funnel_asf::{Header, Layout, guid};
use funnel_session::client::full_size_packet;

/// One file being written.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    part: PathBuf,
    replaces: bool,
    file: File,
    header: Header,
    packet: Vec<u8>,
    first_send_ms: Option<u32>,
    next_location: Option<u32>,
    totals: Totals,
}

/// What a recording holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Packets in the file.
    pub packets: u64,
    /// Its size, bytes.
    pub bytes: u64,
    /// End of the last packet, on the file's clock, ms.
    pub send_end_ms: u32,
    /// Start of the last media object, preroll included, ms.
    pub presentation_ms: u32,
    /// Times the numbers of the packets jumped.
    pub gaps: u32,
    /// Packets missing in those jumps.
    pub missing: u64,
    /// Packets left out because they cannot be understood.
    pub damaged: u64,
}

/// Why a recording cannot begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The output exists.
    #[error("{} exists already: choose another name, or allow --overwrite", .0.display())]
    Exists(PathBuf),
    /// An earlier recording did not come to its end.
    #[error("{} is left over from a recording that was cut off (most players can play it): move it away, or allow --overwrite", .0.display())]
    LeftOver(PathBuf),
    /// The system refuses.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Recording {
    /// Begins the file for `path` with a header.
    ///
    /// # Errors
    /// Something is there already and may not be replaced, or the system refuses.
    pub fn create(path: &Path, header: Header, overwrite: bool) -> Result<Self, RecordError> {
        refuse_existing(path, overwrite)?;
        let part = part_of(path);
        let mut options = OpenOptions::new();
        let options = if overwrite {
            options.create(true).truncate(true)
        } else {
            options.create_new(true)
        };
        let file = options
            .write(true)
            .open(&part)
            .map_err(|source| match source.kind() {
                io::ErrorKind::AlreadyExists => RecordError::LeftOver(part.clone()),
                _ => RecordError::Write {
                    path: part.clone(),
                    source,
                },
            })?;
        let mut recording = Self {
            path: path.to_owned(),
            part,
            replaces: overwrite,
            file,
            header,
            packet: Vec::new(),
            first_send_ms: None,
            next_location: None,
            totals: Totals::default(),
        };
        recording.totals.bytes = recording.header.bytes().len() as u64;
        if let Err(source) = recording.file.write_all(recording.header.bytes()) {
            let error = recording.failed(source);
            recording.discard();
            return Err(error);
        }
        Ok(recording)
    }

    /// Adds one packet, numbered `location` in the channel, as it was received.
    ///
    /// # Errors
    /// The disk is full, or fails. What was added before is safe: [`finish`](Self::finish).
    pub fn add(&mut self, location: u32, received: &[u8]) -> Result<(), RecordError> {
        self.count_gap(location);
        full_size_packet(
            received,
            self.header.packet_bytes() as usize,
            &mut self.packet,
        );
        if self.packet.len() != self.header.packet_bytes() as usize || !self.retime() {
            self.totals.damaged += 1;
            return Ok(());
        }
        self.file
            .write_all(&self.packet)
            .map_err(|source| self.failed(source))?;
        self.totals.packets += 1;
        self.totals.bytes += self.packet.len() as u64;
        Ok(())
    }

    /// What it holds so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// How much of the show is in it.
    pub fn length(&self) -> Duration {
        Duration::from_millis(self.totals.send_end_ms.into())
    }

    /// Where the file is, or will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Completes the file and gives it its name. Without a single packet there is none, and `false`.
    ///
    /// # Errors
    /// The system refuses; what was received is then still in `FILE.part`.
    pub fn finish(mut self) -> Result<bool, RecordError> {
        if self.totals.packets == 0 {
            self.discard();
            return Ok(false);
        }
        self.complete().map_err(|source| self.failed(source))?;
        // Somebody may have put a file there meanwhile.
        refuse_existing(&self.path, self.replaces)?;
        fs::rename(&self.part, &self.path).map_err(|source| RecordError::Write {
            path: self.path.clone(),
            source,
        })?;
        // The name is safe only with its folder. A folder that cannot be synchronised is none of our faults.
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(true)
    }

    fn complete(&mut self) -> io::Result<()> {
        // A full disk may have cut the last packet.
        self.file.set_len(self.totals.bytes)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file
            .write_all(&file_header(&self.header, self.totals, SystemTime::now()))?;
        self.file.sync_all()
    }

    fn discard(&self) {
        // Nothing of value is lost if this fails.
        let _ = fs::remove_file(&self.part);
    }

    fn failed(&self, source: io::Error) -> RecordError {
        RecordError::Write {
            path: self.part.clone(),
            source,
        }
    }

    fn count_gap(&mut self, location: u32) {
        let missing = self
            .next_location
            .map_or(0, |next| location.wrapping_sub(next));
        // Half of the numbers are behind: a packet out of order is no gap.
        if (1..1 << 31).contains(&missing) {
            self.totals.gaps += 1;
            self.totals.missing += u64::from(missing);
        }
        self.next_location = Some(location.wrapping_add(1));
    }

    /// Moves the packet's times so that the file begins at 0. False if the packet is none, or carries no media.
    fn retime(&mut self) -> bool {
        let Ok(layout) = Layout::parse(&self.packet) else {
            return false;
        };
        if layout.is_parity() {
            return false;
        }
        let first = *self.first_send_ms.get_or_insert(layout.send_ms());
        let send_ms = since(first, layout.send_ms());
        layout.set_send_ms(&mut self.packet, send_ms);
        let mut presentation_ms = self.totals.presentation_ms;
        for payload in layout.payloads() {
            if let Some(time_ms) = payload.time_ms() {
                let time_ms = since(first, time_ms);
                if payload.clone().set_time_ms(&mut self.packet, time_ms) {
                    presentation_ms = presentation_ms.max(time_ms);
                }
            }
        }
        self.totals.presentation_ms = presentation_ms;
        self.totals.send_end_ms = self
            .totals
            .send_end_ms
            .max(send_ms.saturating_add(layout.duration_ms().into()));
        true
    }
}

/// Times are the low 32 bits of a clock that may have wrapped; what lies before the start is moved to it.
fn since(first_ms: u32, time_ms: u32) -> u32 {
    let passed = time_ms.wrapping_sub(first_ms);
    if passed < 1 << 31 { passed } else { 0 }
}

fn refuse_existing(path: &Path, overwrite: bool) -> Result<(), RecordError> {
    match fs::symlink_metadata(path) {
        Ok(facts) if !overwrite || facts.is_dir() => Err(RecordError::Exists(path.to_owned())),
        _ => Ok(()),
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".part");
    name.into()
}

/// The header of a file with these packets, made from the header of the broadcast; the same size.
fn file_header(live: &Header, totals: Totals, now: SystemTime) -> Vec<u8> {
    let mut bytes = live.bytes().to_vec();
    let data_at = bytes.len() - DATA_HEAD_BYTES;
    let preroll_ms = u64::from(live.preroll_ms());
    // §3.1: the play duration includes the preroll. The last object lasts beyond its start, by what the packets' clock says.
    let play_ms = u64::from(totals.presentation_ms).max(u64::from(totals.send_end_ms) + preroll_ms);
    if let Some(at) = file_properties_at(&bytes[..data_at]) {
        let mut put = |offset: usize, value: u64| {
            if let Some(field) = bytes.get_mut(at + offset..at + offset + 8) {
                field.copy_from_slice(&value.to_le_bytes());
            }
        };
        put(40, totals.bytes);
        put(48, filetime(now));
        put(56, totals.packets);
        put(64, play_ms * TICKS_PER_MS);
        put(72, u64::from(totals.send_end_ms) * TICKS_PER_MS);
        if let Some(flags) = bytes.get_mut(at + 88) {
            // Bit 0 broadcast, bit 1 seekable: only sound can be sought without an index.
            let is_seekable = live.streams().iter().all(|stream| !stream.is_video());
            *flags = *flags & !3 | u8::from(is_seekable) << 1;
        }
    }
    let data_bytes = totals.bytes - data_at as u64;
    bytes[data_at + 16..data_at + 24].copy_from_slice(&data_bytes.to_le_bytes());
    bytes[data_at + 40..data_at + 48].copy_from_slice(&totals.packets.to_le_bytes());
    bytes
}

/// 100 ns
const TICKS_PER_MS: u64 = 10_000;

/// Where the File Properties Object is among the children of a Header Object (30 bytes of its own, then `GUID, u64 size, …` each).
fn file_properties_at(header_object: &[u8]) -> Option<usize> {
    let mut at = 30;
    loop {
        let id: [u8; 16] = header_object.get(at..at + 16)?.try_into().ok()?;
        if id == *guid::FILE_PROPERTIES.as_bytes() {
            return Some(at);
        }
        let size: [u8; 8] = header_object.get(at + 16..at + 24)?.try_into().ok()?;
        at = at.checked_add(
            usize::try_from(u64::from_le_bytes(size))
                .ok()
                .filter(|size| *size >= 24)?,
        )?;
    }
}

/// 100 ns since 1601-01-01 (§1).
fn filetime(now: SystemTime) -> u64 {
    const UNIX_EPOCH_TICKS: u64 = 116_444_736_000_000_000;
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH_TICKS + u64::try_from(since.as_nanos() / 100).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use funnel_asf::{Assembler, LiveOptions, MediaObject, Normaliser, data_packets, live_header};

    use super::*;

    /// A channel that carries a file: its live header, and its packets as a viewer gets them who joins `later` ms into the show.
    fn channel(name: &str, later: u32) -> (Header, Vec<Vec<u8>>) {
        let path = format!("{}/../../testdata/media/{name}", env!("CARGO_MANIFEST_DIR"));
        let bytes = fs::read(path).expect("test media");
        let source = Header::parse(&bytes).expect("a sound header");
        let size = source.packet_bytes() as usize;
        let count = data_packets(&source, bytes.len() as u64, source.data_object_size()) as usize;
        let mut normaliser = Normaliser::new(&source);
        let mut packets = Vec::new();
        for raw in bytes[source.bytes().len()..].chunks_exact(size).take(count) {
            let ready = normaliser.packet(raw).expect("sound").expect("media");
            let mut packet = ready.stripped.unwrap_or(ready.full).to_vec();
            let layout = Layout::parse(&packet).expect("sound");
            layout.set_send_ms(&mut packet, layout.send_ms().wrapping_add(later));
            for payload in layout.payloads() {
                let time_ms = payload.time_ms().expect("a time").wrapping_add(later);
                assert!(payload.clone().set_time_ms(&mut packet, time_ms));
            }
            packets.push(packet);
        }
        let options = LiveOptions {
            packet_bytes: normaliser.packet_bytes(),
            ..LiveOptions::default()
        };
        (
            live_header(&source, &options)
                .expect("a live header")
                .header,
            packets,
        )
    }

    fn objects(header: &Header, packets: impl Iterator<Item = Vec<u8>>) -> Vec<MediaObject> {
        let mut assembler = Assembler::new(header);
        let mut found = Vec::new();
        for packet in packets {
            assembler
                .packet(&packet, &mut found)
                .expect("a sound packet");
        }
        found
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    /// Whatever time of the channel a recording begins at, even across the 32-bit wrap, the file is that of the show alone.
    #[test]
    fn a_finished_file_is_complete_and_starts_at_zero() {
        let folder = folder();
        let (_, plain) = channel("av-300k.wmv", 0);
        for later in [0, 123_456_789, u32::MAX - 2_000] {
            let (live, packets) = channel("av-300k.wmv", later);
            let path = folder.path().join(format!("{later}.asf"));
            let mut recording = Recording::create(&path, live, false).expect("created");
            for (location, packet) in (7..).zip(&packets) {
                recording.add(location, packet).expect("written");
            }
            assert!(!path.exists() && part_of(&path).exists());
            let totals = recording.totals();
            assert!(recording.finish().expect("finished"));
            assert!(path.exists() && !part_of(&path).exists());
            assert_eq!(
                (totals.packets, totals.gaps, totals.damaged),
                (packets.len() as u64, 0, 0)
            );

            let bytes = fs::read(&path).expect("the file");
            let header = Header::parse(&bytes).expect("a sound header");
            let size = header.packet_bytes() as usize;
            assert!(!header.is_broadcast());
            assert_eq!(header.packets_count(), packets.len() as u64);
            assert_eq!(
                header.data_object_size(),
                (DATA_HEAD_BYTES + packets.len() * size) as u64
            );
            assert_eq!(bytes.len(), header.bytes().len() + packets.len() * size);
            let recorded = bytes[header.bytes().len()..]
                .chunks_exact(size)
                .map(<[u8]>::to_vec);
            let full = plain.iter().map(|packet| {
                let mut full = Vec::new();
                assert!(full_size_packet(packet, size, &mut full));
                full
            });
            let (recorded, original) = (objects(&header, recorded), objects(&header, full));
            assert_eq!(recorded.len(), original.len());
            assert!(
                recorded == original,
                "joined at {later}: times or media differ"
            );
            let last_ms = recorded
                .iter()
                .map(|object| object.time_ms)
                .max()
                .expect("objects") as u64;
            assert!(
                (last_ms..last_ms + 1_000).contains(&header.play_duration_ms()),
                "{} for {last_ms}",
                header.play_duration_ms()
            );
        }
    }

    #[test]
    fn gaps_are_counted_by_the_numbers_of_the_packets() {
        let folder = folder();
        let (live, packets) = channel("audio-64k.wma", 0);
        let mut recording =
            Recording::create(&folder.path().join("x"), live, false).expect("created");
        for (location, packet) in [u32::MAX - 1, u32::MAX, 3, 4, 10].into_iter().zip(&packets) {
            recording.add(location, packet).expect("written");
        }
        recording.add(11, b"no packet at all").expect("left out");
        let totals = recording.totals();
        assert_eq!(
            (totals.packets, totals.gaps, totals.missing, totals.damaged),
            (5, 2, 8, 1)
        );
    }

    #[test]
    fn sound_alone_can_be_sought() {
        let flags = |name| {
            let live = channel(name, 0).0;
            let totals = Totals {
                bytes: 1 << 20,
                ..Totals::default()
            };
            let bytes = file_header(&live, totals, UNIX_EPOCH);
            bytes[file_properties_at(&bytes).expect("every header has one") + 88]
        };
        assert_eq!((flags("audio-64k.wma"), flags("av-300k.wmv")), (2, 0));
    }

    #[test]
    fn nothing_received_leaves_nothing() {
        let folder = folder();
        let path = folder.path().join("x.asf");
        let recording =
            Recording::create(&path, channel("audio-64k.wma", 0).0, false).expect("created");
        assert!(!recording.finish().expect("nothing to refuse"));
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn nothing_is_overwritten_unasked() {
        let folder = folder();
        let path = folder.path().join("x.asf");
        let (live, packets) = channel("audio-64k.wma", 0);
        fs::write(&path, "mine").expect("written");
        assert!(matches!(
            Recording::create(&path, live.clone(), false),
            Err(RecordError::Exists(_))
        ));
        assert!(
            Recording::create(folder.path(), live.clone(), true).is_err(),
            "a folder"
        );
        let mut recording = Recording::create(&path, live.clone(), true).expect("allowed");
        recording.add(0, &packets[0]).expect("written");
        assert_eq!(fs::read(&path).expect("still there"), b"mine");
        drop(recording);
        let other = folder.path().join("y.asf");
        fs::write(part_of(&other), "cut off").expect("written");
        assert!(matches!(
            Recording::create(&other, live.clone(), false),
            Err(RecordError::LeftOver(_))
        ));
        assert_eq!(fs::read(part_of(&other)).expect("still there"), b"cut off");

        // A file that appears while recording survives, and so does the recording.
        let third = folder.path().join("z.asf");
        let mut recording = Recording::create(&third, live, false).expect("created");
        recording.add(0, &packets[0]).expect("written");
        fs::write(&third, "sudden").expect("written");
        assert!(matches!(recording.finish(), Err(RecordError::Exists(_))));
        assert_eq!(fs::read(&third).expect("still there"), b"sudden");
        assert!(Header::parse(&fs::read(part_of(&third)).expect("kept")).is_ok());
    }

    /// `/dev/full` takes no byte: what a full disk says.
    #[test]
    fn a_full_disk_is_an_error_and_keeps_what_is_there() {
        let folder = folder();
        let path = folder.path().join("x.asf");
        let (live, packets) = channel("audio-64k.wma", 0);
        let mut recording = Recording::create(&path, live, false).expect("created");
        recording.add(0, &packets[0]).expect("written");
        let good = std::mem::replace(
            &mut recording.file,
            OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .expect("/dev/full"),
        );
        let error = recording.add(1, &packets[1]).expect_err("full").to_string();
        assert!(
            error.contains("x.asf.part") && error.contains("No space left"),
            "{error}"
        );
        recording.file = good;
        assert!(
            recording
                .finish()
                .expect("the header's place is there already")
        );
        assert_eq!(
            Header::parse(&fs::read(&path).expect("the file"))
                .expect("sound")
                .packets_count(),
            1
        );
    }
}

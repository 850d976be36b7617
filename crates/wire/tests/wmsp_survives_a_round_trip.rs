//! What is written over HTTP is read back, and whatever comes is answered with a value or an error.

use funnel_wire::mms::{ClientLog, HResult};
use funnel_wire::wmsp::{
    Body, BodyLength, Description, FRAGMENT_BYTES_MAX, HeadWriter, Item, Metadata, Method, Packet,
    PacketHead, PacketKind, Pragmas, RequestHead, ResponseHead, StatusCode, UserAgent, Version,
    encode_fragments, encode_reason,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    vec(
        ("[A-Za-z][A-Za-z0-9-]{0,20}", "([!-~]([ -~é]{0,60}[!-~])?)?"),
        0..20,
    )
    .prop_filter(
        "fields that say how long the body is have rules of their own",
        |fields| {
            fields.iter().all(|(name, _)| {
                !["content-length", "transfer-encoding"].contains(&name.to_lowercase().as_str())
            })
        },
    )
}

proptest! {
    #[test]
    fn heads(fields in fields(), path in "/[!-~]{0,40}", status in 200u16..600, behind in vec(any::<u8>(), 0..20)) {
        let mut bytes = Vec::new();
        let write = |mut head: HeadWriter<'_>| {
            for (name, value) in &fields {
                head = head.field(name, value);
            }
            head.finish();
        };
        write(HeadWriter::request(&mut bytes, &Method::POST, &path, Version::HTTP_11));
        let size = bytes.len();
        bytes.extend_from_slice(&behind);
        let (request, read) = RequestHead::parse(&bytes).unwrap().unwrap();
        prop_assert_eq!((read, &request.target, request.version), (size, &path, Version::HTTP_11));
        let came: Vec<_> = request.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(&came, &fields);

        bytes.clear();
        let status = StatusCode::from_u16(status).unwrap();
        write(HeadWriter::response(&mut bytes, Version::HTTP_10, status));
        let size = bytes.len();
        bytes.extend_from_slice(&behind);
        let (response, read) = ResponseHead::parse(&bytes).unwrap().unwrap();
        prop_assert_eq!((read, response.status, response.version), (size, status, Version::HTTP_10));
        prop_assert_eq!(response.fields, request.fields);
    }

    #[test]
    fn packet_heads(letter: u8, length: u16, is_burst: bool, bytes: [u8; 4]) {
        let head = PacketHead { kind: PacketKind(letter), length, is_burst };
        prop_assert_eq!(PacketHead::decode(head.encode()), Some(head));
        if let Some(head) = PacketHead::decode(bytes) {
            prop_assert_eq!(head.encode(), bytes);
        }
    }

    #[test]
    fn fragments(bytes in vec(any::<u8>(), 1..200), repeat in 1usize..1000, incarnation: u8, reason: u32) {
        let whole = bytes.repeat(repeat);
        let mut out = Vec::new();
        encode_fragments(PacketKind::METADATA, incarnation, &whole, &mut out);
        encode_reason(PacketKind::CHANGE, HResult(reason), &mut out);
        let (mut read, mut rest, mut count) = (Vec::new(), &out[..], 0);
        loop {
            let (packet, size) = Packet::split(rest).unwrap().unwrap();
            rest = &rest[size..];
            if packet.kind == PacketKind::CHANGE {
                prop_assert_eq!((packet.reason(), rest), (HResult(reason), &[][..]));
                break;
            }
            let fragment = packet.fragment().unwrap();
            prop_assert_eq!((fragment.location, fragment.incarnation), (count, incarnation));
            read.extend_from_slice(fragment.payload);
            prop_assert_eq!(fragment.is_last(), read.len() == whole.len());
            count += 1;
        }
        prop_assert_eq!(count as usize, whole.len().div_ceil(FRAGMENT_BYTES_MAX));
        prop_assert_eq!(read, whole);
    }

    #[test]
    fn chunks(content in vec(vec(any::<u8>(), 1..300), 0..8), step in 1usize..400) {
        let mut wire = Vec::new();
        for chunk in &content {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        let (mut body, mut unread, mut read) = (Body::new(BodyLength::Chunked), Vec::new(), Vec::new());
        for piece in wire.chunks(step) {
            prop_assert!(!body.is_over());
            unread.extend_from_slice(piece);
            loop {
                let (size, part) = body.take(&unread).unwrap();
                read.extend_from_slice(part);
                unread.drain(..size);
                if size == 0 {
                    break;
                }
            }
        }
        prop_assert!(body.is_over());
        prop_assert_eq!(read, content.concat());
    }

    #[test]
    fn metadata(
        id: u32, broadcast: u32, features in "[a-z,]{0,30}",
        lists in vec(("[a-zA-Z-]{0,8}", vec(("[A-Z_]{1,30}", any::<u16>(), ".{0,40}"), 0..5)), 0..4),
    ) {
        let description = |(language, items): &(String, Vec<(String, u16, String)>)| Description {
            language: language.clone(),
            items: items
                .iter()
                .map(|(name, kind, value)| Item { name: name.clone(), kind: *kind, value: value.clone() })
                .filter(|item| !item.name.eq_ignore_ascii_case("language"))
                .collect(),
        };
        let metadata = Metadata {
            playlist_gen_id: id,
            broadcast_id: broadcast,
            features,
            descriptions: lists.iter().map(description).collect(),
        };
        prop_assert_eq!(Metadata::parse(&metadata.encode()), metadata);
    }

    #[test]
    fn anything_is_answered(bytes in vec(any::<u8>(), 0..300), text in ".{0,200}") {
        let _ = RequestHead::parse(&bytes);
        let _ = ResponseHead::parse(&bytes);
        let _ = Packet::split(&bytes);
        let _ = Metadata::parse(&bytes);
        let _ = Metadata::parse(text.as_bytes());
        let _ = ClientLog::from_xml(&bytes);
        let _ = ClientLog::from_xml(text.as_bytes());
        let _ = ClientLog::from_line(&text);
        let _ = UserAgent::parse(&text);
        let pragmas = Pragmas::parse([text.as_str()]);
        let _ = (pragmas.client_id(), pragmas.client_guid(), pragmas.switch_entries().count());
        let _ = Body::new(BodyLength::Chunked).take(&bytes);
    }
}

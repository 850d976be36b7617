//! Windows Media over HTTP (MS-WMSP and MS-WMHTTP): heads of requests and responses, Pragma tokens, framed packets, logs.
//!
//! Section numbers refer to `docs/protocol/wmsp.md`. A stream is read with [`RequestHead::parse`] or
//! [`ResponseHead::parse`], its body with [`Body`], and the content of that with [`Packet::split`]. Each takes whatever has
//! arrived, and says so when that is not enough; what it did not take is to be given again, with more behind it.
//! Logs become [`ClientLog`](crate::mms::ClientLog). Methods, versions and status codes are those of the crate `http`.

mod agent;
mod body;
mod fault;
mod fields;
mod log;
mod metadata;
mod packet;
mod pragma;
mod request;
mod response;
mod switch;
mod write;

pub use agent::{Product, UserAgent};
pub use body::{Body, BodyLength};
pub use fault::Fault;
pub use fields::{FIELDS_MAX, Fields, HEAD_BYTES_MAX};
pub use http::{Method, StatusCode, Version};
pub use metadata::{Description, Item, Metadata};
pub use packet::{
    FRAGMENT_BYTES_MAX, Fragment, OutOfStep, Packet, PacketHead, PacketKind, encode_fragments,
    encode_reason,
};
pub use pragma::Pragmas;
pub use request::RequestHead;
pub use response::ResponseHead;
pub use switch::{Level, StreamNumber, SwitchEntry};
pub use write::HeadWriter;

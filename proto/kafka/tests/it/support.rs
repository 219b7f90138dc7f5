//! Every message in every version, as bytes: what the other tests walk through.

use bytes::{Bytes, BytesMut};
use raftmq_kafka_protocol::testing::SampleRng;
use raftmq_kafka_protocol::{
    ApiKey, DecodeError, EncodeError, Reader, Request, Response, Sink, supported,
};

/// Which half of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

/// One message in one version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) api: ApiKey,
    pub(crate) side: Side,
    pub(crate) version: i16,
}

/// A body of either side.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    Request(Request),
    Response(Response),
}

impl Body {
    pub(crate) fn encode(&self, version: i16, sink: &mut impl Sink) -> Result<(), EncodeError> {
        match self {
            Self::Request(body) => body.encode(version, sink),
            Self::Response(body) => body.encode(version, sink),
        }
    }

    pub(crate) fn to_bytes(&self, version: i16) -> Bytes {
        let mut bytes = BytesMut::new();
        self.encode(version, &mut bytes)
            .expect("the body has only what the version carries");
        bytes.freeze()
    }
}

impl Case {
    pub(crate) fn sample(self, rng: &mut SampleRng) -> Body {
        match self.side {
            Side::Request => Body::Request(Request::sample(self.api, self.version, rng)),
            Side::Response => Body::Response(Response::sample(self.api, self.version, rng)),
        }
    }

    pub(crate) fn decode_from(self, reader: &mut Reader) -> Result<Body, DecodeError> {
        match self.side {
            Side::Request => Request::decode(self.api, self.version, reader).map(Body::Request),
            Side::Response => Response::decode(self.api, self.version, reader).map(Body::Response),
        }
    }

    /// The body and how many bytes trail it.
    pub(crate) fn decode(self, bytes: Bytes) -> Result<(Body, usize), DecodeError> {
        let mut reader = Reader::new(bytes);
        let body = self.decode_from(&mut reader)?;
        Ok((body, reader.remaining()))
    }
}

/// Every API, side and version of the schema.
pub(crate) fn all_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for info in supported() {
        for version in info.versions.iter() {
            for side in [Side::Request, Side::Response] {
                cases.push(Case {
                    api: info.key,
                    side,
                    version,
                });
            }
        }
    }
    cases
}

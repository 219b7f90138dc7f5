//! A whole stream from a client: protocol header, frames, contents; what is read is sent again.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use raftmq_amqp_protocol::{
    Assembler, Destination, FrameBuffer, ProtocolHeader, connection_method, decode_frame,
};

const FRAME_MAX: u32 = 4_096;
const BODY_BYTES_MAX: u64 = 65_536;

fuzz_target!(|bytes: &[u8]| {
    let mut buffer = BytesMut::from(bytes);
    let _ = ProtocolHeader::parse(&mut buffer);
    let mut assembler = Assembler::new(BODY_BYTES_MAX);
    let mut output = FrameBuffer::new();
    let to = Destination {
        channel: 1,
        frame_max: FRAME_MAX,
    };
    loop {
        let frame = match decode_frame(&mut buffer, FRAME_MAX) {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(refused) => {
                assert!(refused.reply_text().len() <= 255);
                if refused.loses_sync() {
                    break;
                }
                continue;
            }
        };
        let pushed = match frame.channel {
            0 => connection_method(frame).map(|_| None),
            _ => assembler.push(frame),
        };
        match pushed {
            Ok(Some(command)) => {
                let content = command.content.unwrap_or_default();
                assert!(content.body.len() as u64 <= BODY_BYTES_MAX);
                output.put_content(to, &command.method, &content.properties, &content.body);
                assert_eq!(output.take_segments().flatten().next(), Some(1));
            }
            Ok(None) => {}
            Err(refused) => assert!(refused.reply_text().len() <= 255),
        }
    }
});

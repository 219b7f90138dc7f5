//! The beginning and the end of a connection: class `connection`.

use raftmq_amqp::{Answer, Ask, CloseReason, Event, Phase, Refusal, Request, Settings, Timing};
use raftmq_amqp_protocol::{
    BasicProperties, LongString, Method, PROTOCOL_HEADER, Value, channel, connection,
};

use crate::support::{Client, open, publish, start_ok, table, text};

#[test]
fn a_client_is_greeted_with_what_clients_look_for() {
    let mut client = Client::new(Settings::default());
    client.receive(PROTOCOL_HEADER);
    assert!(client.serve().is_empty());
    let methods = client.methods();
    let [(0, Method::Connection(connection::Method::Start(start)))] = &methods[..] else {
        panic!("{methods:?}");
    };
    assert_eq!((start.version_major, start.version_minor), (0, 9));
    assert_eq!(&start.mechanisms[..], b"AMQPLAIN PLAIN");
    assert_eq!(&start.locales[..], b"en_US");
    let Some(Value::Table(capabilities)) = start.server_properties.get("capabilities") else {
        panic!("no capabilities");
    };
    for name in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        assert_eq!(capabilities.get(name), Some(Value::Bool(true)), "{name}");
    }
    assert!(start.server_properties.get("version").is_some());
}

#[test]
fn another_version_is_answered_with_ours_and_the_end() {
    let mut client = Client::new(Settings::default());
    client.receive(b"AMQP\x00\x01\x00\x00");
    assert!(client.serve().is_empty());
    let bytes: Vec<u8> = client
        .connection
        .flush()
        .take_segments()
        .flatten()
        .collect();
    assert_eq!(bytes, PROTOCOL_HEADER);
    assert_eq!(client.connection.phase(), Phase::Closed);
    assert!(matches!(
        client.connection.close_reason(),
        Some(CloseReason::Header(_))
    ));
}

#[test]
fn a_login_leads_to_the_offer_of_limits_and_into_the_virtual_host() {
    let mut client = Client::new(Settings::default());
    client.receive(PROTOCOL_HEADER);
    client.send(0, start_ok(true));
    let requests = client.requests();
    let [
        Request::Ask {
            id,
            channel,
            ask: Ask::Authenticate(login),
        },
    ] = &requests[..]
    else {
        panic!("{requests:?}");
    };
    assert_eq!(
        (&login.user[..], &login.password[..]),
        (&b"guest"[..], &b"secret"[..])
    );
    assert!(!format!("{login:?}").contains("secret"));
    assert!(
        !client.connection.wants_input(),
        "nothing is read meanwhile"
    );
    let identity = crate::support::friendly(&Ask::Authenticate(login.clone()));
    client.connection.answer(*channel, *id, identity);
    let tune = connection::Tune {
        channel_max: 2_047,
        frame_max: 131_072,
        heartbeat: 60,
    };
    assert_eq!(client.methods().pop(), Some((0, tune.into())));
    client.send(
        0,
        connection::TuneOk {
            channel_max: 5,
            frame_max: 4_096,
            heartbeat: 0,
        },
    );
    client.send(0, open("/shop"));
    let ask = client.answer(Answer::Done);
    assert_eq!(
        ask,
        Ask::OpenVhost {
            vhost: text("/shop")
        }
    );
    let open_ok = connection::OpenOk::default().into();
    assert_eq!(client.methods(), [(0, open_ok)]);
    assert_eq!(client.connection.phase(), Phase::Running);
}

#[test]
fn amqplain_is_a_table() {
    let mut client = Client::new(Settings::default());
    client.receive(PROTOCOL_HEADER);
    let login = table(&[
        ("LOGIN", Value::LongString(b"jane")),
        ("PASSWORD", Value::LongString(b"pw")),
    ]);
    let start_ok = connection::StartOk {
        mechanism: text("AMQPLAIN"),
        response: LongString(login.raw().clone()),
        ..start_ok(true)
    };
    client.send(0, start_ok);
    let ask = client.answer(Answer::Refused(Refusal::Login));
    let Ask::Authenticate(login) = ask else {
        panic!("{ask:?}");
    };
    assert_eq!(
        (&login.user[..], &login.password[..]),
        (&b"jane"[..], &b"pw"[..])
    );
    client.assert_closed(
        403,
        "ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. For details \
         see the broker logfile.",
    );
}

#[test]
fn a_wrong_password_ends_the_connection_of_who_does_not_understand_the_reason() {
    let mut client = Client::new(Settings::default());
    client.receive(PROTOCOL_HEADER);
    client.send(0, start_ok(false));
    client.answer(Answer::Refused(Refusal::Login));
    assert_eq!(client.methods().len(), 1, "only the greeting");
    assert_eq!(client.connection.phase(), Phase::Closed);
}

#[test]
fn unknown_mechanisms_and_broken_logins_end_the_connection_without_a_word() {
    let wrong = [("EXTERNAL", "x"), ("PLAIN", "guest"), ("AMQPLAIN", "guest")];
    for (mechanism, response) in wrong {
        let mut client = Client::new(Settings::default());
        client.receive(PROTOCOL_HEADER);
        let start_ok = connection::StartOk {
            mechanism: text(mechanism),
            response: LongString::from(response),
            ..start_ok(true)
        };
        client.send(0, start_ok);
        assert!(client.serve().is_empty());
        assert_eq!(client.methods().len(), 1, "only the greeting");
        assert_eq!(client.connection.phase(), Phase::Closed, "{mechanism}");
    }
}

#[test]
fn limits_above_the_offer_are_refused() {
    let mut client = Client::new(Settings::default());
    client.receive(PROTOCOL_HEADER);
    client.send(0, start_ok(true));
    client.serve();
    client.send(
        0,
        connection::TuneOk {
            channel_max: 4_000,
            frame_max: 131_072,
            heartbeat: 0,
        },
    );
    client.assert_closed(
        530,
        "NOT_ALLOWED - negotiated channel_max = 4000 is higher than the maximum allowed value (2047)",
    );
}

#[test]
fn a_virtual_host_that_is_not_there_or_closed_to_the_user_is_refused() {
    for (refusal, reply_text) in [
        (Refusal::UnknownVhost, "NOT_ALLOWED - vhost /shop not found"),
        (
            Refusal::VhostDenied,
            "NOT_ALLOWED - access to vhost '/shop' refused for user 'guest'",
        ),
    ] {
        let mut client = Client::new(Settings::default());
        client.receive(PROTOCOL_HEADER);
        client.send(0, start_ok(true));
        client.serve();
        client.send(
            0,
            connection::TuneOk {
                channel_max: 5,
                frame_max: 4_096,
                heartbeat: 0,
            },
        );
        client.send(0, open("/shop"));
        client.answer(Answer::Refused(refusal));
        client.assert_closed(530, reply_text);
        client.send(0, connection::CloseOk {});
        assert!(client.serve().is_empty());
        assert_eq!(client.connection.phase(), Phase::Closed);
    }
}

#[test]
fn a_channel_before_the_virtual_host_is_unexpected() {
    let mut client = Client::new(Settings::default());
    client.receive(PROTOCOL_HEADER);
    client.send(0, start_ok(true));
    client.serve();
    client.send(1, channel::Open::default());
    client.assert_closed(
        505,
        "UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>",
    );
}

#[test]
fn deadlines_are_data_and_heartbeats_are_sent_after_half_the_interval() {
    let mut client = Client::new(Settings::default());
    assert_eq!(client.connection.timing().phase_ms, Some(10_000));
    client.open(start_ok(true), 20);
    let timing = Timing {
        send_idle_ms: Some(10_000),
        receive_idle_ms: Some(40_000),
        phase_ms: None,
    };
    assert_eq!(client.connection.timing(), timing);
    client.connection.send_heartbeat();
    let frames = client.frames();
    assert!(matches!(&frames[..], [beat] if beat.channel == 0 && beat.payload.is_empty()));
    client.connection.tell(Event::Lost);
    assert_eq!(client.connection.close_reason(), Some(&CloseReason::Lost));
    assert!(matches!(
        client.requests()[..],
        [Request::Ask {
            ask: Ask::CloseConnection,
            channel: None,
            ..
        }]
    ));
}

#[test]
fn a_client_that_closes_hears_of_it_once_the_host_is_done() {
    let mut client = Client::with_channel();
    let close = connection::Close {
        reply_code: 200,
        reply_text: text("bye"),
        ..Default::default()
    };
    client.send(0, close);
    client.send(1, channel::Open::default());
    let requests = client.requests();
    assert_eq!(client.methods(), []);
    let [
        Request::Ask {
            id,
            channel: None,
            ask: Ask::CloseConnection,
        },
    ] = requests[..]
    else {
        panic!("{requests:?}");
    };
    client.connection.answer(None, id, Answer::Done);
    assert_eq!(client.methods(), [(0, connection::CloseOk {}.into())]);
    assert_eq!(client.connection.phase(), Phase::Closed);
    assert!(client.serve().is_empty());
}

#[test]
fn an_operator_closes_a_connection_and_everything_is_passed_over_until_the_client_agrees() {
    let mut client = Client::with_channel();
    let reason = "shutdown".to_owned();
    client.connection.tell(Event::ForcedClose { reason });
    client.assert_closed(320, "CONNECTION_FORCED - shutdown");
    client.publish(1, b"lost");
    assert!(client.serve().is_empty());
    assert_eq!(client.connection.timing().phase_ms, Some(30_000));
    client.send(0, connection::CloseOk {});
    assert!(client.serve().is_empty());
    assert_eq!(client.connection.phase(), Phase::Closed);
}

#[test]
fn a_fresh_secret_is_asked_about() {
    let mut client = Client::running();
    let update = connection::UpdateSecret {
        new_secret: LongString::from("token"),
        reason: text("expiry"),
    };
    client.send(0, update.clone());
    let ask = client.answer(Answer::Done);
    assert_eq!(ask, Ask::RenewSecret);
    assert_eq!(
        client.methods(),
        [(0, connection::UpdateSecretOk {}.into())]
    );
    client.send(0, update);
    client.answer(Answer::Refused(Refusal::VhostDenied));
    client.assert_closed(
        530,
        "NOT_ALLOWED - access to vhost '/' refused for user 'guest'",
    );
}

#[test]
fn a_broker_that_takes_no_messages_says_so_and_stops_at_the_next_publish() {
    let mut client = Client::with_channel();
    let reason = text("low on disk");
    client.connection.tell(Event::Blocked {
        reason: reason.clone(),
    });
    let blocked = connection::Blocked { reason };
    assert_eq!(client.methods(), [(0, blocked.into())]);
    client.send(1, channel::Flow { active: true });
    assert!(client.requests().is_empty() && client.connection.wants_input());
    client.send_content(1, publish("q"), &BasicProperties::default(), b"x");
    client.send(1, channel::Flow { active: true });
    assert!(client.requests().is_empty() && !client.connection.wants_input());
    let flow_ok: Method = channel::FlowOk { active: true }.into();
    assert_eq!(client.on_channel(), std::slice::from_ref(&flow_ok));
    client.connection.tell(Event::Unblocked);
    assert_eq!(client.publishes().len(), 1);
    let unblocked = connection::Unblocked {}.into();
    assert_eq!(client.methods(), [(0, unblocked), (1, flow_ok)]);
}

#[test]
fn bytes_that_are_no_frame_end_the_connection_at_once() {
    let mut client = Client::running();
    client.receive(&[1, 0, 0, 0, 0, 0, 0, 0xFF]);
    client.assert_closed(
        501,
        "FRAME_ERROR - type 1, all octets = <<>>: {invalid_frame_end_marker,255}",
    );
    assert_eq!(client.connection.phase(), Phase::Closed);
    let mut client = Client::running();
    client.receive(&[3, 0, 1, 0, 0x10, 0, 0, 0]);
    client.assert_closed(
        501,
        "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,1048576,4088}",
    );
}

#[test]
fn a_method_of_a_channel_on_channel_0_ends_the_connection() {
    let mut client = Client::running();
    client.send(0, channel::Open::default());
    client.assert_closed(503, "COMMAND_INVALID - channel.open on channel 0");
    let mut client = Client::running();
    client.send(0, open("/"));
    client.assert_closed(
        504,
        "CHANNEL_ERROR - unexpected method in connection state running",
    );
}

//! The beginning of a connection: header, start, tune, open (AMQP 0-9-1, 2.2.4).
//!
//! Owns the order of these steps and what each agrees on. Who may log in, and where, is the host's
//! knowledge.

use raftmq_amqp_protocol::{LongString, Method, ProtocolHeader, Text, connection, negotiate};

use crate::answer::Answer;
use crate::connection::Connection;
use crate::connection::close::CloseReason;
use crate::connection::login::{MECHANISMS, Mechanism};
use crate::connection::stage::Stage;
use crate::exception::{Exception, access_refused, channel_error};
use crate::refusal::Refusal;
use crate::request::{Ask, AskId, Login};
use crate::session::{Capabilities, owned};

impl Connection {
    /// Reads the protocol header; `false` if it is not there yet.
    pub(super) fn take_header(&mut self) -> bool {
        match ProtocolHeader::parse(&mut self.input) {
            Ok(None) => return false,
            Ok(Some(ProtocolHeader::Amqp091 | ProtocolHeader::Amqp09)) => {
                let start = connection::Start {
                    version_major: 0,
                    version_minor: 9,
                    server_properties: self.session.settings.server_properties(),
                    mechanisms: LongString::from(MECHANISMS),
                    locales: LongString::from("en_US"),
                };
                self.session.send(0, start);
                self.stage = Stage::StartOk;
            }
            Err(refusal) => {
                self.session.out.put_protocol_header();
                self.stage = Stage::Closed;
                self.close_reason = Some(CloseReason::Header(refusal));
            }
        }
        true
    }

    pub(super) fn take_handshake(&mut self, method: Method) {
        let id = method.id();
        let done = match (self.stage, method) {
            (Stage::StartOk, Method::Connection(connection::Method::StartOk(start_ok))) => {
                self.take_start_ok(start_ok)
            }
            (Stage::TuneOk, Method::Connection(connection::Method::TuneOk(tune_ok))) => {
                self.take_tune_ok(&tune_ok)
            }
            (Stage::Open, Method::Connection(connection::Method::Open(open))) => {
                self.session.vhost = owned(&open.virtual_host);
                let vhost = open.virtual_host;
                let ask = self.session.ask(None, Ask::OpenVhost { vhost });
                self.stage = Stage::Opening(ask);
                Ok(())
            }
            // A client may leave at any time once it has logged in.
            (Stage::TuneOk | Stage::Open, Method::Connection(connection::Method::Close(close))) => {
                self.session.send(0, connection::CloseOk {});
                self.stage = Stage::Closed;
                self.close_reason = Some(CloseReason::Client {
                    code: close.reply_code,
                    text: close.reply_text,
                });
                Ok(())
            }
            (stage, _) => Err(channel_error(format!(
                "unexpected method in connection state {}",
                stage.name()
            ))),
        };
        if let Err(exception) = done {
            self.fail(exception.blame(id));
        }
    }

    fn take_start_ok(&mut self, start_ok: connection::StartOk) -> Result<(), Exception> {
        let mechanism = Mechanism::of_name(&start_ok.mechanism)?;
        let (user, password) = mechanism.read(start_ok.response.0)?;
        self.session.capabilities = Capabilities::read(&start_ok.client_properties);
        let login = Login {
            user,
            password,
            client_properties: start_ok.client_properties,
        };
        let ask = self.session.ask(None, Ask::Authenticate(login));
        self.stage = Stage::Authenticating(ask, mechanism);
        Ok(())
    }

    /// What the client is offered.
    fn tune(&self) -> connection::Tune {
        let settings = &self.session.settings;
        connection::Tune {
            channel_max: settings.channel_max,
            frame_max: settings.frame_max,
            heartbeat: settings.heartbeat_s,
        }
    }

    fn take_tune_ok(&mut self, tune_ok: &connection::TuneOk) -> Result<(), Exception> {
        let tuning = negotiate(&self.tune(), tune_ok)?;
        self.channel_max = tuning.channel_max;
        self.heartbeat_s = tuning.heartbeat_s;
        self.session.frame_max = tuning.frame_max;
        self.stage = Stage::Open;
        Ok(())
    }

    /// Takes the answer to a question about the connection as a whole.
    pub(super) fn answer_connection(&mut self, id: AskId, answer: Answer) {
        match self.stage {
            Stage::Authenticating(ask, mechanism) if ask == id => {
                self.answer_login(mechanism, answer);
            }
            Stage::Opening(ask) if ask == id => self.answer_open(answer),
            Stage::Ending(ask) if ask == id => {
                self.session.send(0, connection::CloseOk {});
                self.stage = Stage::Closed;
            }
            Stage::Running if self.renewing == Some(id) => {
                self.renewing = None;
                match self.granted(answer) {
                    Ok(()) => self.session.send(0, connection::UpdateSecretOk {}),
                    Err(exception) => {
                        self.fail(exception.blame(connection::UpdateSecret::ID));
                    }
                }
            }
            Stage::Header
            | Stage::StartOk
            | Stage::Authenticating(..)
            | Stage::TuneOk
            | Stage::Open
            | Stage::Opening(_)
            | Stage::Running
            | Stage::Closing
            | Stage::Ending(_)
            | Stage::Closed => {}
        }
    }

    fn answer_login(&mut self, mechanism: Mechanism, answer: Answer) {
        if let Answer::Authenticated(identity) = answer {
            self.session.identity = identity;
            let tune = self.tune();
            self.session.send(0, tune);
            self.stage = Stage::TuneOk;
        } else if answer == Answer::Refused(Refusal::Login) {
            self.refuse_login(mechanism);
        } else {
            let refused = self.granted(answer).err();
            self.fail(refused.unwrap_or_else(|| Answer::Done.unexpected()));
        }
    }

    /// Only a client that understands it is told; others see the connection end.
    fn refuse_login(&mut self, mechanism: Mechanism) {
        let mechanism = mechanism.name();
        let exception = access_refused(format!(
            "Login was refused using authentication mechanism {mechanism}. For details see the \
             broker logfile."
        ));
        if self.session.capabilities.authentication_failure_close {
            self.send_close(exception);
        } else {
            self.fail(exception);
        }
    }

    fn answer_open(&mut self, answer: Answer) {
        match self.granted(answer) {
            Ok(()) => {
                let known_hosts = Text::default();
                self.session.send(0, connection::OpenOk { known_hosts });
                self.stage = Stage::Running;
                self.say_blocked();
            }
            Err(exception) => self.fail(exception.blame(connection::Open::ID)),
        }
    }

    fn granted(&self, answer: Answer) -> Result<(), Exception> {
        if let Answer::Refused(refusal) = &answer {
            return Err(refusal.exception(self.session.place()));
        }
        answer.done()
    }
}

impl Stage {
    /// RabbitMQ's name of the stage.
    const fn name(self) -> &'static str {
        match self {
            Self::Header | Self::StartOk | Self::Authenticating(..) => "starting",
            Self::TuneOk => "tuning",
            Self::Open | Self::Opening(_) => "opening",
            Self::Running => "running",
            Self::Closing | Self::Ending(_) => "closing",
            Self::Closed => "closed",
        }
    }
}

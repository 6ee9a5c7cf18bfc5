//! Answers those who read the metrics, each for a limited time, a limited number at once.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::door::Listener;
use super::exporter::Asked;
use super::exposition;
use super::request::{Answer, Form, LARGEST_HEAD, answer_to, refusal, with_metrics};
use crate::clock;

/// Connections that are served at once; others wait in the kernel's queue.
const MOST_SERVED: usize = 16;
/// Time for a reader to have done with TLS and to ask.
const REQUEST_PATIENCE: Duration = Duration::from_secs(3);
/// Time for the gateway to say how it stands: it may be applying a million routes.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(8);
/// Time for a reader to take the answer: Prometheus gives up after ten seconds.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// Whoever asks again within this time gets the same text: many readers cost the gateway no more than four a second.
const FRESH_FOR: Duration = Duration::from_millis(250);
/// Pause after `accept` failed, which is for want of file descriptors: at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all connections share.
struct Source {
    asked: Asked,
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

enum Accepting {
    Address(TcpListener),
    Socket(UnixListener),
}

/// Serves until `stop` is dropped. Must be called in a tokio runtime.
pub(super) async fn serve(
    listener: Listener,
    tls: Option<TlsAcceptor>,
    asked: Asked,
    stop: oneshot::Receiver<()>,
) -> io::Result<()> {
    let accepting = match listener {
        Listener::Address(listener) => Accepting::Address(TcpListener::from_std(listener)?),
        Listener::Socket(listener) => Accepting::Socket(UnixListener::from_std(listener)?),
    };
    let source = Arc::new(Source {
        asked,
        last: Mutex::default(),
    });
    tokio::select! {
        _ = stop => Ok(()),
        never = accept(&accepting, tls.as_ref(), &source) => never,
    }
}

async fn accept(
    accepting: &Accepting,
    tls: Option<&TlsAcceptor>,
    source: &Arc<Source>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MOST_SERVED));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        let source = Arc::clone(source);
        let accepted = match accepting {
            Accepting::Address(listener) => listener.accept().await.map(|(stream, _)| {
                let tls = tls.cloned();
                tokio::spawn(async move {
                    let _place = place;
                    match tls {
                        Some(tls) => match timeout(REQUEST_PATIENCE, tls.accept(stream)).await {
                            Ok(Ok(stream)) => talk(stream, &source).await,
                            Ok(Err(error)) => {
                                tracing::debug!(%error, "a reader of metrics failed at TLS");
                            }
                            Err(_) => {}
                        },
                        None => talk(stream, &source).await,
                    }
                });
            }),
            Accepting::Socket(listener) => listener.accept().await.map(|(stream, _)| {
                tokio::spawn(async move {
                    let _place = place;
                    talk(stream, &source).await;
                });
            }),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "the metrics' address cannot take a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// One request, one answer.
async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, source: &Source) {
    let answer = match timeout(REQUEST_PATIENCE, read_request(&mut stream)).await {
        Ok(Ok(Answer::Metrics { body, form })) => match source.text().await {
            Ok(text) if form == Form::OpenMetrics => with_metrics(&text, form, body),
            Ok(text) => with_metrics(&exposition::classic(&text), form, body),
            Err(why) => refusal(503, why),
        },
        Ok(Ok(Answer::Refusal(status, words))) => refusal(status, words),
        // It has gone, or says nothing.
        Ok(Err(_)) | Err(_) => return,
    };
    let _ = timeout(ANSWER_PATIENCE, async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    })
    .await;
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let mut rest = (&mut *stream).take((LARGEST_HEAD - bytes.len()) as u64);
        if rest.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(answer) = answer_to(&bytes) {
            return Ok(answer);
        }
    }
}

impl Source {
    async fn text(&self) -> Result<Arc<str>, &'static str> {
        // Whoever waits for the lock gets what the one before has fetched.
        let mut last = self.last.lock().await;
        if let Some((at, text)) = &*last
            && clock::now() < *at + FRESH_FOR
        {
            return Ok(Arc::clone(text));
        }
        let (reply, reading) = oneshot::channel();
        let asked = async {
            self.asked.send(reply).await.ok()?;
            reading.await.ok()
        };
        let reading = match timeout(GATEWAY_PATIENCE, asked).await {
            Ok(Some(reading)) => reading,
            Ok(None) => return Err("the gateway is stopping, or hands over to another agent"),
            Err(_) => return Err("the gateway did not answer in time: see its log"),
        };
        let text: Arc<str> = exposition::text(reading).into();
        *last = Some((clock::now(), Arc::clone(&text)));
        Ok(text)
    }
}

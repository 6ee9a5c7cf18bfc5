//! What is asked by HTTP, and what is answered: nothing but the metrics can be read, and nothing can be sent.

/// The longest head of a request that is read. Prometheus sends some 400 bytes.
pub const LARGEST_HEAD: usize = 4096;
/// Most header fields of a request.
const MOST_FIELDS: usize = 64;
/// The one place.
const PATH: &str = "/metrics";
/// <https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md>
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// <https://prometheus.io/docs/instrumenting/exposition_formats/>
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
    /// The text format of Prometheus before that, for whoever asks for nothing.
    Classic,
}

/// What is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The metrics; of a HEAD request, only their length.
    Metrics {
        /// Whether they are to be sent.
        body: bool,
        /// In which form.
        form: Form,
    },
    /// No metrics: status and words.
    Refusal(u16, &'static str),
}

/// The answer to a request that begins with `bytes`; `None` while its head is not whole.
pub fn answer_to(bytes: &[u8]) -> Option<Answer> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if bytes.len() < LARGEST_HEAD => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            let words = "the request's head is too large";
            return Some(Answer::Refusal(431, words));
        }
        Err(_) => return Some(Answer::Refusal(400, "this is no HTTP request")),
    }
    let target = request.path.unwrap_or_default();
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let form = form_of(request.headers);
    Some(match (path, request.method.unwrap_or_default()) {
        (PATH, "GET") => Answer::Metrics { body: true, form },
        (PATH, "HEAD") => Answer::Metrics { body: false, form },
        (PATH, _) => Answer::Refusal(405, "metrics can only be read: GET /metrics"),
        _ => Answer::Refusal(404, "the metrics are at /metrics"),
    })
}

fn form_of(fields: &[httparse::Header<'_>]) -> Form {
    let accepts = fields.iter().any(|field| {
        let value = String::from_utf8_lossy(field.value);
        field.name.eq_ignore_ascii_case("accept") && value.contains("application/openmetrics-text")
    });
    if accepts {
        Form::OpenMetrics
    } else {
        Form::Classic
    }
}

/// A whole answer with metrics.
pub(super) fn with_metrics(text: &str, form: Form, body: bool) -> Vec<u8> {
    let kind = match form {
        Form::OpenMetrics => OPENMETRICS,
        Form::Classic => CLASSIC,
    };
    let mut answer = head(200, kind, text.len());
    if body {
        answer.push_str(text);
    }
    answer.into_bytes()
}

/// A whole answer without metrics.
pub(super) fn refusal(status: u16, words: &str) -> Vec<u8> {
    (head(status, PLAIN, words.len() + 1) + words + "\n").into_bytes()
}

fn head(status: u16, kind: &str, length: usize) -> String {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let allow = if status == 405 {
        "Allow: GET, HEAD\r\n"
    } else {
        ""
    };
    format!(
        "HTTP/1.1 {status} {reason}\r\n{allow}Content-Type: {kind}\r\nContent-Length: {length}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    const GOOD: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: berlin-1:19586\r\n\
        Accept: application/openmetrics-text;version=1.0.0\r\nAccept-Encoding: gzip\r\n\r\n";

    fn of(request: &str) -> Option<Answer> {
        answer_to(request.as_bytes())
    }

    #[test]
    fn the_metrics_can_be_read_and_nothing_else() {
        let form = Form::OpenMetrics;
        assert_eq!(answer_to(GOOD), Some(Answer::Metrics { body: true, form }));
        let head = of("HEAD /metrics?x=1 HTTP/1.0\r\n\r\n");
        let form = Form::Classic;
        assert_eq!(head, Some(Answer::Metrics { body: false, form }));
        for (request, status) in [
            ("POST /metrics HTTP/1.1\r\n\r\n", 405),
            ("GET / HTTP/1.1\r\n\r\n", 404),
            ("GET /../etc/crossway/berlin-1.key HTTP/1.1\r\n\r\n", 404),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", 404),
            ("GET /metrics\r\n\r\n", 400),
            ("\u{16}\u{3}\u{1}\u{2}\u{0}", 400),
        ] {
            let answer = of(request);
            assert!(
                matches!(answer, Some(Answer::Refusal(told, _)) if told == status),
                "{request:?}: {answer:?}"
            );
        }
    }

    #[test]
    fn a_head_that_is_not_whole_is_waited_for_up_to_a_limit() {
        for length in 0..GOOD.len() {
            assert_eq!(answer_to(&GOOD[..length]), None, "{length}");
        }
        let endless = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(LARGEST_HEAD));
        assert!(matches!(of(&endless), Some(Answer::Refusal(431, _))));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
        assert!(matches!(of(&many), Some(Answer::Refusal(431, _))));
    }

    /// Whatever comes, it is answered or waited for, and only what is a request gets metrics.
    #[test]
    fn random_and_mangled_requests_are_answered_without_a_panic() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..20_000 {
            let mut bytes = GOOD.to_vec();
            for _ in 0..random.random_range(1..8) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..3) {
                    0 => bytes[at] = random.random(),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random.random()),
                }
            }
            if let Some(Answer::Metrics { .. }) = answer_to(&bytes) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                assert!(text.contains(" /metrics"), "{text:?}");
            }
        }
    }

    #[test]
    fn an_answer_tells_its_length_and_ends_the_connection() {
        let text = String::from_utf8(with_metrics("# EOF\n", Form::OpenMetrics, true)).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("Content-Length: 6\r\n"), "{text}");
        assert!(text.contains("Connection: close\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n# EOF\n"), "{text}");
        let empty = String::from_utf8(with_metrics("# EOF\n", Form::Classic, false)).unwrap();
        assert!(empty.ends_with("\r\n\r\n"), "{empty}");
        let refused = String::from_utf8(refusal(405, "no")).unwrap();
        assert!(refused.contains("Allow: GET, HEAD\r\n"), "{refused}");
    }
}

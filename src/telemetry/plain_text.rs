//! The text of log lines where no terminal wants colours: byte for byte what tracing-subscriber writes, without its styles and formatting
//! machinery, which took a quarter of the time of an answer from memory.

use std::error::Error;
use std::fmt::{self, Write as _};

use time::OffsetDateTime;
use tracing::field::{Field, Visit};
use tracing_subscriber::field::{RecordFields, VisitOutput as _};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultVisitor, Writer};
use tracing_subscriber::fmt::time::FormatTime;

/// The time now in UTC, to the microsecond.
pub(super) struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let text = rfc3339(OffsetDateTime::now_utc());
        // Digits and what is between them.
        writer.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Of the years 0 to 9999.
fn rfc3339(now: OffsetDateTime) -> [u8; 27] {
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let mut put = |from: usize, digits: usize, mut value: u32| {
        for at in (from..from + digits).rev() {
            text[at] = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    put(0, 4, now.year().unsigned_abs());
    put(5, 2, u8::from(now.month()).into());
    put(8, 2, now.day().into());
    put(11, 2, now.hour().into());
    put(14, 2, now.minute().into());
    put(17, 2, now.second().into());
    put(20, 6, now.microsecond());
    text
}

/// Writes `name="text"`, `name=1`, and the message as it is.
pub(super) struct PlainFields;

impl<'writer> FormatFields<'writer> for PlainFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = PlainVisitor {
            text: String::with_capacity(USUAL_LENGTH),
            is_empty: true,
            result: Ok(()),
        };
        fields.record(&mut visitor);
        visitor.result?;
        writer.write_str(&visitor.text)
    }
}

const MESSAGE: &str = "message";

/// Bytes of the fields of most lines.
const USUAL_LENGTH: usize = 512;

/// Puts the fields together before they are written: a writer costs more for each piece than most pieces are long.
struct PlainVisitor {
    text: String,
    is_empty: bool,
    result: fmt::Result,
}

impl PlainVisitor {
    /// Where the next field goes.
    fn next(&mut self) -> &mut String {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.text.push(' ');
        }
        &mut self.text
    }

    fn push_pieces<const N: usize>(&mut self, pieces: [&str; N]) {
        let text = self.next();
        pieces.into_iter().for_each(|piece| text.push_str(piece));
    }

    /// Has tracing-subscriber write what is rare.
    fn write_by_default(&mut self, record: impl FnOnce(&mut DefaultVisitor<'_>)) {
        let mut visitor = DefaultVisitor::new(Writer::new(&mut self.text), self.is_empty);
        record(&mut visitor);
        self.result = self.result.and(visitor.finish());
        self.is_empty = false;
    }
}

impl Visit for PlainVisitor {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            _ if !is_plain(value) => self.write_by_default(|visitor| visitor.record_str(field, value)),
            MESSAGE => self.push_pieces([value]),
            name => self.push_pieces([name, "=\"", value, "\""]),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push_pieces([field.name(), "=", itoa::Buffer::new().format(value)]);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push_pieces([field.name(), if value { "=true" } else { "=false" }]);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.write_by_default(|visitor| visitor.record_error(field, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            MESSAGE => self.write_by_default(|visitor| visitor.record_debug(field, value)),
            name => {
                let written = write!(self.next(), "{name}={value:?}");
                self.result = self.result.and(written);
            }
        }
    }
}

/// Whether a text stands for itself between quotes. Looks at all of it, many bytes at a time, because nearly every text does.
fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |is_plain, byte| {
        is_plain & matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt;
    use tracing_subscriber::fmt::format::DefaultFields;

    use super::*;

    #[derive(Clone, Default)]
    struct Text(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Text {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged<F>(fields: F) -> String
    where
        F: for<'writer> FormatFields<'writer> + Send + Sync + 'static,
    {
        let text = Text::default();
        let writer = text.clone();
        let subscriber = fmt::Subscriber::builder()
            .with_ansi(false)
            .without_time()
            .fmt_fields(fields)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = text.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn log() {
        let error = std::io::Error::other("it \"broke\"");
        tracing::info!(message = "answered", status = 200_u16, complete = true, path = "/v2/a");
        tracing::info!(status = 200_u16, absent = None::<u64>, "{}", "a message\u{1b}[31m");
        tracing::warn!(path = "a \"b\" \\ \n é", below = -1, half = 0.5, "words");
        let span = tracing::info_span!("request", id = "1 2", size = 3_u64, later = tracing::field::Empty);
        let _entered = span.enter();
        tracing::error!(%error, reason = ?Some("x"), r#type = 1, source = &error as &dyn Error);
    }

    #[test]
    fn lines_are_those_of_tracing_subscriber() {
        let ours = logged(PlainFields);
        assert_eq!(ours, logged(DefaultFields::new()));
        assert!(
            ours.starts_with(
                " INFO refshim::telemetry::plain_text::tests: answered status=200 complete=true path=\"/v2/a\"\n"
            ),
            "{ours}"
        );
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_795_751_171_000_042_999).unwrap();
        assert_eq!(&rfc3339(time), b"2026-11-27T03:46:11.000042Z");
    }
}

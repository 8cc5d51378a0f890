//! A batch as text: one identifier a line in ([`crate::lines`]), one pseudonym a line out, `!code`
//! for a bad one.

use axum::http::Uri;
use serde::Deserialize;

use super::ClientBatch;
use crate::code::Code;
use crate::http::body;
use crate::http::problem::Problem;
use crate::lines;
use crate::pseudonym::TextWriter;
use crate::register::SpkiDigest;
use crate::tokenize::{self, DomainRequest, TokenizeOptions, TokenizedBatch};
use crate::utis::PendingUtis;
use crate::vault::Vault;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextQuery {
    scheme: String,
    #[serde(default)]
    purpose: Option<String>,
    #[serde(default)]
    epoch: Option<u32>,
    #[serde(default)]
    period: Option<String>,
    #[serde(default)]
    previous: bool,
}

/// Begins the batch of a body.
pub(super) fn begin(
    vault: &Vault,
    peer: SpkiDigest,
    sector: &str,
    uri: &Uri,
    bytes: &[u8],
) -> Result<(ClientBatch, PendingUtis), Problem> {
    let query: TextQuery = body::query(uri)?;
    let permit = super::permit(vault, peer, sector, &query.scheme, query.purpose.as_deref())?;
    let domain = DomainRequest {
        epoch: query.epoch,
        period: query.period,
    };
    let options = TokenizeOptions {
        domain,
        previous: query.previous,
    };
    // One line too many is enough for the refusal. Reading all of them could take a hundred times
    // the memory.
    let lines: Vec<&[u8]> = lines::of(bytes).take(tokenize::MAX_ITEMS + 1).collect();
    let items = lines
        .iter()
        .map(|line| std::str::from_utf8(line).map_err(|_| Code::IdentifierNotUtf8));
    Ok(tokenize::begin(vault, permit, &options, items)?)
}

/// Writes an answer. With previous pseudonyms a line has two columns, present and previous, with a
/// tab between them.
pub(super) fn write(answer: &TokenizedBatch) -> Vec<u8> {
    let items = answer.pseudonyms.len() + answer.errors.len();
    let columns = 1 + usize::from(answer.previous.is_some());
    let mut out =
        Vec::with_capacity(columns * items * (TextWriter::MAX_LEN + 1) + answer.errors.len() * 32);
    answer.each(|item| {
        match item {
            Ok(place) => {
                answer.writer.write(&answer.pseudonyms[place], &mut out);
                if let Some(previous) = &answer.previous {
                    out.push(b'\t');
                    previous.writer.write(&previous.pseudonyms[place], &mut out);
                }
            }
            Err(code) => {
                out.push(b'!');
                out.extend_from_slice(code.as_str().as_bytes());
            }
        }
        out.push(b'\n');
    });
    out
}

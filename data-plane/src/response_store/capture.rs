//! Takes an answer off its way to the client, and stores it.

use bytes::Bytes;
use futures_util::future::join;
use http::{Response, header};
use omniroute_wire::{
    ir::Json,
    responses::{Harvest, NAMELESS, input_items, with_id, with_previous},
};

use super::{StoredResponse, StoredResponses, history::History};
use crate::{
    reply::{
        Reply,
        observed::{Observer, Pause},
    },
    shared_store::in_background,
};

/// Keeps the answer to one request.
pub(crate) struct ResponseCapture {
    stored: StoredResponses,
    /// The request, with its history in front.
    body: Bytes,
    /// Items at the beginning of the body's input that are stored already.
    known: usize,
    chain: Vec<String>,
    previous: Option<String>,
    /// Of the chain, those that would end before this one.
    aging: Vec<String>,
    harvest: Harvest,
    limit: usize,
}

// === impl ResponseCapture ===

impl ResponseCapture {
    pub(super) fn new(stored: StoredResponses, body: Bytes, history: &History, previous: Option<String>) -> Self {
        let limit = stored.store.value_bytes;
        Self {
            known: history.replayed().len(),
            chain: history.chain.clone(),
            aging: history.aging.clone(),
            harvest: Harvest::new(false, limit),
            stored,
            body,
            previous,
            limit,
        }
    }

    /// Looks at the answer as it goes out.
    pub(crate) fn observe(mut self, response: Response<Reply>) -> Response<Reply> {
        let kind = response.headers().get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        self.harvest = Harvest::new(is_stream, self.limit);
        response.map(|reply| reply.observed(Box::new(self)))
    }

    /// Stores the response, if it is whole.
    fn store(&mut self) -> Option<Pause> {
        let response = self.harvest.take()?;
        let (id, mut record) = self.record(response)?;
        let (stored, previous) = (self.stored.clone(), self.previous.take());
        let aging = std::mem::take(&mut self.aging);
        if !aging.is_empty() {
            let stored = stored.clone();
            in_background(Box::pin(async move {
                for id in aging {
                    stored.renew(&id).await;
                }
            }));
        }
        Some(Box::pin(async move {
            let mark = async {
                if let Some(previous) = &previous {
                    stored.mark_continued(previous).await;
                }
            };
            join(stored.save(&id, &mut record), mark).await;
        }))
    }

    fn record(&mut self, response: Vec<u8>) -> Option<(String, StoredResponse)> {
        let whole: serde_json::Value = serde_json::from_slice(&response).ok()?;
        let id = whole.get("id")?.as_str().filter(|id| !id.is_empty())?.to_owned();
        let response = match &self.previous {
            Some(previous) => with_previous(&response, previous).unwrap_or(response),
            None => response,
        };
        let items = input_items(&self.body).ok()?;
        let answer = id.strip_prefix("resp_").unwrap_or(&id);
        let input = items.into_iter().skip(self.known).enumerate().map(|(index, item)| {
            let item: Json<'_> = with_id(item, |kind| format!("{}_{answer}_i{index}", prefix(kind)));
            item.as_str().to_owned()
        });
        let (input, chain) = (input.collect(), std::mem::take(&mut self.chain));
        let record = StoredResponse { input, chain, response: response.into(), ..StoredResponse::default() };
        (record.size() <= self.limit).then_some((id, record))
    }
}

impl Observer for ResponseCapture {
    fn see(&mut self, piece: &Bytes, _: bool) -> Option<Pause> {
        self.harvest.feed(piece);
        if self.harvest.is_whole() { self.store() } else { None }
    }

    fn end(&mut self, well: bool) -> Option<Pause> {
        if !well {
            return None;
        }
        self.harvest.end();
        self.store()
    }
}

/// What ids of such items begin with.
fn prefix(kind: &str) -> &'static str {
    match kind {
        "message" => "msg",
        "reasoning" => "rs",
        "function_call" => "fc",
        "custom_tool_call" => "ctc",
        "function_call_output" => "fco",
        "custom_tool_call_output" => "ctco",
        _ => NAMELESS,
    }
}
